//! Replays a recording through the island and compares every cycle's digest, bit for bit.
use std::path::Path;

use anyhow::{Context, bail};
use kadenz_config::Machine;
use kadenz_recorder::Recording;
use servo_core::inputs::Replay;
use servo_core::ports::{Intake, Lanes, NoStopwatch, Wanted};
use servo_core::setup::Setup;
use servo_core::{State, cycle, record};
use shm_layout::event::Event;
use shm_layout::state::{AxisState, StateHeader};

use super::machine::setup;

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

/// Replays the recording at `path`: a saved file, or a ring that still holds the first cycle.
///
/// # Errors
/// The file is no recording of this build, or cycles are missing at its beginning or in between: place and
/// reason.
pub fn replay(path: &Path) -> anyhow::Result<Replayed> {
    let recording = Recording::read(path).with_context(|| path.display().to_string())?;
    run(&recording, |_| {}).with_context(|| path.display().to_string())
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
    replay_seen(bytes, |seen| observe(seen.header, seen.axes))
}

/// One replayed cycle: what came in, and what was made of it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The machine as the island was told it.
    pub setup: &'a Setup,
    /// What the lanes had brought.
    pub intake: &'a Intake,
    /// Header of the state record.
    pub header: &'a StateHeader,
    /// Its axes.
    pub axes: &'a [AxisState],
    /// Events of the cycle.
    pub events: &'a [Event],
}

/// As [`replay_bytes`]; `observe` is shown inputs and outcome of every cycle.
///
/// # Errors
/// As [`replay`].
pub fn replay_seen(bytes: &[u8], observe: impl FnMut(&Seen<'_>)) -> anyhow::Result<Replayed> {
    run(&Recording::from_bytes(bytes)?, observe)
}

fn run(recording: &Recording, mut observe: impl FnMut(&Seen<'_>)) -> anyhow::Result<Replayed> {
    let header = recording.header();
    let machine = Machine::from_toml("the recording's configuration", &header.config)?;
    let setup = setup(&machine, header.daemon_id);
    let mut state = Box::new(State::new());
    let torn_bytes = recording.tail_bytes();
    let mut outcome = Replayed { cycles: 0, diverged_at: None, torn_bytes };
    for (number, inputs) in recording.cycles() {
        // Every cycle builds on the one before: beyond a gap nothing can be said.
        if number != outcome.cycles {
            let missing = outcome.cycles;
            bail!(
                "cycle {missing} is not whole, the next that is has number {number}; replay needs every cycle \
                 from 0 on, and got as far as {missing} cycles (first divergence: {:?})",
                outcome.diverged_at
            );
        }
        let inputs = inputs
            .with_context(|| format!("cycle {number}: the record is none of this machine"))?;
        let wake = inputs.wake;
        let mut bus = Replay { inputs: &inputs };
        let replay = Replay { inputs: &inputs };
        let mut lanes = Observed { setup: &setup, replay, observe: &mut observe };
        cycle(&setup, &mut state, &wake, &mut bus, &mut lanes, &mut NoStopwatch);
        if record::digest(&setup, &state) != inputs.outcome.digest && outcome.diverged_at.is_none()
        {
            outcome.diverged_at = Some(number);
        }
        outcome.cycles += 1;
    }
    Ok(outcome)
}

/// Recorded lanes whose publications are shown to an observer.
struct Observed<'a, F> {
    setup: &'a Setup,
    replay: Replay<'a>,
    observe: &'a mut F,
}

impl<F: FnMut(&Seen<'_>)> Lanes for Observed<'_, F> {
    fn take(&mut self, wanted: &Wanted, intake: &mut Intake) {
        self.replay.take(wanted, intake);
    }
    fn publish(&mut self, header: &StateHeader, axes: &[AxisState], events: &[Event]) {
        let intake = &self.replay.inputs.intake;
        (self.observe)(&Seen { setup: self.setup, intake, header, axes, events });
    }
}
