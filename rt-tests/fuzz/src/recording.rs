//! Recorded inputs that are torn or hostile: refused, or read as inputs that write back as themselves; and
//! whatever they say, what the island commands stays finite.

use std::sync::LazyLock;

use kadenzd::boot::recorder::header;
use kadenzd::boot::replay::replay_bytes;
use servo_core::crc::checksum;
use servo_core::inputs::{
    Entry, Inputs, Outcome, RECORD_MARK, Replay, Shape, WORDS_MAX, decode, encode, whole_record,
};
use servo_core::ports::{Feedback, Intake, NoStopwatch, Wake};
use servo_core::setup::Setup;
use servo_core::{State, cycle};
use shm_layout::{KNOTS_PER_CYCLE, REQUESTS_PER_CYCLE, STAGES};

use crate::island;
use crate::script::Script;

/// The machine that recorded.
struct Recorded {
    setup: Setup,
    shape: Shape,
    /// What its files begin with.
    header: Vec<u64>,
}

static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    let machine = island::machine();
    let setup = island::setup(&machine);
    let header = header(&machine, &setup).to_words().to_vec();
    Recorded { setup, shape: Shape::of(&setup), header }
});

/// A right record after the script's changes; most of them with a checksum that fits again.
fn record(script: &mut Script<'_>) -> Vec<u64> {
    let mut intake = Intake::empty();
    intake.request_count = script.below(REQUESTS_PER_CYCLE + 1);
    intake.knot_count = script.below(KNOTS_PER_CYCLE + 1);
    let wake = Wake { grid_index: 1, grid_ns: 1_000_000, wake_ns: 1_000_100, skipped: 0 };
    let outcome = Outcome::of(&RECORDED.setup, &State::new(), [0; STAGES]);
    let entry = Entry {
        cycle: 0,
        wake: &wake,
        feedback: &Feedback::EMPTY,
        intake: &intake,
        outcome: &outcome,
    };
    let mut words = vec![0; WORDS_MAX];
    let length = encode(RECORDED.shape, &entry, &mut words);
    words.truncate(length.expect("the largest record fits"));
    for _ in 0..script.below(20) {
        let place = script.below(words.len());
        words[place] =
            if script.byte() & 1 == 0 { script.word() } else { script.awkward().to_bits() };
    }
    match script.byte() {
        0 => words.truncate(script.below(words.len())),
        1 => words.extend((0..script.below(9)).map(|word| word as u64)),
        _ => {}
    }
    if script.byte() < 240 {
        seal(&mut words);
    }
    words
}

/// Mark, length and checksum, as somebody who knows the format writes them.
fn seal(words: &mut [u64]) {
    let length = words.len() as u64;
    if let Some(first) = words.first_mut() {
        *first = (u64::from(RECORD_MARK) << 32) | length;
    }
    if let Some((crc, covered)) = words.split_last_mut() {
        *crc = checksum(covered);
    }
}

fn encoded(inputs: &Inputs) -> Vec<u64> {
    let mut words = vec![0; WORDS_MAX];
    let length = encode(RECORDED.shape, &inputs.entry(), &mut words);
    words.truncate(length.expect("what was read fits"));
    words
}

/// What ships.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut state = State::new();
    let mut file = RECORDED.header.clone();
    // BOUND: records of one script; a recording goes on from cycle to cycle.
    for _ in 0..4 {
        let words = record(&mut script);
        file.extend(&words);
        let length = whole_record(&words);
        assert!(length.is_none_or(|length| (1..=words.len()).contains(&length)));
        let Some(inputs) = decode(RECORDED.shape, &words) else { continue };
        let words = encoded(&inputs);
        let again = decode(RECORDED.shape, &words).expect("what was written is read");
        assert_eq!(encoded(&again), words);
        let mut replay = Replay { inputs: &inputs };
        let (bus, wake) = (&mut replay.clone(), &inputs.wake);
        cycle(&RECORDED.setup, &mut state, wake, bus, &mut replay, &mut NoStopwatch);
        for axis in &state.commands.axes {
            let numbers = [axis.position, axis.velocity, axis.torque];
            assert!(numbers.iter().all(|number| number.is_finite()), "{axis:?}");
        }
    }
    if script.byte() & 7 == 0 {
        let bytes: Vec<u8> = file.iter().flat_map(|word| word.to_le_bytes()).collect();
        if let Err(refused) = replay_bytes(&bytes) {
            assert!(!refused.to_string().is_empty());
        }
    }
}

/// A reader that believes the counts that stand in a record.
///
/// # Panics
/// When they are more than there is room for.
pub fn planted(bytes: &[u8]) {
    let words = record(&mut Script::new(bytes));
    let counts = words.get(5).copied().unwrap_or(0);
    let requests = [0; REQUESTS_PER_CYCLE];
    let taken = requests[..(counts >> 16) as usize & 0xff].len();
    assert!(taken <= REQUESTS_PER_CYCLE);
}
