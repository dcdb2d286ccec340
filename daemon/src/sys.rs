//! The unsafe of this crate: a counting allocator, and a file on tmpfs seen as lane words.
#![expect(
    unsafe_code,
    reason = "the allocator trait and the mapping need it; nothing else lives here"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use kadenz_lanes::Word;
use memmap2::{MmapMut, MmapOptions};

static RT_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Set on the RT thread while its loop runs. Const, so that asking it never allocates.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system allocator, which counts what the RT thread asks of it while its loop runs.
pub struct CountingAllocator;

fn note() {
    if COUNTED.get() {
        // ORDERING: relaxed, a counter that stands for itself.
        RT_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to `System` unchanged; `note` neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note();
        // SAFETY: `block` came from `System` with this `layout`, as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Counts this thread's allocations from now on (`true`), or no longer (`false`).
pub fn count_rt_allocations(counted: bool) {
    COUNTED.set(counted);
}

/// Allocations and frees of the RT thread since its loop began.
#[must_use]
pub fn rt_allocations() -> u64 {
    // ORDERING: relaxed, a counter that stands for itself.
    RT_ALLOCATIONS.load(Ordering::Relaxed)
}

/// Maps all of `file` for reading and writing, its pages present, for the rest of the process.
///
/// # Errors
/// Whatever mmap says.
pub(crate) fn map_words(file: &File) -> std::io::Result<&'static [Word]> {
    // SAFETY: the mapping is only ever touched through atomics, for which any bytes, also bytes
    // another process changes, are a value. Truncation by the same user is not defended against:
    // the file lies in the daemon's own directory.
    let map: MmapMut = unsafe { MmapOptions::new().populate().map_mut(file)? };
    let bytes: &'static mut [u8] = Box::leak(Box::new(map)).as_mut();
    // SAFETY: page-aligned memory, and AtomicU64 has the size and validity of eight bytes.
    let (head, words, _) = unsafe { bytes.align_to::<Word>() };
    debug_assert!(head.is_empty(), "mmap gives page-aligned memory");
    Ok(words)
}
