//! Numbers: finite, inside limits, no jump between two cycles, the wire within one count.
use shm_layout::code::Phase;
use shm_layout::state::AxisState;

use super::{Pair, Violation, demand, is_enabled};
use crate::island::Record;
use crate::summary::Summary;

/// Relative slack of the definition of a jump.
const SLACK: f64 = 1.0 + 1e-9;
/// Rounding of a difference of two positions.
const ULPS: f64 = 4.0 * f64::EPSILON;

fn floats(axis: &AxisState) -> [(&'static str, f64); 8] {
    [
        ("position_reference", axis.position_reference),
        ("velocity_reference", axis.velocity_reference),
        ("acceleration_reference", axis.acceleration_reference),
        ("torque_feed_forward", axis.torque_feed_forward),
        ("position_actual", axis.position_actual),
        ("velocity_actual", axis.velocity_actual),
        ("torque_actual", axis.torque_actual),
        ("following_error", axis.following_error),
    ]
}

pub(super) fn check_finite(record: &Record) -> Result<(), Violation> {
    for (index, axis) in record.axes.iter().enumerate() {
        for (name, value) in floats(axis) {
            demand(value.is_finite(), Some(index), || format!("{name} is {value}"))?;
        }
    }
    let header = &record.header;
    let rates = [
        ("tau_s", header.tau_s),
        ("path_rate", header.path_rate),
        ("path_rate_slope_s", header.path_rate_slope_s),
        ("rate_override", header.rate_override),
        ("tau_last_s", header.tau_last_s),
    ];
    for (name, value) in rates {
        demand(value.is_finite(), None, || format!("{name} is {value}"))?;
    }
    for (name, value) in [rates[1], rates[3]] {
        demand((0.0..=1.0).contains(&value), None, || format!("{name} {value} is not in 0..=1"))?;
    }
    let analogue = header.analogue_inputs.iter().chain(&header.analogue_outputs);
    let events = record.events.iter().flat_map(|event| &event.values);
    let all_finite = analogue.chain(events).all(|value| value.is_finite());
    demand(all_finite, None, || "an analogue value or an event's value is not finite".to_owned())
}

/// The wire value is within one count of the reference, modulo 2^32.
pub(super) fn check_counts(counts_per_unit: &[f64], record: &Record) -> Result<(), Violation> {
    const WRAP: f64 = 4_294_967_296.0;
    for (index, (axis, scale)) in record.axes.iter().zip(counts_per_unit).enumerate() {
        let apart = axis.position_reference * scale - f64::from(axis.target_counts);
        let apart = apart - WRAP * (apart / WRAP).round();
        demand(apart.abs() <= 1.0, Some(index), || {
            format!(
                "target {} counts is {apart} counts from reference {}",
                axis.target_counts, axis.position_reference
            )
        })?;
    }
    Ok(())
}

/// Jumps, limits and soft limits of every axis that is enabled now and was enabled before.
pub(super) fn check_steps(pair: &Pair<'_>, summary: &mut Summary) -> Result<(), Violation> {
    let dt_s = pair.passed_s();
    for ((index, before, now), known) in pair.axes().zip(pair.setup.axes()) {
        // A drive that still holds torque while the machine is disabled is where it is.
        let disabled = pair.now.header.phase == Phase::Disabled.code();
        if disabled || !(is_enabled(before) && is_enabled(now)) {
            continue;
        }
        let limit = &known.limits;
        let (v_before, a_before) = (before.velocity_reference, before.acceleration_reference);
        let (p, v, a) =
            (now.position_reference, now.velocity_reference, now.acceleration_reference);
        let step = p - before.position_reference;
        let rounding = ULPS * p.abs().max(before.position_reference.abs());
        let bounds = [
            ("|v|", v.abs(), limit.velocity),
            ("|a|", a.abs(), limit.acceleration),
            ("|Δp|", step.abs() - rounding, limit.velocity * dt_s),
            ("|Δv|", (v - v_before).abs(), limit.acceleration * dt_s),
            ("|Δa|", (a - a_before).abs(), limit.jerk * dt_s),
        ];
        for (name, value, bound) in bounds {
            demand(value <= bound * SLACK, Some(index), || {
                format!(
                    "{name} {value:e} is above {bound:e} (ratio {:.12}); before {:?}, now {:?}",
                    value / bound,
                    (before.position_reference, v_before, a_before),
                    (p, v, a)
                )
            })?;
        }
        let outwards = (p > limit.position_max && step > rounding)
            || (p < limit.position_min && step < -rounding);
        // Admission lets a knot stand this far outside, by rounding.
        let beyond = (p - limit.position_max).max(limit.position_min - p);
        let inside = !outwards || beyond <= 1e-9 * p.abs().max(1.0);
        demand(inside, Some(index), || format!("{p} moves outwards, {beyond:e} outside"))?;
        let used = [
            v.abs() / limit.velocity,
            (a.abs() / limit.acceleration).max((v - v_before).abs() / (limit.acceleration * dt_s)),
            (a - a_before).abs() / (limit.jerk * dt_s),
        ];
        let was_inside =
            (limit.position_min..=limit.position_max).contains(&before.position_reference);
        summary.use_limits(used, if was_inside { -beyond } else { f64::INFINITY });
    }
    Ok(())
}
