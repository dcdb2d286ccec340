//! One cycle of the servo loop, from wake to publish. Start reading here.
//!
//! It is a pure function of what the ports bring: time enters once, as [`Wake`]; everything it
//! remembers is in [`State`], which is `Copy`. Same inputs, same bits out.
use shm_layout::AXES_MAX;
use shm_layout::state::AxisState;

use crate::events::Events;
use crate::guard::{self, Guard};
use crate::motion::next::Motion;
use crate::ports::{Bus, Commands, Feedback, Intake, Lanes, Stage, Stopwatch, Wake};
use crate::setup::Setup;
use crate::{control, limit, motion, record};

/// Everything the island remembers.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Number of the next pass.
    pub cycle: u64,
    /// What may happen.
    pub guard: Guard,
    /// What moves.
    pub motion: Motion,
    /// What changed in this cycle.
    pub events: Events,
    /// What the buses said last.
    pub feedback: Feedback,
    /// What the lanes brought in this cycle.
    pub intake: Intake,
    /// What was sent last.
    pub commands: Commands,
    /// Targets in drive counts, as the buses sent them; for the record only.
    pub target_counts: [i32; AXES_MAX],
    /// Axes of the record published last; written only, nothing is decided by it.
    pub published: [AxisState; AXES_MAX],
}

impl State {
    /// The state before the first cycle.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cycle: 0,
            guard: Guard::new(),
            motion: Motion::new(),
            events: Events::new(),
            feedback: Feedback::EMPTY,
            intake: Intake::empty(),
            commands: Commands::EMPTY,
            target_counts: [0; AXES_MAX],
            published: [AxisState::zeroed(); AXES_MAX],
        }
    }

    /// Whether the daemon may end: it was asked to and torque is off.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.guard.has_ended()
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs one cycle: bus.receive → lanes.take → guard.judge → motion.next → control.output →
/// limit.enforce → bus.send → lanes.publish.
pub fn cycle(
    setup: &Setup,
    state: &mut State,
    wake: &Wake,
    bus: &mut impl Bus,
    lanes: &mut impl Lanes,
    stopwatch: &mut impl Stopwatch,
) {
    let State { guard, motion, events, feedback, intake, commands, .. } = state;
    events.begin(state.cycle, wake.wake_ns);

    bus.receive(feedback);
    motion.compare(feedback, wake.skipped);
    motion.enforced_mask = 0;
    stopwatch.stage_ended(Stage::Receive);

    lanes.take(&motion.wanted(setup, guard), intake);
    stopwatch.stage_ended(Stage::Take);

    let judgement = guard::judge(setup, wake, feedback, intake, motion, guard, events);
    stopwatch.stage_ended(Stage::Judge);

    for _ in 0..judgement.bridged {
        let sent = motion.references;
        motion::next::bridge(setup, &judgement, guard, motion, events);
        limit::enforce(setup, feedback, &sent, guard, motion, commands, events);
        motion.delay_references();
    }
    if judgement.bridged > 0 {
        motion.find_following_errors(feedback);
    }
    let sent = motion.references;
    motion::next::next(setup, feedback, intake, &judgement, guard, motion, events);
    stopwatch.stage_ended(Stage::Motion);

    control::output(setup, state.cycle, &judgement, feedback, motion, commands);
    stopwatch.stage_ended(Stage::Control);

    limit::enforce(setup, feedback, &sent, guard, motion, commands, events);
    stopwatch.stage_ended(Stage::Limit);

    bus.send(commands, &mut state.target_counts);
    stopwatch.stage_ended(Stage::Send);

    record::publish(setup, wake, state, lanes);
    stopwatch.stage_ended(Stage::Publish);
    state.cycle = state.cycle.wrapping_add(1);
}
