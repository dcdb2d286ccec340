//! The last stage before the wire: whatever came before, no reference of an enabled axis breaks a limit.
//!
//! It trusts nobody. A reference that would jump is not clipped, which would only move the jump into
//! the next derivative: the whole machine leaves the path and is brought to rest from the references
//! that were sent last.
use shm_layout::AXES_MAX;
use shm_layout::code::{Phase, Reason};
use shm_layout::state::NO_AXIS;

use crate::drive::DriveState;
use crate::guard::{Guard, Judgement};
use crate::motion::axis::{AxisLimits, AxisReference};
use crate::motion::next::{Motion, begin_stop};
use crate::ports::{Commands, Feedback};
use crate::setup::Setup;

/// Relative slack of every bound: rounding, not room.
const SLACK: f64 = 1.0 + 1e-9;
/// Absolute slack on a position difference, rad or m: the rounding of positions of order 1.
const POSITION_ROUNDING: f64 = 1e-12;

/// What the next references are compared with: those sent last, at rest where motion restarts from rest.
#[must_use]
pub fn baseline(motion: &Motion, judgement: &Judgement) -> [AxisReference; AXES_MAX] {
    let mut sent = motion.references;
    if judgement.restart_from_rest {
        for reference in &mut sent {
            reference.velocity = 0.0;
            reference.acceleration = 0.0;
        }
    }
    sent
}

/// Compares with the references sent last; replaces all of them, and the commands, when one breaks a limit.
pub fn enforce(
    setup: &Setup,
    feedback: &Feedback,
    sent: &[AxisReference; AXES_MAX],
    guard: &mut Guard,
    motion: &mut Motion,
    commands: &mut Commands,
) {
    motion.enforced_mask = 0;
    // While the machine is disabled references follow what is measured, wherever that is.
    let offender = match guard.phase {
        Phase::Disabled => None,
        _ => offender(setup, feedback, sent, motion),
    };
    let Some(axis) = offender else { return };
    guard.latch_stop(Reason::LimitEnforced, u32::try_from(axis).unwrap_or(NO_AXIS));
    motion.enforced_mask = 1u64.wrapping_shl(u32::try_from(axis).unwrap_or(0));
    motion.references = *sent;
    begin_stop(setup, motion);
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
}
