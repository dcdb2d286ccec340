//! One test per fault that the guard must notice, on the bare ports: what it says, how the machine
//! comes to rest, and that no reference jumps on the way. docs/HAZARDS.md names them.
use shm_layout::code::state_flag::PATH_LOADED;
use shm_layout::code::{EventKind, Phase, Reason, RequestKind, Verdict};
use shm_layout::state::NO_AXIS;

use crate::bench::{AXES, Bench, LOST_IN_ROW_MAX, PATH_KNOTS, WINDOW_CYCLES, WINDOW_RAD};

#[test]
fn a_path_is_followed_to_its_end_when_nothing_is_wrong() {
    let mut bench = Bench::moving();
    bench.until("the end", |bench| bench.is(Phase::Standstill));
    assert!((bench.state.motion.references[0].position - 2.0).abs() < 1e-9);
    assert_eq!(bench.state.guard.verdict(), (Verdict::Follow, Reason::None));
}

#[test]
fn knots_that_come_too_late_are_waited_for_at_rest_on_the_path_and_called_a_short_horizon() {
    let mut bench = Bench::new();
    bench.talk.knots_told = 60;
    bench.talk.asked = Some(RequestKind::Enable);
    let told = |bench: &Bench| bench.talk.header.unwrap().reason == Reason::HorizonShort.code();
    bench.until("the horizon is short", told);
    bench.until("rest", |bench| bench.state.motion.is_stranded());
    assert!(bench.stands_on_the_path());
    assert_eq!(bench.state.guard.verdict(), (Verdict::Follow, Reason::None), "nobody's fault yet");
    bench.talk.knots_told = PATH_KNOTS;
    bench.until("the end", |bench| bench.is(Phase::Standstill));
}

#[test]
fn a_disable_while_moving_stops_on_the_path_before_torque_goes_off() {
    let mut bench = Bench::moving();
    bench.talk.asked = Some(RequestKind::Disable);
    bench.until("stopping", |bench| bench.is(Phase::Stopping));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.ends_without_torque(Reason::DisableRequest, NO_AXIS);
    bench.comes_back();
}

#[test]
fn a_drive_that_leaves_operation_by_itself_stops_the_others_off_the_path() {
    let mut bench = Bench::moving();
    bench.drives.statuswords[1] = 0x21;
    bench.step();
    assert!(bench.state.motion.stop.is_some() && !bench.state.motion.has_path());
    bench.ends_without_torque(Reason::DriveLeftOperation, 1);
    bench.comes_back();
}

#[test]
fn a_drive_fault_names_its_axis_stays_latched_and_is_reset_by_enable_alone() {
    let mut bench = Bench::moving();
    bench.drives.statuswords[0] = 0x08;
    bench.ends_without_torque(Reason::DriveFault, 0);
    assert_eq!(bench.drives.statuswords[0], 0x08, "the fault is left standing for people to see");
    bench.comes_back();
}

#[test]
fn a_drive_that_does_not_reach_operation_in_time_is_named_and_torque_goes_off() {
    let mut bench = Bench::new();
    bench.drives.refuses_to_enable = true;
    bench.talk.asked = Some(RequestKind::Enable);
    bench.ends_without_torque(Reason::EnableTimeout, 0);
    bench.drives.refuses_to_enable = false;
    bench.comes_back();
}

#[test]
fn a_following_error_outside_its_window_for_its_time_stops_on_the_path() {
    let mut bench = Bench::moving();
    bench.drives.error_rad = 1.5 * WINDOW_RAD;
    (0..WINDOW_CYCLES).for_each(|_| bench.step());
    assert_eq!(bench.state.guard.stop, None, "its time is not over");
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::FollowingError));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.ends_without_torque(Reason::FollowingError, 1);
}

#[test]
fn a_following_error_that_returns_in_time_stops_nothing() {
    let mut bench = Bench::moving();
    for _ in 0..20 {
        bench.drives.error_rad = 1.5 * WINDOW_RAD;
        (0..WINDOW_CYCLES).for_each(|_| bench.step());
        bench.drives.error_rad = 0.0;
        bench.step();
    }
    assert_eq!(bench.state.guard.stop, None);
}

#[test]
fn feedback_older_than_its_bound_stops_on_the_path() {
    let mut bench = Bench::moving();
    bench.drives.silent_axis = Some(0);
    // The axis is still followed, only not seen: it may be one cycle older than its bus may lose.
    (0..=LOST_IN_ROW_MAX).for_each(|_| bench.step());
    assert_eq!(bench.state.guard.stop, None);
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::FeedbackStale));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.drives.silent_axis = None;
    bench.ends_without_torque(Reason::FeedbackStale, 0);
}

#[test]
fn feedback_that_is_no_number_stops_and_reaches_no_command() {
    for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bench = Bench::moving();
        bench.drives.error_rad = nonsense;
        bench.step();
        assert_eq!(bench.state.guard.stop, Some(Reason::FeedbackInvalid));
        for _ in 0..1_000 {
            bench.step();
            let commands = bench.state.commands.axes.iter().take(AXES);
            assert!(commands.into_iter().all(|one| one.position.is_finite()));
        }
        bench.ends_without_torque(Reason::FeedbackInvalid, 1);
    }
}

#[test]
fn a_bus_that_loses_one_frame_too_many_in_a_row_stops_the_machine_on_the_path() {
    let mut bench = Bench::moving();
    for lost in 1..=LOST_IN_ROW_MAX {
        bench.drives.lost_in_row = lost;
        bench.step();
    }
    assert_eq!(bench.state.guard.stop, None, "as many as it may lose");
    bench.drives.lost_in_row = LOST_IN_ROW_MAX + 1;
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::BusLost));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.drives.lost_in_row = 0;
    bench.ends_without_torque(Reason::BusLost, NO_AXIS);
    bench.comes_back();
}

#[test]
fn a_reference_that_would_jump_is_never_sent_and_the_machine_stops_from_what_was_sent_last() {
    let mut bench = Bench::moving();
    // As if motion had gone mad: path time is elsewhere, and the path with it.
    bench.state.motion.rate = servo_core::motion::PathRate::at_rest(2.5);
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::LimitEnforced));
    assert_ne!(bench.state.motion.enforced_mask, 0);
    // The record of that very cycle tells of the stop, and of no path that goes on.
    let header = bench.talk.header.unwrap();
    assert_eq!(header.verdict, Verdict::Stop.code());
    assert_eq!((header.path_id, header.path_rate, header.flags & PATH_LOADED), (0, 0.0, 0));
    let told = bench.state.events.of_this_cycle().iter().map(|event| event.kind);
    let [dropped, changed] = [EventKind::PathDropped.code(), EventKind::VerdictChanged.code()];
    assert_eq!(told.collect::<Vec<_>>(), [dropped, changed]);
    bench.ends_without_torque(Reason::LimitEnforced, 0);
    bench.comes_back();
}
