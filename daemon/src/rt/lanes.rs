//! The loop's ends of the lanes: copies out and in, a bounded number of words per cycle.
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kadenz_lanes::{BroadcastReader, BroadcastWriter, MailboxReader, Read, Ticket};
use servo_core::ports::{Intake, Lanes, RawKnot, SourceBrief, Wanted};
use shm_layout::event::Event;
use shm_layout::knot::{KnotAxis, KnotBatchHeader, row_words};
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{
    AXES_MAX, KNOTS_PER_BATCH_MAX, KNOTS_PER_CYCLE, LAYOUT_HASH, REQUESTS_PER_CYCLE, SOURCES_MAX,
    STAGES,
};

/// Words of a batch header before its path times: all that a brief needs.
const BRIEF_WORDS: usize = core::mem::offset_of!(KnotBatchHeader, tau_s) / 8;

/// What the mainland tells the loop: one wish, and what only the mainland can read of the loop's thread.
#[derive(Debug, Default)]
pub struct Wish {
    shutdown: AtomicBool,
    host_changed: AtomicBool,
    page_faults: AtomicU32,
    involuntary_switches: AtomicU32,
}

impl Wish {
    /// Nothing wished, nothing read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shutdown: AtomicBool::new(false),
            host_changed: AtomicBool::new(false),
            page_faults: AtomicU32::new(0),
            involuntary_switches: AtomicU32::new(0),
        }
    }
    /// Asks the loop to stop on the path, take torque off and end.
    pub fn shut_down(&self) {
        // ORDERING: relaxed, the bit stands for itself and is read every cycle.
        self.shutdown.store(true, Ordering::Relaxed);
    }
    /// Tells the loop that the host is not the one that was judged: an enable takes an acknowledgement.
    pub fn tell_host_changed(&self) {
        // ORDERING: relaxed, the bit stands for itself and is read every cycle.
        self.host_changed.store(true, Ordering::Relaxed);
    }
    /// Tells what the loop's thread has suffered since its loop began, for the state record.
    pub fn tell_suffered(&self, page_faults: u32, involuntary_switches: u32) {
        // ORDERING: relaxed, two numbers that stand for themselves.
        self.page_faults.store(page_faults, Ordering::Relaxed);
        // ORDERING: relaxed, as above.
        self.involuntary_switches.store(involuntary_switches, Ordering::Relaxed);
    }
    fn is_shutdown(&self) -> bool {
        // ORDERING: relaxed, as above.
        self.shutdown.load(Ordering::Relaxed)
    }
    fn is_host_changed(&self) -> bool {
        // ORDERING: relaxed, as above.
        self.host_changed.load(Ordering::Relaxed)
    }
    fn suffered(&self) -> (u32, u32) {
        // ORDERING: relaxed, as above.
        let page_faults = self.page_faults.load(Ordering::Relaxed);
        // ORDERING: relaxed, as above.
        (page_faults, self.involuntary_switches.load(Ordering::Relaxed))
    }
}

/// What the loop's thread counted about itself before this pass, for the state record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnCounts {
    /// System calls since the loop began.
    pub system_calls: u64,
    /// Calls outside the list, refused by the kernel.
    pub denied_calls: u32,
    /// Heap allocations.
    pub allocations: u32,
    /// Passes that published after the next grid point.
    pub overruns: u32,
}

/// One source's mailbox, and what its newest batch said.
struct Mailbox {
    reader: MailboxReader<'static>,
    ticket: Option<Ticket>,
    brief: SourceBrief,
}

/// All lane ends of the RT thread.
pub struct LaneEnds {
    states: BroadcastWriter<'static>,
    events: BroadcastWriter<'static>,
    mailboxes: [Mailbox; SOURCES_MAX],
    requests: BroadcastReader<'static>,
    wish: &'static Wish,
    axis_count: usize,
    /// Stage ends of the previous pass, for the record.
    pub stage_end_ns: [u32; STAGES],
    /// What the thread counted before this pass.
    pub counts: OwnCounts,
    /// Whether a call was denied since the last pass: an input of the cycle.
    pub was_denied: bool,
}

impl LaneEnds {
    /// Takes the ends; the memory behind them lives as long as the process.
    #[must_use]
    pub fn new(
        states: BroadcastWriter<'static>,
        events: BroadcastWriter<'static>,
        mailboxes: [MailboxReader<'static>; SOURCES_MAX],
        requests: BroadcastReader<'static>,
        wish: &'static Wish,
        axis_count: usize,
    ) -> Self {
        let mailboxes =
            mailboxes.map(|reader| Mailbox { reader, ticket: None, brief: SourceBrief::default() });
        Self {
            states,
            events,
            mailboxes,
            requests,
            wish,
            axis_count: axis_count.min(AXES_MAX),
            stage_end_ns: [0; STAGES],
            counts: OwnCounts::default(),
            was_denied: false,
        }
    }

    /// Requests lost because their ring overflowed, since start.
    #[must_use]
    pub const fn requests_lost(&self) -> u64 {
        self.requests.lost()
    }

    /// Mailbox reads given up because the writer overtook them, since start.
    #[must_use]
    pub fn overtaken(&self) -> u64 {
        self.mailboxes
            .iter()
            .map(|one| one.reader.overtaken().saturating_add(one.reader.torn()))
            .fold(0, u64::saturating_add)
    }

    fn take_requests(&mut self, intake: &mut Intake) {
        intake.request_count = 0;
        let mut words = [0u64; Request::WORDS];
        // BOUND: one look per place in the intake; a look may find a loss instead of a request.
        for _ in 0..REQUESTS_PER_CYCLE {
            match self.requests.read_next(&mut words) {
                Read::Record { words: Request::WORDS, .. } => {
                    if let Some(slot) = intake.requests.get_mut(intake.request_count) {
                        *slot = Request::from_words(&words);
                        intake.request_count += 1;
                    }
                }
                Read::Record { .. } | Read::Lost { .. } => {}
                Read::Empty => break,
            }
        }
    }
}

impl Mailbox {
    fn look(&mut self) {
        let Some(ticket) = self.reader.latest() else { return };
        let mut head = [0u64; BRIEF_WORDS];
        if !self.reader.read_at(ticket, 0, &mut head) {
            return;
        }
        let mut whole = [0u64; KnotBatchHeader::WORDS];
        for (to, from) in whole.iter_mut().zip(&head) {
            *to = *from;
        }
        let header = KnotBatchHeader::from_words(&whole);
        self.ticket = Some(ticket);
        self.brief = SourceBrief {
            source_id: header.source_id,
            heartbeat: header.heartbeat,
            path_id: header.path_id,
            first_index: header.first_index,
            trace_id: header.trace_id,
            knot_count: header.knot_count,
            axis_count: header.axis_count,
            last_is_final: header.last_is_final,
            foreign: u16::from(header.layout_hash != LAYOUT_HASH),
        };
    }

    /// Copies the knots that are wanted; gives how many.
    fn take_knots(
        &mut self,
        wanted: &Wanted,
        axis_count: usize,
        knots: &mut [RawKnot; KNOTS_PER_CYCLE],
    ) -> usize {
        let (Some(ticket), Some(first)) = (self.ticket, self.first_wanted(wanted, axis_count))
        else {
            return 0;
        };
        let available = usize::from(self.brief.knot_count).min(KNOTS_PER_BATCH_MAX);
        let mut row = [0u64; AXES_MAX * KnotAxis::WORDS];
        let Some(row) = row.get_mut(..row_words(axis_count)) else { return 0 };
        let mut taken = 0;
        for (slot, place) in knots.iter_mut().take(wanted.room).zip(first..available) {
            let mut tau = [0u64; 1];
            let row_at = KnotBatchHeader::WORDS + place * row_words(axis_count);
            if !self.reader.read_at(ticket, BRIEF_WORDS + place, &mut tau)
                || !self.reader.read_at(ticket, row_at, row)
            {
                // Overtaken: the next batch holds the same knots.
                self.ticket = None;
                break;
            }
            slot.index = self.brief.first_index.wrapping_add(place as u64);
            slot.tau_s = f64::from_bits(tau[0]);
            for (axis, words) in slot.axes.iter_mut().zip(row.chunks_exact(KnotAxis::WORDS)) {
                if let Some(knot) = KnotAxis::from_slice(words) {
                    *axis = knot;
                }
            }
            taken += 1;
        }
        taken
    }

    /// Place of the first wanted knot in the newest batch.
    fn first_wanted(&self, wanted: &Wanted, axis_count: usize) -> Option<usize> {
        let brief = &self.brief;
        if brief.foreign != 0
            || usize::from(brief.axis_count) != axis_count
            || brief.path_id == wanted.past_path_id
        {
            return None;
        }
        match wanted.path_id {
            0 => (brief.first_index == 0).then_some(0),
            path_id if path_id == brief.path_id => {
                usize::try_from(wanted.next_index.checked_sub(brief.first_index)?).ok()
            }
            _ => None,
        }
    }
}

impl Lanes for LaneEnds {
    fn take(&mut self, wanted: &Wanted, intake: &mut Intake) {
        intake.shutdown = u64::from(self.wish.is_shutdown());
        intake.denied_call = u64::from(self.was_denied);
        intake.host_changed = u64::from(self.wish.is_host_changed());
        self.take_requests(intake);
        for (mailbox, brief) in self.mailboxes.iter_mut().zip(&mut intake.sources) {
            mailbox.look();
            *brief = mailbox.brief;
        }
        intake.knot_count = match wanted.slot.and_then(|slot| self.mailboxes.get_mut(slot)) {
            Some(mailbox) => mailbox.take_knots(wanted, self.axis_count, &mut intake.knots),
            None => 0,
        };
    }

    fn publish(&mut self, header: &StateHeader, axes: &[AxisState], events: &[Event]) {
        let mut header = *header;
        header.stage_end_ns = self.stage_end_ns;
        header.system_calls = self.counts.system_calls;
        header.denied_calls = self.counts.denied_calls;
        header.allocations = self.counts.allocations;
        header.overruns = self.counts.overruns;
        (header.page_faults, header.involuntary_switches) = self.wish.suffered();
        self.states.publish(&[header.as_words(), AxisState::slice_as_words(axes)]);
        for event in events {
            self.events.publish(&[event.as_words()]);
        }
    }
}
