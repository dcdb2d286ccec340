//! The mailbox: a ring of four records of which only the newest counts, taken in parts over
//! several cycles; knots come in through it, their meaning stays outside.

use crate::broadcast::{BroadcastWriter, RingView};
use crate::geometry::{GeometryError, RingGeometry};
use crate::slot;
use crate::word::{View, Word};

/// The posting end. Plan gateway, one per source.
pub struct MailboxWriter<'a> {
    ring: BroadcastWriter<'a>,
}

impl<'a> MailboxWriter<'a> {
    /// Takes the mailbox in `words`, with records of up to `payload_words`, and goes on after the
    /// last complete one. Mainland.
    ///
    /// # Errors
    /// [`GeometryError`] for a record size out of range or memory too small.
    pub fn new(words: &'a [Word], payload_words: usize) -> Result<Self, GeometryError> {
        let ring = BroadcastWriter::new(words, RingGeometry::mailbox(payload_words)?)?;
        Ok(Self { ring })
    }

    /// Makes the concatenated `parts` the newest record. One that is empty or too long is refused
    /// whole and counted. A writer that dies in here leaves the record before it readable.
    pub fn post(&mut self, parts: &[&[u64]]) {
        self.ring.publish(parts);
    }

    /// The seeded defect: `post` without its release fence, for the model checker's tests.
    #[cfg(loom)]
    pub fn post_without_fence(&mut self, parts: &[&[u64]]) {
        self.ring.publish_without_fence(parts);
    }

    /// Records posted on this mailbox so far, by any of its writers.
    #[must_use]
    pub const fn posted(&self) -> u64 {
        self.ring.published()
    }

    /// Records refused because they were empty or too long.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.ring.refused()
    }
}

/// Names one posted record: which, and how long. Plain data; it holds nothing up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    sequence: u64,
    words: usize,
}

impl Ticket {
    /// Number of the record since the mailbox was made, from 0, as the lane claims.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Length of the record in words, 1 to the mailbox's `payload_words`.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.words
    }
}

/// The taking end: RT thread, on memory it maps read-only and a possibly hostile gateway writes.
///
/// Take [`latest`](Self::latest) once, read the header, then a few rows per cycle with
/// [`read_at`](Self::read_at). Each part is whole in itself if the gateway is honest; a hostile one
/// can change rows between two parts, so every part is validated after it was copied out and
/// nothing is read twice.
pub struct MailboxReader<'a> {
    ring: RingView<'a>,
    seen: u64,
    torn: u64,
    overtaken: u64,
}

impl<'a> MailboxReader<'a> {
    /// Reads the mailbox in `view`; a record that is there already counts as new. Mainland.
    ///
    /// # Errors
    /// [`GeometryError`] for a record size out of range or memory too small.
    pub fn new(view: View<'a>, payload_words: usize) -> Result<Self, GeometryError> {
        let ring = RingView::new(view, RingGeometry::mailbox(payload_words)?)?;
        Ok(Self { ring, seen: 0, torn: 0, overtaken: 0 })
    }

    /// The newest record, once: None if there is none, if it was given before, or if it is torn
    /// or damaged (counted).
    pub fn latest(&mut self) -> Option<Ticket> {
        let head = self.ring.head();
        if head == self.seen {
            return None;
        }
        self.seen = head;
        if head == 0 {
            // A head that fell back to nothing: the memory was punched out.
            return None;
        }
        let sequence = head.wrapping_sub(1);
        let words_max = self.ring.geometry().payload_words();
        let words =
            self.ring.slot(sequence).and_then(|slot| slot::length(slot, sequence, words_max));
        if words.is_none() {
            self.torn = self.torn.saturating_add(1);
        }
        words.map(|words| Ticket { sequence, words })
    }

    /// Copies the words of the ticket's record from `start` to all of `out`. True: `out` is whole
    /// and of that record. False: the record was overtaken by later posts
    /// (counted), or the part is not inside it; `out` is unspecified, drop the ticket.
    pub fn read_at(&mut self, ticket: Ticket, start: usize, out: &mut [u64]) -> bool {
        let inside = start.checked_add(out.len()).is_some_and(|end| end <= ticket.words);
        if !inside {
            return false;
        }
        let whole = self
            .ring
            .slot(ticket.sequence)
            .is_some_and(|slot| slot::copy(slot, ticket.sequence, start, out));
        if !whole {
            self.overtaken = self.overtaken.saturating_add(1);
        }
        whole
    }

    /// Records that were announced and not there: overtaken within one look, or damaged.
    #[must_use]
    pub const fn torn(&self) -> u64 {
        self.torn
    }

    /// Reads that came too late for their ticket.
    #[must_use]
    pub const fn overtaken(&self) -> u64 {
        self.overtaken
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
