//! The verdict finds what is planted: a missed cycle, a jump, a leak, a slow return, a disturbed motion.
use std::sync::OnceLock;

use kadenzd::boot::replay::{Seen, replay_seen};
use rt_tests::cli::simulate;
use shm_layout::code::axis_flag;
use shm_layout::state::AxisState;

use super::*;

/// Runs `work` on a stack that holds several island states of half a megabyte each.
fn roomy(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(64 << 20);
        builder.spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

/// A recording of an arm in honest company, and its machine's numbers.
fn recording() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let finished = simulate("demo-arm", 0, 6_000, 48 << 20).expect("promises hold");
        finished.simulation.recording.file().to_vec()
    })
}

fn judge() -> MotionJudge {
    MotionJudge::new(crate::arm_limits().expect("embedded"))
}

/// Judges the recording with `plant` done to what cycles show.
fn judged_with(mut plant: impl FnMut(u64, &mut [AxisState])) -> Motion {
    let mut judge = judge();
    let replayed = replay_seen(recording(), |seen| {
        let mut axes = seen.axes.to_vec();
        plant(seen.header.cycle, &mut axes);
        judge.take(&Seen { axes: &axes, ..*seen });
    });
    assert_eq!(replayed.expect("a recording").diverged_at, None);
    judge.finish()
}

/// A cycle in which the first axis is enabled, from its second second on.
fn enabled_cycle() -> u64 {
    let mut found = None;
    replay_seen(recording(), |seen| {
        let enabled = seen.axes.iter().all(|axis| axis.flags & axis_flag::ENABLED != 0);
        if found.is_none() && seen.header.cycle > 2_000 && enabled {
            found = Some(seen.header.cycle);
        }
    })
    .expect("a recording");
    found.expect("a cycle with torque")
}

fn evidence() -> Evidence {
    Evidence {
        cycles: 0..u64::MAX,
        rests: &[Reason::SourceSilent],
        recovery_ms: 40,
        ..Evidence::default()
    }
}

#[test]
fn an_undisturbed_recording_shows_no_unexpected_motion() {
    roomy(|| {
        let motion = judge_recording(recording(), judge()).expect("it replays");
        assert!(motion.cycles > 2_000 && motion.found.is_empty(), "{:?}", motion.found);
        // What its own script asks for.
        let rests = &[Reason::HoldRequest, Reason::Shutdown];
        let mut evidence = Evidence { rests, ..evidence() };
        evidence.take_motion(&motion);
        assert_eq!(evidence.judge(), Vec::<String>::new());
        assert_eq!(evidence.verdict, "kept");
    });
}

#[test]
fn a_planted_jump_of_one_axis_in_one_cycle_is_found() {
    roomy(|| {
        let at = enabled_cycle();
        let motion = judged_with(|cycle, axes| {
            if cycle == at {
                axes[0].position_reference += 0.01;
            }
        });
        assert_eq!(motion.found.first().map(|(cycle, _)| *cycle), Some(at), "{:?}", motion.found);
        let mut evidence = evidence();
        evidence.take_motion(&motion);
        assert!(evidence.judge().iter().any(|words| words.contains("unexpected motion")));
        assert_eq!(evidence.verdict, "broken");
    });
}

#[test]
fn a_path_left_by_little_enough_to_be_no_jump_is_found() {
    roomy(|| {
        let at = enabled_cycle();
        let motion = judged_with(|cycle, axes| {
            if cycle >= at {
                axes[5].position_reference += 1e-5 * ((cycle - at) as f64 * 1e-3).min(1.0);
            }
        });
        assert!(!motion.found.is_empty(), "1e-5 rad off the path");
    });
}

#[test]
fn a_recording_with_a_flipped_bit_is_no_evidence() {
    roomy(|| {
        let mut damaged = recording().to_vec();
        let middle = damaged.len() / 2 / 8 * 8;
        let is_noticed = (middle..damaged.len()).step_by(8).any(|at| {
            damaged[at] ^= 1;
            let noticed = judge_recording(&damaged, judge()).is_err();
            damaged[at] ^= 1;
            noticed
        });
        assert!(is_noticed);
    });
}

#[test]
fn motion_that_was_told_to_rest_is_a_disturbance_unless_the_planner_was_attacked() {
    let rest = Motion {
        cycles: 9,
        at_speed: (0..9).collect(),
        rests: vec![(5, Reason::SourceSilent.code())],
        ..Motion::default()
    };
    let mut planner = evidence();
    planner.take_motion(&rest);
    assert!(planner.judge().is_empty());
    let mut hogged = evidence();
    let rests = vec![(5, Reason::DriveFault.code())];
    hogged.take_motion(&Motion { rests, ..rest.clone() });
    assert!(hogged.judge().iter().any(|words| words.contains("disturbed (drive-fault)")));
    let mut viewer = Evidence { rests: &[], ..evidence() };
    viewer.take_motion(&rest);
    assert!(viewer.judge().iter().any(|words| words.contains("disturbed (source-silent)")));
    let mut another = Evidence { rests: &[], cycles: 6..9, ..evidence() };
    another.take_motion(&rest);
    assert!(another.judge().is_empty(), "it was not within this attack");
    let mut stalled = Evidence { rests: &[], ..evidence() };
    let rests = vec![(5, Reason::CyclesMissed.code())];
    stalled.take_motion(&Motion { rests, ..rest.clone() });
    assert!(stalled.judge().is_empty(), "the causes of missed cycles are judged by themselves");
    let mut slow = Evidence { rests: &[], cycles: 6..9, ..evidence() };
    slow.take_motion(&Motion { at_speed: vec![7], ..rest });
    assert!(slow.judge().iter().any(|words| words.contains("only 33 %")));
}

#[test]
fn one_own_missed_cycle_breaks_a_promise_and_a_hosts_hundred_do_not() {
    let host = [0, 100, 3, 0, 7];
    assert!(Evidence { missed_by_cause: host, ..evidence() }.judge().is_empty());
    let mut own = Evidence { missed_by_cause: [1, 0, 0, 0, 0], ..evidence() };
    assert!(own.judge().iter().any(|words| words.contains("1 cycles missed by our own doing")));
    assert_eq!(own.own_missed, 1);
}

#[test]
fn what_an_observer_sees_counts_where_nothing_was_recorded() {
    let mut unrecorded = Evidence { jumps_seen: 2, ..evidence() };
    unrecorded.take_motion(&Motion::default());
    assert!(unrecorded.judge().iter().any(|words| words.contains("saw 2 jumps")));
    let mut recorded = Evidence { jumps_seen: 2, ..evidence() };
    recorded.take_motion(&Motion { cycles: 9, ..Motion::default() });
    assert!(recorded.judge().is_empty());
}

#[test]
fn leaks_and_trespasses_of_the_loop_are_broken_promises() {
    let leaks = [
        Evidence { leaked_fds: vec!["process 7, descriptor 9: socket".into()], ..evidence() },
        Evidence { leaked_files: vec!["/dev/shm/kdzv1_x".into()], ..evidence() },
        Evidence { trespasses: 1, ..evidence() },
        Evidence { failures: vec!["the door stood open".into()], ..evidence() },
    ];
    for mut leak in leaks {
        assert_eq!(leak.judge().len(), 1);
    }
}

#[test]
fn service_that_takes_longer_than_a_second_is_late_unless_the_host_took_the_time() {
    let mut late = evidence();
    late.note_recovery(1_001, 0);
    assert!(late.judge().iter().any(|words| words.contains("back after 1001 ms")));
    let mut stolen = evidence();
    stolen.note_recovery(1_150, 160);
    assert!(stolen.judge().is_empty());
    stolen.note_recovery(1_100, 0);
    stolen.note_recovery(90, 0);
    assert_eq!((stolen.recovery_ms, stolen.stolen_ms), (1_100, 0), "the worst is kept");
}

#[test]
fn reports_are_read_by_cause_and_a_report_without_causes_is_none() {
    let report = "cycles: 9\nmissed cycles: 12 (own 1, host 8, kernel 0, bus 0, unattributed 3); overruns: 2";
    assert_eq!(missed_by_cause(report), Some([1, 8, 0, 0, 3]));
    assert_eq!(missed_by_cause("missed cycles: 12; overruns: 2"), None);
    assert_eq!(missed_by_cause(""), None);
    let log = "kadenz up: x\nended in good order; 14 restarts: gateway view 3 (1 hung), gateway plan 9 (0 hung), planner 2 (0 hung)";
    assert_eq!(gateway_restarts(log), Some(12));
    assert_eq!(gateway_restarts("ended in good order; no restarts\n"), Some(0));
    assert_eq!(gateway_restarts("killed"), None);
}
