//! Rings and files as a daemon would have left them, made of made-up cycles.
use kadenz_lanes::{BroadcastWriter, RingGeometry, View, Word};
use kadenz_recorder::{Header, Moment};
use servo_core::inputs::{Entry, Outcome, Shape, WORDS_MAX, encode};
use servo_core::ports::{Feedback, Intake, Wake};
use shm_layout::{AXES_MAX, LAYOUT_HASH, STAGES};

/// The made-up machine's shape.
pub const SHAPE: Shape = Shape { axis_count: 3, bus_count: 1 };

/// Words of one cycle's record; every seventh brings knots and is longer.
pub fn record(cycle: u64) -> Vec<u64> {
    let mut feedback = Feedback::EMPTY;
    feedback.axes[0].position = cycle as f64 * 1e-3;
    let mut intake = Intake::empty();
    intake.knot_count = if cycle.is_multiple_of(7) { 2 } else { 0 };
    let outcome = Outcome {
        phase: 1,
        verdict: 0,
        reason: 0,
        reason_axis: u32::MAX,
        tau_s: 0.5,
        stage_end_ns: [7; STAGES],
        digest: cycle.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        positions: [0.25; AXES_MAX],
    };
    let grid_ns = 1_000_000_000 + cycle * 1_000_000;
    let wake = Wake { grid_index: cycle, grid_ns, wake_ns: grid_ns + 5_000, skipped: 0 };
    let entry =
        Entry { cycle, wake: &wake, feedback: &feedback, intake: &intake, outcome: &outcome };
    let mut words = vec![0; WORDS_MAX];
    let length = encode(SHAPE, &entry, &mut words).expect("the record fits");
    words.truncate(length);
    words
}

/// A header for saved files, or for a ring.
pub fn header(ring: Option<RingGeometry>) -> Header {
    Header {
        layout_hash: LAYOUT_HASH,
        daemon_id: 0x1234,
        period_ns: 1_000_000,
        shape: SHAPE,
        begun: Moment { boot_id: 77, realtime_ns: 1_700_000_000_000_000_000, monotonic_ns: 900 },
        ring,
        config: "[machine]\nname = \"made-up\" # µ\n".to_owned(),
    }
}

pub fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A saved file of the first `cycles` cycles.
pub fn file(cycles: u64) -> Vec<u8> {
    let mut words = header(None).to_words();
    (0..cycles).for_each(|cycle| words.extend(record(cycle)));
    bytes(&words)
}

/// The words of a ring of `slots` slots after `cycles` cycles, header included.
pub fn ring(slots: usize, cycles: u64) -> (RingGeometry, Vec<u64>) {
    let geometry = RingGeometry::new(slots, SHAPE.words_max()).expect("a ring");
    let memory: Vec<Word> = (0..geometry.words()).map(|_| Word::new(0)).collect();
    let mut writer = BroadcastWriter::new(&memory, geometry).expect("a ring");
    (0..cycles).for_each(|cycle| writer.publish(&[&record(cycle)]));
    let mut words = header(Some(geometry)).to_words();
    let mut slots = vec![0; geometry.words()];
    assert!(View::new(&memory).copy_to(0, &mut slots));
    words.extend(slots);
    (geometry, words)
}
