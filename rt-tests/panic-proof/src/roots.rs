//! The roots of the proof: one function per thing the RT thread does in a cycle, each with opaque
//! arguments. Nothing here is called; what matters is what the linker finds behind it.

use kadenz_lanes::{BroadcastReader, BroadcastWriter, GaugeWriter, MailboxReader, Read, Ticket};
use servo_core::inputs::{self, Entry, Inputs, Outcome, Shape};
use servo_core::ports::{Bus, Commands, Feedback, Intake, Stopwatch, Wake, Wanted};
use servo_core::setup::Setup;
use servo_core::{State, cycle};
use servo_sim::{Plant, Rxpdo, Txpdo};
use shm_layout::{AXES_MAX, STAGES};

use crate::lanes::LaneEnds;

/// A bus that does the least: the simulated exchange is a root of its own, and every real bus will
/// be one beside it.
pub struct Wires {
    feedback: Feedback,
    commands: Commands,
}

impl Bus for Wires {
    fn receive(&mut self, feedback: &mut Feedback) {
        *feedback = self.feedback;
    }
    fn send(&mut self, commands: &Commands, _target_counts: &mut [i32; AXES_MAX]) {
        self.commands = *commands;
    }
}

/// The whole cycle, up to 64 axes, with the lane ends that kadenzd ships.
pub fn island_cycle(
    setup: &Setup,
    state: &mut State,
    wake: &Wake,
    bus: &mut Wires,
    lanes: &mut LaneEnds,
    stopwatch: &mut Stamps,
) {
    cycle(setup, state, wake, bus, lanes, stopwatch);
}

/// A stopwatch that keeps the order of the stages, so that the calls are not optimised away.
pub struct Stamps {
    stages: u64,
}

impl Stopwatch for Stamps {
    fn stage_ended(&mut self, stage: servo_core::ports::Stage) {
        self.stages = self.stages.rotate_left(8) ^ stage as u64;
    }
}

/// A cycle as the flight recorder writes it: outcome, digest, inputs, checksum.
pub fn record_inputs(
    setup: &Setup,
    wake: &Wake,
    state: &State,
    stage_end_ns: [u32; STAGES],
    words: &mut [u64],
) -> Option<usize> {
    let outcome = Outcome::of(setup, state, stage_end_ns);
    inputs::encode(Shape::of(setup), &Entry::of(state, wake, &outcome), words)
}

/// Replay's way back from words that may be torn or hostile.
pub fn decode_inputs(shape: Shape, words: &[u64], into: &mut Option<Inputs>) {
    *into = inputs::decode(shape, words);
}

/// One bus cycle of 64 simulated drives.
pub fn simulated_exchange(
    plant: &mut Plant,
    rx: &[Rxpdo],
    delivered: bool,
    tx: &mut [Txpdo],
    period_s: f64,
) {
    plant.exchange(rx, delivered, tx, period_s);
}

/// What the loop takes from its lanes, whatever stands in them.
pub fn take_from_lanes(lanes: &mut LaneEnds, wanted: &Wanted, intake: &mut Intake) -> u64 {
    servo_core::ports::Lanes::take(lanes, wanted, intake);
    lanes.overtaken() ^ lanes.requests_lost()
}

/// A ring's writing end.
pub fn publish_in_order(writer: &mut BroadcastWriter<'_>, parts: &[&[u64]]) {
    writer.publish(parts);
}

/// A ring's reading end, in order.
pub fn read_in_order(reader: &mut BroadcastReader<'_>, out: &mut [u64]) -> Read {
    reader.read_next(out)
}

/// A ring's reading end, newest only.
pub fn read_newest(reader: &mut BroadcastReader<'_>, out: &mut [u64]) -> Read {
    reader.newest(out)
}

/// A mailbox's taking end, part by part.
pub fn take_from_mailbox(
    mailbox: &mut MailboxReader<'_>,
    start: usize,
    out: &mut [u64],
) -> Option<Ticket> {
    let ticket = mailbox.latest()?;
    mailbox.read_at(ticket, start, out).then_some(ticket)
}

/// A gauge, also one that does not exist.
pub fn store_gauge(gauges: &mut GaugeWriter<'_>, index: usize, value: u64) {
    gauges.set(index, value);
    gauges.add(index, value);
}

/// The planted defect: an index nobody checked.
#[cfg(feature = "seeded-defect")]
#[expect(clippy::indexing_slicing, reason = "this is the panic that the linker must find")]
pub fn seeded_defect(values: &[u64], index: usize) -> u64 {
    values[index]
}
