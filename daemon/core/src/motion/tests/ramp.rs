//! Proofs of the jerk-limited generator.

use super::super::ramp::{Bounds, Rate, advance, to_target};
use super::{DT_S, Seeded};

fn random_case(random: &mut Seeded) -> (Rate, f64, Bounds) {
    let bounds = Bounds {
        slope: random.magnitude(0.1, 100.0).abs(),
        curvature: random.magnitude(1.0, 1e4).abs(),
    };
    let slope = if random.chance(20) { 1.5 } else { 1.0 } * bounds.slope;
    let from = Rate { value: random.magnitude(1e-3, 3.0), slope: random.between(-slope, slope) };
    let target = if random.chance(50) { 0.0 } else { random.magnitude(1e-3, 3.0) };
    (from, target, bounds)
}

#[test]
fn the_target_is_reached_exactly_and_kept() {
    for seed in 0..400 {
        let (mut rate, target, bounds) = random_case(&mut Seeded::new(seed));
        let whole = to_target(rate, target, bounds);
        let periods = (whole.duration_s / DT_S).ceil() as u64 + 2;
        let mut integral = 0.0;
        for _ in 0..periods {
            let step = advance(rate, target, bounds, DT_S);
            (rate, integral) = (step.rate, integral + step.integral);
        }
        assert_eq!(rate, Rate { value: target, slope: 0.0 }, "seed {seed}");
        let rest = target * (periods as f64 * DT_S - whole.duration_s);
        let expected = whole.integral + rest;
        assert!((integral - expected).abs() < 1e-9 * (1.0 + expected.abs()), "seed {seed}");
        let kept = advance(rate, target, bounds, DT_S);
        assert_eq!((kept.rate, kept.integral), (rate, target * DT_S), "seed {seed}");
    }
}

#[test]
fn slope_and_curvature_never_exceed_their_bounds() {
    for seed in 0..400 {
        let (mut rate, target, bounds) = random_case(&mut Seeded::new(seed));
        let whole = to_target(rate, target, bounds);
        for cycle in 0..5000 {
            let next = advance(rate, target, bounds, DT_S).rate;
            let change = (next.slope - rate.slope).abs();
            let slack = 1e-9 * bounds.slope;
            assert!(
                change <= bounds.curvature * DT_S * (1.0 + 1e-9) + 1e-6 * slack,
                "seed {seed} cycle {cycle}"
            );
            assert!(
                next.slope.abs() <= bounds.slope.max(rate.slope.abs()),
                "seed {seed} cycle {cycle}"
            );
            let rounding = 1e-12;
            assert!(next.value >= whole.value_min - rounding, "seed {seed} cycle {cycle}");
            assert!(next.value <= whole.value_max + rounding, "seed {seed} cycle {cycle}");
            rate = next;
        }
    }
}

#[test]
fn two_steps_are_one_step_of_twice_the_length() {
    for seed in 0..2000 {
        let mut random = Seeded::new(seed);
        let (from, target, bounds) = random_case(&mut random);
        let dt_s = random.between(1e-4, 0.1);
        let first = advance(from, target, bounds, dt_s);
        let second = advance(first.rate, target, bounds, dt_s);
        let whole = advance(from, target, bounds, 2.0 * dt_s);
        let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-9 * scale;
        assert!(close(second.rate.value, whole.rate.value, 3.0), "seed {seed}");
        // Where two plans differ by rounding, the slope differs by its square root at most.
        let slope_scale = bounds.slope.max(from.slope.abs()).max(bounds.curvature);
        assert!(close(second.rate.slope, whole.rate.slope, slope_scale), "seed {seed}");
        assert!(close(first.integral + second.integral, whole.integral, 3.0), "seed {seed}");
    }
}

#[test]
fn the_integral_is_the_area_under_the_value() {
    for seed in 0..100 {
        let (from, target, bounds) = random_case(&mut Seeded::new(seed));
        let (mut rate, mut area) = (from, 0.0);
        for _ in 0..20_000 {
            let next = advance(rate, target, bounds, 1e-5).rate;
            area += 0.5e-5 * (rate.value + next.value);
            rate = next;
        }
        let once = advance(from, target, bounds, 0.2).integral;
        assert!((once - area).abs() < 1e-6 * (1.0 + area.abs()), "seed {seed}: {once} {area}");
    }
}

#[test]
fn no_profile_is_faster_than_a_tighter_one() {
    for seed in 0..500 {
        let mut random = Seeded::new(seed);
        let (from, target, tight) = random_case(&mut random);
        let from = Rate { slope: from.slope.clamp(-tight.slope, tight.slope), ..from };
        let loose = Bounds {
            slope: tight.slope * random.between(1.0, 3.0),
            curvature: tight.curvature * random.between(1.0, 3.0),
        };
        let (slow, fast) = (to_target(from, target, tight), to_target(from, target, loose));
        assert!(fast.duration_s <= slow.duration_s * (1.0 + 1e-9), "seed {seed}");
    }
}

#[test]
fn unusable_bounds_and_numbers_change_nothing() {
    let from = Rate { value: 0.5, slope: -0.25 };
    let good = Bounds { slope: 2.0, curvature: 50.0 };
    let tiny = f64::from_bits(1);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for bounds in [Bounds { slope: bad, ..good }, Bounds { curvature: bad, ..good }] {
            assert_eq!(advance(from, 0.0, bounds, DT_S).rate, from);
            assert!(to_target(from, 0.0, bounds).duration_s.is_infinite());
        }
    }
    assert_eq!(advance(from, f64::NAN, good, DT_S).rate, from);
    assert_eq!(advance(from, 0.0, good, f64::NAN).rate, from);
    assert_eq!(advance(from, 0.0, good, 0.0).rate, from);
    // Bounds that are no more than rounding let nothing change but what already changes.
    let drifted = advance(from, 0.0, Bounds { slope: tiny, curvature: tiny }, DT_S).rate;
    assert_eq!(drifted, Rate { value: 0.5 - 0.25 * DT_S, slope: -0.25 });
}

#[test]
fn finite_numbers_of_any_size_give_finite_numbers() {
    for seed in 0..20_000 {
        let mut random = Seeded::new(seed);
        let mut any = || {
            let value = f64::from_bits(random.bits());
            if value.is_finite() { value } else { 0.0 }
        };
        let from = Rate { value: any(), slope: any() };
        let bounds = Bounds { slope: any().abs(), curvature: any().abs() };
        let step = advance(from, any(), bounds, DT_S);
        assert!(step.rate.value.is_finite(), "seed {seed}");
        assert!(step.rate.slope.is_finite(), "seed {seed}");
        assert!(step.integral.is_finite(), "seed {seed}");
        let whole = to_target(from, any(), bounds);
        assert!(!whole.duration_s.is_nan() && !whole.integral.is_nan(), "seed {seed}");
    }
}
