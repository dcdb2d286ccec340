//! Signals as something to look at: blocked for the whole process, read from a descriptor; no handler runs.
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::reply::{EXIT_SYSTEM, Failure};

/// The signals by which somebody asks this process to end.
pub(crate) const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Signals that were blocked and are now read.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Takes `wanted` over. Call it before there are threads: they inherit the mask.
    pub(crate) fn take(wanted: &[Signal]) -> Result<Self, Failure> {
        let set: SigSet = wanted.iter().copied().collect();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = set.thread_block().and_then(|()| SignalFd::with_flags(&set, flags));
        let words = |errno: nix::Error| Failure::new(EXIT_SYSTEM, format!("signalfd: {errno}"));
        Ok(Self { fd: fd.map_err(words)? })
    }

    /// The next signal that has come, if any. Never waits.
    pub(crate) fn next(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }

    /// The next signal that comes within `pause`.
    pub(crate) fn next_within(&self, pause: Duration) -> Option<Signal> {
        let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        let pause_ms = u16::try_from(pause.as_millis()).unwrap_or(u16::MAX);
        // An interrupted wait is a short one; the caller comes again.
        let _waited = poll(&mut polled, PollTimeout::from(pause_ms));
        self.next()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
