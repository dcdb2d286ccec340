//! The unsafe of this crate: a child that ends with its parent, also when the parent is killed.
#![expect(unsafe_code, reason = "std offers no parent-death signal; nothing else lives here")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Has the child asked to end (SIGTERM) when the thread that starts it ends.
pub fn ends_with_us(command: &mut Command) -> &mut Command {
    let ask = || set_pdeathsig(Signal::SIGTERM).map_err(Into::into);
    // SAFETY: between fork and exec the closure makes one prctl call, which is async-signal-safe.
    unsafe { command.pre_exec(ask) }
}
