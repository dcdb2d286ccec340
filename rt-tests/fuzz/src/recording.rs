//! Recorded inputs that are torn or hostile: refused, or read as inputs that write back as themselves; and
//! whatever they say, what the island commands stays finite.

use std::sync::LazyLock;

use servo_core::inputs::{Inputs, Replay, WORDS_MAX, decode, encode};
use servo_core::ports::{Feedback, Intake, NoStopwatch, Wake};
use servo_core::setup::Setup;
use servo_core::{State, cycle};
use shm_layout::{KNOTS_PER_CYCLE, REQUESTS_PER_CYCLE};

use crate::island;
use crate::script::Script;

static SETUP: LazyLock<Setup> = LazyLock::new(|| island::setup(&island::machine()));

/// A right record after the script's changes.
fn record(script: &mut Script<'_>) -> Vec<u64> {
    let mut intake = Intake::empty();
    intake.request_count = script.below(REQUESTS_PER_CYCLE + 1);
    intake.knot_count = script.below(KNOTS_PER_CYCLE + 1);
    let wake = Wake { grid_index: 1, grid_ns: 1_000_000, wake_ns: 1_000_100, skipped: 0 };
    let mut words = vec![0; WORDS_MAX];
    let length = encode(&SETUP, &wake, &Feedback::EMPTY, &intake, 7, &mut words);
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
    words
}

fn encoded(inputs: &Inputs) -> Vec<u64> {
    let Inputs { wake, feedback, intake, digest } = inputs;
    let mut words = vec![0; WORDS_MAX];
    let length = encode(&SETUP, wake, feedback, intake, *digest, &mut words);
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
    // BOUND: records of one script; a recording goes on from cycle to cycle.
    for _ in 0..4 {
        let Some(inputs) = decode(&SETUP, &record(&mut script)) else { continue };
        let words = encoded(&inputs);
        let again = decode(&SETUP, &words).expect("what was written is read");
        assert_eq!(encoded(&again), words);
        let mut replay = Replay { inputs: &inputs };
        cycle(&SETUP, &mut state, &inputs.wake, &mut replay.clone(), &mut replay, &mut NoStopwatch);
        for axis in &state.commands.axes {
            let numbers = [axis.position, axis.velocity, axis.torque];
            assert!(numbers.iter().all(|number| number.is_finite()), "{axis:?}");
        }
    }
}

/// A reader that believes the length that a record begins with.
///
/// # Panics
/// When it is cut off.
pub fn planted(bytes: &[u8]) {
    let words = record(&mut Script::new(bytes));
    let length = words.first().copied().unwrap_or(0) as usize;
    let digest = words[..length].last().copied().unwrap_or(0);
    assert!(digest != u64::MAX);
}
