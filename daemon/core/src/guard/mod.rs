//! What may happen in this cycle: requests may widen it, everything after them only narrows it.
//!
//! `requests` (may clear a hold or a latched stop) → `source` (lease) → `faults` (drives, feedback,
//! following error) → phase. The result is a [`Judgement`]; motion obeys it.
use shm_layout::AXES_MAX;
use shm_layout::code::{EventKind, Phase, Reason, Verdict};
use shm_layout::state::NO_AXIS;

use crate::drive::DriveState;
use crate::events::Events;
use crate::motion::next::Motion;
use crate::ports::{Feedback, Intake, Wake};
use crate::setup::Setup;

mod drives;
pub mod faults;
mod requests;
pub mod source;

use faults::Missed;
use source::Source;

/// What motion has to do in this cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Follow the path at the wanted rate.
    Follow,
    /// Brake to rest on the path, then stay.
    Hold,
    /// Leave the path and bring every axis to rest.
    StopOffPath,
}

/// What drives have to do in this cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveGoal {
    /// Torque off.
    Disabled,
    /// On the way to Operation enabled; faults are reset.
    Enabling,
    /// Operation enabled where a drive is in it. One that has left it stays out: it comes back by an
    /// enable request, never within the stop that its leaving caused.
    Held,
}

/// The guard's word on one cycle.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// For motion.
    pub goal: Goal,
    /// For the drives.
    pub drives: DriveGoal,
    /// Knots are taken: all axes are enabled, no stop stands and the lease is held.
    pub takes_knots: bool,
    /// A new path may begin: at rest, nothing holds.
    pub may_begin: bool,
    /// The rest of the path is to be dropped now.
    pub drop_path: bool,
    /// Periods that passed without a command and that motion moves on by before this one: drives ran on
    /// through them, as through lost frames. 0 when there were so many that drives tripped.
    pub bridged: u32,
}

/// The guard's memory.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Where the machine stands.
    pub phase: Phase,
    /// Latched stop, if one stands.
    pub stop: Option<Reason>,
    /// Hold, if one stands.
    pub hold: Option<Reason>,
    /// Axis the stop is about, or `NO_AXIS`.
    pub reason_axis: u32,
    /// Wanted path rate, 0 ..= 1.
    pub rate_override: f64,
    /// The source that is followed.
    pub source: Source,
    /// Grid points missed of late.
    pub missed: Missed,
    /// Cycles in the present phase.
    phase_cycles: u32,
    /// Cycles in a row that an axis was outside its following-error window.
    window_left_cycles: [u32; AXES_MAX],
    /// Axes that were seen without a fault since the enable request.
    sound_mask: u64,
    /// Statuswords as they were told last.
    statuswords: [u16; AXES_MAX],
    /// The daemon is ending.
    ending: bool,
    /// The host is not the one that was judged.
    host_changed: bool,
    /// Somebody has acknowledged that; it holds for this life of the daemon.
    host_acknowledged: bool,
    verdict_told: (Verdict, Reason),
}

impl Guard {
    /// Torque off, nothing latched.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Disabled,
            stop: None,
            hold: None,
            reason_axis: NO_AXIS,
            rate_override: 1.0,
            source: Source::new(),
            missed: Missed::none(),
            phase_cycles: 0,
            window_left_cycles: [0; AXES_MAX],
            sound_mask: 0,
            statuswords: [0; AXES_MAX],
            ending: false,
            host_changed: false,
            host_acknowledged: false,
            verdict_told: (Verdict::Follow, Reason::None),
        }
    }

    /// The verdict and its reason.
    #[must_use]
    pub const fn verdict(&self) -> (Verdict, Reason) {
        match (self.stop, self.hold) {
            (Some(reason), _) => (Verdict::Stop, reason),
            (None, Some(reason)) => (Verdict::Hold, reason),
            (None, None) => (Verdict::Follow, Reason::None),
        }
    }

    /// Whether the daemon may end: it was asked to and torque is off.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ending && self.phase == Phase::Disabled
    }

    /// Whether drives are meant to hold torque.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        matches!(self.phase, Phase::Standstill | Phase::Moving | Phase::Stopping | Phase::Stopped)
    }

    /// Latches a stop. The first fault stands, since most later ones only follow from it. Two things
    /// take a standing stop's place: a fault that of a wish, and one that must leave the path that of
    /// one that would stay on it.
    pub fn latch_stop(&mut self, reason: Reason, axis: u32) {
        let is_graver = |standing: Reason| {
            (reason.is_fault() && !standing.is_fault())
                || (reason.leaves_path() && !standing.leaves_path())
        };
        if self.stop.is_none_or(is_graver) {
            self.stop = Some(reason);
            self.reason_axis = axis;
        }
    }

    fn enter(&mut self, phase: Phase, events: &mut Events) {
        if phase != self.phase {
            events.push(EventKind::PhaseChanged, phase.code(), self.phase.code());
            self.phase = phase;
            self.phase_cycles = 0;
            self.window_left_cycles = [0; AXES_MAX];
        }
    }

    /// Records the verdict if it is another than was told last.
    pub(crate) fn tell_verdict(&mut self, events: &mut Events) {
        let now = self.verdict();
        if now != self.verdict_told {
            let (verdict, reason) = now;
            events.push_full(
                EventKind::VerdictChanged,
                self.reason_axis,
                verdict.code(),
                reason.code(),
                0,
                [0.0; 2],
            );
            self.verdict_told = now;
        }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

/// Judges one cycle.
pub fn judge(
    setup: &Setup,
    wake: &Wake,
    feedback: &Feedback,
    intake: &Intake,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) -> Judgement {
    guard.phase_cycles = guard.phase_cycles.saturating_add(1);
    if events.count() == 0 {
        events.push(EventKind::Boot, 0, 0);
    }
    let had_ended = guard.has_ended();
    drives::tell(setup, feedback, guard, events);
    requests::answer(setup, wake, feedback, intake, motion, guard, events);
    source::hear(setup, wake, intake, motion, guard, events);
    faults::check(setup, wake, feedback, intake, motion, guard, events);
    let drop_path = advance_phase(setup, feedback, motion, guard, events);
    guard.tell_verdict(events);
    if guard.has_ended() && !had_ended {
        events.push(EventKind::Shutdown, 0, 0);
    }

    let (verdict, reason) = guard.verdict();
    Judgement {
        goal: match verdict {
            Verdict::Follow => Goal::Follow,
            Verdict::Hold => Goal::Hold,
            Verdict::Stop if reason.leaves_path() => Goal::StopOffPath,
            Verdict::Stop => Goal::Hold,
        },
        drives: match guard.phase {
            Phase::Disabled | Phase::Disabling => DriveGoal::Disabled,
            Phase::Enabling => DriveGoal::Enabling,
            _ => DriveGoal::Held,
        },
        takes_knots: matches!(guard.phase, Phase::Standstill | Phase::Moving)
            && verdict != Verdict::Stop
            && guard.source.gives_knots(),
        may_begin: guard.phase == Phase::Standstill && verdict == Verdict::Follow,
        drop_path,
        bridged: if wake.skipped > setup.skips_bridged_max { 0 } else { wake.skipped },
    }
}

/// Moves the phase on; tells whether the path is to be dropped.
fn advance_phase(
    setup: &Setup,
    feedback: &Feedback,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) -> bool {
    match guard.phase {
        Phase::Disabled => false,
        Phase::Enabling => {
            match first_not(setup, feedback, |state| state == DriveState::OperationEnabled) {
                _ if guard.stop.is_some() => guard.enter(Phase::Disabling, events),
                None => guard.enter(Phase::Standstill, events),
                Some(axis) if guard.phase_cycles > setup.enable_cycles_max => {
                    guard.latch_stop(Reason::EnableTimeout, axis);
                    guard.enter(Phase::Disabling, events);
                }
                Some(_) => {}
            }
            false
        }
        Phase::Standstill | Phase::Moving | Phase::Stopping | Phase::Stopped => {
            advance_enabled_phase(motion, guard, events)
        }
        Phase::Disabling => {
            let holding = first_not(setup, feedback, |s| s != DriveState::OperationEnabled);
            if holding.is_none() || guard.phase_cycles > setup.enable_cycles_max {
                guard.enter(Phase::Disabled, events);
            }
            false
        }
    }
}

fn advance_enabled_phase(motion: &Motion, guard: &mut Guard, events: &mut Events) -> bool {
    match guard.stop {
        Some(_) if !motion.is_at_rest() => {
            guard.enter(Phase::Stopping, events);
            false
        }
        Some(Reason::StopRequest) => {
            guard.enter(Phase::Stopped, events);
            motion.has_path()
        }
        Some(_) => {
            guard.enter(Phase::Disabling, events);
            motion.has_path()
        }
        None => {
            let phase = if motion.has_path() { Phase::Moving } else { Phase::Standstill };
            guard.enter(phase, events);
            false
        }
    }
}

/// The first axis whose drive state does not satisfy `wanted`.
fn first_not(
    setup: &Setup,
    feedback: &Feedback,
    wanted: impl Fn(DriveState) -> bool,
) -> Option<u32> {
    let position = feedback
        .axes
        .iter()
        .take(setup.axis_count)
        .position(|axis| !wanted(DriveState::of(axis.statusword)));
    position.and_then(|index| u32::try_from(index).ok())
}
