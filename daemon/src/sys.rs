//! The unsafe of this crate: a gated allocator, the handler of denied calls, a file on tmpfs seen as lane words.
#![expect(
    unsafe_code,
    reason = "the allocator trait, signal handler and mapping need it; nothing else lives here"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kadenz_lanes::Word;
use memmap2::{MmapMut, MmapOptions};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static RT_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Set on the RT thread while its loop runs. Const, so that asking it never allocates.
    static GATED: Cell<bool> = const { Cell::new(false) };
}

/// The system allocator behind a gate that is closed to the RT thread while its loop runs: a release
/// build counts what is asked all the same, a build with debug assertions aborts.
pub struct GatedAllocator;

fn note() {
    if GATED.get() {
        // ORDERING: relaxed, a counter that stands for itself.
        RT_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        if cfg!(debug_assertions) {
            std::process::abort();
        }
    }
}

// SAFETY: every call goes to `System` unchanged; `note` neither allocates nor unwinds.
unsafe impl GlobalAlloc for GatedAllocator {
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

/// Closes the gate to this thread (`true`), or opens it (`false`).
pub fn gate_rt_allocations(closed: bool) {
    GATED.set(closed);
}

/// Allocations and frees of the RT thread since its loop began.
#[must_use]
pub fn rt_allocations() -> u64 {
    // ORDERING: relaxed, a counter that stands for itself.
    RT_ALLOCATIONS.load(Ordering::Relaxed)
}

static DENIED_CALLS: AtomicU32 = AtomicU32::new(0);
static DENIED_LAST: AtomicU32 = AtomicU32::new(0);

/// Calls that a filter denied to threads of this process.
#[must_use]
pub fn denied_calls() -> u32 {
    // ORDERING: relaxed, a counter that stands for itself.
    DENIED_CALLS.load(Ordering::Relaxed)
}

/// Number of the call that was denied last; 0 when none was.
#[must_use]
pub fn denied_last() -> u32 {
    // ORDERING: relaxed, a number that stands for itself.
    DENIED_LAST.load(Ordering::Relaxed)
}

/// `si_code` of a SIGSYS that a seccomp filter raised (siginfo.h); anybody may send the signal.
const SYS_SECCOMP: libc::c_int = 1;

/// Has denied calls counted from now on, in every thread: each returns ENOSYS to its caller.
///
/// # Errors
/// Whatever sigaction says.
pub(crate) fn count_denied_calls() -> nix::Result<()> {
    let handler = SigHandler::SigAction(on_denied_call);
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler stores into atomics and into the context it is given, nothing else.
    unsafe { sigaction(Signal::SIGSYS, &action) }.map(|_before| ())
}

extern "C" fn on_denied_call(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel hands over a valid siginfo_t.
    if unsafe { (*info).si_code } != SYS_SECCOMP {
        return;
    }
    // SAFETY: and a valid ucontext_t, which nobody else sees while the handler runs.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let result = &mut registers[libc::REG_RAX as usize];
    // The call was not made, so the register still holds its number (seccomp(2), SECCOMP_RET_TRAP).
    let number = u32::try_from(*result).unwrap_or(u32::MAX);
    *result = -i64::from(libc::ENOSYS);
    // ORDERING: relaxed, a number that stands for itself.
    DENIED_LAST.store(number, Ordering::Relaxed);
    // ORDERING: relaxed, a counter; who sees it may read the number before or after it.
    DENIED_CALLS.fetch_add(1, Ordering::Relaxed);
}

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the handler of denied calls knows the registers of x86_64 alone");

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
