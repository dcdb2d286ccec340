//! Named promises, each on a quiet bench where nothing else happens; the checker watches throughout.
mod bench;
mod late;

use bench::{Bench, answer, is_at_rest, phase_is, positions, speed};
use rt_tests::actors::planner::{Manners, Planner};
use rt_tests::machines;
use rt_tests::plan::Plan;
use rt_tests::random::Random;
use servo_sim::Fault;
use shm_layout::code::{
    EventKind, Outcome, Phase, Reason, RequestKind, Verdict, axis_flag, state_flag,
};

#[test]
fn a_silent_planner_ends_at_rest_on_the_path() {
    for seed in 0..6 {
        let mut bench = Bench::moving("demo-arm", seed);
        bench.planner().be_silent_until(u64::MAX);
        bench.until("the stop", |now| is_at_rest(now) && now.header.verdict != 0);
        let rest = bench.now().clone();
        assert_eq!(rest.header.reason, Reason::SourceSilent.code());
        assert!(rest.header.tau_s <= rest.header.tau_last_s && rest.header.path_id != 0);
        // The checker knows the accepted knots: the reference at rest is the path at that time.
        let promised = bench.0.checker.promised(rest.header.tau_s).unwrap();
        for (reference, promised) in positions(&rest).iter().zip(&promised) {
            let off = (reference - promised).abs();
            assert!(off <= 1e-9 * promised.abs().max(1.0), "seed {seed}: {off:e} off the path");
        }
        bench.run(500);
        assert_eq!(positions(bench.now()), positions(&rest), "seed {seed}");
    }
}

#[test]
fn a_killed_planner_can_be_replaced_after_resume() {
    let mut bench = Bench::moving("demo-mill", 3);
    let path_id = bench.now().header.path_id;
    let (cycle, generation) = (bench.0.cycle(), bench.now().header.lease_generation);
    bench.planner().die_until(cycle + 200, true);
    bench.until("the successor's lease", |now| now.header.lease_generation > generation);
    bench.until("rest", is_at_rest);
    assert_eq!(bench.now().header.verdict, Verdict::Hold.code());
    bench.run(300);
    assert!(is_at_rest(bench.now()), "going on is a person's decision");
    bench.ask(RequestKind::Resume, 0.0);
    bench.until("motion", |now| speed(now) > 1e-3);
    assert_eq!(bench.now().header.path_id, path_id);
    bench.until("the end of the path", |now| now.header.path_id != path_id);
    let dropped = bench.now().events.iter().any(|e| e.kind == EventKind::PathDropped.code());
    assert!(!dropped && bench.0.summary().paths[2] == 0);
}

#[test]
fn hold_and_resume_leave_the_path_nowhere() {
    let mut bench = Bench::moving("demo-arm", 5);
    for round in 0..12 {
        bench.ask(RequestKind::Hold, 0.0);
        bench.run(40 + 23 * round);
        bench.ask(RequestKind::Resume, 0.0);
        bench.run(70 + 31 * round);
    }
    let summary = bench.0.summary();
    assert!(summary.off_path_max < 1e-12, "{summary}");
    assert!(summary.holds["hold-request"] >= 12 && summary.paths[2] == 0, "{summary}");
}

#[test]
fn under_hold_nothing_moves_and_resume_goes_on_along_the_same_path() {
    let mut bench = Bench::moving("demo-arm", 2);
    let path_id = bench.now().header.path_id;
    bench.ask(RequestKind::Hold, 0.0);
    bench.until("rest", is_at_rest);
    let held = positions(bench.now());
    bench.run(2_000);
    assert_eq!(positions(bench.now()), held);
    bench.ask(RequestKind::Resume, 0.0);
    bench.until("motion", |now| speed(now) > 1e-3);
    assert_eq!(bench.now().header.path_id, path_id);
}

#[test]
fn a_drive_fault_stops_the_others_together() {
    let mut bench = Bench::moving("demo-arm", 4);
    bench.0.island.bus.plant_mut().drive_mut(2).unwrap().inject(Fault::DriveFault(0x2310));
    bench.until("the stop", |now| now.header.verdict == Verdict::Stop.code());
    assert_eq!(bench.now().header.reason, Reason::DriveFault.code());
    assert_eq!(bench.now().header.reason_axis, 2);
    let mut last_moving = [0_u64; 6];
    let mut cycle = 0;
    bench.until("torque off", |now| {
        cycle += 1;
        for (last, axis) in last_moving.iter_mut().zip(&now.axes) {
            if axis.velocity_reference.abs() > 1e-9 && axis.flags & axis_flag::ENABLED != 0 {
                *last = cycle;
            }
        }
        phase_is(now, Phase::Disabled)
    });
    let others = last_moving.iter().filter(|last| **last > 0);
    let (first, last) = others.fold((u64::MAX, 0), |(f, l), c| (f.min(*c), l.max(*c)));
    assert!(last > 0, "some other axis must have moved");
    assert!(last - first <= 25, "axes stopped {first} to {last} cycles after the fault");
}

#[test]
fn nothing_moves_at_enable() {
    for machine in machines::NAMES {
        let mut bench = Bench::new(machine, 1);
        bench.planner().be_silent_until(u64::MAX);
        let before = positions(bench.now());
        bench.ask(RequestKind::Enable, 0.0);
        bench.until("standstill", |now| phase_is(now, Phase::Standstill));
        bench.run(200);
        for (axis, before) in bench.now().axes.iter().zip(&before) {
            assert!((axis.position_reference - before).abs() < 2e-6, "{machine}: {axis:?}");
            assert!((axis.position_actual - before).abs() < 1e-4, "{machine}: {axis:?}");
        }
    }
}

#[test]
fn a_stop_latches_until_enable() {
    let mut bench = Bench::moving("demo-mill", 7);
    bench.ask(RequestKind::Stop, 0.0);
    bench.until("the stop", |now| phase_is(now, Phase::Stopped));
    let stopped = positions(bench.now());
    for kind in [RequestKind::Resume, RequestKind::Hold] {
        bench.ask(kind, 0.0);
        bench.run(1);
        assert_eq!(answer(bench.now(), kind), Some(Outcome::StopLatched.code()));
    }
    bench.run(1_000);
    assert_eq!(positions(bench.now()), stopped);
    assert_eq!(bench.now().header.verdict, Verdict::Stop.code());
    bench.ask(RequestKind::Enable, 0.0);
    bench.run(1);
    assert_eq!(answer(bench.now(), RequestKind::Enable), Some(Outcome::Accepted.code()));
    bench.until("motion", |now| speed(now) > 1e-3);
}

#[test]
fn override_changes_speed_without_a_jump() {
    let mut bench = Bench::moving("demo-arm", 9);
    for value in [0.3, 1.0, 0.0, 0.75, 0.1, 1.0] {
        bench.ask(RequestKind::Override, value);
        bench.run(350);
        assert_eq!(bench.now().header.rate_override.to_bits(), f64::to_bits(value));
    }
    for value in [f64::NAN, -0.01, 1.000_001, f64::INFINITY] {
        bench.ask(RequestKind::Override, value);
        bench.run(1);
        let answered = answer(bench.now(), RequestKind::Override);
        assert_eq!(answered, Some(Outcome::Malformed.code()), "{value}");
        assert_eq!(bench.now().header.rate_override.to_bits(), 1.0_f64.to_bits());
    }
    assert_eq!(bench.0.summary().limit_enforced, 0);
}

#[test]
fn a_second_source_is_ignored_while_the_lease_is_held() {
    let mut bench = Bench::moving("demo-arm", 12);
    let holder = bench.now().header.source_id;
    let writer = bench.0.island.inbound.mailbox_writer(1).unwrap();
    bench.0.planners.push(Planner::new(77, 1, writer, Manners::GOOD));
    bench.run(8_000);
    let summary = bench.0.summary();
    assert_eq!((bench.now().header.source_id, summary.leases), (holder, 1), "{summary}");
    // The gate can fail: once the holder is silent, the other one gets it.
    bench.planner().be_silent_until(u64::MAX);
    bench.until("the other source", |now| now.header.source_id != holder);
}

#[test]
fn a_request_past_its_deadline_does_nothing() {
    let mut bench = Bench::moving("demo-mill", 1);
    let mut writer = bench.0.island.inbound.request_writer().unwrap();
    let mut late = rt_tests::actors::operator::request(RequestKind::Stop, 0.0, 7);
    late.deadline_ns = bench.now().header.wake_ns;
    writer.publish(&[late.as_words()]);
    bench.run(1);
    assert_eq!(answer(bench.now(), RequestKind::Stop), Some(Outcome::Expired.code()));
    assert_eq!(bench.now().header.verdict, Verdict::Follow.code());
}

#[test]
fn shutdown_brakes_on_the_path_then_takes_torque_off() {
    for seed in 0..4 {
        let mut bench = Bench::moving("demo-arm", seed);
        let tau_s = bench.now().header.tau_s;
        bench.0.island.shut_down();
        let mut rest_tau_s = 0.0;
        bench.until("rest", |now| {
            let loaded = now.header.flags & state_flag::PATH_LOADED != 0;
            rest_tau_s = if loaded { now.header.tau_s } else { rest_tau_s };
            assert!(now.axes.iter().all(|axis| axis.flags & axis_flag::ENABLED != 0));
            is_at_rest(now)
        });
        assert!(rest_tau_s > tau_s, "braking goes on along the path");
        bench.0.end().unwrap();
        assert!(bench.now().axes.iter().all(|axis| axis.flags & axis_flag::ENABLED == 0));
    }
}

#[test]
fn a_dead_planners_path_does_not_begin_at_enable() {
    let mut bench = Bench::new("demo-arm", 1);
    // A path stands in the mailbox, offered while nothing was enabled; then its planner died.
    let start: Vec<f64> = positions(bench.now());
    let plan = Plan::random(&mut Random::stream(1, "plan"), &bench.0.island.setup, &start, 0.5, 99);
    bench.planner().offer(&plan);
    bench.0.programs.insert(99, plan);
    bench.run(100);
    bench.planner().be_silent_until(u64::MAX);
    bench.run(500);
    bench.ask(RequestKind::Enable, 0.0);
    bench.until("standstill", |now| phase_is(now, Phase::Standstill));
    bench.run(1_000);
    assert_eq!(bench.0.summary().paths[0], 0, "{}", bench.0.summary());
}

#[test]
fn a_path_begun_in_the_cycle_before_a_disable_is_dropped() {
    let mut bench = Bench::new("demo-arm", 1);
    // A path that is loaded and does not move yet.
    bench.ask(RequestKind::Override, 0.0);
    bench.ask(RequestKind::Enable, 0.0);
    bench.until("a path", |now| {
        now.events.iter().any(|event| event.kind == EventKind::PathBegun.code())
    });
    bench.planner().is_willing = false;
    bench.ask(RequestKind::Disable, 0.0);
    bench.until("torque off", |now| phase_is(now, Phase::Disabled));
    assert_eq!(bench.now().header.path_id, 0);
    assert_eq!(bench.0.summary().paths[2], 1);
}

#[test]
fn a_restarted_daemon_leaves_drives_where_they_are_although_they_still_hold_torque() {
    let mut bench = Bench::moving("demo-arm", 3);
    bench.ask(RequestKind::Stop, 0.0);
    bench.until("the stop", |now| phase_is(now, Phase::Stopped));
    let stood = positions(bench.now());
    assert!(stood.iter().any(|position| position.abs() > 0.01), "not at zero: {stood:?}");
    bench.0.restart_daemon();
    bench.planner().be_silent_until(u64::MAX);
    for _ in 0..200 {
        bench.run(1);
        for (axis, stood) in bench.now().axes.iter().zip(&stood) {
            assert!((axis.position_reference - stood).abs() < 1e-3, "{axis:?} from {stood}");
            assert!((axis.position_actual - stood).abs() < 1e-3, "{axis:?} from {stood}");
        }
    }
}
