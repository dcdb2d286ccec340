//! The unsafe of this crate: what a child of `up` does between fork and exec.
#![expect(unsafe_code, reason = "pre_exec runs between fork and exec; nothing else lives here")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid};

/// Makes a child of `command` get `signal` when this thread ends, however it ends, and start with
/// no signal blocked. Call it last: it runs after the child has become its user, which would clear
/// the signal again.
///
/// This forks. A process with a real-time thread must not do it (its thread would pay copy-on-write
/// faults); `up` has none.
pub(crate) fn bind_to_this_thread(command: &mut Command, signal: Signal) {
    let parent = getpid();
    let before_exec = move || {
        set_pdeathsig(signal)?;
        // The parent may have ended before the line above.
        if getppid() != parent {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        Ok(SigSet::empty().thread_set_mask()?)
    };
    // SAFETY: prctl, getppid and sigprocmask are async-signal-safe, and neither they nor the errors
    // made from their codes allocate.
    unsafe {
        command.pre_exec(before_exec);
    }
}
