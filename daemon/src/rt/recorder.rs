//! The flight recorder's near end: each cycle's inputs into a ring on tmpfs, never waiting.
use kadenz_lanes::BroadcastWriter;
use servo_core::inputs::{WORDS_MAX, encode};
use servo_core::ports::{Feedback, Intake, Wake};
use servo_core::setup::Setup;

/// Writes inputs into the ring. The ring overwrites its oldest; the saver counts what it lost.
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

    /// Records the inputs of one cycle.
    pub fn record(
        &mut self,
        setup: &Setup,
        wake: &Wake,
        feedback: &Feedback,
        intake: &Intake,
        digest: u64,
    ) {
        let words = self.words.as_mut_slice();
        if let Some(record) = encode(setup, wake, feedback, intake, digest, words)
            .and_then(|length| words.get(..length))
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
