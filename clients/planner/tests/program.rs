//! From a file and a position to knots: the approach, the order of knots, and refusals.

#![expect(clippy::float_cmp, reason = "these values must be exact")]

mod machine;

use kadenz_planner::approach::{APPROACH_SHARE, Approach};
use kadenz_planner::quintic::{Quintic, State};
use kadenz_planner::{AxisKnot, AxisLimits, Knot, PlanError, Program, ProgramOptions};
use machine::two_axes;
use proptest::prelude::*;

const FILE: &str = "t_s,j1_rad\n0,0.5\n0.2,0.52\n0.4,0.6\n1.6,0.9\n";

fn plan(file: &str, start: &[f64]) -> Result<Program, PlanError> {
    plan_at(file, start, 1.0)
}

fn plan_at(file: &str, start: &[f64], speed: f64) -> Result<Program, PlanError> {
    let options = ProgramOptions { speed, ..ProgramOptions::default() };
    Program::from_bytes("a.csv", file.as_bytes(), &two_axes(), start, &options)
}

fn knots(program: &Program) -> Vec<Knot> {
    (0..).map_while(|i| program.knot(i)).collect()
}

fn state(knot: &AxisKnot) -> State {
    State { p: knot.position, v: knot.velocity, a: knot.acceleration }
}

#[test]
fn a_program_on_its_first_row_starts_with_the_file() {
    let program = plan(FILE, &[0.5, 1.0]).unwrap();
    assert_eq!(program.file_start_tau_s(), 0.0);
    assert_eq!(program.approach_in_words(), None);
    assert_eq!(program.duration_s(), 1.6);
    let knots = knots(&program);
    assert_eq!(knots.len(), program.knot_count());
    // 0.2 s and 1.2 s in intervals of 25 ms.
    assert_eq!(knots.len(), 8 + 8 + 48 + 1);
    assert_eq!(knots[8].axes[0].position, 0.52);
    assert!(knots.iter().all(|k| k.axes[1].position == 1.0 && k.axes[1].velocity == 0.0));
}

#[test]
fn an_approach_comes_first_moves_all_axes_together_and_is_announced() {
    let file = "t_s,lift_m,j1_rad\n0,0.4,-0.5\n1,0.5,-0.45\n";
    let program = plan(file, &[0.5, 0.0]).unwrap();
    let start_s = program.file_start_tau_s();
    assert_eq!(
        program.approach_in_words().unwrap(),
        format!(
            "the first row is 1 rad from where j1 stands: approaching it for {start_s:.3} s at 20 % speed"
        )
    );
    let knots = knots(&program);
    let at_start = knots.iter().find(|k| k.tau_s == start_s).unwrap();
    assert_eq!(
        at_start.axes.iter().map(state).map(|s| (s.p, s.v, s.a)).collect::<Vec<_>>(),
        [(-0.5, 0.0, 0.0), (0.4, 0.0, 0.0)]
    );
    let half = &knots[knots.iter().position(|k| k.tau_s >= start_s / 2.0).unwrap()];
    let share = |p: f64, from: f64, to: f64| (p - from) / (to - from);
    let (a, b) = (share(half.axes[0].position, 0.5, -0.5), share(half.axes[1].position, 0.0, 0.4));
    assert!((a - b).abs() < 1e-12 && a > 0.3 && a < 0.7);
}

#[test]
fn path_time_rises_in_steps_the_loop_takes_and_only_the_last_knot_is_last() {
    let knots = knots(&plan(FILE, &[-2.0, 0.0]).unwrap());
    for pair in knots.windows(2) {
        let step = pair[1].tau_s - pair[0].tau_s;
        assert!((1e-5..=0.025_001).contains(&step), "{step}");
        assert!(!pair[0].last);
    }
    let last = &knots[knots.len() - 1];
    assert!(last.last);
    assert_eq!(state(&last.axes[0]), State { p: 0.9, v: 0.0, a: 0.0 });
}

#[test]
fn the_same_file_and_start_give_the_same_bits() {
    let bits = |program: &Program| -> Vec<u64> {
        let axis = |k: &AxisKnot| [k.position, k.velocity, k.acceleration, k.torque_ff];
        let knot = |k: Knot| k.axes.iter().flat_map(axis).chain([k.tau_s]).collect::<Vec<_>>();
        knots(program).into_iter().flat_map(knot).map(f64::to_bits).collect()
    };
    let (a, b) = (plan(FILE, &[0.1, 0.0]).unwrap(), plan(FILE, &[0.1, 0.0]).unwrap());
    assert_eq!(bits(&a), bits(&b));
    assert_eq!(a.content_sha256(), b.content_sha256());
    let other = plan(&FILE.replace("0.9", "0.8"), &[0.1, 0.0]).unwrap();
    assert_ne!(a.content_sha256(), other.content_sha256());
}

#[test]
fn progress_runs_from_0_to_1_and_survives_nonsense() {
    let program = plan(FILE, &[0.5, 0.0]).unwrap();
    let got = [-1.0, 0.0, 0.8, 1.6, 9.0, f64::NAN].map(|tau| program.progress(tau));
    assert_eq!(got, [0.0, 0.0, 0.5, 1.0, 1.0, 0.0]);
}

#[test]
fn half_speed_takes_twice_as_long() {
    assert_eq!(plan_at(FILE, &[0.5, 0.0], 0.5).unwrap().duration_s(), 3.2);
}

#[test]
fn a_refused_file_says_which_speed_it_would_pass_at_and_passes_there() {
    let error = plan("t_s,j1_rad\n0,0\n0.5,1\n", &[0.0, 0.0]).unwrap_err();
    let PlanError::Refused(report) = &error else { panic!("{error}") };
    let speed = report.speed_remedy.unwrap();
    assert!(error.to_string().contains(&format!("(`--speed {speed}`)")), "{error}");
    plan_at("t_s,j1_rad\n0,0\n0.5,1\n", &[0.0, 0.0], speed).unwrap();
}

#[test]
fn nonsense_arguments_are_refused_in_words() {
    let message = |result: Result<Program, PlanError>| result.unwrap_err().to_string();
    assert_eq!(message(plan_at(FILE, &[0.0, 0.0], 0.0)), "speed is 0; it must be from 0.01 to 4");
    assert_eq!(
        message(plan(FILE, &[0.0])),
        "start position: 1 values for 2 axes; give one per axis"
    );
    assert_eq!(
        message(plan(FILE, &[0.0, f64::NAN])),
        "start position: lift stands at NaN, outside ±1000000; check its feedback and scale"
    );
    assert_eq!(
        message(plan("t_s,j1_rad\n0,0\n0.00003,0\n0.000045,0\n", &[0.0, 0.0])),
        "a.csv:4:1: at this speed only 1.50e-5 s after the row before, at least 2e-5 s are needed; write fewer rows per second or lower `--speed`"
    );
    assert_eq!(
        message(plan_at("t_s,j1_rad\n0,0\n80000,0.1\n", &[0.0, 0.0], 0.5)),
        "a.csv would last 160000 s, at most 86400 s are supported; raise `--speed` or split the file"
    );
    let mut axes = two_axes();
    axes[1].limits.jerk = 0.0;
    let options = ProgramOptions::default();
    assert_eq!(
        message(Program::from_bytes("a.csv", FILE.as_bytes(), &axes, &[0.0; 2], &options)),
        "axis lift: jerk limit is 0; it must be a number above 0"
    );
}

#[test]
fn half_an_hour_at_standstill_is_planned_row_by_row() {
    let mut text = String::from("t_s,j1_rad\n");
    for i in 0..200_000 {
        text.push_str(&format!("{},{}\n", f64::from(i) * 0.01, 0.001));
    }
    assert_eq!(plan(&text, &[0.001, 0.0]).unwrap().knot_count(), 200_000);
}

proptest! {
    #[test]
    fn an_approach_keeps_a_fifth_of_every_limit_and_nearly_reaches_one(
        from in (-2.9..2.9_f64, -2.0..2.0_f64),
        distance in (-6.0..0.5_f64, -6.0..0.3_f64),
    ) {
        let limits: Vec<AxisLimits> = two_axes().iter().map(|a| a.limits).collect();
        let from = [from.0, from.1];
        let to = [from[0] - 10f64.powf(distance.0), from[1] + 10f64.powf(distance.1)];
        let approach = Approach::between(&from, &to, &limits).unwrap();
        let count = approach.knot_count();
        let mut share_max = 0.0_f64;
        for (axis, l) in limits.iter().enumerate() {
            prop_assert_eq!(approach.knot_state(axis, 0), State { p: from[axis], v: 0.0, a: 0.0 });
            prop_assert_eq!(approach.knot_state(axis, count - 1), State { p: to[axis], v: 0.0, a: 0.0 });
            for i in 1..count {
                let h = approach.knot_t_s(i) - approach.knot_t_s(i - 1);
                prop_assert!((1e-5..0.025_001).contains(&h));
                let peak = Quintic::hermite(h, approach.knot_state(axis, i - 1), approach.knot_state(axis, i)).extrema();
                let shares = [peak.v.value / l.velocity, peak.a.value / l.acceleration, peak.j.value / l.jerk];
                for share in shares {
                    prop_assert!(share.abs() <= APPROACH_SHARE * (1.0 + 1e-5), "{:?} at {}", shares, i);
                    share_max = share_max.max(share.abs());
                }
            }
        }
        // Phases are rounded up to milliseconds, which only weighs on the shortest moves.
        if distance.0 > -3.0 {
            prop_assert!(share_max > 0.8 * APPROACH_SHARE, "{}", share_max);
        }
    }

    #[test]
    fn knots_join_without_jumps_in_position_velocity_and_acceleration(
        steps in proptest::collection::vec((0.2..0.5_f64, -0.02..0.02_f64), 2..12),
        start in -1.0..1.0_f64,
    ) {
        let (mut t, mut p) = (0.0, 0.3);
        let mut text = format!("t_s,j1_rad\n{t},{p}\n");
        for (step, move_rad) in steps {
            t += step;
            p += move_rad;
            text += &format!("{t},{p}\n");
        }
        let program = plan(&text, &[start, 0.0]).unwrap();
        let knots = knots(&program);
        let limits = two_axes()[0].limits;
        for pair in knots.windows(2) {
            let (a, b) = (state(&pair[0].axes[0]), state(&pair[1].axes[0]));
            let peak = Quintic::hermite(pair[1].tau_s - pair[0].tau_s, a, b).extrema();
            prop_assert!(peak.v.value.abs() <= 0.8 * limits.velocity);
            prop_assert!(peak.a.value.abs() <= 0.8 * limits.acceleration);
            prop_assert!(peak.j.value.abs() <= 0.8 * limits.jerk);
        }
        prop_assert_eq!(knots.iter().filter(|k| k.last).count(), 1);
    }
}
