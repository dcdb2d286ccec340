//! Between reading and writing: pages of encoded records in a bounded queue. The reading side never
//! waits; what finds no room is counted and named in a gap marker. No file is touched here.
use crate::clock::UnixOffset;
use crate::convert::{Machine, event_message, health_message, incident_message};
use crate::encode::StateEncoder;
use crate::schema::{Topic, message};
use crate::tally::{Counts, Tally, add};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::incident::Incident;
use shm_layout::state::{AxisState, StateHeader};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Encoded bytes after which a page is handed to the writer.
const PAGE_BYTES: usize = 64 * 1024;
/// Age at which a page is handed over however little it holds: well inside the writer's flush
/// interval, so that both together stay below the promised 250 ms.
const PAGE_AGE: Duration = Duration::from_millis(50);
/// What the queue holds at least, as time: longer than any disk stall that is not a fault.
const QUEUE_S: u64 = 4;
/// Pages a queue has whatever the rate: `QUEUE_S` of pages that leave by age.
const PAGES_MIN: u64 = 80;
/// Pages a queue has at most (128 MiB), whatever the rate and however many axes.
const PAGES_MAX: u64 = 2048;

/// One encoded record of a page.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Topic it belongs to.
    pub topic: Topic,
    /// Cycle or event sequence; 0 for topics without numbers.
    pub number: u64,
    /// Log time on the UNIX time scale.
    pub log_ns: u64,
    /// End of its bytes within the page.
    end: usize,
}

/// Records of one machine, encoded, in the order in which they were read.
#[derive(Debug)]
pub struct Page {
    /// The machine all of them come from.
    pub machine: Arc<Machine>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Page {
    fn new(machine: Arc<Machine>) -> Self {
        Self { machine, entries: Vec::new(), bytes: Vec::with_capacity(PAGE_BYTES * 5 / 4) }
    }

    /// Its records in order, each with its bytes.
    pub fn records(&self) -> impl Iterator<Item = (Entry, &[u8])> {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end));
        self.entries
            .iter()
            .zip(starts)
            .map(|(entry, start)| (*entry, self.bytes.get(start..entry.end).unwrap_or_default()))
    }

    fn push(&mut self, topic: Topic, number: u64, log_ns: u64, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.entries.push(Entry { topic, number, log_ns, end: self.bytes.len() });
    }
}

/// The writer's end of the queue.
#[derive(Debug)]
pub struct Outlet {
    /// Full pages, oldest first; closed when reading has ended.
    pub pages: Receiver<Page>,
    /// Takes written pages back, so that no page is allocated twice.
    pub spare: Sender<Page>,
}

/// Follows the numbers of one topic and keeps the account of what is missing.
#[derive(Debug, Default)]
struct Follower {
    next: Option<u64>,
    first_missing: Option<u64>,
    never_received: u64,
    queue_full: u64,
}

impl Follower {
    /// Notes that `number` has been read; false when it was read before.
    fn sees(&mut self, number: u64, counts: &Counts) -> bool {
        if let Some(next) = self.next {
            let Some(skipped) = number.checked_sub(next) else { return false };
            if skipped > 0 {
                self.first_missing.get_or_insert(next);
                self.never_received += skipped;
                add(&counts.never_received, skipped);
            }
        }
        self.next = Some(number.saturating_add(1));
        true
    }

    /// Notes that `number` found no room.
    fn drops(&mut self, number: u64, counts: &Counts) {
        self.first_missing.get_or_insert(number);
        self.queue_full += 1;
        add(&counts.queue_full, 1);
    }

    /// The gap before `number`, once.
    fn take_gap(&mut self, topic: Topic, number: u64, daemon_id: u64) -> Option<message::Gap> {
        let number_first = self.first_missing.take()?;
        Some(message::Gap {
            topic: topic.name().into(),
            number_first,
            number_last: number.saturating_sub(1),
            never_received: std::mem::take(&mut self.never_received),
            queue_full: std::mem::take(&mut self.queue_full),
            disk_failed: 0,
            daemon_id,
        })
    }
}

/// The reading side of the queue.
pub struct Inlet {
    pages: SyncSender<Page>,
    spare: Receiver<Page>,
    page: Page,
    page_begun: Instant,
    machine: Arc<Machine>,
    encoder: StateEncoder,
    offset: UnixOffset,
    tally: Arc<Tally>,
    state: Follower,
    events: Follower,
}

impl Inlet {
    /// A queue for records of `machine` that holds at least four seconds of them.
    #[must_use]
    pub fn new(machine: Machine, offset: UnixOffset, tally: Arc<Tally>) -> (Self, Outlet) {
        let per_record = 700 + 150 * machine.axes.len() as u64;
        let per_second = 1_000_000_000 / machine.header.period_ns.max(1);
        let bytes = per_record.saturating_mul(per_second).saturating_mul(QUEUE_S);
        let count = bytes.div_ceil(PAGE_BYTES as u64).clamp(PAGES_MIN, PAGES_MAX);
        Self::with_pages(machine, offset, tally, usize::try_from(count).unwrap_or(1))
    }

    /// A queue of `count` pages (1 and more); the page being filled comes on top.
    #[must_use]
    pub fn with_pages(
        machine: Machine,
        offset: UnixOffset,
        tally: Arc<Tally>,
        count: usize,
    ) -> (Self, Outlet) {
        let machine = Arc::new(machine);
        let (pages, outlet_pages) = sync_channel(count);
        let (outlet_spare, spare) = channel();
        let inlet = Self {
            pages,
            spare,
            page: Page::new(Arc::clone(&machine)),
            page_begun: Instant::now(),
            encoder: StateEncoder::new(&machine.axes),
            machine,
            offset,
            tally,
            state: Follower::default(),
            events: Follower::default(),
        };
        (inlet, Outlet { pages: outlet_pages, spare: outlet_spare })
    }

    /// The machine whose records are being taken.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// From here on records come from this machine, or from another life of its daemon: numbers
    /// begin anew.
    pub fn change_machine(&mut self, machine: Machine) {
        if machine.header.daemon_id != self.machine.header.daemon_id {
            self.state = Follower::default();
            self.events = Follower::default();
        }
        self.encoder = StateEncoder::new(&machine.axes);
        self.machine = Arc::new(machine);
    }

    /// Takes one cycle.
    pub fn state(&mut self, header: &StateHeader, axes: &[AxisState]) {
        if !self.state.sees(header.cycle, &self.tally.state) {
            return;
        }
        if !self.make_room() {
            self.state.drops(header.cycle, &self.tally.state);
            return;
        }
        let log_ns = self.offset.unix_ns(header.wake_ns);
        let gap = self.state.take_gap(Topic::State, header.cycle, header.daemon_id);
        self.gap(gap, log_ns);
        let Self { page, encoder, .. } = self;
        page.push(Topic::State, header.cycle, log_ns, |out| encoder.encode(header, axes, out));
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        if !self.events.sees(event.sequence, &self.tally.events) {
            return;
        }
        if !self.make_room() {
            self.events.drops(event.sequence, &self.tally.events);
            return;
        }
        let log_ns = self.offset.unix_ns(event.wake_ns);
        let daemon_id = self.machine.header.daemon_id;
        let gap = self.events.take_gap(Topic::Events, event.sequence, daemon_id);
        self.gap(gap, log_ns);
        let message = event_message(event, daemon_id, &self.machine);
        self.page.push(Topic::Events, event.sequence, log_ns, |out| append(&message, out));
    }

    /// Takes one incident; without room it is dropped. Its number tells a reader of the recording.
    pub fn incident(&mut self, incident: &Incident) {
        if self.make_room() {
            let log_ns = self.offset.unix_ns(incident.wake_ns);
            let message = incident_message(incident, self.machine.header.daemon_id);
            self.page.push(Topic::Incidents, 0, log_ns, |out| append(&message, out));
        }
    }

    /// Takes the loop's counters; without room they are dropped, the next ones hold the same sums.
    pub fn health(&mut self, health: &Health) {
        if self.make_room() {
            let log_ns = self.offset.unix_ns(health.sampled_ns);
            let message = health_message(health);
            self.page.push(Topic::Health, 0, log_ns, |out| append(&message, out));
        }
    }

    /// Hands over a page that has waited long enough. To be called at least every 50 ms.
    pub fn tick(&mut self) {
        if !self.page.entries.is_empty() && self.page_begun.elapsed() >= PAGE_AGE {
            self.hand_over();
        }
    }

    /// Hands over the last page, waiting for room, and closes the queue.
    pub fn finish(self) {
        if !self.page.entries.is_empty() {
            // Fails only when the writer is gone, and it says itself why.
            let _ = self.pages.send(self.page);
        }
    }

    fn gap(&mut self, gap: Option<message::Gap>, log_ns: u64) {
        if let Some(gap) = gap {
            self.page.push(Topic::Gaps, 0, log_ns, |out| append(&gap, out));
        }
    }

    /// True when the page takes another record: it has space and is of the present machine.
    fn make_room(&mut self) -> bool {
        let fits =
            self.page.bytes.len() < PAGE_BYTES && Arc::ptr_eq(&self.page.machine, &self.machine);
        let ready = fits || self.hand_over();
        if ready && self.page.entries.is_empty() {
            self.page_begun = Instant::now();
        }
        ready
    }

    /// Passes the page on and begins another; false when the queue is full.
    fn hand_over(&mut self) -> bool {
        let mut next =
            self.spare.try_recv().unwrap_or_else(|_| Page::new(Arc::clone(&self.machine)));
        next.machine = Arc::clone(&self.machine);
        next.entries.clear();
        next.bytes.clear();
        if self.page.entries.is_empty() {
            self.page = next;
            return true;
        }
        match self.pages.try_send(std::mem::replace(&mut self.page, next)) {
            Ok(()) => true,
            Err(TrySendError::Full(page) | TrySendError::Disconnected(page)) => {
                self.page = page;
                false
            }
        }
    }
}

fn append(message: &impl prost::Message, out: &mut Vec<u8>) {
    out.extend_from_slice(&message.encode_to_vec());
}
