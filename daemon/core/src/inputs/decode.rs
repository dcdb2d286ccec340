//! Reading a cycle from words that may be torn or hostile.
use shm_layout::knot::KnotAxis;
use shm_layout::request::Request;
use shm_layout::{AXES_MAX, KNOTS_PER_CYCLE, REQUESTS_PER_CYCLE, STAGES};

use super::{Inputs, Outcome, RECORD_MARK, Shape, WORDS_MAX};
use crate::crc::checksum;
use crate::ports::{Feedback, Intake, Wake};

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

/// Length in words of the whole record that `words` begin with; `None` when they begin with none: no
/// mark, cut off, or a bit of it is wrong.
#[must_use]
pub fn whole_record(words: &[u64]) -> Option<usize> {
    let first = *words.first()?;
    if upper(first) != RECORD_MARK {
        return None;
    }
    let length = usize::try_from(lower(first)).ok()?;
    let record = words.get(..length.min(WORDS_MAX))?;
    let (sum, covered) = record.split_last()?;
    (record.len() == length && *sum == checksum(covered)).then_some(length)
}

/// Reads one cycle; `None` when `words` are not a whole record of such a machine.
#[must_use]
pub fn decode(shape: Shape, words: &[u64]) -> Option<Inputs> {
    if whole_record(words)? != words.len() {
        return None;
    }
    let (_, covered) = words.split_last()?;
    let mut input = In { words: covered.iter() };
    input.get()?;
    let cycle = input.get()?;
    let (grid_index, grid_ns, wake_ns) = (input.get()?, input.get()?, input.get()?);
    let (skipped, counts) = input.get_pair()?;
    let mut intake = Intake::empty();
    intake.request_count = usize::try_from((counts >> 16) & 0xff).ok()?;
    intake.knot_count = usize::try_from((counts >> 8) & 0xff).ok()?;
    intake.shutdown = u64::from(counts & 1);
    intake.denied_call = u64::from((counts >> 1) & 1);
    intake.host_changed = u64::from((counts >> 2) & 1);
    if intake.request_count > REQUESTS_PER_CYCLE || intake.knot_count > KNOTS_PER_CYCLE {
        return None;
    }
    let feedback = decode_feedback(shape, &mut input)?;
    decode_intake(shape, &mut input, &mut intake)?;
    let outcome = decode_outcome(shape, &mut input)?;
    let wake = Wake { grid_index, grid_ns, wake_ns, skipped };
    let inputs = Inputs { cycle, wake, feedback, intake, outcome };
    input.words.as_slice().is_empty().then_some(inputs)
}

fn decode_outcome(shape: Shape, input: &mut In<'_>) -> Option<Outcome> {
    let (phase, verdict) = input.get_pair()?;
    let (reason, reason_axis) = input.get_pair()?;
    let tau_s = input.get_f64()?;
    let mut stage_end_ns = [0; STAGES];
    let (pairs, _) = stage_end_ns.as_chunks_mut::<2>();
    for pair in pairs {
        let (first, second) = input.get_pair()?;
        *pair = [first, second];
    }
    let digest = input.get()?;
    let mut positions = [0.0; AXES_MAX];
    for position in positions.iter_mut().take(shape.axis_count) {
        *position = input.get_f64()?;
    }
    Some(Outcome { phase, verdict, reason, reason_axis, tau_s, stage_end_ns, digest, positions })
}

fn decode_feedback(shape: Shape, input: &mut In<'_>) -> Option<Feedback> {
    let mut feedback = Feedback::EMPTY;
    for axis in feedback.axes.iter_mut().take(shape.axis_count) {
        axis.position = input.get_f64()?;
        axis.velocity = input.get_f64()?;
        axis.torque = input.get_f64()?;
        let (age_cycles, words) = input.get_pair()?;
        (axis.age_cycles, (axis.statusword, axis.error_code)) = (age_cycles, halves(words));
    }
    for bus in feedback.buses.iter_mut().take(shape.bus_count) {
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

fn decode_intake(shape: Shape, input: &mut In<'_>, intake: &mut Intake) -> Option<()> {
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
        for axis in knot.axes.iter_mut().take(shape.axis_count) {
            for word in &mut axis_words {
                *word = input.get()?;
            }
            *axis = KnotAxis::from_words(&axis_words);
        }
    }
    Some(())
}
