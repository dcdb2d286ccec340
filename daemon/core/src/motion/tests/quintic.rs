//! Proofs of the quintic segment and its extrema.

use super::super::axis::AxisReference;
use super::super::quintic::{PositionRange, Quintic};
use super::Seeded;

fn random_end(random: &mut Seeded, duration_s: f64) -> AxisReference {
    let velocity = if random.chance(20) { 0.0 } else { random.magnitude(1e-3, 2.0) };
    AxisReference {
        position: random.magnitude(1e-3, 2.0) * duration_s,
        velocity,
        acceleration: if random.chance(20) {
            0.0
        } else {
            random.magnitude(1e-2, 5.0) / duration_s
        },
    }
}

fn random_segment(seed: u64) -> (AxisReference, AxisReference, f64) {
    let mut random = Seeded::new(seed);
    let duration_s = random.magnitude(1e-3, 0.25).abs();
    let offset = if random.chance(50) { 0.0 } else { random.magnitude(0.1, 10.0) };
    let mut start = random_end(&mut random, duration_s);
    let mut end = random_end(&mut random, duration_s);
    if random.chance(25) {
        // Constant jerk, as planners send it.
        let (h, jerk) = (duration_s, random.magnitude(0.1, 1e3));
        end = super::after(start, jerk, h);
    }
    start.position += offset;
    end.position += offset;
    (start, end, duration_s)
}

#[test]
fn the_ends_of_a_segment_are_its_knots() {
    for seed in 0..500 {
        let (start, end, h) = random_segment(seed);
        let quintic = Quintic::new(start, end, h);
        assert_eq!(quintic.eval(0.0).reference(), start, "seed {seed}");
        assert_eq!(quintic.eval(h).reference(), end, "seed {seed}");
        let close = quintic.eval(h * (1.0 - 1e-15));
        assert!((close.position - end.position).abs() <= 1e-12 * end.position.abs().max(1.0));
        assert!((close.velocity - end.velocity).abs() <= 1e-10, "seed {seed}");
    }
}

#[test]
fn derivatives_are_those_of_the_position() {
    for seed in 0..300 {
        let (start, end, h) = random_segment(seed);
        let quintic = Quintic::new(start, end, h);
        let peaks = quintic.peaks();
        for part in 1..20 {
            let (u, step) = (h * f64::from(part) / 20.0, h * 1e-4);
            let (a, b, m) = (quintic.eval(u - step), quintic.eval(u + step), quintic.eval(u));
            let by = 2.0 * step;
            let velocity = (b.position - a.position) / by;
            let acceleration = (b.velocity - a.velocity) / by;
            let jerk = (b.acceleration - a.acceleration) / by;
            // Second differences of positions near 10 lose digits on short segments.
            assert!(
                (velocity - m.velocity).abs() < 1e-4 * peaks.velocity_max_abs + 1e-8,
                "seed {seed}"
            );
            assert!(
                (acceleration - m.acceleration).abs() < 1e-4 * peaks.acceleration_max_abs,
                "seed {seed}"
            );
            assert!((jerk - m.jerk).abs() < 1e-4 * peaks.jerk_max_abs, "seed {seed}");
        }
    }
}

#[test]
fn peaks_bound_every_sample_and_are_reached() {
    for seed in 0..3000 {
        let (start, end, h) = random_segment(seed);
        let quintic = Quintic::new(start, end, h);
        let peaks = quintic.peaks();
        let range = quintic.position_range(&peaks);
        let bound = quintic.position_range_bound(&peaks);
        let samples = 2000;
        let (mut v, mut a, mut j) = (0.0_f64, 0.0_f64, 0.0_f64);
        let mut seen = PositionRange { min: f64::INFINITY, max: f64::NEG_INFINITY };
        for sample in 0..=samples {
            let point = quintic.eval(h * f64::from(sample) / f64::from(samples));
            v = v.max(point.velocity.abs());
            a = a.max(point.acceleration.abs());
            j = j.max(point.jerk.abs());
            seen.min = seen.min.min(point.position);
            seen.max = seen.max.max(point.position);
        }
        // A sampled peak is low by at most an eighth of the curvature times the step squared.
        let step_s = h / f64::from(samples);
        for (what, sampled, peak, curvature) in [
            ("velocity", v, peaks.velocity_max_abs, peaks.jerk_max_abs),
            ("acceleration", a, peaks.acceleration_max_abs, 100.0 * peaks.jerk_max_abs / h),
            ("jerk", j, peaks.jerk_max_abs, 1000.0 * peaks.jerk_max_abs / h / h),
        ] {
            assert!(sampled <= peak * (1.0 + 1e-9), "seed {seed}: {what} {sampled} > {peak}");
            let low = sampled + 0.5 * curvature * step_s * step_s;
            assert!(
                peak <= low * (1.0 + 1e-9),
                "seed {seed}: {what} {peak} is not reached: {sampled}"
            );
        }
        let (rounding, low) =
            (1e-13 * seen.max.abs().max(1e-3), peaks.acceleration_max_abs * step_s * step_s);
        assert!(
            range.min <= seen.min + rounding && range.max >= seen.max - rounding,
            "seed {seed}"
        );
        assert!(range.min >= seen.min - low - rounding, "seed {seed}: {range:?} {seen:?}");
        assert!(range.max <= seen.max + low + rounding, "seed {seed}: {range:?} {seen:?}");
        assert!(
            bound.min <= range.min + rounding && bound.max >= range.max - rounding,
            "seed {seed}"
        );
    }
}

#[test]
fn constant_jerk_is_reproduced_exactly() {
    for seed in 0..200 {
        let mut random = Seeded::new(seed);
        let (start, h, jerk) = (random_end(&mut random, 0.01), 0.008, random.magnitude(1.0, 500.0));
        let quintic = Quintic::new(start, super::after(start, jerk, h), h);
        let peak = quintic.peaks().jerk_max_abs;
        assert!((peak - jerk.abs()).abs() < 1e-6 * jerk.abs() + 1e-5, "seed {seed}: {peak} {jerk}");
    }
}
