//! The last stage before the wire: whatever came before, no reference of an enabled axis breaks a limit.
//!
//! It trusts nobody. A reference that would jump is not clipped, which would only move the jump into
//! the next derivative: the whole machine leaves the path and is brought to rest from the references
//! that were sent last.
use shm_layout::AXES_MAX;
use shm_layout::code::{Phase, Reason};
use shm_layout::state::NO_AXIS;

use crate::drive::DriveState;
use crate::events::Events;
use crate::guard::Guard;
use crate::motion::admission::JOIN_TOLERANCE;
use crate::motion::axis::{AxisLimits, AxisReference};
use crate::motion::next::{Motion, begin_stop, drop_path};
use crate::ports::{Commands, Feedback};
use crate::setup::Setup;

/// Relative slack of every bound: rounding, not room.
const SLACK: f64 = 1.0 + 1e-9;
/// Absolute slack on a position difference, rad or m: the rounding of positions of order 1.
const POSITION_ROUNDING: f64 = 1e-12;
/// Rounding of path time, as a share of a period: 1.2e-10 s at the largest path time, of 20 µs or more.
const TIME_ROUNDING: f64 = 1e-5;

/// Compares with the references sent last; replaces all of them, and the commands, when one breaks a limit.
pub fn enforce(
    setup: &Setup,
    feedback: &Feedback,
    sent: &[AxisReference; AXES_MAX],
    guard: &mut Guard,
    motion: &mut Motion,
    commands: &mut Commands,
    events: &mut Events,
) {
    bound_torques(setup, commands);
    // While the machine is disabled references follow what is measured, wherever that is.
    let offender = match guard.phase {
        Phase::Disabled => None,
        _ => offender(setup, feedback, sent, motion),
    };
    let Some(axis) = offender else { return };
    guard.latch_stop(Reason::LimitEnforced, u32::try_from(axis).unwrap_or(NO_AXIS));
    motion.enforced_mask |= 1u64.wrapping_shl(u32::try_from(axis).unwrap_or(0));
    motion.references = *sent;
    begin_stop(setup, motion);
    drop_path(motion, events);
    guard.tell_verdict(events);
    let references = motion.references.get_mut(..setup.axis_count).unwrap_or(&mut []);
    if let Some(stop) = &mut motion.stop
        && stop.next(references, setup.period_s())
    {
        motion.stop = None;
    }
    for (command, reference) in
        commands.axes.iter_mut().zip(&motion.references).take(setup.axis_count)
    {
        command.position = reference.position;
        command.velocity = reference.velocity;
        command.torque = 0.0;
    }
}

/// No more torque is fed forward than the axis has; what is not a number is none.
fn bound_torques(setup: &Setup, commands: &mut Commands) {
    for (command, known) in commands.axes.iter_mut().zip(setup.axes()) {
        let bounded = command.torque.min(known.effort_max).max(-known.effort_max);
        command.torque = if command.torque.is_finite() { bounded } else { 0.0 };
    }
}

/// The first enabled axis whose new reference breaks a limit.
fn offender(
    setup: &Setup,
    feedback: &Feedback,
    sent: &[AxisReference; AXES_MAX],
    motion: &Motion,
) -> Option<usize> {
    let dt_s = setup.period_s();
    motion.references.iter().zip(sent).zip(&feedback.axes).zip(setup.axes()).position(
        |(((new, old), axis), known)| {
            DriveState::of(axis.statusword) == DriveState::OperationEnabled
                && !is_allowed(new, old, &known.limits, dt_s)
        },
    )
}

/// Whether `new` may follow `old` one period later (definition of a jump, and of the limits).
#[must_use]
pub fn is_allowed(
    new: &AxisReference,
    old: &AxisReference,
    limits: &AxisLimits,
    dt_s: f64,
) -> bool {
    let finite =
        new.position.is_finite() && new.velocity.is_finite() && new.acceleration.is_finite();
    let position_step = new.position - old.position;
    let rounding = POSITION_ROUNDING * (1.0 + new.position.abs());
    let above = new.position > limits.position_max + rounding;
    let below = new.position < limits.position_min - rounding;
    // An axis that stands outside may only move inwards.
    let outwards = (above && position_step > 0.0) || (below && position_step < 0.0);
    finite
        && !outwards
        && new.velocity.abs() <= limits.velocity * SLACK
        && new.acceleration.abs() <= limits.acceleration * SLACK
        && position_step.abs() <= limits.velocity * dt_s * SLACK + rounding
        && (new.velocity - old.velocity).abs() <= limits.acceleration * dt_s * SLACK
        && (new.acceleration - old.acceleration).abs() <= limits.jerk * dt_s * SLACK
        && is_consistent(new, old, limits, dt_s)
}

/// Whether position moves as velocity says, and velocity as acceleration says. Only the position goes
/// over the wire in CSP: without this a position that trembles would pass between two calm velocities.
///
/// The mean of both ends times dt is off by at most J·dt³/12 for the position, and by J·dt²/4 for the
/// velocity (trapezoidal rule, jerk within ±J).
fn is_consistent(new: &AxisReference, old: &AxisReference, limits: &AxisLimits, dt_s: f64) -> bool {
    let position_step = new.position - old.position;
    let position_missed = position_step - 0.5 * dt_s * (new.velocity + old.velocity);
    let velocity_step = new.velocity - old.velocity;
    let velocity_missed = velocity_step - 0.5 * dt_s * (new.acceleration + old.acceleration);
    // Path time is rounded too (admission): by less than this share of a period.
    let position_rounding =
        2.0 * JOIN_TOLERANCE * new.position.abs().max(1.0) + TIME_ROUNDING * limits.velocity * dt_s;
    let velocity_rounding = TIME_ROUNDING * limits.acceleration * dt_s;
    let jerk_step = limits.jerk * dt_s * dt_s * SLACK;
    position_missed.abs() <= jerk_step * dt_s / 12.0 + position_rounding
        && velocity_missed.abs() <= jerk_step / 4.0 + velocity_rounding
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT_S: f64 = 1e-3;
    const LIMITS: AxisLimits = AxisLimits {
        position_min: -1.0,
        position_max: 1.0,
        velocity: 1.0,
        acceleration: 10.0,
        jerk: 500.0,
    };

    fn at(position: f64, velocity: f64, acceleration: f64) -> AxisReference {
        AxisReference { position, velocity, acceleration }
    }

    #[test]
    fn a_period_at_the_jerk_limit_is_allowed_and_one_beyond_it_is_not() {
        let (v, a) = (0.3, 2.0);
        for (share, allowed) in [(1.0, true), (-1.0, true), (1.01, false), (-1.01, false)] {
            let j = share * LIMITS.jerk;
            let new = at(
                v * DT_S + a * DT_S * DT_S / 2.0 + j * DT_S.powi(3) / 6.0,
                v + a * DT_S + j * DT_S * DT_S / 2.0,
                a + j * DT_S,
            );
            assert_eq!(is_allowed(&new, &at(0.0, v, a), &LIMITS, DT_S), allowed, "{share}");
        }
    }

    #[test]
    fn a_position_that_does_not_move_as_its_velocity_says_is_not_allowed() {
        let step = 0.2 * LIMITS.velocity * DT_S;
        assert!(is_allowed(&at(step, 0.2, 0.0), &at(0.0, 0.2, 0.0), &LIMITS, DT_S));
        // Inside every limit taken alone; as a motion it is 200 m/s².
        assert!(!is_allowed(&at(step, 0.0, 0.0), &at(0.0, 0.0, 0.0), &LIMITS, DT_S));
        assert!(!is_allowed(&at(-step, 0.2, 0.0), &at(0.0, 0.2, 0.0), &LIMITS, DT_S));
    }

    #[test]
    fn a_velocity_that_does_not_change_as_its_acceleration_says_is_not_allowed() {
        let new = at(0.5 * DT_S * 0.005, 0.005, 0.0);
        assert!(!is_allowed(&new, &at(0.0, 0.0, 0.0), &LIMITS, DT_S));
    }

    #[test]
    fn what_is_no_number_is_not_allowed() {
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for new in [at(nonsense, 0.0, 0.0), at(0.0, nonsense, 0.0), at(0.0, 0.0, nonsense)] {
                assert!(!is_allowed(&new, &at(0.0, 0.0, 0.0), &LIMITS, DT_S));
            }
        }
    }
}
