//! The unsafe of this crate: a child that ends with its parent, also when the parent is killed; pages that fault.
#![expect(unsafe_code, reason = "std offers neither; nothing else lives here")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munlock, munmap};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Has the child asked to end (SIGTERM) when the thread that starts it ends.
pub fn ends_with_us(command: &mut Command) -> &mut Command {
    let ask = || set_pdeathsig(Signal::SIGTERM).map_err(Into::into);
    // SAFETY: between fork and exec the closure makes one prctl call, which is async-signal-safe.
    unsafe { command.pre_exec(ask) }
}

/// Takes one page fault per page of `bytes`, also in a process that locks its memory.
///
/// # Errors
/// No memory.
pub fn take_page_faults(bytes: std::num::NonZeroUsize) -> nix::Result<()> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice, unmapped below.
    let pages = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the mapping above, which nobody else knows.
    unsafe { munlock(pages, bytes.get()) }?;
    // SAFETY: as above; its content is worth nothing.
    unsafe { madvise(pages, bytes.get(), MmapAdvise::MADV_DONTNEED) }?;
    for page in (0..bytes.get()).step_by(4096) {
        // SAFETY: inside the mapping.
        let byte = unsafe { pages.cast::<u8>().add(page) };
        // SAFETY: as above, and writable.
        unsafe { byte.write_volatile(1) };
    }
    // SAFETY: the mapping above; nothing refers to it any more.
    unsafe { munmap(pages, bytes.get()) }
}

/// CLOCK_MONOTONIC in ns by a system call, as where the vDSO has no answer; 0 when it is denied.
#[must_use]
pub fn read_clock_by_system_call() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let place: *mut libc::timespec = &raw mut time;
    // SAFETY: the kernel writes one timespec to `place`, which is ours.
    let told = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, place) };
    if told == 0 {
        u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
    } else {
        0
    }
}
