//! Frames and cycles that are lost: bridged up to a bound, and after more the machine rests or stops.
use rt_tests::actors::planner::{Manners, Planner};
use rt_tests::island::Pace;
use servo_sim::Fault;
use shm_layout::code::{Outcome, Phase, Reason, RequestKind, Verdict};

use crate::bench::{Bench, answer, is_at_rest, phase_is};

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
