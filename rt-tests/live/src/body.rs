//! The loop's whole body in one process, without gateways or clients: the floor that the real daemon is held against.
use anyhow::Context;
use kadenz_config::Machine;
use kadenz_handover::{
    EVENT_REGION, HEALTH_REGION, INCIDENT_REGION, REQUEST_REGION, STATE_REGION, mailbox_region,
    operate_inbound_layout, outbound_layout, plan_inbound_layout,
};
use kadenz_lanes::{
    BroadcastReader, BroadcastWriter, GaugeReader, GaugeWriter, Lanes, RingGeometry, Sealing, View,
    Word,
};
use kadenzd::boot::machine::setup;
use kadenzd::rt::Loop;
use kadenzd::rt::bus_sim::SimBus;
use kadenzd::rt::lanes::{LaneEnds, Wish};
use kadenzd::rt::recorder::FlightRecorder;
use kadenzd::rt::stats::{PassNote, StageTimes, Stats};
use servo_core::State;
use servo_core::inputs::WORDS_MAX;
use shm_layout::SOURCES_MAX;

use crate::feeder::Feeder;
pub use crate::feeder::enable;

/// Notes of passes that are kept, as many as the daemon keeps.
const NOTE_SLOTS: usize = 16_384;

/// A loop in this process, its axes kept moving.
pub struct Body {
    /// The loop, with the daemon's own bus, lanes, statistics and recorder.
    pub servo: Loop<SimBus>,
    feeder: Feeder,
    wish: &'static Wish,
    outbound: Lanes,
    notes: BroadcastReader<'static>,
}

/// A body taken apart.
pub struct Parts {
    /// The loop.
    pub servo: Loop<SimBus>,
    /// What it notes of each pass.
    pub notes: BroadcastReader<'static>,
    /// For what is found out about it.
    pub mainland_gauges: GaugeWriter<'static>,
    /// Where incidents go.
    pub incidents: BroadcastWriter<'static>,
    /// Where they are read.
    pub incidents_told: BroadcastReader<'static>,
    /// Its statistics.
    pub health: GaugeReader<'static>,
    /// The same for whoever finds causes.
    pub mainland_health: GaugeReader<'static>,
    /// Where it is asked for things.
    pub requests: BroadcastWriter<'static>,
}

/// The embedded arm with its first axis repeated `axis_count` times.
///
/// # Errors
/// Never with the embedded machine.
pub fn machine_of(axis_count: usize) -> anyhow::Result<Machine> {
    let text = kadenz_config::demo("demo-arm").context("embedded machine")?;
    let mut machine = Machine::from_toml("demo-arm", text)?;
    let first = machine.axes[0].clone();
    machine.axes = (0..axis_count)
        .map(|index| kadenz_config::machine::Axis { name: format!("a{index}"), ..first.clone() })
        .collect();
    Ok(machine)
}

fn heap_ring(
    slots: usize,
    words: usize,
) -> anyhow::Result<(BroadcastWriter<'static>, BroadcastReader<'static>)> {
    let geometry = RingGeometry::new(slots, words)?;
    let memory: &'static [Word] = Vec::leak((0..geometry.words()).map(|_| Word::new(0)).collect());
    Ok((
        BroadcastWriter::new(memory, geometry)?,
        BroadcastReader::new(View::new(memory), geometry)?,
    ))
}

impl Body {
    /// Makes the loop of `machine` on real lanes; nothing runs yet.
    ///
    /// # Errors
    /// No memory for the lanes.
    pub fn new(machine: &Machine) -> anyhow::Result<Self> {
        let setup = setup(machine, 1);
        let count = setup.axis_count;
        let outbound = Lanes::create("body-out", outbound_layout(count)?, Sealing::Outbound)?;
        let plan = Lanes::create("body-plan", plan_inbound_layout(count)?, Sealing::Inbound)?;
        let operate = Lanes::create("body-op", operate_inbound_layout()?, Sealing::Inbound)?;
        // The other side's ends, as a gateway has them.
        let contract = kadenz_handover::contract();
        let plan_peer = Lanes::open("body-plan", plan.peer_fd()?, Sealing::Inbound, contract)?;
        let operate_peer = Lanes::open("body-op", operate.peer_fd()?, Sealing::Inbound, contract)?;
        let mut readers = Vec::new();
        for slot in 0..SOURCES_MAX {
            readers.push(plan.mailbox_reader(&mailbox_region(slot))?);
        }
        // Leaked: the loop may outlive whoever made it.
        let wish: &'static Wish = Box::leak(Box::new(Wish::new()));
        let ends = LaneEnds::new(
            outbound.ring_writer(STATE_REGION)?,
            outbound.ring_writer(EVENT_REGION)?,
            readers.try_into().map_err(|_| anyhow::anyhow!("mailboxes"))?,
            operate.ring_reader(REQUEST_REGION)?,
            wish,
            count,
        );
        let (notes, notes_read) = heap_ring(NOTE_SLOTS, PassNote::WORDS)?;
        let (flight, _) = heap_ring(1024, WORDS_MAX)?;
        Ok(Self {
            servo: Loop {
                setup,
                state: Box::new(State::new()),
                bus: SimBus::new(machine).map_err(|error| anyhow::anyhow!("{error:?}"))?,
                lanes: ends,
                stats: Stats::new(outbound.gauge_writer(HEALTH_REGION)?, notes, 1),
                recorder: Some(FlightRecorder::new(flight)),
                stopwatch: StageTimes::default(),
            },
            feeder: Feeder::new(
                plan_peer.mailbox_writer(&mailbox_region(0))?,
                operate_peer.ring_writer(REQUEST_REGION)?,
                outbound.ring_reader(STATE_REGION)?,
            ),
            wish,
            outbound,
            notes: notes_read,
        })
    }

    /// How the loop is asked to end.
    #[must_use]
    pub const fn wish(&self) -> &'static Wish {
        self.wish
    }

    /// Another reader of the state ring, as a gateway has one.
    ///
    /// # Errors
    /// Never with the ring this body made.
    pub fn state_reader(&self) -> anyhow::Result<BroadcastReader<'static>> {
        Ok(self.outbound.ring_reader(STATE_REGION)?)
    }

    /// Takes the loop apart for a run with another bus: the loop's parts, what breaches are judged from, and
    /// the statistics.
    ///
    /// # Errors
    /// Never with the lanes this body made.
    pub fn into_parts(self) -> anyhow::Result<Parts> {
        Ok(Parts {
            mainland_gauges: self.outbound.gauge_writer(HEALTH_REGION)?,
            health: self.outbound.gauge_reader(HEALTH_REGION)?,
            mainland_health: self.outbound.gauge_reader(HEALTH_REGION)?,
            servo: self.servo,
            requests: self.feeder.into_requests(),
            notes: self.notes,
            incidents: self.outbound.ring_writer(INCIDENT_REGION)?,
            incidents_told: self.outbound.ring_reader(INCIDENT_REGION)?,
        })
    }

    /// Asks for torque.
    pub fn enable(&mut self) {
        self.feeder.enable();
    }

    /// Posts the newest horizon of an endless slow wave; call it every few cycles, off the clock.
    pub fn feed(&mut self) {
        self.feeder.feed();
    }

    /// The loop for one thread, who keeps it moving for another, and what it notes of each pass.
    #[must_use]
    pub fn split(self) -> (Loop<SimBus>, Feeder, BroadcastReader<'static>) {
        (self.servo, self.feeder, self.notes)
    }
}
