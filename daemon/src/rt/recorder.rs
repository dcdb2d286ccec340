//! The flight recorder's near end: each cycle, what came in and what became of it, into a ring on tmpfs,
//! never waiting.
use kadenz_lanes::BroadcastWriter;
use servo_core::State;
use servo_core::inputs::{Entry, Outcome, Shape, WORDS_MAX, encode};
use servo_core::ports::Wake;
use servo_core::setup::Setup;
use shm_layout::STAGES;

/// Writes cycles into the ring. The ring overwrites its oldest; the saver counts what it lost.
pub struct FlightRecorder {
    ring: BroadcastWriter<'static>,
    words: Box<[u64; WORDS_MAX]>,
}

impl FlightRecorder {
    /// Records into `ring`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "made before the loop runs")]
    pub fn new(ring: BroadcastWriter<'static>) -> Self {
        Self { ring, words: Box::new([0; WORDS_MAX]) }
    }

    /// Records the cycle that led to `state`.
    pub fn record(
        &mut self,
        setup: &Setup,
        state: &State,
        wake: &Wake,
        stage_end_ns: [u32; STAGES],
    ) {
        let outcome = Outcome::of(setup, state, stage_end_ns);
        let words = self.words.as_mut_slice();
        let entry = Entry::of(state, wake, &outcome);
        if let Some(record) =
            encode(Shape::of(setup), &entry, words).and_then(|length| words.get(..length))
        {
            self.ring.publish(&[record]);
        }
    }

    /// Records that did not fit their slot.
    #[must_use]
    pub const fn drops(&self) -> u64 {
        self.ring.refused()
    }
}
