//! One cycle as 64-bit words: what came in, and what the island made of it; written by the flight recorder,
//! read by replay and by whoever looks into a recording.
//!
//! Layout: `mark and length, cycle, grid_index, grid_ns, wake_ns, counts`, then per axis 4 words, per bus
//! 2, digital and analogue inputs, requests, sources' briefs, knots; then the outcome: codes, path time,
//! stage times, the digest, and a position per axis; last two CRC-32C over all words before it. Every reader
//! must stand any bits: a ring may be torn and a file hostile.
mod encode;
mod decode;

pub use decode::{decode, whole_record};
pub use encode::encode;

use shm_layout::event::Event;
use shm_layout::knot::KnotAxis;
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{
    ANALOGUE_CHANNELS, AXES_MAX, BUSES_MAX, DIGITAL_WORDS, KNOTS_PER_CYCLE, REQUESTS_PER_CYCLE,
    SOURCES_MAX, STAGES,
};

use crate::cycle::State;
use crate::ports::{Bus, Commands, Feedback, Intake, Lanes, RawKnot, Wake, Wanted};
use crate::record;
use crate::setup::Setup;

/// Version of this layout. A reader refuses another.
pub const FORMAT_VERSION: u64 = 1;
/// Upper half of a record's first word; the lower half is its length in words.
pub const RECORD_MARK: u32 = u32::from_le_bytes(*b"KDZc");

const HEAD_WORDS: usize = 6;
const AXIS_WORDS: usize = 4;
const BUS_WORDS: usize = 2;
const BRIEF_WORDS: usize = 6;
/// Codes, path time, stage times, digest; positions follow.
const OUTCOME_WORDS: usize = 3 + STAGES / 2 + 1;
const CRC_WORDS: usize = 1;

/// Words of the largest record of any machine.
pub const WORDS_MAX: usize = Shape { axis_count: AXES_MAX, bus_count: BUSES_MAX }.words_max();

/// How many axes and buses the records of a machine tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Axes, 0 ..= `AXES_MAX`.
    pub axis_count: usize,
    /// Buses, 0 ..= `BUSES_MAX`.
    pub bus_count: usize,
}

impl Shape {
    /// The shape of this machine's records.
    #[must_use]
    pub const fn of(setup: &Setup) -> Self {
        Self { axis_count: setup.axis_count, bus_count: setup.bus_count }
    }

    /// Words of the largest record of this shape; counts beyond the contract's are taken as its limits.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "small constants times bounded counts")]
    pub const fn words_max(self) -> usize {
        let axes = if self.axis_count < AXES_MAX { self.axis_count } else { AXES_MAX };
        let buses = if self.bus_count < BUSES_MAX { self.bus_count } else { BUSES_MAX };
        HEAD_WORDS
            + axes * AXIS_WORDS
            + buses * BUS_WORDS
            + DIGITAL_WORDS
            + ANALOGUE_CHANNELS
            + REQUESTS_PER_CYCLE * Request::WORDS
            + SOURCES_MAX * BRIEF_WORDS
            + KNOTS_PER_CYCLE * (2 + axes * KnotAxis::WORDS)
            + OUTCOME_WORDS
            + axes
            + CRC_WORDS
    }
}

/// What the island made of a cycle's inputs. For people and for comparison: replay works it out again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// `Phase` code.
    pub phase: u32,
    /// `Verdict` code.
    pub verdict: u32,
    /// `Reason` code of a latched stop or a hold; 0 when there is none.
    pub reason: u32,
    /// Axis the reason names, `u32::MAX` for none.
    pub reason_axis: u32,
    /// Path time, s.
    pub tau_s: f64,
    /// End of each stage after wake, ns.
    pub stage_end_ns: [u32; STAGES],
    /// `record::digest` after the cycle.
    pub digest: u64,
    /// Position sent to each axis, rad or m.
    pub positions: [f64; AXES_MAX],
}

impl Outcome {
    /// The outcome of the cycle that led to `state`.
    #[must_use]
    pub fn of(setup: &Setup, state: &State, stage_end_ns: [u32; STAGES]) -> Self {
        let (verdict, reason) = state.guard.verdict();
        let mut positions = [0.0; AXES_MAX];
        for (slot, axis) in positions.iter_mut().zip(&state.commands.axes).take(setup.axis_count) {
            *slot = axis.position;
        }
        Self {
            phase: state.guard.phase.code(),
            verdict: verdict.code(),
            reason: reason.code(),
            reason_axis: state.guard.reason_axis,
            tau_s: state.motion.rate.tau_s(),
            stage_end_ns,
            digest: record::digest(setup, state),
            positions,
        }
    }
}

/// One cycle to be written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Number of the cycle.
    pub cycle: u64,
    /// Time.
    pub wake: &'a Wake,
    /// Buses.
    pub feedback: &'a Feedback,
    /// Lanes.
    pub intake: &'a Intake,
    /// What was made of it.
    pub outcome: &'a Outcome,
}

impl<'a> Entry<'a> {
    /// The cycle that led to `state`.
    #[must_use]
    pub const fn of(state: &'a State, wake: &'a Wake, outcome: &'a Outcome) -> Self {
        let State { cycle, feedback, intake, .. } = state;
        // The state already carries the number of the next pass.
        Self { cycle: cycle.wrapping_sub(1), wake, feedback, intake, outcome }
    }
}

/// One cycle as read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// Number of the cycle.
    pub cycle: u64,
    /// Time.
    pub wake: Wake,
    /// Buses.
    pub feedback: Feedback,
    /// Lanes.
    pub intake: Intake,
    /// What was made of it.
    pub outcome: Outcome,
}

impl Inputs {
    /// The same, to be written again.
    #[must_use]
    pub const fn entry(&self) -> Entry<'_> {
        let Self { cycle, wake, feedback, intake, outcome } = self;
        Entry { cycle: *cycle, wake, feedback, intake, outcome }
    }
}

/// Ports that bring recorded inputs: replay.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// The inputs of the cycle to run.
    pub inputs: &'a Inputs,
}

impl Bus for Replay<'_> {
    fn receive(&mut self, feedback: &mut Feedback) {
        *feedback = self.inputs.feedback;
    }
    fn send(&mut self, _commands: &Commands, _target_counts: &mut [i32; AXES_MAX]) {}
}

impl Lanes for Replay<'_> {
    fn take(&mut self, _wanted: &Wanted, intake: &mut Intake) {
        *intake = self.inputs.intake;
    }
    fn publish(&mut self, _header: &StateHeader, _axes: &[AxisState], _events: &[Event]) {}
}

const _: () = assert!(core::mem::size_of::<RawKnot>() == 16 + AXES_MAX * 32, "no hidden state");
const _: () = assert!(STAGES.is_multiple_of(2), "stage times are packed in pairs");
