//! Which source is followed: the lease. Classes (standby, shadow) grow here.
use shm_layout::SOURCES_MAX;
use shm_layout::code::{EventKind, Reason};

use super::Guard;
use crate::events::Events;
use crate::motion::next::Motion;
use crate::ports::{Intake, Wake};
use crate::setup::Setup;

/// The source that holds the lease, and what was last heard of every mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Mailbox of the source; `None` until one was heard.
    pub slot: Option<usize>,
    /// Its life (`KnotBatchHeader::source_id`); 0 when none.
    pub id: u64,
    /// Grows each time the lease changes hands: what an old holder sends no longer counts.
    pub generation: u64,
    /// Heard within the lease.
    pub alive: bool,
    /// When it was last heard, CLOCK_MONOTONIC.
    pub heard_ns: u64,
    /// Took the lease in this cycle.
    is_new: bool,
    heartbeats: [(u64, u64); SOURCES_MAX],
}

impl Source {
    /// Nobody heard yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slot: None,
            id: 0,
            generation: 0,
            alive: false,
            heard_ns: 0,
            is_new: false,
            heartbeats: [(0, 0); SOURCES_MAX],
        }
    }

    /// Whether this cycle's knots count. Those of a source gone silent do not: what a dead planner left
    /// in its mailbox must not begin to move at the next enable. Those at hand when the lease changes
    /// hands are still of the mailbox that was followed before.
    #[must_use]
    pub const fn gives_knots(&self) -> bool {
        self.alive && !self.is_new
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn hear(
    setup: &Setup,
    wake: &Wake,
    intake: &Intake,
    motion: &Motion,
    guard: &mut Guard,
    events: &mut Events,
) {
    let was_alive = guard.source.alive;
    let candidate = listen(wake, intake, &mut guard.source);
    let source = &mut guard.source;
    source.alive =
        source.slot.is_some() && wake.wake_ns.saturating_sub(source.heard_ns) <= setup.lease_ns;
    source.is_new = false;
    if let (false, Some((slot, id))) = (source.alive, candidate) {
        let is_other = id != source.id;
        source.slot = Some(slot);
        source.heard_ns = wake.wake_ns;
        source.alive = true;
        source.is_new = true;
        if is_other {
            source.id = id;
            source.generation = source.generation.wrapping_add(1);
            // A path half done belongs to the one who began it: going on is a person's decision.
            if motion.has_path() && !motion.is_complete() {
                hold_for_a_person(guard);
            }
        }
    }
    if guard.source.alive != was_alive {
        events.push(EventKind::SourceChanged, u32::from(guard.source.alive), 0);
    }
    if !guard.source.alive && motion.is_stranded() {
        hold_for_a_person(guard);
    }
}

/// Holds until a person says `resume`. A rest after a gap, which ends by itself, does not stand in for it.
fn hold_for_a_person(guard: &mut Guard) {
    if guard.hold.is_none_or(|reason| reason == Reason::CyclesMissed) {
        guard.hold = Some(Reason::SourceSilent);
    }
}

/// Notes who was heard in this cycle; gives a source that could take a free lease.
fn listen(wake: &Wake, intake: &Intake, source: &mut Source) -> Option<(usize, u64)> {
    let mut candidate = None;
    for (slot, (brief, last)) in intake.sources.iter().zip(&mut source.heartbeats).enumerate() {
        let now = (brief.source_id, brief.heartbeat);
        if brief.source_id == 0 || brief.foreign != 0 || now == *last {
            continue;
        }
        *last = now;
        if source.slot == Some(slot) && source.id == brief.source_id {
            source.heard_ns = wake.wake_ns;
        }
        if candidate.is_none() {
            candidate = Some((slot, brief.source_id));
        }
    }
    candidate
}
