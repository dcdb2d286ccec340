//! Replays recorded inputs through the island and compares every cycle's digest, bit for bit.
use std::path::Path;

use anyhow::{Context, bail};
use kadenz_config::Machine;
use servo_core::inputs::{Replay, decode};
use servo_core::ports::{Intake, Lanes, NoStopwatch, Wanted};
use servo_core::{State, cycle, record};
use shm_layout::LAYOUT_HASH;
use shm_layout::event::Event;
use shm_layout::state::{AxisState, StateHeader};

use super::machine::setup;
use super::saver::MAGIC;

/// What a replay found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Cycles replayed.
    pub cycles: u64,
    /// First cycle whose digest differs.
    pub diverged_at: Option<u64>,
    /// Bytes at the end that are no whole record (a recording cut off by power loss or a kill).
    pub torn_bytes: usize,
}

/// Replays the recording at `path`.
///
/// # Errors
/// The file is no recording of this build, or a record in it is damaged: place and reason.
pub fn replay(path: &Path) -> anyhow::Result<Replayed> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    replay_bytes(&bytes).with_context(|| path.display().to_string())
}

/// Replays a recording held in memory.
///
/// # Errors
/// As [`replay`].
pub fn replay_bytes(bytes: &[u8]) -> anyhow::Result<Replayed> {
    replay_observed(bytes, |_, _| {})
}

/// As [`replay_bytes`]; `observe` is shown the state record of every cycle.
///
/// # Errors
/// As [`replay`].
pub fn replay_observed(
    bytes: &[u8],
    mut observe: impl FnMut(&StateHeader, &[AxisState]),
) -> anyhow::Result<Replayed> {
    let (words, _) = bytes.as_chunks::<8>();
    let word = |place: usize| words.get(place).map(|bytes| u64::from_le_bytes(*bytes));
    if word(0) != Some(MAGIC) {
        bail!("this is no recording of inputs (its first 8 bytes are not `KADENZRC`)");
    }
    if word(1) != Some(LAYOUT_HASH) {
        bail!(
            "recorded with contract {:#018x}, this build has {LAYOUT_HASH:#018x}; replay it with the build that recorded it",
            word(1).unwrap_or(0)
        );
    }
    let daemon_id = word(2).context("the header is cut off")?;
    let length = usize::try_from(word(3).context("the header is cut off")?)?;
    let config = bytes.get(32..).and_then(|rest| rest.get(..length));
    let config = std::str::from_utf8(config.context("the configuration is cut off")?)?;
    let machine = Machine::from_toml("the recording's configuration", config)?;
    let setup = setup(&machine, daemon_id);

    let mut rest = &bytes[32 + length..];
    let mut state = Box::new(State::new());
    let mut outcome = Replayed { cycles: 0, diverged_at: None, torn_bytes: 0 };
    while let Some(first) = rest.first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*first))?;
        let Some(record) = length.checked_mul(8).and_then(|length| rest.get(..length)) else {
            break;
        };
        let words: Vec<u64> =
            record.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let inputs = decode(&setup, &words)
            .with_context(|| format!("cycle {}: the record is damaged", outcome.cycles))?;
        let wake = inputs.wake;
        let mut bus = Replay { inputs: &inputs };
        let mut lanes = Observed { replay: Replay { inputs: &inputs }, observe: &mut observe };
        cycle(&setup, &mut state, &wake, &mut bus, &mut lanes, &mut NoStopwatch);
        if record::digest(&setup, &state) != inputs.digest && outcome.diverged_at.is_none() {
            outcome.diverged_at = Some(outcome.cycles);
        }
        outcome.cycles += 1;
        rest = &rest[record.len()..];
    }
    outcome.torn_bytes = rest.len();
    Ok(outcome)
}

/// Recorded lanes whose publications are shown to an observer.
struct Observed<'a, F> {
    replay: Replay<'a>,
    observe: &'a mut F,
}

impl<F: FnMut(&StateHeader, &[AxisState])> Lanes for Observed<'_, F> {
    fn take(&mut self, wanted: &Wanted, intake: &mut Intake) {
        self.replay.take(wanted, intake);
    }
    fn publish(&mut self, header: &StateHeader, axes: &[AxisState], _events: &[Event]) {
        (self.observe)(header, axes);
    }
}
