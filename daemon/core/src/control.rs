//! From references to commands: in CSP the drive closes the loops, so this is a translation.
use shm_layout::AXES_MAX;

use crate::drive::{self, DriveState};
use crate::guard::{DriveGoal, Judgement};
use crate::motion::next::Motion;
use crate::ports::{Commands, Feedback};
use crate::setup::Setup;

/// Cycles a fault-reset bit stays up, and down, while a drive is being enabled.
const RESET_PULSE_CYCLES: u64 = 8;

/// Commands of this cycle: controlword by the guard's word, targets from the references.
pub fn output(
    setup: &Setup,
    cycle: u64,
    judgement: &Judgement,
    feedback: &Feedback,
    motion: &Motion,
    commands: &mut Commands,
) {
    let reset_pulse = (cycle / RESET_PULSE_CYCLES).is_multiple_of(2);
    for (((command, axis), reference), effort) in commands
        .axes
        .iter_mut()
        .zip(&feedback.axes)
        .zip(&motion.references)
        .zip(&motion.efforts)
        .take(setup.axis_count.min(AXES_MAX))
    {
        let state = DriveState::of(axis.statusword);
        command.controlword = match judgement.drives {
            DriveGoal::Enabling => drive::toward_enabled(state, reset_pulse),
            DriveGoal::Held if state == DriveState::OperationEnabled => {
                drive::toward_enabled(state, false)
            }
            DriveGoal::Held | DriveGoal::Disabled => drive::toward_disabled(state),
        };
        command.mode = drive::MODE_CSP;
        command.position = reference.position;
        command.velocity = reference.velocity;
        command.torque = *effort;
    }
}
