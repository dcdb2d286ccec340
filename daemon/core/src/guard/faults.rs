//! Expected, external faults: drives, feedback, buses, following error, skipped cycles. They only narrow.
use shm_layout::code::{EventKind, Phase, Reason};
use shm_layout::state::NO_AXIS;

use super::Guard;
use crate::drive::DriveState;
use crate::events::Events;
use crate::motion::next::Motion;
use crate::ports::{Feedback, Intake, Wake};
use crate::setup::Setup;

/// Slots of the window in which missed cycles are counted.
const SLOTS: usize = 10;
/// Length of one: together they are a second.
const SLOT_NS: u64 = 100_000_000;

/// Grid points missed within the last second, in tenths of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missed {
    counts: [u32; SLOTS],
    slot: u64,
}

impl Missed {
    /// None yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { counts: [0; SLOTS], slot: 0 }
    }

    /// How many it were at the last pass.
    #[must_use]
    pub fn recently(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Forgets them: what happened before an enable does not stop what it began.
    pub(super) const fn forget(&mut self) {
        self.counts = [0; SLOTS];
    }

    fn count(&mut self, wake: &Wake) -> u32 {
        let slot = wake.wake_ns / SLOT_NS;
        let passed = slot.saturating_sub(self.slot);
        for step in 1..=passed.min(SLOTS as u64) {
            if let Some(count) = self.counts.get_mut(place(self.slot.wrapping_add(step))) {
                *count = 0;
            }
        }
        self.slot = slot;
        if let Some(count) = self.counts.get_mut(place(slot)) {
            *count = count.saturating_add(wake.skipped);
        }
        self.recently()
    }
}

fn place(slot: u64) -> usize {
    slot.checked_rem(SLOTS as u64).and_then(|place| usize::try_from(place).ok()).unwrap_or(0)
}

/// After a long gap the machine comes to rest on its path, then goes on by itself: nobody knows what the
/// drives did meanwhile.
fn rest_after_a_gap(setup: &Setup, wake: &Wake, motion: &Motion, guard: &mut Guard) {
    if wake.skipped > setup.skips_followed_max {
        if guard.phase == Phase::Moving && guard.hold.is_none() {
            guard.hold = Some(Reason::CyclesMissed);
        }
    } else if guard.hold == Some(Reason::CyclesMissed) && motion.is_at_rest() {
        guard.hold = None;
    }
}

pub(super) fn check(
    setup: &Setup,
    wake: &Wake,
    feedback: &Feedback,
    intake: &Intake,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) {
    if wake.skipped > 0 {
        let skipped = f64::from(wake.skipped);
        events.push_full(EventKind::CyclesSkipped, NO_AXIS, 0, 0, 0, [skipped, 0.0]);
    }
    let missed = guard.missed.count(wake);
    if guard.phase == Phase::Disabled || guard.phase == Phase::Disabling {
        return;
    }
    rest_after_a_gap(setup, wake, motion, guard);
    if setup.missed_per_s_max.is_some_and(|missed_max| missed > missed_max) {
        guard.latch_stop(Reason::CyclesMissed, NO_AXIS);
    }
    if intake.denied_call != 0 {
        guard.latch_stop(Reason::DeniedCall, NO_AXIS);
    }
    for (bus, known) in feedback.buses.iter().zip(&setup.buses).take(setup.bus_count) {
        if bus.lost_in_row > known.lost_in_row_max {
            guard.latch_stop(Reason::BusLost, NO_AXIS);
        }
    }
    for (index, (axis, known)) in feedback.axes.iter().zip(setup.axes()).enumerate() {
        let number = u32::try_from(index).unwrap_or(NO_AXIS);
        let bus = setup.buses.get(usize::from(known.bus_index));
        let age_max = bus.map_or(0, |bus| bus.lost_in_row_max).saturating_mul(known.divisor);
        if !(axis.position.is_finite() && axis.velocity.is_finite() && axis.torque.is_finite()) {
            guard.latch_stop(Reason::FeedbackInvalid, number);
        } else if axis.age_cycles > age_max.saturating_add(known.divisor) {
            guard.latch_stop(Reason::FeedbackStale, number);
        }
        if guard.phase == Phase::Enabling {
            check_reset(DriveState::of(axis.statusword), number, guard);
        }
        if guard.is_enabled() {
            check_drive(DriveState::of(axis.statusword), number, guard);
            // Feedback that did not come says nothing: lost frames have bounds of their own.
            if axis.age_cycles == 0 {
                let error = motion.following_error(index);
                check_following_error(index, number, error, setup, guard);
            }
        }
    }
}

/// An enable request resets a fault once. One that comes after it is told, not reset again and again.
fn check_reset(state: DriveState, axis: u32, guard: &mut Guard) {
    let bit = 1u64.checked_shl(axis).unwrap_or(0);
    if !state.is_fault() {
        guard.sound_mask |= bit;
    } else if guard.sound_mask & bit != 0 {
        guard.latch_stop(Reason::DriveFault, axis);
    }
}

fn check_drive(state: DriveState, axis: u32, guard: &mut Guard) {
    if state.is_fault() {
        guard.latch_stop(Reason::DriveFault, axis);
    } else if state != DriveState::OperationEnabled {
        guard.latch_stop(Reason::DriveLeftOperation, axis);
    }
}

fn check_following_error(index: usize, axis: u32, error: f64, setup: &Setup, guard: &mut Guard) {
    let (Some(known), Some(left)) =
        (setup.axes.get(index), guard.window_left_cycles.get_mut(index))
    else {
        return;
    };
    *left = if error.abs() > known.following_error_window { left.saturating_add(1) } else { 0 };
    if *left > known.following_error_cycles {
        guard.latch_stop(Reason::FollowingError, axis);
    }
}
