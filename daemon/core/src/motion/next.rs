//! One period of motion: knots in, references out. What moves and why is decided by the guard.
use shm_layout::AXES_MAX;
use shm_layout::code::{EventKind, KnotRefusal, Phase};
use shm_layout::state::NO_AXIS;

use super::admission::{Knot, PATH_TIME_S_MAX, Refusal};
use super::axis::{AxisLimits, AxisReference};
use super::path::Path;
use super::rate::PathRate;
use super::stop::GroupStop;
use crate::drive::DriveState;
use crate::events::Events;
use crate::guard::{Goal, Guard, Judgement};
use crate::ports::{Feedback, Intake, RawKnot, SourceBrief, Wanted};
use crate::setup::Setup;

/// Cycles between a reference and the feedback that can show it: one on the bus, one in the drive.
const FEEDBACK_DELAY_CYCLES: usize = 2;

/// All that moves: the path, how fast it is followed, and the references sent last.
#[derive(Clone, Copy, Debug)]
pub struct Motion {
    /// Accepted knots.
    pub path: Path,
    /// Path time and its rate.
    pub rate: PathRate,
    /// The stop off the path, while one is under way.
    pub stop: Option<GroupStop>,
    /// References sent last.
    pub references: [AxisReference; AXES_MAX],
    /// Torque or force fed forward, N·m or N.
    pub efforts: [f64; AXES_MAX],
    /// Axes whose reference was replaced by the last stage in this cycle.
    pub enforced_mask: u64,
    /// Number of the knot wanted next within the path.
    pub next_index: u64,
    /// Knots accepted since start.
    pub accepted: u64,
    /// Knots refused since start.
    pub refused: u64,
    /// Why the last one was refused, and the axis it was about.
    pub refusal: (KnotRefusal, u32),
    /// Whether every reference in use followed fresh feedback in the last cycle: an enable may begin.
    pub follows_feedback: bool,
    /// Path that ended or was dropped last; its id may not come again.
    past_path_id: u64,
    loaded: bool,
    delayed: [[f64; AXES_MAX]; FEEDBACK_DELAY_CYCLES],
    following_errors: [f64; AXES_MAX],
}

impl Motion {
    /// At rest at zero, no path.
    #[must_use]
    pub const fn new() -> Self {
        const REST: AxisReference =
            AxisReference { position: 0.0, velocity: 0.0, acceleration: 0.0 };
        Self {
            path: Path::new(),
            rate: PathRate::at_rest(0.0),
            stop: None,
            references: [REST; AXES_MAX],
            efforts: [0.0; AXES_MAX],
            enforced_mask: 0,
            next_index: 0,
            accepted: 0,
            refused: 0,
            refusal: (KnotRefusal::None, NO_AXIS),
            follows_feedback: false,
            past_path_id: 0,
            loaded: false,
            delayed: [[0.0; AXES_MAX]; FEEDBACK_DELAY_CYCLES],
            following_errors: [0.0; AXES_MAX],
        }
    }

    /// Whether a path is under way.
    #[must_use]
    pub const fn has_path(&self) -> bool {
        self.loaded
    }

    /// Whether the path's last knot has been accepted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.loaded && self.path.is_complete()
    }

    /// Whether nothing moves: every reference has velocity and acceleration zero and path time stands.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.stop.is_none()
            && (!self.loaded || self.rate.is_at_rest())
            && self.references.iter().all(|r| r.velocity == 0.0 && r.acceleration == 0.0)
    }

    /// Whether the path ran out of knots and stands, waiting for more.
    #[must_use]
    pub fn is_stranded(&self) -> bool {
        self.loaded && self.rate.is_starved() && self.rate.is_at_rest() && !self.path.is_complete()
    }

    /// Compares what each drive could have reached with what it measured. The references sent in the
    /// cycle before come first into the delay line, so that guard and record speak of the same instant.
    /// After a gap those of the gap are not worked out yet: what was found last stands until they are.
    pub fn compare(&mut self, feedback: &Feedback, skipped: u32) {
        self.delay_references();
        if skipped == 0 {
            self.find_following_errors(feedback);
        }
    }

    /// Takes the errors anew. A drive that was not heard in this cycle keeps its error: old feedback is
    /// not a slow drive.
    pub fn find_following_errors(&mut self, feedback: &Feedback) {
        let Some(reachable) = self.delayed.last() else { return };
        for ((error, reachable), axis) in
            self.following_errors.iter_mut().zip(reachable).zip(&feedback.axes)
        {
            if axis.age_cycles == 0 {
                *error = reachable - axis.position;
            }
        }
    }

    /// Puts the present references into the delay line.
    pub fn delay_references(&mut self) {
        let mut newest = self.references.map(|reference| reference.position);
        for line in &mut self.delayed {
            core::mem::swap(line, &mut newest);
        }
    }

    /// What the drive could have reached less what it measured, when it was last heard; rad or m.
    #[must_use]
    pub fn following_error(&self, axis: usize) -> f64 {
        self.following_errors.get(axis).copied().unwrap_or(0.0)
    }

    /// What the island would take from the lane next.
    #[must_use]
    pub fn wanted(&self, setup: &Setup, guard: &Guard) -> Wanted {
        let at_most = setup.knots_per_cycle();
        Wanted {
            slot: guard.source.slot,
            path_id: if self.loaded { self.path.id() } else { 0 },
            past_path_id: self.past_path_id,
            next_index: self.next_index,
            room: if self.loaded { self.path.room().min(at_most) } else { at_most },
        }
    }
}

impl Default for Motion {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes knots, moves path time on and gives the references of this period in `motion.references`.
///
/// The references of the period before stay with the caller: the last stage compares.
pub fn next(
    setup: &Setup,
    feedback: &Feedback,
    intake: &Intake,
    judgement: &Judgement,
    guard: &Guard,
    motion: &mut Motion,
    events: &mut Events,
) {
    if judgement.drop_path {
        drop_path(motion, events);
    }
    take_knots(setup, intake, judgement, guard, motion, events);
    move_references(setup, judgement, guard, motion, events);
    follow_disabled_axes(setup, feedback, guard, motion);
}

/// One period that passed without a command: references move on by it and are not sent.
pub fn bridge(
    setup: &Setup,
    judgement: &Judgement,
    guard: &Guard,
    motion: &mut Motion,
    events: &mut Events,
) {
    move_references(setup, judgement, guard, motion, events);
}

/// Forgets the path, if one is under way.
pub fn drop_path(motion: &mut Motion, events: &mut Events) {
    if motion.loaded {
        events.push(EventKind::PathDropped, 0, 0);
        motion.forget_path();
    }
}

impl Motion {
    fn forget_path(&mut self) {
        self.past_path_id = self.path.id();
        self.loaded = false;
        self.next_index = 0;
        self.efforts = [0.0; AXES_MAX];
        self.rate = PathRate::at_rest(0.0);
    }
}

fn take_knots(
    setup: &Setup,
    intake: &Intake,
    judgement: &Judgement,
    guard: &Guard,
    motion: &mut Motion,
    events: &mut Events,
) {
    let Some(brief) = guard.source.slot.and_then(|slot| intake.sources.get(slot)) else { return };
    if brief.source_id != guard.source.id {
        return;
    }
    for raw in intake.knots.iter().take(intake.knot_count) {
        if let Err((refusal, axis, values)) =
            take_knot(setup, raw, brief, judgement, motion, events)
        {
            motion.refused = motion.refused.wrapping_add(1);
            // The same knot comes again with every batch: one event per new reason is the story.
            if motion.refusal != (refusal, axis) {
                motion.refusal = (refusal, axis);
                let index = u32::try_from(raw.index).unwrap_or(u32::MAX);
                events.push_full(EventKind::KnotRefused, axis, refusal.code(), index, 0, values);
            }
            break;
        }
        motion.accepted = motion.accepted.wrapping_add(1);
        motion.refusal = (KnotRefusal::None, NO_AXIS);
    }
}

type Refused = (KnotRefusal, u32, [f64; 2]);

fn take_knot(
    setup: &Setup,
    raw: &RawKnot,
    brief: &SourceBrief,
    judgement: &Judgement,
    motion: &mut Motion,
    events: &mut Events,
) -> Result<(), Refused> {
    let plain = |refusal| (refusal, NO_AXIS, [0.0; 2]);
    if !judgement.takes_knots {
        return Err(plain(KnotRefusal::NotReady));
    }
    let axes = raw.axes.get(..setup.axis_count).unwrap_or(&[]);
    let last_index = brief.first_index.wrapping_add(u64::from(brief.knot_count)).wrapping_sub(1);
    let knot = Knot {
        tau_s: raw.tau_s,
        trace_id: brief.trace_id,
        is_final: brief.last_is_final == 1 && raw.index == last_index,
        axes,
    };
    if usize::from(brief.axis_count) != setup.axis_count || brief.path_id == 0 {
        return Err(plain(KnotRefusal::Malformed));
    }
    if motion.loaded && brief.path_id == motion.path.id() {
        if raw.index != motion.next_index {
            return Err(plain(KnotRefusal::Gap));
        }
        admit(setup, &knot, motion)?;
    } else {
        if !judgement.may_begin || motion.loaded || brief.path_id == motion.past_path_id {
            return Err(plain(KnotRefusal::NotReady));
        }
        if raw.index != 0 || knot.is_final {
            return Err(plain(KnotRefusal::Gap));
        }
        let present = motion.references.get(..setup.axis_count).unwrap_or(&[]);
        motion.path.begin(brief.path_id, &knot, present).map_err(|refusal| told(&refusal))?;
        motion.rate = PathRate::at_rest(raw.tau_s);
        motion.loaded = true;
        motion.next_index = 0;
        events.about(brief.path_id, brief.trace_id);
        events.push(EventKind::PathBegun, 0, 0);
    }
    motion.next_index = motion.next_index.wrapping_add(1);
    Ok(())
}

fn admit(setup: &Setup, knot: &Knot<'_>, motion: &mut Motion) -> Result<(), Refused> {
    let limits: [AxisLimits; AXES_MAX] = setup.axes.map(|axis| axis.limits);
    let limits = limits.get(..setup.axis_count).unwrap_or(&[]);
    motion.path.admit(knot, limits, setup.stop_path_time_s).map_err(|refusal| told(&refusal))
}

/// The refusal as the contract tells it.
fn told(refusal: &Refusal) -> Refused {
    let number = |axis: usize| u32::try_from(axis).unwrap_or(NO_AXIS);
    match *refusal {
        Refusal::Full => (KnotRefusal::Gap, NO_AXIS, [0.0; 2]),
        Refusal::NoPath | Refusal::AfterFinal => (KnotRefusal::Gap, NO_AXIS, [0.0; 2]),
        Refusal::AxisCount { given, expected } => {
            (KnotRefusal::Malformed, NO_AXIS, [given as f64, expected as f64])
        }
        Refusal::NotFinite { axis } => (KnotRefusal::NotFinite, number(axis), [0.0; 2]),
        Refusal::NotAtReference { axis, value, reference } => {
            (KnotRefusal::NotAtStart, number(axis), [value, reference])
        }
        Refusal::NotAtRest { axis, velocity, acceleration } => {
            (KnotRefusal::NotAtRest, number(axis), [velocity, acceleration])
        }
        Refusal::PathTime { value_s } => {
            (KnotRefusal::TimeStep, NO_AXIS, [value_s, PATH_TIME_S_MAX])
        }
        Refusal::SegmentLength { value_s } => (KnotRefusal::TimeStep, NO_AXIS, [value_s, 0.0]),
        Refusal::Position { axis, value, limit } => {
            (KnotRefusal::Position, number(axis), [value, limit])
        }
        Refusal::Velocity { axis, value, limit } => {
            (KnotRefusal::Velocity, number(axis), [value, limit])
        }
        Refusal::Acceleration { axis, value, limit } => {
            (KnotRefusal::Acceleration, number(axis), [value, limit])
        }
        Refusal::Jerk { axis, value, limit } => (KnotRefusal::Jerk, number(axis), [value, limit]),
        Refusal::NoBrakingRoom { axis, stop_s, limit_s } => {
            (KnotRefusal::NoBrakingRoom, number(axis), [stop_s, limit_s])
        }
    }
}

fn move_references(
    setup: &Setup,
    judgement: &Judgement,
    guard: &Guard,
    motion: &mut Motion,
    events: &mut Events,
) {
    let count = setup.axis_count;
    if judgement.goal == Goal::StopOffPath && motion.loaded {
        begin_stop(setup, motion);
        drop_path(motion, events);
    }
    let references = motion.references.get_mut(..count).unwrap_or(&mut []);
    if let Some(stop) = &mut motion.stop {
        if stop.next(references, setup.period_s()) {
            motion.stop = None;
        }
        return;
    }
    if !motion.loaded {
        return;
    }
    let target = if judgement.goal == Goal::Follow { guard.rate_override } else { 0.0 };
    motion.rate.next(&mut motion.path, target, setup.period_s());
    motion.path.evaluate(motion.rate.tau_s(), motion.rate.rate(), references);
    let efforts = motion.efforts.get_mut(..count).unwrap_or(&mut []);
    motion.path.torque_feed_forward(motion.rate.tau_s(), efforts);
    let ended = motion.path.is_complete()
        && motion.path.last_tau_s().is_some_and(|last_s| motion.rate.tau_s() >= last_s);
    if ended {
        events.push(EventKind::PathEnded, 0, 0);
        motion.forget_path();
    }
}

/// Begins the stop off the path from the references sent last.
pub fn begin_stop(setup: &Setup, motion: &mut Motion) {
    let limits: [AxisLimits; AXES_MAX] = setup.axes.map(|axis| axis.limits);
    let limits = limits.get(..setup.axis_count).unwrap_or(&[]);
    let present = motion.references.get(..setup.axis_count).unwrap_or(&[]);
    // All axes that moved together stop together: one mask, one duration.
    motion.stop = Some(GroupStop::begin(u64::MAX, present, limits, setup.period_s()));
}

/// An axis without torque is where it is: its reference follows, so that nothing jumps at enable. So
/// is one that still holds torque while the machine is disabled: a daemon before us left it so.
fn follow_disabled_axes(setup: &Setup, feedback: &Feedback, guard: &Guard, motion: &mut Motion) {
    let disabled = guard.phase == Phase::Disabled;
    motion.follows_feedback = disabled
        && feedback
            .axes
            .iter()
            .zip(setup.axes())
            .all(|(axis, known)| axis.age_cycles <= known.divisor && axis.position.is_finite());
    for (reference, axis) in motion.references.iter_mut().zip(&feedback.axes).take(setup.axis_count)
    {
        let enabled = DriveState::of(axis.statusword) == DriveState::OperationEnabled;
        if (disabled || !enabled) && axis.position.is_finite() {
            *reference =
                AxisReference { position: axis.position, velocity: 0.0, acceleration: 0.0 };
        }
    }
}
