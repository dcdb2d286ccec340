//! Named promises, each on a quiet bench where nothing else happens; the checker watches throughout.
use kadenz_config::Machine;
use kadenz_config::machine::OverrunPolicy;
use rt_tests::actors::planner::{Manners, Planner};
use rt_tests::island::{Pace, Record};
use rt_tests::machines;
use rt_tests::plan::Plan;
use rt_tests::random::Random;
use rt_tests::simulation::Simulation;
use servo_sim::Fault;
use shm_layout::code::{
    EventKind, Outcome, Phase, Reason, RequestKind, Verdict, axis_flag, state_flag,
};

/// Cycles that must suffice for anything that has to come to an end on the bench.
const PATIENCE: u64 = 30_000;

struct Bench(Simulation);

impl Bench {
    fn new(machine: &str, seed: u64) -> Self {
        Self::on(machines::load(machine).expect("a known machine"), seed)
    }

    fn on(machine: Machine, seed: u64) -> Self {
        let mut bench = Self(Simulation::bench(machine, seed).expect("a bench"));
        bench.run(50);
        bench
    }

    /// Enabled, and moving at more than a third of the top rate along some path.
    fn moving(machine: &str, seed: u64) -> Self {
        Self::new(machine, seed).moves()
    }

    /// A moving arm that stops after `missed_per_s_max` missed cycles.
    fn strict(missed_per_s_max: u32, seed: u64) -> Self {
        let mut machine = machines::load("demo-arm").expect("a known machine");
        machine.overrun.policy = OverrunPolicy::StopAfter { missed_per_s_max };
        Self::on(machine, seed).moves()
    }

    fn moves(mut self) -> Self {
        let bench = &mut self;
        bench.ask(RequestKind::Enable, 0.0);
        bench.until("axes move well inside a path", |now| {
            now.header.path_rate > 0.99
                && speed(now) > 0.2
                && now.header.flags & state_flag::PATH_COMPLETE == 0
        });
        self
    }

    fn run(&mut self, cycles: u64) {
        if let Err(error) = self.0.run(cycles) {
            panic!("{error:#}");
        }
    }

    fn ask(&mut self, kind: RequestKind, value: f64) {
        self.0.ask(kind, value);
    }

    fn now(&self) -> &Record {
        self.0.last().expect("a first cycle")
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&Record) -> bool) -> u64 {
        for cycles in 1..=PATIENCE {
            match self.0.step() {
                Ok(now) if holds(now) => return cycles,
                Ok(_) => {}
                Err(error) => panic!("{error:#}"),
            }
        }
        panic!("not in {PATIENCE} cycles: {what}; {:?}", self.now().header);
    }

    fn planner(&mut self) -> &mut Planner {
        &mut self.0.planners[0]
    }
}

fn speed(now: &Record) -> f64 {
    now.axes.iter().fold(0.0, |most, axis| axis.velocity_reference.abs().max(most))
}

fn is_at_rest(now: &Record) -> bool {
    now.header.flags & state_flag::AT_REST != 0
}

fn phase_is(now: &Record, phase: Phase) -> bool {
    now.header.phase == phase.code()
}

fn positions(now: &Record) -> Vec<f64> {
    now.axes.iter().map(|axis| axis.position_reference).collect()
}

fn answer(now: &Record, kind: RequestKind) -> Option<u32> {
    let answered = now.events.iter().find(|event| {
        event.kind == EventKind::RequestAnswered.code() && event.detail == kind.code()
    });
    answered.map(|event| event.code)
}

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
fn lost_frames_up_to_the_bound_do_not_stop_the_machine() {
    let mut bench = Bench::moving("demo-arm", 6);
    let bound = bench.0.island.setup.buses[0].lost_in_row_max;
    for _ in 0..20 {
        bench.0.island.bus.lose_frames(bound);
        bench.run(100);
    }
    assert!(bench.0.summary().stops.is_empty(), "{}", bench.0.summary());
    bench.0.island.bus.lose_frames(bound + 1);
    bench.until("the stop", |now| now.header.verdict == Verdict::Stop.code());
    assert_eq!(bench.now().header.reason, Reason::BusLost.code());
}

fn stall(bench: &Bench, cycles: u32) -> Pace {
    let period_ns = bench.0.island.setup.period_ns;
    Pace { latency_ns: 0, busy_ns: u64::from(cycles) * period_ns + period_ns / 2 }
}

#[test]
fn skipped_cycles_are_bridged_up_to_the_bound_and_after_more_the_machine_rests_and_goes_on() {
    let mut bench = Bench::moving("demo-arm", 8);
    let bound = bench.0.island.setup.skips_followed_max;
    let tau_s = bench.now().header.tau_s;
    bench.0.step_at(stall(&bench, bound)).unwrap();
    bench.run(1);
    assert_eq!(bench.now().header.skipped, bound);
    let advanced_s = bench.now().header.tau_s - tau_s;
    let passed_s = f64::from(bound + 2) * bench.0.island.setup.period_s();
    assert!(advanced_s > 0.9 * passed_s, "path time goes on as the drives did: {advanced_s}");
    assert_eq!(bench.now().header.verdict, Verdict::Follow.code());

    bench.0.step_at(stall(&bench, bound + 1)).unwrap();
    bench.run(1);
    let now = &bench.now().header;
    assert_eq!((now.verdict, now.reason), (Verdict::Hold.code(), Reason::CyclesMissed.code()));
    bench.until("rest on the path", is_at_rest);
    bench.until("motion again, by itself", |now| {
        now.header.verdict == Verdict::Follow.code() && now.header.path_rate > 0.9
    });
    assert_eq!(bench.0.summary().limit_enforced, 0);
}

#[test]
fn a_hold_asked_for_during_the_rest_after_a_gap_stays() {
    let mut bench = Bench::moving("demo-arm", 8);
    let bound = bench.0.island.setup.skips_followed_max;
    bench.0.step_at(stall(&bench, bound + 1)).unwrap();
    bench.ask(RequestKind::Hold, 0.0);
    bench.run(1);
    assert_eq!(answer(bench.now(), RequestKind::Hold), Some(Outcome::Accepted.code()));
    bench.until("rest on the path", is_at_rest);
    bench.run(500);
    assert_eq!(bench.now().header.reason, Reason::HoldRequest.code());
}

#[test]
fn more_missed_cycles_within_a_second_than_the_policy_allows_stop_the_machine_on_the_path() {
    let mut bench = Bench::strict(3, 8);
    for _ in 0..3 {
        bench.0.step_at(stall(&bench, 1)).unwrap();
        bench.run(2);
    }
    assert_eq!(bench.now().header.verdict, Verdict::Follow.code());
    assert_eq!(bench.now().header.missed_recently, 3);
    bench.0.step_at(stall(&bench, 1)).unwrap();
    bench.run(1);
    let now = &bench.now().header;
    assert_eq!((now.verdict, now.reason), (Verdict::Stop.code(), Reason::CyclesMissed.code()));
    bench.until("torque off", |now| phase_is(now, Phase::Disabled));
    assert_eq!(bench.0.summary().limit_enforced, 0);
}

#[test]
fn missed_cycles_that_lie_seconds_apart_do_not_add_up() {
    let mut bench = Bench::strict(1, 8);
    for _ in 0..4 {
        bench.0.step_at(stall(&bench, 1)).unwrap();
        bench.run(1_100);
    }
    assert_eq!(bench.now().header.verdict, Verdict::Follow.code());
}

/// Largest acceleration of any shaft within 60 cycles after `disturb`, rad/s², with the whole arm at speed.
fn shaft_acceleration(seed: u64, disturb: impl FnOnce(&mut Bench)) -> f64 {
    let mut bench = Bench::moving("demo-arm", seed);
    bench.until("speed", |now| {
        now.axes.iter().any(|axis| axis.velocity_reference.abs() > 0.5)
            && now.header.path_rate >= 1.0
    });
    disturb(&mut bench);
    let mut largest = 0.0_f64;
    let mut before: Option<Vec<f64>> = None;
    for _ in 0..60 {
        bench.run(1);
        let now: Vec<f64> = bench.now().axes.iter().map(|axis| axis.velocity_actual).collect();
        if let Some(before) = before {
            let step = now.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            largest = largest.max(step / bench.0.island.setup.period_s());
        }
        before = Some(now);
    }
    largest
}

#[test]
fn a_gap_disturbs_the_shaft_no_more_than_lost_frames() {
    for seed in [3, 8, 21] {
        for count in 1..=10 {
            let lost = shaft_acceleration(seed, |bench| bench.0.island.bus.lose_frames(count));
            let ran_long = shaft_acceleration(seed, |bench| {
                let pace = stall(bench, count);
                bench.0.step_at(pace).unwrap();
            });
            let woke_late = shaft_acceleration(seed, |bench| {
                let late_ns = u64::from(count) * bench.0.island.setup.period_ns + 300_000;
                bench.0.step_at(Pace { latency_ns: late_ns, busy_ns: 20_000 }).unwrap();
                assert_eq!(bench.now().header.skipped, count, "skipped before it sends anything");
            });
            println!(
                "seed {seed}, {count}: lost {lost:.1}, long {ran_long:.1}, late {woke_late:.1}"
            );
            for skipped in [ran_long, woke_late] {
                assert!(skipped < 1.5 * lost + 1.0, "seed {seed}, {count}: {skipped} for {lost}");
            }
        }
    }
}

#[test]
fn an_axis_that_does_not_follow_is_stopped_although_every_other_cycle_is_skipped() {
    let mut bench = Bench::moving("demo-arm", 8);
    bench.0.island.bus.plant_mut().drive_mut(0).unwrap().inject(Fault::TorqueLoss);
    let mut seen = false;
    for _ in 0..2_000 {
        let pace = stall(&bench, 1);
        bench.0.step_at(pace).unwrap();
        let reason = bench.now().header.reason;
        seen |= [Reason::FollowingError, Reason::DriveFault].iter().any(|one| one.code() == reason);
    }
    assert!(seen, "{:?}", bench.now().header);
}

#[test]
fn a_planner_that_dies_in_the_rest_after_a_gap_waits_for_a_person() {
    let mut bench = Bench::moving("demo-arm", 8);
    let bound = bench.0.island.setup.skips_followed_max;
    bench.0.step_at(stall(&bench, bound + 1)).unwrap();
    let holder = bench.now().header.source_id;
    bench.planner().be_silent_until(u64::MAX);
    bench.run(1);
    assert_eq!(bench.now().header.reason, Reason::CyclesMissed.code());
    // Another source takes the lease while the machine brakes.
    let writer = bench.0.island.inbound.mailbox_writer(1).unwrap();
    bench.0.planners.push(Planner::new(77, 1, writer, Manners::GOOD));
    bench.until("the other source", |now| now.header.source_id != holder);
    bench.run(3_000);
    assert_eq!(bench.now().header.reason, Reason::SourceSilent.code());
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
