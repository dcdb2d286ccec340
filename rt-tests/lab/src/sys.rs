//! The unsafe of this crate: a child that is killed when we are, however we end.
#![expect(unsafe_code, reason = "std does not offer it; nothing else lives here")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Has the child killed when the thread that starts it ends, and puts it into a process group of its own: what is
/// typed at our terminal is ours.
pub fn dies_with_us(command: &mut Command) -> &mut Command {
    let ask = || set_pdeathsig(Signal::SIGKILL).map_err(Into::into);
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes one prctl call, which is async-signal-safe.
    unsafe { command.pre_exec(ask) }
}
