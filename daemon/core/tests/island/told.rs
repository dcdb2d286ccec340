//! What the island tells, and the last bound on what it sends besides positions.
use shm_layout::code::{EventKind, Phase, RequestKind};
use shm_layout::state::NO_AXIS;

use crate::bench::{AXES, Bench, PATH_KNOTS};

#[test]
fn the_story_of_a_life_begins_with_boot_and_tells_every_drive_on_its_way_to_torque() {
    let mut bench = Bench::new();
    bench.talk.asked = Some(RequestKind::Enable);
    bench.until("axes are enabled", |bench| bench.is(Phase::Moving));
    assert_eq!(bench.talk.events[0], (EventKind::Boot.code(), NO_AXIS));
    for axis in 0..u32::try_from(AXES).unwrap() {
        let told = (EventKind::DriveChanged.code(), axis);
        let count = bench.talk.events.iter().filter(|event| **event == told).count();
        // Switch on disabled, ready to switch on, switched on, operation enabled.
        assert_eq!(count, 4, "axis {axis}");
    }
}

#[test]
fn no_knot_feeds_forward_more_torque_than_the_axis_has() {
    for (asked, fed) in [(1e300, 50.0), (-1e300, -50.0), (12.5, 12.5)] {
        let mut bench = Bench::new();
        bench.talk.torque = asked;
        bench.talk.asked = Some(RequestKind::Enable);
        bench.until("axes move", |bench| bench.is(Phase::Moving));
        for _ in 0..100 {
            bench.step();
            for command in bench.state.commands.axes.iter().take(AXES) {
                assert!((command.torque - fed).abs() < 1e-9, "{} of {asked}", command.torque);
            }
        }
    }
}

#[test]
fn knots_taken_in_one_cycle_fit_a_quarter_of_the_period() {
    let mut setup = Bench::new().setup;
    for (period_ns, axes, knots) in [
        (1_000_000, 6, 8),
        (1_000_000, 64, 8),
        (250_000, 32, 6),
        (100_000, 32, 2),
        (50_000, 32, 1),
        (50_000, 64, 1),
        (10_000_000, 0, 8),
    ] {
        (setup.period_ns, setup.axis_count) = (period_ns, axes);
        assert_eq!(setup.knots_per_cycle(), knots, "{period_ns} ns, {axes} axes");
    }
}

#[test]
fn a_short_period_takes_a_batch_knot_by_knot_and_still_all_of_it() {
    let mut bench = Bench::new();
    bench.setup.period_ns = 2_400;
    bench.talk.asked = Some(RequestKind::Enable);
    bench.until("a path begins", |bench| bench.state.motion.has_path());
    for wanted in 2..=PATH_KNOTS {
        bench.step();
        assert_eq!(bench.state.motion.next_index, wanted);
    }
    assert!(bench.state.motion.is_complete());
}
