//! The spline passes through its rows smoothly, its extrema are exact, and a remedy helps.

mod machine;

use kadenz_planner::AxisInfo;
use kadenz_planner::braking::{AxisUse, stop};
use kadenz_planner::check::{CheckOptions, check};
use kadenz_planner::quintic::{Quintic, State};
use kadenz_planner::scan::Quantity;
use kadenz_planner::spline::{KNOT_SPACING_S_MAX, Spline};
use machine::two_axes;
use proptest::prelude::*;

/// Times with uneven steps and positions of a sum of waves with an envelope that rests at the ends.
fn smooth_rows() -> impl Strategy<Value = (Vec<f64>, Vec<Vec<f64>>)> {
    let wave = (0.1..1.5_f64, 0.3..4.0_f64, 0.0..6.0_f64);
    (
        proptest::collection::vec(0.008..0.06_f64, 5..80),
        proptest::collection::vec((wave.clone(), wave), 2..=2),
    )
        .prop_map(|(steps, waves)| {
            let mut t_s = vec![0.0];
            for step in steps {
                t_s.push(t_s[t_s.len() - 1] + step);
            }
            let end = t_s[t_s.len() - 1];
            let positions = waves
                .iter()
                .map(|(a, b)| {
                    let at = |t: &f64| {
                        let u = t / end;
                        let envelope = (u * (1.0 - u) * 4.0).powi(3);
                        envelope * (a.0 * (a.1 * t + a.2).sin() + b.0 * (b.1 * t + b.2).cos())
                    };
                    t_s.iter().map(at).collect()
                })
                .collect();
            (t_s, positions)
        })
}

fn any_state() -> impl Strategy<Value = State> {
    (-3.0..3.0_f64, -5.0..5.0_f64, -40.0..40.0_f64).prop_map(|(p, v, a)| State { p, v, a })
}

fn axes() -> Vec<AxisInfo> {
    two_axes()
}

fn judge(spline: &Spline, options: &CheckOptions) -> kadenz_planner::check::CheckReport {
    let axes = axes();
    let lines: Vec<u32> = (2..).take(spline.segments() + 1).collect();
    check("a.csv", spline, &lines, &axes.iter().collect::<Vec<_>>(), 1.0, options)
}

proptest! {
    #[test]
    fn the_spline_passes_through_every_row_without_a_jump_up_to_snap((t_s, positions) in smooth_rows()) {
        let spline = Spline::through(t_s.clone(), &positions);
        for (column, p) in positions.iter().enumerate() {
            let last = spline.segments() - 1;
            let first = spline.knot_state(column, 0, 0);
            let end = spline.knot_state(column, last, spline.pieces(last));
            prop_assert_eq!((first.v, first.a, end.v, end.a), (0.0, 0.0, 0.0, 0.0));
            prop_assert_eq!((first.p, end.p), (p[0], p[last + 1]));
            let jerk_max = (0..=last).fold(1.0_f64, |j, s| j.max(spline.quintic(column, s).extrema().j.value.abs()));
            for segment in 0..last {
                let (here, next) = (spline.quintic(column, segment), spline.quintic(column, segment + 1));
                prop_assert_eq!(spline.knot_state(column, segment + 1, 0).p.to_bits(), p[segment + 1].to_bits());
                let (l, r) = (here.at(1.0), next.at(0.0));
                prop_assert!((l.p - r.p).abs() < 1e-12 && (l.v - r.v).abs() < 1e-9 && (l.a - r.a).abs() < 1e-7);
                prop_assert!((here.jerk(1.0) - next.jerk(0.0)).abs() < 1e-7 * jerk_max);
                // Snap by difference quotients of a linear-ended polynomial: jerk is quadratic.
                let snap = |q: &Quintic, from: f64, h: f64| {
                    let (a, b, c) = (q.jerk(0.0), q.jerk(0.5), q.jerk(1.0));
                    (4.0 * b - 3.0 * a - c + from * 4.0 * (a - 2.0 * b + c)) / h
                };
                let (h0, h1) = (t_s[segment + 1] - t_s[segment], t_s[segment + 2] - t_s[segment + 1]);
                prop_assert!((snap(&here, 1.0, h0) - snap(&next, 0.0, h1)).abs() < 1e-6 * jerk_max / h0.min(h1));
            }
        }
    }

    #[test]
    fn divided_segments_are_the_same_curve(
        h in 0.03..0.5_f64, target in -2.0..2.0_f64, pick in any::<prop::sample::Index>(),
    ) {
        let spline = Spline::through(vec![0.0, h, 2.0 * h], &[vec![0.0, target, 0.1]]);
        let pieces = spline.pieces(0);
        prop_assert!(h / pieces as f64 <= KNOT_SPACING_S_MAX * 1.000_002);
        let piece = pick.index(pieces);
        let (t0, t1) = (spline.knot_t_s(0, piece), spline.knot_t_s(0, piece + 1));
        let part = Quintic::hermite(t1 - t0, spline.knot_state(0, 0, piece), spline.knot_state(0, 0, piece + 1));
        let whole = spline.quintic(0, 0);
        for inner in [0.0, 0.3, 0.7, 1.0] {
            let (a, b) = (part.at(inner), whole.at((t0 + (t1 - t0) * inner) / h));
            prop_assert!((a.p - b.p).abs() < 1e-11);
            prop_assert!((a.a - b.a).abs() < 1e-6 * (1.0 + b.a.abs()));
        }
    }

    #[test]
    fn extrema_equal_those_of_dense_sampling(h in 0.001..0.25_f64, a in any_state(), b in any_state()) {
        let quintic = Quintic::hermite(h, a, b);
        let found = quintic.extrema();
        let (low, high) = quintic.position_range();
        let mut dense = [0.0_f64; 3];
        let (mut dense_low, mut dense_high) = (f64::INFINITY, f64::NEG_INFINITY);
        for i in 0..=2000 {
            let u = f64::from(i) / 2000.0;
            let s = quintic.at(u);
            dense = [dense[0].max(s.v.abs()), dense[1].max(s.a.abs()), dense[2].max(quintic.jerk(u).abs())];
            (dense_low, dense_high) = (dense_low.min(s.p), dense_high.max(s.p));
        }
        for (exact, dense) in [found.v, found.a, found.j].map(|p| p.value.abs()).into_iter().zip(dense) {
            prop_assert!(exact >= dense * (1.0 - 1e-9) && exact <= dense * (1.0 + 1e-4), "{exact} {dense}");
        }
        let span = dense_high - dense_low;
        prop_assert!(low.value <= dense_low + 1e-9 && low.value >= dense_low - 1e-4 * span);
        prop_assert!(high.value >= dense_high - 1e-9 && high.value <= dense_high + 1e-4 * span);
        if quintic.surely_within(-3.0, 3.0) {
            prop_assert!(dense_low >= -3.0 && dense_high <= 3.0);
        }
    }

    #[test]
    fn the_stretch_remedy_passes_and_one_percent_less_does_not((t_s, positions) in smooth_rows(), stop_s in 0.05..0.7_f64) {
        let options = CheckOptions { headroom: 0.8, stop_path_time_s: stop_s };
        let spline = Spline::through(t_s.clone(), &positions);
        let report = judge(&spline, &options);
        let positions_fit = !report.violations.iter().any(|v| matches!(v.quantity, Quantity::PositionMin | Quantity::PositionMax));
        prop_assert_eq!(report.passes(), report.stretch == Some(1.0) && positions_fit);
        let at_speed = |speed: f64| {
            let slower = Spline::through(t_s.iter().map(|t| t / speed).collect(), &positions);
            let report = judge(&slower, &options);
            report.violations.into_iter().filter(|v| !matches!(v.quantity, Quantity::PositionMin | Quantity::PositionMax)).count()
        };
        if let Some(speed) = report.speed_remedy {
            prop_assert_eq!(at_speed(speed), 0, "{}", report);
            if report.stretch > Some(1.0) {
                prop_assert!(at_speed(speed * 1.02) > 0, "{}", report);
            }
        }
    }

    #[test]
    fn less_use_of_the_limits_never_lengthens_a_stop(
        v in 0.0..3.0_f64, a in 0.0..15.0_f64, j in 0.0..300.0_f64, share in 0.1..1.0_f64,
    ) {
        let limits = axes()[0].limits;
        let full = stop(&[(AxisUse { v, a, j }, limits)]).path_time_s;
        let less = AxisUse { v: v * share, a: a * share * share, j: j * share.powi(3) };
        prop_assert!(stop(&[(less, limits)]).path_time_s <= full * (1.0 + 1e-12));
    }
}

/// Braking at constant D and E in small steps: rise, hold, fall, landing at rest.
fn simulated_stop_path_s(slope_max: f64, curvature: f64) -> f64 {
    let (dt, mut s, mut slope, mut path_s) = (1e-6, 1.0_f64, 0.0_f64, 0.0);
    while s > 1e-9 {
        let landing = (2.0 * s * curvature).sqrt();
        slope = (slope + curvature * dt).min(slope_max).min(landing);
        path_s += s * dt;
        s -= (slope * dt).max(1e-12);
    }
    path_s
}

#[test]
fn the_promised_stop_equals_a_simulated_one() {
    let limits = axes()[0].limits;
    for (v, a, j) in [(0.5, 0.5, 0.5), (0.8, 0.8, 0.8), (0.9, 0.1, 0.1), (0.05, 0.1, 0.7)] {
        let used =
            AxisUse { v: v * limits.velocity, a: a * limits.acceleration, j: j * limits.jerk };
        let slope = ((limits.acceleration - used.a) / used.v)
            .min(0.5 * (limits.jerk - used.j) / (3.0 * used.a));
        let curvature = (limits.jerk - used.j - 3.0 * used.a * slope) / used.v;
        let promised = stop(&[(used, limits)]).path_time_s;
        let simulated = simulated_stop_path_s(slope, curvature);
        assert!((promised - simulated).abs() < 1e-3 * promised, "{promised} {simulated}");
    }
}

#[test]
fn a_report_names_line_axis_time_value_limit_and_the_speed_that_helps() {
    let t_s: Vec<f64> = (0..=40).map(|i| f64::from(i) * 0.02).collect();
    let bump = |t: &f64| 0.3 * (t / 0.8).powi(4) * (1.0 - t / 0.8).powi(4) * 256.0;
    let positions = vec![t_s.iter().map(bump).collect(), vec![0.0; t_s.len()]];
    let report = judge(&Spline::through(t_s, &positions), &CheckOptions::default());
    assert_eq!(
        report.to_string(),
        "a.csv:22: j1 acceleration -15 rad/s² at t = 0.4 s (lines 18 to 26), allowed ±12 rad/s², 80 % of the axis limit\n\
         a.csv:21: no room to brake on the path at t = 0.38 s (lines 20 to 24), j1 uses all of a limit\n\
         remedy: slow the file down by ×1.119 (`--speed 0.894`)"
    );
}

#[test]
fn a_position_outside_its_limits_is_not_cured_by_speed() {
    let t_s = vec![0.0, 2.0, 4.0];
    let positions = vec![vec![0.0, 0.0, 0.0], vec![0.0, 2.0, 0.5]];
    let report = judge(&Spline::through(t_s, &positions), &CheckOptions::default());
    assert_eq!(
        report.to_string(),
        "a.csv:3: lift position 2.00942 m at t = 2.08048 s (lines 3 to 4), highest allowed 2 m\n\
         remedy: move the rows named above inside the position limits; no speed helps"
    );
}

#[test]
fn degrees_in_a_column_of_radians_are_suspected() {
    let t_s: Vec<f64> = (0..=50).map(f64::from).collect();
    let positions = vec![t_s.iter().map(|t| 90.0 * (t / 50.0)).collect(), vec![0.0; t_s.len()]];
    let text = judge(&Spline::through(t_s, &positions), &CheckOptions::default()).to_string();
    assert!(text.contains("if the file is in degrees, convert it to radians"), "{text}");
}

#[test]
fn a_file_that_starts_at_speed_is_told_to_start_at_rest() {
    let t_s: Vec<f64> = (0..=100).map(|i| f64::from(i) * 0.02).collect();
    let positions = vec![t_s.iter().map(|t| 0.5 * t).collect(), vec![0.0; t_s.len()]];
    let text = judge(&Spline::through(t_s, &positions), &CheckOptions::default()).to_string();
    assert!(text.contains("or let the file start and end at rest"), "{text}");
}

#[test]
fn rows_made_rough_by_rounding_are_told_so() {
    let t_s: Vec<f64> = (0..=400).map(|i| f64::from(i) * 0.001).collect();
    let wave = |t: &f64| (0.1 * (t / 0.4).powi(4) * (1.0 - t / 0.4).powi(4) * 1e6).round() / 1e6;
    let positions = vec![t_s.iter().map(wave).collect(), vec![0.0; t_s.len()]];
    let text = judge(&Spline::through(t_s, &positions), &CheckOptions::default()).to_string();
    assert!(text.contains("write more digits or fewer rows per second"), "{text}");
}
