//! Sizes of a ring and where its slots stand, checked once at creation; no access to memory.

use core::fmt;

use crate::slot::SLOT_HEADER_WORDS;
use crate::word::{LINE_WORDS, index, word};

/// Slots of a mailbox: the newest record, the one being written, and two more so that a reader
/// that takes a record over several cycles is not overtaken by the next post.
pub const MAILBOX_SLOTS: usize = 4;

/// Word of a ring that holds the count of published records.
pub(crate) const HEAD: usize = 0;
/// Word of a ring that counts records its writer refused because they were empty or too long.
pub(crate) const REFUSED: usize = 1;
/// Words before the first slot.
pub(crate) const RING_HEADER_WORDS: usize = LINE_WORDS;

const SLOTS_MAX: usize = 1 << 20;
const PAYLOAD_WORDS_MAX: usize = 1 << 20;
const RING_WORDS_MAX: usize = 1 << 27;

/// Slots and slot size of a ring. A value of this type is always usable: sizes are in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingGeometry {
    slots: usize,
    payload_words: usize,
}

impl RingGeometry {
    /// A ring of `slots` (a power of two, 2 to 2^20) records of up to `payload_words` words (1 to
    /// 2^20), 1 GiB at most in all.
    ///
    /// # Errors
    /// [`GeometryError`] naming the size out of range.
    pub const fn new(slots: usize, payload_words: usize) -> Result<Self, GeometryError> {
        if !slots.is_power_of_two() || slots < 2 || slots > SLOTS_MAX {
            return Err(GeometryError::Slots { slots });
        }
        if payload_words == 0 || payload_words > PAYLOAD_WORDS_MAX {
            return Err(GeometryError::PayloadWords { payload_words });
        }
        let ring = Self { slots, payload_words };
        if ring.words() > RING_WORDS_MAX {
            return Err(GeometryError::RingWords { words: ring.words() });
        }
        Ok(ring)
    }

    /// A mailbox for records of up to `payload_words` words: a ring of [`MAILBOX_SLOTS`].
    ///
    /// # Errors
    /// As [`RingGeometry::new`].
    pub const fn mailbox(payload_words: usize) -> Result<Self, GeometryError> {
        Self::new(MAILBOX_SLOTS, payload_words)
    }

    /// Records that the ring holds.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// Longest record in words.
    #[must_use]
    pub const fn payload_words(&self) -> usize {
        self.payload_words
    }

    /// Words of memory the ring takes, header included.
    #[must_use]
    pub const fn words(&self) -> usize {
        // In range by `new`: at most 2^20 slots of at most 2^20 + 16 words.
        RING_HEADER_WORDS.wrapping_add(self.slots.wrapping_mul(self.slot_words()))
    }

    /// Words from one slot to the next.
    #[must_use]
    pub const fn slot_words(&self) -> usize {
        SLOT_HEADER_WORDS.wrapping_add(self.payload_words).next_multiple_of(LINE_WORDS)
    }

    /// First word of the slot of `record` within the ring: masked, so inside for any number. A slot is its
    /// sequence (2(n+1) once record n is complete), its length, then the payload.
    #[must_use]
    pub fn slot_start(&self, record: u64) -> usize {
        let slot = index(record & word(self.slots.wrapping_sub(1)));
        RING_HEADER_WORDS.wrapping_add(slot.wrapping_mul(self.slot_words()))
    }

    pub(crate) const fn fits(&self, words: usize) -> Result<(), GeometryError> {
        let needed = self.words();
        if words < needed { Err(GeometryError::TooSmall { words, needed }) } else { Ok(()) }
    }
}

/// A size that cannot make a lane. Programmer or configuration error, found before the loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// Number of slots out of range.
    Slots {
        /// Slots asked for.
        slots: usize,
    },
    /// Record size out of range.
    PayloadWords {
        /// Words asked for.
        payload_words: usize,
    },
    /// The ring as a whole is too large.
    RingWords {
        /// Words the ring would take.
        words: usize,
    },
    /// The memory given is smaller than the lane.
    TooSmall {
        /// Words given.
        words: usize,
        /// Words needed.
        needed: usize,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Slots { slots } => {
                write!(f, "{slots} slots; a ring needs a power of two from 2 to {SLOTS_MAX}")
            }
            Self::PayloadWords { payload_words } => write!(
                f,
                "records of {payload_words} words; a slot holds 1 to {PAYLOAD_WORDS_MAX} words"
            ),
            Self::RingWords { words } => write!(
                f,
                "the ring would take {words} words; at most {RING_WORDS_MAX}, so take fewer slots \
                 or shorter records"
            ),
            Self::TooSmall { words, needed } => {
                write!(f, "{words} words of memory given; the lane needs {needed}")
            }
        }
    }
}

impl core::error::Error for GeometryError {}
