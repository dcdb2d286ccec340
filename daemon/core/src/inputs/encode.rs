//! Writing a cycle: called once per cycle on the RT thread, a store per word and the checksum.
use super::{Entry, Outcome, RECORD_MARK, Shape};
use crate::crc::checksum;
use crate::ports::{Feedback, Intake};

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

const fn join(high: u16, low: u16) -> u32 {
    ((high as u32) << 16) | low as u32
}
fn count_word(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

/// Writes one cycle into `words`; gives the length, or `None` when it does not fit.
pub fn encode(shape: Shape, entry: &Entry<'_>, words: &mut [u64]) -> Option<usize> {
    let Entry { cycle, wake, feedback, intake, outcome } = *entry;
    let mut out = Out { words, length: 0 };
    out.put(0);
    out.put(cycle);
    out.put(wake.grid_index);
    out.put(wake.grid_ns);
    out.put(wake.wake_ns);
    let counts = (count_word(intake.request_count) << 16)
        | (count_word(intake.knot_count) << 8)
        | (u32::from(intake.host_changed != 0) << 2)
        | (u32::from(intake.denied_call != 0) << 1)
        | u32::from(intake.shutdown != 0);
    out.put_pair(wake.skipped, counts);
    encode_feedback(shape, feedback, &mut out);
    encode_intake(shape, intake, &mut out);
    encode_outcome(shape, outcome, &mut out);
    let length = out.length;
    let mark = (u64::from(RECORD_MARK) << 32) | u64::from(count_word(length.wrapping_add(1)));
    *words.first_mut()? = mark;
    let sum = checksum(words.get(..length)?);
    *words.get_mut(length)? = sum;
    Some(length.wrapping_add(1))
}

fn encode_feedback(shape: Shape, feedback: &Feedback, out: &mut Out<'_>) {
    for axis in feedback.axes.iter().take(shape.axis_count) {
        out.put_f64(axis.position);
        out.put_f64(axis.velocity);
        out.put_f64(axis.torque);
        out.put_pair(axis.age_cycles, join(axis.statusword, axis.error_code));
    }
    for bus in feedback.buses.iter().take(shape.bus_count) {
        out.put(bus.frames_lost);
        out.put_pair(bus.lost_in_row, join(bus.wkc_actual, bus.wkc_expected));
    }
    feedback.digital_inputs.iter().for_each(|word| out.put(*word));
    feedback.analogue_inputs.iter().for_each(|value| out.put_f64(*value));
}

fn encode_intake(shape: Shape, intake: &Intake, out: &mut Out<'_>) {
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
        for axis in knot.axes.iter().take(shape.axis_count) {
            axis.as_words().iter().for_each(|word| out.put(*word));
        }
    }
}

fn encode_outcome(shape: Shape, outcome: &Outcome, out: &mut Out<'_>) {
    out.put_pair(outcome.phase, outcome.verdict);
    out.put_pair(outcome.reason, outcome.reason_axis);
    out.put_f64(outcome.tau_s);
    let (pairs, _) = outcome.stage_end_ns.as_chunks::<2>();
    pairs.iter().for_each(|[first, second]| out.put_pair(*first, *second));
    out.put(outcome.digest);
    outcome.positions.iter().take(shape.axis_count).for_each(|value| out.put_f64(*value));
}
