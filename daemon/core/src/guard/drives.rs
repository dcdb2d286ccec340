//! Tells every change of a drive's state; judges nothing.
use shm_layout::code::EventKind;
use shm_layout::state::NO_AXIS;

use super::Guard;
use crate::drive::DriveState;
use crate::events::Events;
use crate::ports::Feedback;
use crate::setup::Setup;

pub(super) fn tell(setup: &Setup, feedback: &Feedback, guard: &mut Guard, events: &mut Events) {
    for (index, (axis, told)) in
        feedback.axes.iter().zip(&mut guard.statuswords).take(setup.axis_count).enumerate()
    {
        if DriveState::of(axis.statusword) == DriveState::of(*told) {
            continue;
        }
        let number = u32::try_from(index).unwrap_or(NO_AXIS);
        let (new, old) = (u32::from(axis.statusword), u32::from(*told));
        let values = [f64::from(axis.error_code), 0.0];
        events.push_full(EventKind::DriveChanged, number, new, old, 0, values);
        *told = axis.statusword;
    }
}
