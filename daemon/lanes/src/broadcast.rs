//! The broadcast ring: one writer that never looks back, any number of readers with private
//! cursors; used for state and events outward and, owned by the other side, requests inward.

use crate::geometry::{GeometryError, HEAD, REFUSED, RingGeometry};
use crate::slot;
use crate::word::{Ordering, View, Word, fence, word};

/// The writing end. RT thread for state and events, operate gateway for requests.
pub struct BroadcastWriter<'a> {
    words: &'a [Word],
    geometry: RingGeometry,
    published: u64,
    refused: u64,
}

impl<'a> BroadcastWriter<'a> {
    /// Takes the ring in `words` and goes on after its last complete record, so a restarted
    /// writer needs no handshake. Mainland, before the loop runs.
    ///
    /// # Errors
    /// [`GeometryError::TooSmall`] when the ring does not fit.
    pub fn new(words: &'a [Word], geometry: RingGeometry) -> Result<Self, GeometryError> {
        geometry.fits(words.len())?;
        let view = View::new(words);
        let published = view.word(HEAD).unwrap_or(0);
        let refused = view.word(REFUSED).unwrap_or(0);
        Ok(Self { words, geometry, published, refused })
    }

    /// Publishes the concatenated `parts` as one record. A record that is empty or longer than
    /// the slot is not published at all and counted. Cost: one store per word.
    pub fn publish(&mut self, parts: &[&[u64]]) {
        self.publish_with::<true>(parts);
    }

    /// The seeded defect: `publish` without its release fence, for the model checker's tests.
    #[cfg(loom)]
    pub fn publish_without_fence(&mut self, parts: &[&[u64]]) {
        self.publish_with::<false>(parts);
    }

    fn publish_with<const ORDERED: bool>(&mut self, parts: &[&[u64]]) {
        // BOUND: number of parts, fixed at the call site.
        let words = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if words == 0 || words > self.geometry.payload_words() {
            return self.refuse();
        }
        let start = self.geometry.slot_start(self.published);
        let slot = self.words.get(start..).and_then(|rest| rest.get(..self.geometry.slot_words()));
        let (Some(slot), Some(head)) = (slot, self.words.get(HEAD)) else {
            return self.refuse();
        };
        slot::write::<ORDERED>(slot, self.published, words, parts);
        self.published = self.published.wrapping_add(1);
        // ORDERING: release: who sees this head finds the record complete in its slot (or a newer
        // one).
        head.store(self.published, Ordering::Release);
    }

    fn refuse(&mut self) {
        self.refused = self.refused.wrapping_add(1);
        if let Some(word) = self.words.get(REFUSED) {
            // ORDERING: relaxed, a statistic of its own.
            word.store(self.refused, Ordering::Relaxed);
        }
    }

    /// Records published on this lane so far, by any of its writers.
    #[must_use]
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Records refused because they were empty or longer than a slot.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

/// What one look at a ring gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A whole record stands in the first `words` words of the caller's buffer.
    Record {
        /// Number of the record since the lane was made, from 0. A gap is a loss.
        sequence: u64,
        /// Its length, 1 to the ring's `payload_words`.
        words: usize,
    },
    /// Nothing newer than what this reader has seen.
    Empty,
    /// Records are gone: overwritten, damaged, or longer than the caller's buffer. The cursor
    /// stands behind them; the next call goes on. The buffer's content is unspecified.
    Lost {
        /// How many, at least 1, as far as the lane can be believed; 1 when its head went back.
        count: u64,
    },
}

/// No reader falls this far behind: 100 records every 50 µs for 6 days. A head beyond it is scribble, and
/// counting it would spoil the count of losses for good.
const BELIEVED_BEHIND_MAX: u64 = 1 << 40;

/// The reading end, on memory that may be mapped read-only and whose writer may be hostile.
/// Gateways for state and events, RT thread for requests.
///
/// Every call is one bounded step: at most one record is copied. A caller that drains in a loop
/// bounds the loop itself, since a hostile head can promise records for ever.
pub struct BroadcastReader<'a> {
    ring: RingView<'a>,
    cursor: u64,
    lost: u64,
}

impl<'a> BroadcastReader<'a> {
    /// Reads the ring in `view` from now on: only records published after this call.
    ///
    /// # Errors
    /// [`GeometryError::TooSmall`] when the ring does not fit.
    pub fn new(view: View<'a>, geometry: RingGeometry) -> Result<Self, GeometryError> {
        let ring = RingView::new(view, geometry)?;
        let cursor = ring.head();
        Ok(Self { ring, cursor, lost: 0 })
    }

    /// The same reader, next at record `sequence`. With 0 it begins at the oldest record that is
    /// still there and reports the ones before as lost.
    #[must_use]
    pub const fn resume_at(mut self, sequence: u64) -> Self {
        self.cursor = sequence;
        self
    }

    /// Number of the record that `read_next` looks for next.
    #[must_use]
    pub const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Count of published records, as the lane claims.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// Records reported as lost so far, saturating.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Records that the writer refused, as the lane claims.
    #[must_use]
    pub fn refused_by_writer(&self) -> u64 {
        self.ring.view.word(REFUSED).unwrap_or(0)
    }

    /// Copies the next record in order to `out`, which should hold `payload_words`.
    pub fn read_next(&mut self, out: &mut [u64]) -> Read {
        let head = self.ring.head();
        if head == self.cursor {
            return Read::Empty;
        }
        if let Some(lost) = self.overrun(head) {
            return lost;
        }
        let record = self.cursor;
        match self.ring.copy_record(record, out) {
            Some(words) => {
                self.cursor = record.wrapping_add(1);
                Read::Record { sequence: record, words }
            }
            // Overwritten since `head` was read, or damaged. If the writer has run on, go where
            // the ring still is; otherwise step over this one record.
            None => match self.overrun(self.ring.head()) {
                Some(lost) => lost,
                None => self.skip_to(record.wrapping_add(1), 1),
            },
        }
    }

    /// Copies the newest record to `out` and moves behind it; records in between are skipped, not
    /// lost. `Empty` when the newest has been read already.
    pub fn newest(&mut self, out: &mut [u64]) -> Read {
        let head = self.ring.head();
        if head == self.cursor {
            return Read::Empty;
        }
        let record = head.wrapping_sub(1);
        match self.ring.copy_record(record, out) {
            Some(words) => {
                self.cursor = head;
                Read::Record { sequence: record, words }
            }
            None => self.skip_to(head, 1),
        }
    }

    /// Moves the cursor back into the ring if `head` has left it behind, or went backwards.
    fn overrun(&mut self, head: u64) -> Option<Read> {
        let slots = word(self.ring.geometry.slots());
        let behind = head.wrapping_sub(self.cursor);
        if behind <= slots {
            return None;
        }
        if behind > BELIEVED_BEHIND_MAX {
            // The lane was zeroed or scribbled over: what lies ahead is unknown.
            return Some(self.skip_to(head, 1));
        }
        // The slot of the oldest record is the next to be overwritten, so a reader put there would
        // lose again at once: leave the writer a quarter of the ring.
        let resume = head.wrapping_sub(slots.wrapping_sub((slots / 4).max(1)));
        Some(self.skip_to(resume, resume.wrapping_sub(self.cursor)))
    }

    fn skip_to(&mut self, cursor: u64, count: u64) -> Read {
        self.cursor = cursor;
        self.lost = self.lost.saturating_add(count);
        Read::Lost { count }
    }
}

/// A ring seen by any reader: head, slots, nothing remembered.
pub(crate) struct RingView<'a> {
    view: View<'a>,
    geometry: RingGeometry,
}

impl<'a> RingView<'a> {
    pub(crate) fn new(view: View<'a>, geometry: RingGeometry) -> Result<Self, GeometryError> {
        geometry.fits(view.len())?;
        Ok(Self { view, geometry })
    }

    pub(crate) fn head(&self) -> u64 {
        let head = self.view.word(HEAD).unwrap_or(0);
        // ORDERING: acquire, pairs with the writer's release store of the head: the slots of all
        // records before it hold those records or newer ones.
        fence(Ordering::Acquire);
        head
    }

    pub(crate) const fn geometry(&self) -> RingGeometry {
        self.geometry
    }

    pub(crate) fn slot(&self, record: u64) -> Option<View<'a>> {
        self.view.part(self.geometry.slot_start(record), self.geometry.slot_words())
    }

    fn copy_record(&self, record: u64, out: &mut [u64]) -> Option<usize> {
        let slot = self.slot(record)?;
        let words = slot::length(slot, record, self.geometry.payload_words())?;
        let out = out.get_mut(..words)?;
        slot::copy(slot, record, 0, out).then_some(words)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
