//! Requests of people and scripts: each is answered by exactly one event in the cycle that takes it.
use shm_layout::code::{EventKind, Outcome, Phase, Reason, RequestKind};
use shm_layout::request::Request;
use shm_layout::state::NO_AXIS;

use super::Guard;
use crate::events::Events;
use crate::motion::next::Motion;
use crate::ports::{Feedback, Intake, Wake};
use crate::setup::Setup;

/// The value of an enable request by which a person acknowledges that the host has changed.
const ACKNOWLEDGES_HOST: f64 = 1.0;

pub(super) fn answer(
    setup: &Setup,
    wake: &Wake,
    feedback: &Feedback,
    intake: &Intake,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) {
    if intake.shutdown != 0 && !guard.ending {
        guard.ending = true;
        take_torque_off(Reason::Shutdown, motion, guard, events);
    }
    guard.host_changed = intake.host_changed != 0;
    for request in intake.requests.iter().take(intake.request_count) {
        let outcome = if wake.wake_ns > request.deadline_ns {
            Outcome::Expired
        } else {
            act(setup, feedback, request, motion, guard, events)
        };
        events.push_full(
            EventKind::RequestAnswered,
            NO_AXIS,
            outcome.code(),
            request.kind,
            request.request_id,
            [request.value, 0.0],
        );
    }
}

fn act(
    setup: &Setup,
    feedback: &Feedback,
    request: &Request,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) -> Outcome {
    // Axes are enabled and stopped as one machine until an issue asks for parts of it.
    if request.axis_mask != 0 {
        return Outcome::Malformed;
    }
    match RequestKind::try_from(request.kind) {
        Ok(RequestKind::Enable) => {
            guard.host_acknowledged |= request.value >= ACKNOWLEDGES_HOST;
            enable(setup, feedback, motion, guard, events)
        }
        Ok(RequestKind::Disable) => disable(motion, guard, events),
        Ok(RequestKind::Hold) => hold(guard),
        Ok(RequestKind::Resume) => resume(guard),
        Ok(RequestKind::Stop) => stop(guard),
        Ok(RequestKind::Override) if (0.0..=1.0).contains(&request.value) => {
            guard.rate_override = request.value;
            Outcome::Accepted
        }
        Ok(RequestKind::Override) | Err(_) => Outcome::Malformed,
    }
}

fn enable(
    setup: &Setup,
    feedback: &Feedback,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) -> Outcome {
    if guard.ending {
        return Outcome::ShuttingDown;
    }
    match guard.phase {
        Phase::Enabling | Phase::Standstill | Phase::Moving => Outcome::Already,
        Phase::Stopping | Phase::Disabling => Outcome::Moving,
        Phase::Stopped if motion.has_path() => Outcome::Moving,
        Phase::Stopped => {
            guard.clear();
            guard.enter(Phase::Standstill, events);
            Outcome::Accepted
        }
        Phase::Disabled if guard.host_changed && !guard.host_acknowledged => Outcome::HostChanged,
        Phase::Disabled => {
            let fresh =
                feedback.axes.iter().zip(setup.axes()).all(|(axis, known)| {
                    axis.age_cycles <= known.divisor && axis.position.is_finite()
                });
            // Motion starts from a reference that has followed such feedback already.
            if !(fresh && motion.follows_feedback) {
                return Outcome::FeedbackStale;
            }
            guard.clear();
            guard.enter(Phase::Enabling, events);
            Outcome::Accepted
        }
    }
}

fn disable(motion: &Motion, guard: &mut Guard, events: &mut Events) -> Outcome {
    if matches!(guard.phase, Phase::Disabled | Phase::Disabling) {
        return Outcome::Already;
    }
    take_torque_off(Reason::DisableRequest, motion, guard, events);
    Outcome::Accepted
}

/// Stops first where axes move; torque goes off at rest.
fn take_torque_off(reason: Reason, motion: &Motion, guard: &mut Guard, events: &mut Events) {
    match guard.phase {
        Phase::Disabled | Phase::Disabling => {}
        // A path that has begun and not moved yet is dropped with the stop below.
        Phase::Standstill | Phase::Stopped | Phase::Enabling
            if motion.is_at_rest() && !motion.has_path() =>
        {
            guard.enter(Phase::Disabling, events);
        }
        // A standing stop must not hide that torque is to go off afterwards.
        _ => match guard.stop {
            Some(standing) if standing.is_fault() => {}
            _ => guard.stop = Some(reason),
        },
    }
}

fn hold(guard: &mut Guard) -> Outcome {
    match guard.phase {
        _ if guard.stop.is_some() => Outcome::StopLatched,
        // The rest after a gap ends by itself; what a person asks for does not.
        Phase::Standstill | Phase::Moving
            if guard.hold.is_some_and(|reason| reason != Reason::CyclesMissed) =>
        {
            Outcome::Already
        }
        Phase::Standstill | Phase::Moving => {
            guard.hold = Some(Reason::HoldRequest);
            Outcome::Accepted
        }
        _ => Outcome::NotEnabled,
    }
}

fn resume(guard: &mut Guard) -> Outcome {
    if guard.stop.is_some() {
        return Outcome::StopLatched;
    }
    match guard.hold.take() {
        Some(_) => Outcome::Accepted,
        None if guard.is_enabled() => Outcome::Already,
        None => Outcome::NotEnabled,
    }
}

fn stop(guard: &mut Guard) -> Outcome {
    match guard.phase {
        Phase::Stopping | Phase::Stopped => Outcome::Already,
        // While drives are being enabled as well: whoever asks for a stop wants nothing to move next.
        Phase::Standstill | Phase::Moving | Phase::Enabling => {
            guard.latch_stop(Reason::StopRequest, NO_AXIS);
            Outcome::Accepted
        }
        _ => Outcome::NotEnabled,
    }
}

impl Guard {
    fn clear(&mut self) {
        self.stop = None;
        self.hold = None;
        self.reason_axis = NO_AXIS;
        self.sound_mask = 0;
        self.missed.forget();
    }
}
