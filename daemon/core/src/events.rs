//! The events of one cycle: a short queue that is published with the record and then empty.
use shm_layout::AXES_MAX;
use shm_layout::code::EventKind;
use shm_layout::event::Event;
use shm_layout::state::NO_AXIS;

/// Events one cycle can hold: one per axis, when all drives change at once, and some for the machine.
const EVENTS_PER_CYCLE: usize = AXES_MAX + 24;

/// What changed in this cycle.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    queue: [Event; EVENTS_PER_CYCLE],
    length: usize,
    sequence: u64,
    cycle: u64,
    wake_ns: u64,
    path_id: u64,
    trace_id: u64,
}

impl Events {
    /// No events yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: [Event::zeroed(); EVENTS_PER_CYCLE],
            length: 0,
            sequence: 0,
            cycle: 0,
            wake_ns: 0,
            path_id: 0,
            trace_id: 0,
        }
    }

    /// A new cycle begins: the queue is empty again.
    pub fn begin(&mut self, cycle: u64, wake_ns: u64) {
        self.length = 0;
        self.cycle = cycle;
        self.wake_ns = wake_ns;
    }

    /// The path and the story that following events belong to.
    pub fn about(&mut self, path_id: u64, trace_id: u64) {
        self.path_id = path_id;
        self.trace_id = trace_id;
    }

    /// Records a change that is about no axis.
    pub fn push(&mut self, kind: EventKind, code: u32, detail: u32) {
        self.push_full(kind, NO_AXIS, code, detail, 0, [0.0; 2]);
    }

    /// Records a change with all it carries.
    pub fn push_full(
        &mut self,
        kind: EventKind,
        axis: u32,
        code: u32,
        detail: u32,
        request_id: u64,
        values: [f64; 2],
    ) {
        // The number is spent even when the queue is full, so that a reader sees the gap.
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(slot) = self.queue.get_mut(self.length) {
            *slot = Event {
                sequence,
                cycle: self.cycle,
                wake_ns: self.wake_ns,
                kind: kind.code(),
                axis,
                code,
                detail,
                request_id,
                path_id: self.path_id,
                trace_id: self.trace_id,
                values: values.map(|value| if value.is_finite() { value } else { 0.0 }),
            };
            self.length = self.length.saturating_add(1);
        }
    }

    /// Events of this cycle.
    #[must_use]
    pub fn of_this_cycle(&self) -> &[Event] {
        self.queue.get(..self.length).unwrap_or(&[])
    }

    /// Events since start.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.sequence
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}
