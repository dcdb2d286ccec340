//! The island on a simulated shore: the shipped bus, lanes and grid code, heap memory instead of
//! memfds, virtual time instead of a clock. Nobody acts here and nothing is judged.
use std::sync::atomic::Ordering;

use anyhow::Context;
use kadenz_config::Machine;
use kadenz_lanes::{
    BroadcastReader, BroadcastWriter, MailboxReader, MailboxWriter, Read, RingGeometry, View, Word,
};
use kadenzd::boot::machine as described;
use kadenzd::rt::bus_sim::SimBus;
use kadenzd::rt::grid::Grid;
use kadenzd::rt::lanes::{LaneEnds, Wish};
use servo_core::ports::{NoStopwatch, Wake};
use servo_core::setup::Setup;
use servo_core::{State, cycle};
use servo_sim::{Plant, Txpdo};
use shm_layout::event::Event;
use shm_layout::knot::batch_words_max;
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{AXES_MAX, EVENT_RING, REQUEST_RING, SOURCES_MAX, STATE_RING};

/// When the first grid point lies, ns: some time after the host's start, as in life.
const ORIGIN_NS: u64 = 3_000_000_000;
/// Number of this life of the daemon; any number but 0.
const DAEMON_ID: u64 = 0x5eed_da3a;

/// What the island published in one cycle, as a client sees it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Header of the state record.
    pub header: StateHeader,
    /// One per axis.
    pub axes: Vec<AxisState>,
    /// Events of the cycle.
    pub events: Vec<Event>,
}

/// How one pass is timed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// From the grid point to the wake-up, ns.
    pub latency_ns: u64,
    /// From the wake-up to the end of the pass, ns; a stall when it is longer than a period.
    pub busy_ns: u64,
}

/// Inbound memory, as whoever holds a gateway's lanes may write it.
#[derive(Clone, Copy)]
pub struct Inbound {
    /// One mailbox per source slot.
    pub mailboxes: [&'static [Word]; SOURCES_MAX],
    /// The ring of requests.
    pub requests: &'static [Word],
    axis_count: usize,
}

impl Inbound {
    /// The writing end of a source's mailbox.
    ///
    /// # Errors
    /// Never with the sizes of the contract.
    pub fn mailbox_writer(&self, slot: usize) -> anyhow::Result<MailboxWriter<'static>> {
        Ok(MailboxWriter::new(self.mailboxes[slot], batch_words_max(self.axis_count))?)
    }

    /// The writing end of the request ring.
    ///
    /// # Errors
    /// Never with the sizes of the contract.
    pub fn request_writer(&self) -> anyhow::Result<BroadcastWriter<'static>> {
        Ok(BroadcastWriter::new(self.requests, request_geometry()?)?)
    }
}

/// One machine with its island.
pub struct Island {
    /// The machine.
    pub machine: Machine,
    /// The machine as the island knows it.
    pub setup: Setup,
    /// All the island remembers.
    pub state: Box<State>,
    /// The plant, to break and mend.
    pub bus: SimBus,
    /// What actors write.
    pub inbound: Inbound,
    /// Wake of the last pass.
    pub wake: Wake,
    ends: LaneEnds,
    wish: &'static Wish,
    states: BroadcastReader<'static>,
    events: BroadcastReader<'static>,
    words: Vec<u64>,
    grid: Grid,
    index: u64,
    skipped: u32,
    now_ns: u64,
}

fn memory(words: usize) -> &'static [Word] {
    // Leaked: the lane ends of the RT thread live as long as the process, in life and here.
    Vec::leak((0..words).map(|_| Word::new(0)).collect())
}

fn request_geometry() -> anyhow::Result<RingGeometry> {
    Ok(RingGeometry::new(REQUEST_RING, Request::WORDS)?)
}

/// The lanes of one island, to be used again by the next: memory of lanes is never given back.
#[derive(Clone, Copy)]
pub struct LaneMemory {
    inbound: Inbound,
    states: &'static [Word],
    events: &'static [Word],
}

impl LaneMemory {
    /// Empty lanes for `axis_count` axes.
    ///
    /// # Errors
    /// More axes than the contract holds.
    pub fn new(axis_count: usize) -> anyhow::Result<Self> {
        let mailbox_words = RingGeometry::mailbox(batch_words_max(axis_count))?.words();
        Ok(Self {
            inbound: Inbound {
                mailboxes: std::array::from_fn(|_| memory(mailbox_words)),
                requests: memory(request_geometry()?.words()),
                axis_count,
            },
            states: memory(RingGeometry::new(STATE_RING, state_words(axis_count))?.words()),
            events: memory(RingGeometry::new(EVENT_RING, Event::WORDS)?.words()),
        })
    }

    fn clear(&self) {
        let lanes = [self.inbound.requests, self.states, self.events];
        for word in self.inbound.mailboxes.into_iter().chain(lanes).flatten() {
            // ORDERING: relaxed, one thread has it all.
            word.store(0, Ordering::Relaxed);
        }
    }
}

const fn state_words(axis_count: usize) -> usize {
    StateHeader::WORDS + axis_count * AxisState::WORDS
}

impl Island {
    /// The island of `machine` before its first cycle, on lanes of its own.
    ///
    /// # Errors
    /// A plant that is not plausible.
    pub fn new(machine: Machine) -> anyhow::Result<Self> {
        let lanes = LaneMemory::new(machine.axes.len())?;
        Self::on(lanes, machine)
    }

    /// The island of `machine` before its first cycle, on lanes whose last island is gone: they are
    /// emptied first.
    ///
    /// # Errors
    /// A plant that is not plausible, or lanes for another number of axes.
    pub fn on(lanes: LaneMemory, machine: Machine) -> anyhow::Result<Self> {
        let setup = described::setup(&machine, DAEMON_ID);
        let axis_count = setup.axis_count;
        lanes.clear();
        let LaneMemory { inbound, states, events } = lanes;
        let state_words = state_words(axis_count);
        let (state_ring, event_ring) = (
            RingGeometry::new(STATE_RING, state_words)?,
            RingGeometry::new(EVENT_RING, Event::WORDS)?,
        );
        let mut readers = Vec::new();
        for words in inbound.mailboxes {
            readers.push(MailboxReader::new(View::new(words), batch_words_max(axis_count))?);
        }
        let wish: &'static Wish = Box::leak(Box::new(Wish::new()));
        let ends = LaneEnds::new(
            BroadcastWriter::new(states, state_ring)?,
            BroadcastWriter::new(events, event_ring)?,
            readers.try_into().map_err(|_| anyhow::anyhow!("one mailbox per source slot"))?,
            BroadcastReader::new(View::new(inbound.requests), request_geometry()?)?,
            wish,
            axis_count,
        );
        Ok(Self {
            bus: SimBus::new(&machine).map_err(|error| anyhow::anyhow!("{error}"))?,
            machine,
            setup,
            state: Box::new(State::new()),
            inbound,
            wake: Wake::default(),
            ends,
            wish,
            states: BroadcastReader::new(View::new(states), state_ring)?,
            events: BroadcastReader::new(View::new(events), event_ring)?,
            words: vec![0; state_words],
            grid: Grid::new(ORIGIN_NS, setup.period_ns),
            index: 0,
            skipped: 0,
            now_ns: 0,
        })
    }

    /// Asks the daemon to end.
    pub fn shut_down(&self) {
        self.wish.shut_down();
    }

    /// One pass of the loop at its next grid point; gives what it published.
    ///
    /// # Errors
    /// Nothing was published, which the lanes rule out.
    pub fn pass(&mut self, pace: Pace) -> anyhow::Result<Record> {
        let grid_ns = self.grid.due_ns(self.index);
        let wake_ns = grid_ns.max(self.now_ns) + pace.latency_ns;
        let passed_over = self.grid.passed_over(self.index, wake_ns);
        self.index += passed_over;
        let skipped = self.skipped + u32::try_from(passed_over)?;
        let wake = Wake { grid_index: self.index, grid_ns, wake_ns, skipped };
        self.wake = wake;
        miss_frames(self.bus.plant_mut(), skipped, self.setup.period_s());
        cycle(&self.setup, &mut self.state, &wake, &mut self.bus, &mut self.ends, &mut NoStopwatch);
        self.now_ns = wake_ns + pace.busy_ns;
        let next = self.grid.after(self.index, wake_ns, self.now_ns);
        self.skipped = u32::try_from(next - self.index - 1)?;
        self.index = next;
        self.published()
    }

    fn published(&mut self) -> anyhow::Result<Record> {
        let Read::Record { .. } = self.states.read_next(&mut self.words) else {
            anyhow::bail!("a cycle published no state");
        };
        let header = StateHeader::from_slice(&self.words).context("a state record is cut off")?;
        let axes = self.words[StateHeader::WORDS..]
            .chunks_exact(AxisState::WORDS)
            .filter_map(AxisState::from_slice)
            .collect();
        let mut events = Vec::new();
        let mut words = [0; Event::WORDS];
        while let Read::Record { .. } = self.events.read_next(&mut words) {
            events.push(Event::from_words(&words));
        }
        Ok(Record { header, axes, events })
    }
}

/// A cycle that is skipped sends no frame: drives bridge it or trip, as real ones do.
fn miss_frames(plant: &mut Plant, count: u32, period_s: f64) {
    let mut unread = [Txpdo::default(); AXES_MAX];
    for _ in 0..count {
        plant.exchange(&[], false, &mut unread, period_s);
    }
}
