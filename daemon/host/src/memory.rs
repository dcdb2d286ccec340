//! Memory that stays: the right to lock it, locked and read back; and how many faults touching it costs.
use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrlimit, getrusage};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// Stack touched before a loop begins; the loop's frames need far less.
const PREFAULT_BYTES: usize = 256 * 1024;
/// Size of a page on every machine Kadenz runs on.
const PAGE_BYTES: usize = 4096;
/// Bit of CAP_IPC_LOCK in a set of capabilities (capability.h).
pub const CAP_IPC_LOCK: u32 = 14;
/// Bit of CAP_SYS_NICE.
pub const CAP_SYS_NICE: u32 = 23;

/// Locks all memory of this process, present and to come, and reads back that it is.
///
/// # Errors
/// What is missing for it, with the remedy.
pub fn lock() -> anyhow::Result<()> {
    // With a finite limit mlockall may succeed now and every later mapping fail, the loop's own stack
    // among them.
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).context("reading RLIMIT_MEMLOCK")?;
    if limit != RLIM_INFINITY && !has_capability(&own_status()?, CAP_IPC_LOCK) {
        bail!(
            "only {} kB may be locked (RLIMIT_MEMLOCK) and CAP_IPC_LOCK is missing; grant it, or \
             LimitMEMLOCK=infinity",
            limit / 1024
        );
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
        .context("mlockall (grant CAP_IPC_LOCK or LimitMEMLOCK=infinity)")?;
    match locked_kb(&own_status()?) {
        Some(kilobytes) if kilobytes > 0 => Ok(()),
        told => bail!("mlockall succeeded, yet nothing is locked (VmLck {told:?} kB)"),
    }
}

/// Undoes [`lock`].
///
/// # Errors
/// Whatever munlockall says.
pub fn unlock() -> anyhow::Result<()> {
    munlockall().context("munlockall")
}

/// The process's own `/proc/self/status`.
///
/// # Errors
/// It cannot be read.
pub fn own_status() -> anyhow::Result<String> {
    std::fs::read_to_string("/proc/self/status").context("/proc/self/status")
}

fn locked_kb(status: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    rest.trim().split(' ').next()?.parse().ok()
}

/// Whether the effective capabilities in a `/proc/self/status` hold the one with this bit.
#[must_use]
pub fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits.checked_shr(bit).is_some_and(|bits| bits & 1 != 0))
}

/// Page faults this thread takes when it touches `bytes` of memory that is new to it: none where memory is
/// locked, one per page where it is not. `bytes` must be far above what an allocator keeps ready (1 MB).
///
/// # Errors
/// Whatever getrusage says.
pub fn faults_when_touched(bytes: usize) -> anyhow::Result<u64> {
    // Asked for zeroed, so that nobody has touched it: the kernel's pages come as they are needed.
    let mut block = vec![0u8; bytes];
    let faults = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).context("getrusage")?;
        Ok::<i64, anyhow::Error>(usage.minor_page_faults() + usage.major_page_faults())
    };
    let before = faults()?;
    for page in block.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    std::hint::black_box(&block);
    Ok(u64::try_from(faults()? - before).unwrap_or(0))
}

/// Whether `dir` lies in memory.
///
/// # Errors
/// It does not, or it is not there.
pub fn tmpfs(dir: &Path) -> anyhow::Result<()> {
    let kind = statfs(dir).with_context(|| dir.display().to_string())?.filesystem_type();
    if kind == TMPFS_MAGIC {
        return Ok(());
    }
    bail!("{} is not on tmpfs; a disk would fault the loop at write-back", dir.display())
}

/// Touches the stack that the loop will use, so that it is present.
#[inline(never)]
pub fn prefault_stack() {
    let mut stack = [0u8; PREFAULT_BYTES];
    for page in stack.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    std::hint::black_box(&stack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_to_lock_memory_is_read_from_the_effective_capabilities() {
        let may_lock = |status| has_capability(status, CAP_IPC_LOCK);
        assert!(may_lock("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(may_lock("CapEff:\t0000000000004000\n"));
        assert!(!may_lock("CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"));
        assert!(!may_lock(""));
    }

    #[test]
    fn memory_that_is_not_locked_faults_when_it_is_touched() {
        assert!(faults_when_touched(64 << 20).unwrap() > 0);
    }
}
