//! One slot: a sequence word, a length word and the payload, published as a seqlock; which record
//! stands in which slot is decided elsewhere.
//!
//! Record n is complete while the sequence word is 2(n+1), and being written while it is 2n+1. A
//! slot never written (or punched out of the memory) holds zeros, which is the sequence of no
//! record that a lane reaches.

use crate::word::{Ordering, View, Word, fence, index, store, word};

/// Words of a slot before its payload: sequence and length.
pub const SLOT_HEADER_WORDS: usize = 2;

const fn complete(record: u64) -> u64 {
    record.wrapping_add(1).wrapping_mul(2)
}

/// Writes the concatenated `parts`, `words` long in all, as `record`. The caller has checked that
/// they fit.
///
/// `ORDERED` is true in everything that ships. The model checker's tests pass false to show that
/// they notice when the fence is missing.
pub(crate) fn write<const ORDERED: bool>(
    slot: &[Word],
    record: u64,
    words: usize,
    parts: &[&[u64]],
) {
    let [sequence, length, payload @ ..] = slot else { return };
    // ORDERING: relaxed, the fence below puts it before the payload.
    sequence.store(complete(record).wrapping_sub(1), Ordering::Relaxed);
    if ORDERED {
        // ORDERING: release: a reader that sees any payload word stored below, and then fences
        // with acquire, sees the odd sequence or a later one, and discards what it copied.
        fence(Ordering::Release);
    }
    // ORDERING: relaxed, between the fence and the release store.
    length.store(word(words), Ordering::Relaxed);
    let mut rest = payload;
    for part in parts {
        match store(rest, part) {
            Some(after) => rest = after,
            None => return,
        }
    }
    // ORDERING: release: who sees this sequence sees the whole payload. A ring's head orders it
    // once more; with this a slot is right by itself.
    sequence.store(complete(record), Ordering::Release);
}

/// Length in words of `record` if it stands complete in `slot`, with a length of 1 to `words_max`.
pub(crate) fn length(slot: View<'_>, record: u64, words_max: usize) -> Option<usize> {
    if slot.word(0) != Some(complete(record)) {
        return None;
    }
    // ORDERING: acquire, pairs with the release store of the complete sequence: the length and
    // every payload word read later are at least as new as this record.
    fence(Ordering::Acquire);
    let words = index(slot.word(1)?);
    (still(slot, record) && words >= 1 && words <= words_max).then_some(words)
}

/// True when nothing copied out of `slot` so far is newer than `record`.
pub(crate) fn still(slot: View<'_>, record: u64) -> bool {
    // ORDERING: acquire, pairs with the writer's release fence: if a word copied before came from
    // a later record, the load below sees that record's sequence.
    fence(Ordering::Acquire);
    slot.word(0) == Some(complete(record))
}

/// Copies payload words of `record` from `start` to all of `out`; true when they are whole.
pub(crate) fn copy(slot: View<'_>, record: u64, start: usize, out: &mut [u64]) -> bool {
    let Some(first) = start.checked_add(SLOT_HEADER_WORDS) else { return false };
    slot.copy_to(first, out) && still(slot, record)
}
