//! The inputs of one cycle as 64-bit words: written by the flight recorder, read by replay.
//!
//! Layout: `length, grid_index, grid_ns, wake_ns, counts`, then per axis 4 words, per bus 2, digital
//! and analogue inputs, requests, sources' briefs, knots, and the digest of what the island made of
//! it. Every reader must stand any bits: a file may be torn or hostile.
use shm_layout::knot::KnotAxis;
use shm_layout::request::Request;
use shm_layout::{
    ANALOGUE_CHANNELS, AXES_MAX, BUSES_MAX, DIGITAL_WORDS, KNOTS_PER_CYCLE, REQUESTS_PER_CYCLE,
    SOURCES_MAX,
};

use crate::ports::{Bus, Commands, Feedback, Intake, Lanes, RawKnot, Wake, Wanted};
use crate::setup::Setup;
use shm_layout::event::Event;
use shm_layout::state::{AxisState, StateHeader};

const HEAD_WORDS: usize = 5;
const AXIS_WORDS: usize = 4;
const BUS_WORDS: usize = 2;
const BRIEF_WORDS: usize = 6;

/// Words of the largest record.
pub const WORDS_MAX: usize = HEAD_WORDS
    + AXES_MAX * AXIS_WORDS
    + BUSES_MAX * BUS_WORDS
    + DIGITAL_WORDS
    + ANALOGUE_CHANNELS
    + REQUESTS_PER_CYCLE * Request::WORDS
    + SOURCES_MAX * BRIEF_WORDS
    + KNOTS_PER_CYCLE * (2 + AXES_MAX * KnotAxis::WORDS)
    + 1;

struct Out<'a> {
    words: &'a mut [u64],
    length: usize,
}

impl Out<'_> {
    fn put(&mut self, word: u64) {
        if let Some(slot) = self.words.get_mut(self.length) {
            *slot = word;
        }
        self.length = self.length.saturating_add(1);
    }
    fn put_f64(&mut self, value: f64) {
        self.put(value.to_bits());
    }
    fn put_pair(&mut self, high: u32, low: u32) {
        self.put((u64::from(high) << 32) | u64::from(low));
    }
}

struct In<'a> {
    words: core::slice::Iter<'a, u64>,
}

impl In<'_> {
    fn get(&mut self) -> Option<u64> {
        self.words.next().copied()
    }
    fn get_f64(&mut self) -> Option<f64> {
        self.get().map(f64::from_bits)
    }
    fn get_pair(&mut self) -> Option<(u32, u32)> {
        let word = self.get()?;
        Some((upper(word), lower(word)))
    }
}

const fn upper(word: u64) -> u32 {
    (word >> 32) as u32
}
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
const fn lower(word: u64) -> u32 {
    word as u32
}
#[expect(clippy::cast_possible_truncation, reason = "one half of a packed pair")]
const fn halves(word: u32) -> (u16, u16) {
    ((word >> 16) as u16, word as u16)
}
const fn join(high: u16, low: u16) -> u32 {
    ((high as u32) << 16) | low as u32
}
fn count_word(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

/// One cycle's inputs, and the digest of what was made of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// Time.
    pub wake: Wake,
    /// Buses.
    pub feedback: Feedback,
    /// Lanes.
    pub intake: Intake,
    /// `record::digest` after the cycle.
    pub digest: u64,
}

/// Writes one cycle's inputs into `words`; gives the length, or `None` when they do not fit.
pub fn encode(
    setup: &Setup,
    wake: &Wake,
    feedback: &Feedback,
    intake: &Intake,
    digest: u64,
    words: &mut [u64],
) -> Option<usize> {
    let mut out = Out { words, length: 0 };
    out.put(0);
    out.put(wake.grid_index);
    out.put(wake.grid_ns);
    out.put(wake.wake_ns);
    let counts = (count_word(intake.request_count) << 16)
        | (count_word(intake.knot_count) << 8)
        | (u32::from(intake.denied_call != 0) << 1)
        | u32::from(intake.shutdown != 0);
    out.put_pair(wake.skipped, counts);
    for axis in feedback.axes.iter().take(setup.axis_count) {
        out.put_f64(axis.position);
        out.put_f64(axis.velocity);
        out.put_f64(axis.torque);
        out.put_pair(axis.age_cycles, join(axis.statusword, axis.error_code));
    }
    for bus in feedback.buses.iter().take(setup.bus_count) {
        out.put(bus.frames_lost);
        out.put_pair(bus.lost_in_row, join(bus.wkc_actual, bus.wkc_expected));
    }
    feedback.digital_inputs.iter().for_each(|word| out.put(*word));
    feedback.analogue_inputs.iter().for_each(|value| out.put_f64(*value));
    for request in intake.requests.iter().take(intake.request_count) {
        request.as_words().iter().for_each(|word| out.put(*word));
    }
    for brief in &intake.sources {
        out.put(brief.source_id);
        out.put(brief.heartbeat);
        out.put(brief.path_id);
        out.put(brief.first_index);
        out.put(brief.trace_id);
        out.put_pair(
            join(brief.knot_count, brief.axis_count),
            join(brief.last_is_final, brief.foreign),
        );
    }
    for knot in intake.knots.iter().take(intake.knot_count) {
        out.put(knot.index);
        out.put_f64(knot.tau_s);
        for axis in knot.axes.iter().take(setup.axis_count) {
            axis.as_words().iter().for_each(|word| out.put(*word));
        }
    }
    out.put(digest);
    let length = out.length;
    *words.first_mut()? = u64::try_from(length).ok()?;
    (length <= words.len()).then_some(length)
}

/// Reads one cycle's inputs; `None` when the words are not such a record.
#[must_use]
pub fn decode(setup: &Setup, words: &[u64]) -> Option<Inputs> {
    let mut input = In { words: words.iter() };
    if usize::try_from(input.get()?).ok()? != words.len() {
        return None;
    }
    let (grid_index, grid_ns, wake_ns) = (input.get()?, input.get()?, input.get()?);
    let (skipped, counts) = input.get_pair()?;
    let mut intake = Intake::empty();
    intake.request_count = usize::try_from((counts >> 16) & 0xff).ok()?;
    intake.knot_count = usize::try_from((counts >> 8) & 0xff).ok()?;
    intake.shutdown = u64::from(counts & 1);
    intake.denied_call = u64::from((counts >> 1) & 1);
    if intake.request_count > REQUESTS_PER_CYCLE || intake.knot_count > KNOTS_PER_CYCLE {
        return None;
    }
    let feedback = decode_feedback(setup, &mut input)?;
    decode_intake(setup, &mut input, &mut intake)?;
    let digest = input.get()?;
    let wake = Wake { grid_index, grid_ns, wake_ns, skipped };
    input.words.as_slice().is_empty().then_some(Inputs { wake, feedback, intake, digest })
}

fn decode_feedback(setup: &Setup, input: &mut In<'_>) -> Option<Feedback> {
    let mut feedback = Feedback::EMPTY;
    for axis in feedback.axes.iter_mut().take(setup.axis_count) {
        axis.position = input.get_f64()?;
        axis.velocity = input.get_f64()?;
        axis.torque = input.get_f64()?;
        let (age_cycles, words) = input.get_pair()?;
        (axis.age_cycles, (axis.statusword, axis.error_code)) = (age_cycles, halves(words));
    }
    for bus in feedback.buses.iter_mut().take(setup.bus_count) {
        bus.frames_lost = input.get()?;
        let (lost_in_row, counters) = input.get_pair()?;
        (bus.lost_in_row, (bus.wkc_actual, bus.wkc_expected)) = (lost_in_row, halves(counters));
    }
    for word in &mut feedback.digital_inputs {
        *word = input.get()?;
    }
    for value in &mut feedback.analogue_inputs {
        *value = input.get_f64()?;
    }
    Some(feedback)
}

fn decode_intake(setup: &Setup, input: &mut In<'_>, intake: &mut Intake) -> Option<()> {
    let mut request_words = [0u64; Request::WORDS];
    for request in intake.requests.iter_mut().take(intake.request_count) {
        for word in &mut request_words {
            *word = input.get()?;
        }
        *request = Request::from_words(&request_words);
    }
    for brief in &mut intake.sources {
        brief.source_id = input.get()?;
        brief.heartbeat = input.get()?;
        brief.path_id = input.get()?;
        brief.first_index = input.get()?;
        brief.trace_id = input.get()?;
        let (counts, marks) = input.get_pair()?;
        (brief.knot_count, brief.axis_count) = halves(counts);
        (brief.last_is_final, brief.foreign) = halves(marks);
    }
    let mut axis_words = [0u64; KnotAxis::WORDS];
    for knot in intake.knots.iter_mut().take(intake.knot_count) {
        knot.index = input.get()?;
        knot.tau_s = input.get_f64()?;
        for axis in knot.axes.iter_mut().take(setup.axis_count) {
            for word in &mut axis_words {
                *word = input.get()?;
            }
            *axis = KnotAxis::from_words(&axis_words);
        }
    }
    Some(())
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
