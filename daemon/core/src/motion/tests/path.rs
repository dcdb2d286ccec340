//! Proofs of admission and of the path's references.

use super::super::admission::{Knot, Refusal};
use super::super::axis::{AxisLimits, AxisReference};
use super::super::path::Path;
use super::super::ramp::Rate;
use super::std::{boxed::Box, vec::Vec};
use super::{LIMITS, Plan, Seeded, knot_axis, random_plan};
use shm_layout::KNOTS_PER_SOURCE;
use shm_layout::knot::KnotAxis;

const STOP_S_MAX: f64 = 1.0;
const FULL_SPEED: Rate = Rate { value: 1.0, slope: 0.0 };

fn axis(position: f64, velocity: f64, acceleration: f64) -> KnotAxis {
    knot_axis(AxisReference { position, velocity, acceleration })
}

fn knot(tau_s: f64, axes: &[KnotAxis]) -> Knot<'_> {
    Knot { tau_s, trace_id: (tau_s * 1e6) as u64, is_final: false, axes }
}

/// A path of one axis that stands at `position` at path time 0.
fn standing(position: f64) -> Box<Path> {
    let mut path = Box::new(Path::new());
    let present = [AxisReference { position, ..AxisReference::default() }];
    path.begin(7, &knot(0.0, &[axis(position, 0.0, 0.0)]), &present).unwrap();
    path
}

fn admit(path: &mut Path, tau_s: f64, to: KnotAxis, limits: &AxisLimits) -> Result<(), Refusal> {
    path.admit(&knot(tau_s, &[to]), &[*limits], STOP_S_MAX)
}

fn loaded(plan: &Plan) -> Box<Path> {
    let mut path = Box::new(Path::new());
    let present: Vec<_> = plan[0].1.iter().map(AxisReference::from).collect();
    path.begin(1, &knot(plan[0].0, &plan[0].1), &present).unwrap();
    for (tau_s, axes) in &plan[1..plan.len().min(KNOTS_PER_SOURCE)] {
        path.admit(&knot(*tau_s, axes), &[LIMITS; 3], STOP_S_MAX).unwrap();
    }
    path
}

#[test]
fn references_at_full_rate_pass_through_every_knot() {
    for seed in 0..30 {
        let plan = random_plan(&mut Seeded::new(seed), 3, 2, (0.3, 0.8));
        let path = loaded(&plan);
        let mut refs = [AxisReference::default(); 3];
        for (tau_s, axes) in plan.iter().take(KNOTS_PER_SOURCE) {
            path.evaluate(*tau_s, FULL_SPEED, &mut refs);
            for (reference, knot) in refs.iter().zip(axes) {
                assert_eq!(*reference, AxisReference::from(knot), "seed {seed} tau {tau_s}");
            }
        }
    }
}

#[test]
fn releasing_what_lies_behind_changes_nothing_ahead() {
    let plan = random_plan(&mut Seeded::new(3), 3, 2, (0.8, 0.8));
    let (mut path, whole) = (loaded(&plan), loaded(&plan));
    let (mut refs, mut expected) = ([AxisReference::default(); 3], [AxisReference::default(); 3]);
    let last_s = whole.last_tau_s().unwrap();
    let mut tau_s = 0.0;
    while tau_s < last_s + 0.01 {
        path.release(tau_s);
        path.evaluate(tau_s, FULL_SPEED, &mut refs);
        whole.evaluate(tau_s, FULL_SPEED, &mut expected);
        assert_eq!(refs, expected, "tau {tau_s}");
        assert_eq!(path.trace_id_at(tau_s), whole.trace_id_at(tau_s));
        assert!(path.ahead(tau_s).eq(whole.ahead(tau_s)), "tau {tau_s}");
        tau_s += 0.0007;
    }
    assert_eq!(path.room(), KNOTS_PER_SOURCE - 1);
}

#[test]
fn the_first_knot_must_be_at_rest_where_the_axis_is() {
    let mut path = Box::new(Path::new());
    let present = [AxisReference { position: 5.0, ..AxisReference::default() }];
    let mut begin = |axes: &[KnotAxis]| path.begin(1, &knot(0.0, axes), &present);
    let far = Refusal::NotAtReference { axis: 0, value: 5.00001, reference: 5.0 };
    assert_eq!(begin(&[axis(5.00001, 0.0, 0.0)]), Err(far));
    let moving = Refusal::NotAtRest { axis: 0, velocity: 0.1, acceleration: 0.0 };
    assert_eq!(begin(&[axis(5.0, 0.1, 0.0)]), Err(moving));
    assert_eq!(begin(&[axis(f64::NAN, 0.0, 0.0)]), Err(Refusal::NotFinite { axis: 0 }));
    assert_eq!(begin(&[]), Err(Refusal::AxisCount { given: 0, expected: 1 }));
    assert_eq!(begin(&[axis(5.0 + 4e-9, 0.0, 0.0)]), Ok(()));
}

#[test]
fn path_time_must_rise_by_not_too_little_and_not_too_much() {
    let mut path = standing(0.0);
    for value_s in [0.0, -1.0, 0.99e-5, 0.2501] {
        let refused = admit(&mut path, value_s, axis(0.0, 0.0, 0.0), &LIMITS);
        assert_eq!(refused, Err(Refusal::SegmentLength { value_s }));
    }
    let refused = admit(&mut path, f64::NAN, axis(0.0, 0.0, 0.0), &LIMITS);
    assert_eq!(refused, Err(Refusal::NotFinite { axis: 1 }));
    assert_eq!(admit(&mut path, 0.25, axis(0.0, 0.0, 0.0), &LIMITS), Ok(()));
}

#[test]
fn path_time_too_far_from_zero_to_advance_evenly_is_refused() {
    // At 1e13 s a float's neighbours are 2 ms apart: one period would be rounded to none or to two.
    let present = [AxisReference::default()];
    for tau_s in [1e13, -1e13, 1.1e6, -1.1e6] {
        let mut path = Box::new(Path::new());
        let refused = path.begin(7, &knot(tau_s, &[axis(0.0, 0.0, 0.0)]), &present);
        assert_eq!(refused, Err(Refusal::PathTime { value_s: tau_s }));
    }
    let mut path = Box::new(Path::new());
    path.begin(7, &knot(1e6, &[axis(0.0, 0.0, 0.0)]), &present).unwrap();
    let refused = admit(&mut path, 1e6 + 0.25, axis(0.0, 0.0, 0.0), &LIMITS);
    assert_eq!(refused, Err(Refusal::PathTime { value_s: 1e6 + 0.25 }));
}

#[test]
fn limits_are_judged_between_the_knots_too() {
    // Both knots are inside all limits; only the way between them is not.
    let mut path = standing(0.0);
    let refused = admit(
        &mut path,
        0.1,
        axis(0.09, 0.0, 0.0),
        &AxisLimits { acceleration: 1e3, jerk: 1e6, ..LIMITS },
    );
    assert!(matches!(refused, Err(Refusal::Velocity { axis: 0, .. })), "{refused:?}");
    let refused = admit(&mut path, 0.1, axis(0.03, 0.0, 0.0), &AxisLimits { jerk: 1e6, ..LIMITS });
    assert!(matches!(refused, Err(Refusal::Acceleration { axis: 0, .. })), "{refused:?}");
    let refused = admit(&mut path, 0.1, axis(0.01, 0.0, 0.0), &LIMITS);
    assert!(matches!(refused, Err(Refusal::Jerk { axis: 0, .. })), "{refused:?}");
    assert_eq!(admit(&mut path, 0.25, axis(0.01, 0.0, 0.0), &LIMITS), Ok(()));
}

#[test]
fn a_knot_inside_soft_limits_is_refused_when_the_way_to_it_is_not() {
    let limits = AxisLimits { position_min: -1.0, position_max: 0.001, jerk: 5e3, ..LIMITS };
    let mut path = standing(0.0);
    admit(&mut path, 0.1, axis(0.0005, 0.05, 0.0), &AxisLimits { jerk: 5e3, ..LIMITS }).unwrap();
    let refused = admit(&mut path, 0.2, axis(0.0005, -0.05, 0.0), &limits);
    let Err(Refusal::Position { axis: 0, value, limit }) = refused else { panic!("{refused:?}") };
    assert!(value > 0.001 && limit == 0.001);
}

#[test]
fn an_axis_outside_its_soft_limits_may_only_move_inwards() {
    let limits = AxisLimits { position_min: -1.0, position_max: 1.0, ..LIMITS };
    let mut path = standing(2.0);
    let refused = admit(&mut path, 0.25, axis(2.001, 0.0, 0.0), &limits);
    assert_eq!(refused, Err(Refusal::Position { axis: 0, value: 2.001, limit: 1.0 }));
    assert_eq!(admit(&mut path, 0.25, axis(1.999, 0.0, 0.0), &limits), Ok(()));
}

#[test]
fn a_segment_without_braking_room_is_refused() {
    let mut path = standing(0.0);
    let jerk = LIMITS.jerk;
    let h = 0.008;
    let at = super::after(AxisReference::default(), jerk, h);
    let refused =
        admit(&mut path, h, knot_axis(at), &AxisLimits { jerk: jerk * 1.000_001, ..LIMITS });
    let Err(Refusal::NoBrakingRoom { axis: 0, stop_s, limit_s }) = refused else {
        panic!("{refused:?}")
    };
    assert!(stop_s > limit_s, "{stop_s}");
    let roomy = AxisLimits { jerk: jerk * 1.25, ..LIMITS };
    assert_eq!(admit(&mut path, h, knot_axis(at), &roomy), Ok(()));
}

#[test]
fn a_final_knot_is_at_rest_and_ends_the_path() {
    let mut path = standing(0.0);
    let moving = [axis(0.0001, 0.001, 0.0)];
    let offer = Knot { tau_s: 0.1, trace_id: 0, is_final: true, axes: &moving };
    let refused = path.admit(&offer, &[LIMITS], STOP_S_MAX);
    assert_eq!(refused, Err(Refusal::NotAtRest { axis: 0, velocity: 0.001, acceleration: 0.0 }));
    let rest = [axis(0.001, 0.0, 0.0)];
    assert_eq!(path.admit(&Knot { axes: &rest, ..offer }, &[LIMITS], STOP_S_MAX), Ok(()));
    assert!(path.is_complete() && path.horizon_s(0.0).is_infinite());
    let refused = admit(&mut path, 0.2, rest[0], &LIMITS);
    assert_eq!(refused, Err(Refusal::AfterFinal));
    let mut refs = [AxisReference::default()];
    path.evaluate(1e6, FULL_SPEED, &mut refs);
    assert_eq!(refs[0], AxisReference::from(&rest[0]));
}

#[test]
fn a_full_path_takes_no_knot_until_one_lies_behind() {
    let mut path = standing(0.0);
    let rest = axis(0.0, 0.0, 0.0);
    for index in 1..KNOTS_PER_SOURCE {
        admit(&mut path, 0.01 * index as f64, rest, &LIMITS).unwrap();
    }
    let next_s = 0.01 * KNOTS_PER_SOURCE as f64;
    assert_eq!(admit(&mut path, next_s, rest, &LIMITS), Err(Refusal::Full));
    path.release(0.01);
    assert_eq!(admit(&mut path, next_s, rest, &LIMITS), Ok(()));
    assert_eq!(path.last_tau_s(), Some(next_s));
    assert_eq!(Path::new().admit(&knot(0.0, &[rest]), &[LIMITS], 1.0), Err(Refusal::NoPath));
}

#[test]
fn nothing_that_is_refused_leaves_a_trace() {
    let mut random = Seeded::new(11);
    let mut path = standing(0.0);
    for _ in 0..5000 {
        let mut any = || f64::from_bits(random.bits());
        let (tau_s, to) = (any(), axis(any(), any(), any()));
        let limits = AxisLimits { velocity: any(), acceleration: any(), jerk: any(), ..LIMITS };
        let before = Box::new(path.horizon_s(0.0));
        if path.admit(&knot(tau_s, &[to]), &[limits], STOP_S_MAX).is_err() {
            assert_eq!(*before, path.horizon_s(0.0));
        }
    }
    assert_eq!(path.room(), KNOTS_PER_SOURCE - 1, "random bits are never a good knot");
}
