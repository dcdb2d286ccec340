//! The lane word and the only ways to touch a run of words; no meaning, no layout.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// One 64-bit word of a lane. Every bit pattern is a valid word.
pub type Word = AtomicU64;

/// Words per cache line; regions, ring headers and slots start on one.
pub(crate) const LINE_WORDS: usize = 8;

/// Words that can be read and not written: what a reader gets, whether its mapping is read-only
/// or not. A store through it does not compile, so a read-only lane cannot fault its reader.
///
/// All loads are relaxed, followed by a fence where order matters: on memory mapped read-only
/// Rust defines relaxed atomic loads of up to 8 bytes and nothing else (`std::sync::atomic`,
/// "Atomic accesses to read-only memory").
#[derive(Clone, Copy)]
pub struct View<'a> {
    words: &'a [Word],
}

impl<'a> View<'a> {
    /// The readable side of `words`.
    #[must_use]
    pub const fn new(words: &'a [Word]) -> Self {
        Self { words }
    }

    /// Number of words.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.words.len()
    }

    /// True when there is no word.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// `count` words from `start`; None when they are not all inside.
    #[must_use]
    pub fn part(&self, start: usize, count: usize) -> Option<View<'a>> {
        let words = self.words.get(start..)?.get(..count)?;
        Some(View { words })
    }

    /// The word at `index`; None outside.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<u64> {
        // ORDERING: relaxed, callers that need order put a fence behind it (see the type).
        self.words.get(index).map(|word| word.load(Ordering::Relaxed))
    }

    /// Copies the words from `start` to `out`, as many as `out` holds. False and `out` untouched
    /// when they are not all inside. A copy of words under a running writer is garbage until a
    /// sequence says otherwise.
    #[must_use]
    pub fn copy_to(&self, start: usize, out: &mut [u64]) -> bool {
        let Some(source) = self.part(start, out.len()) else { return false };
        for (out, word) in out.iter_mut().zip(source.words) {
            // ORDERING: relaxed, the caller's fence and sequence check follow.
            *out = word.load(Ordering::Relaxed);
        }
        true
    }
}

/// Stores `source` to the front of `target` and gives the rest of `target`; None, with nothing
/// stored, when it does not fit.
pub(crate) fn store<'a>(target: &'a [Word], source: &[u64]) -> Option<&'a [Word]> {
    let (target, rest) = target.split_at_checked(source.len())?;
    // Whole lines first: the compiler does not unroll atomic stores by itself, and the loop's own
    // instructions were a third of a publish.
    let (target_lines, target_tail) = target.as_chunks::<LINE_WORDS>();
    let (source_lines, source_tail) = source.as_chunks::<LINE_WORDS>();
    for (target, source) in target_lines.iter().zip(source_lines) {
        for (target, source) in target.iter().zip(source) {
            // ORDERING: relaxed, the slot's sequence orders the payload (slot.rs).
            target.store(*source, Ordering::Relaxed);
        }
    }
    for (target, source) in target_tail.iter().zip(source_tail) {
        // ORDERING: relaxed, as above.
        target.store(*source, Ordering::Relaxed);
    }
    Some(rest)
}

/// `value` as an index; a value that no index can hold becomes one that no slice contains.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// `count` as a word. Lossless on the 64-bit targets this crate builds for.
pub(crate) fn word(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
