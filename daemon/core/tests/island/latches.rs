//! Which fault wins, what enables and disables may not do, and what counts as not following.
use shm_layout::code::{Outcome, Phase, Reason, RequestKind, Verdict};
use shm_layout::state::NO_AXIS;

use crate::bench::{AXES, Bench, LOST_IN_ROW_MAX, WINDOW_CYCLES, WINDOW_RAD};

/// Far below what an axis of the bench moves in one cycle at speed.
const TIGHT_RAD: f64 = 1e-9;

fn tight(bench: &mut Bench) {
    for axis in &mut bench.setup.axes {
        (axis.following_error_window, axis.following_error_cycles) = (TIGHT_RAD, 0);
    }
}

#[test]
fn a_drive_that_follows_exactly_shows_no_following_error_at_any_speed() {
    let mut bench = Bench::new();
    tight(&mut bench);
    bench.talk.asked = Some(RequestKind::Enable);
    bench.until("axes move", |bench| bench.is(Phase::Moving));
    while bench.state.motion.has_path() {
        bench.step();
        for index in 0..AXES {
            let error = bench.state.motion.following_error(index);
            assert!(error.abs() < TIGHT_RAD, "axis {index}: recorded {error}");
        }
        assert_eq!(bench.state.guard.stop, None, "the guard judges what the record says");
    }
}

#[test]
fn a_lost_frame_is_no_following_error() {
    let mut bench = Bench::moving();
    tight(&mut bench);
    for lost in (1..=LOST_IN_ROW_MAX).chain([0; 50]) {
        bench.drives.lost_in_row = lost;
        bench.step();
        assert_eq!(bench.state.guard.stop, None);
    }
}

#[test]
fn the_first_fault_stands_whatever_follows_from_it() {
    let mut bench = Bench::moving();
    bench.drives.statuswords[0] = 0x08;
    bench.step();
    bench.drives.error_rad = 2.0 * WINDOW_RAD;
    (0..=WINDOW_CYCLES).for_each(|_| bench.step());
    bench.drives.error_rad = 0.0;
    bench.ends_without_torque(Reason::DriveFault, 0);
}

#[test]
fn a_drive_that_drops_out_of_a_stop_on_the_path_takes_the_others_off_it() {
    let mut bench = Bench::moving();
    bench.drives.error_rad = 2.0 * WINDOW_RAD;
    bench.until("a stop on the path", |bench| bench.state.guard.stop.is_some());
    assert_eq!(bench.state.guard.stop, Some(Reason::FollowingError));
    bench.step();
    assert!(bench.state.motion.has_path());
    bench.drives.statuswords[0] = 0x08;
    bench.step();
    assert!(!bench.state.motion.has_path() && bench.state.motion.stop.is_some());
    bench.drives.error_rad = 0.0;
    bench.ends_without_torque(Reason::DriveFault, 0);
}

#[test]
fn a_stop_asked_for_while_drives_are_being_enabled_is_heard() {
    let mut bench = Bench::new();
    bench.talk.asked = Some(RequestKind::Enable);
    bench.step();
    assert!(bench.is(Phase::Enabling));
    bench.talk.asked = Some(RequestKind::Stop);
    bench.ends_without_torque(Reason::StopRequest, NO_AXIS);
    bench.comes_back();
}

#[test]
fn one_enable_request_resets_the_fault_of_a_drive_once() {
    let mut bench = Bench::new();
    bench.drives.statuswords[0] = 0x08;
    bench.drives.refuses_to_enable = true;
    bench.talk.asked = Some(RequestKind::Enable);
    bench.until("the fault is reset", |bench| bench.drives.statuswords[0] == 0x23);
    bench.step();
    bench.drives.statuswords[0] = 0x08;
    bench.ends_without_torque(Reason::DriveFault, 0);
    assert_eq!(bench.drives.statuswords[0], 0x08, "left standing");
    bench.drives.refuses_to_enable = false;
    bench.comes_back();
}

#[test]
fn an_enable_that_waits_at_boot_moves_no_drive_that_a_daemon_before_left_enabled() {
    let mut bench = Bench::before_the_first_cycle();
    bench.drives.statuswords = [0x27; AXES];
    bench.drives.positions = [1.0; AXES];
    bench.drives.targets = [1.0; AXES];
    bench.talk.asked = Some(RequestKind::Enable);
    for _ in 0..50 {
        bench.cycle();
        assert_eq!(bench.drives.positions, [1.0; AXES], "{:?}", bench.state.guard.phase);
    }
    bench.talk.knots_told = 0;
    bench.comes_back();
    assert_eq!(bench.state.guard.verdict(), (Verdict::Follow, Reason::None));
    assert_eq!(bench.drives.positions, [1.0; AXES]);
}

#[test]
fn on_a_changed_host_an_enable_is_refused_until_one_acknowledges_it_and_then_never_again() {
    let mut bench = Bench::new();
    bench.talk.host_changed = true;
    bench.talk.asked = Some(RequestKind::Enable);
    bench.step();
    assert_eq!(bench.talk.answered, Some(Outcome::HostChanged.code()));
    (0..100).for_each(|_| bench.step());
    assert!(bench.is(Phase::Disabled), "nothing was enabled");

    bench.talk.value = 1.0;
    bench.talk.knots_told = 0;
    bench.comes_back();
    assert_eq!(bench.talk.answered, Some(Outcome::Accepted.code()));

    // Later enables of the same life need not say it again.
    bench.talk.value = 0.0;
    bench.talk.asked = Some(RequestKind::Disable);
    bench.until("torque is off", |bench| bench.is(Phase::Disabled));
    bench.comes_back();
}

#[test]
fn an_acknowledgement_is_not_asked_for_where_the_host_is_as_it_was() {
    let mut bench = Bench::new();
    bench.talk.knots_told = 0;
    bench.comes_back();
    assert_eq!(bench.talk.answered, Some(Outcome::Accepted.code()));
}
