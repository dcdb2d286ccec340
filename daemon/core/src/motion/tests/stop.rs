//! Proofs of the stop off the path.

use super::super::axis::{AxisLimits, AxisReference};
use super::super::ramp::{Bounds, Rate, to_target};
use super::super::stop::GroupStop;
use super::std::{self, vec::Vec};
use super::{DT_S, LIMITS, Seeded, jump};

fn random_references(random: &mut Seeded, axes: usize) -> Vec<AxisReference> {
    (0..axes)
        .map(|_| {
            let acceleration = if random.chance(50) { 0.0 } else { random.between(-9.0, 9.0) };
            // Room for what the acceleration still adds before it can be gone.
            let swing = 0.5 * acceleration * acceleration / LIMITS.jerk;
            AxisReference {
                position: random.between(-3.0, 3.0),
                velocity: random.between(-1.0 + swing, 1.0 - swing),
                acceleration,
            }
        })
        .collect()
}

/// Runs the stop; gives the period in which each axis came to rest.
fn run(
    mut stop: GroupStop,
    refs: &mut [AxisReference],
    limits: &AxisLimits,
    seed: u64,
) -> Vec<u64> {
    let mut at_rest = std::vec![0; refs.len()];
    for cycle in 1..20_000 {
        let before = refs.to_vec();
        let done = stop.next(refs, DT_S);
        assert_eq!(jump(&before, refs, limits, DT_S), None, "seed {seed} cycle {cycle}");
        for (axis, reference) in refs.iter().enumerate() {
            assert!(reference.velocity.abs() <= limits.velocity * (1.0 + 1e-9), "seed {seed}");
            if (reference.velocity, reference.acceleration) != (0.0, 0.0) {
                at_rest[axis] = cycle + 1;
            }
        }
        if done {
            return at_rest;
        }
    }
    panic!("seed {seed}: the stop never ends");
}

#[test]
fn axes_at_constant_speed_stop_together_within_limits() {
    for seed in 0..300 {
        let mut random = Seeded::new(seed);
        let mut refs = random_references(&mut random, 6);
        for reference in &mut refs {
            reference.acceleration = 0.0;
        }
        let stop = GroupStop::begin(0x3f, &refs, &[LIMITS; 6], DT_S);
        let at_rest = run(stop, &mut refs, &LIMITS, seed);
        let (first, last) = (at_rest.iter().min().unwrap(), at_rest.iter().max().unwrap());
        assert!(last - first <= 1, "seed {seed}: {at_rest:?}");
    }
}

#[test]
fn accelerating_axes_stop_within_limits_and_no_later_than_the_slowest_must() {
    for seed in 0..500 {
        let mut random = Seeded::new(seed);
        let mut refs = random_references(&mut random, 6);
        let full = Bounds { slope: LIMITS.acceleration, curvature: LIMITS.jerk };
        let slowest_s = refs
            .iter()
            .map(|r| to_target(Rate { value: r.velocity, slope: r.acceleration }, 0.0, full))
            .fold(0.0_f64, |slowest, whole| slowest.max(whole.duration_s));
        let stop = GroupStop::begin(0x3f, &refs, &[LIMITS; 6], DT_S);
        let at_rest = run(stop, &mut refs, &LIMITS, seed);
        let last = *at_rest.iter().max().unwrap() as f64 * DT_S;
        assert!(last <= slowest_s + 2.0 * DT_S, "seed {seed}: {last} {slowest_s}");
    }
}

#[test]
fn an_axis_near_its_soft_limit_stops_alone_rather_than_past_it() {
    let limits = AxisLimits { position_min: -1.0, position_max: 1.0, ..LIMITS };
    let fast = AxisReference { position: 0.0, velocity: 1.0, acceleration: 0.0 };
    let near = AxisReference { position: 0.995, velocity: 0.1, acceleration: 0.0 };
    let mut refs = [fast, near];
    let stop = GroupStop::begin(0b11, &refs, &[limits; 2], DT_S);
    let at_rest = run(stop, &mut refs, &limits, 0);
    assert!(refs[1].position <= 1.0, "{}", refs[1].position);
    assert!(at_rest[1] < at_rest[0], "{at_rest:?}");
}

#[test]
fn slow_motion_never_turns_an_axis_back_nor_speeds_it_up_past_its_limit() {
    let long = AxisReference { position: 0.0, velocity: 10.0, acceleration: 0.0 };
    let wide = AxisLimits { velocity: 10.0, ..LIMITS };
    for seed in 0..200 {
        let mut random = Seeded::new(seed);
        let other = random_references(&mut random, 1)[0];
        let mut refs = [long, other];
        let mut stop = GroupStop::begin(0b11, &refs, &[wide, LIMITS], DT_S);
        let full = Bounds { slope: LIMITS.acceleration, curvature: LIMITS.jerk };
        let from = Rate { value: other.velocity, slope: other.acceleration };
        let quickest = to_target(from, 0.0, full);
        while !stop.next(&mut refs, DT_S) {
            let velocity = refs[1].velocity;
            assert!(velocity.abs() <= LIMITS.velocity * (1.0 + 1e-12), "seed {seed}: {velocity}");
            let (low, high) = (quickest.value_min.min(0.0), quickest.value_max.max(0.0));
            let rounding = 1e-12;
            let turned = if other.velocity > 0.0 {
                velocity < low - rounding
            } else {
                velocity > high + rounding
            };
            assert!(!turned, "seed {seed}: {velocity} {quickest:?}");
        }
    }
}

#[test]
fn only_the_axes_of_the_group_move() {
    let moving = AxisReference { position: 0.0, velocity: 0.5, acceleration: 0.0 };
    let mut refs = [moving; 3];
    let stop = GroupStop::begin(0b101, &refs, &[LIMITS; 3], DT_S);
    for _ in 0..500 {
        let mut copy = stop;
        copy.next(&mut refs, DT_S);
    }
    assert_eq!(refs[1], moving);
    assert_eq!((refs[0].velocity, refs[2].velocity), (0.0, 0.0));
}

#[test]
fn a_stop_ends_even_without_usable_limits() {
    let broken = AxisLimits { acceleration: 0.0, jerk: f64::NAN, ..LIMITS };
    let mut refs = [AxisReference { position: 1.0, velocity: 0.5, acceleration: f64::NAN }; 2];
    let mut stop = GroupStop::begin(0b11, &refs, &[broken, LIMITS], DT_S);
    assert!(stop.next(&mut refs, DT_S));
    assert_eq!(refs[0], AxisReference { position: 1.0, velocity: 0.0, acceleration: 0.0 });
}
