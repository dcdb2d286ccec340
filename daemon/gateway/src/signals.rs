//! SIGTERM and SIGINT as something to look at between two passes; no handler runs anywhere.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::failure::Failure;

pub(crate) struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks both signals in this thread and those it starts later.
    pub(crate) fn take() -> Result<Self, Failure> {
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = set.thread_block().and_then(|()| SignalFd::with_flags(&set, flags));
        let host = |errno: nix::Error| Failure::Host {
            step: "signalfd",
            remedy: "raise LimitNOFILE",
            source: errno.into(),
        };
        Ok(Self { fd: fd.map_err(host)? })
    }

    /// True when the process has been asked to end. Never waits.
    pub(crate) fn end_wanted(&self) -> bool {
        self.end_wanted_within(Duration::ZERO)
    }

    /// True as soon as the process is asked to end, false after `pause` (at most 65 s).
    pub(crate) fn end_wanted_within(&self, pause: Duration) -> bool {
        let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        let pause_ms = u16::try_from(pause.as_millis()).unwrap_or(u16::MAX);
        matches!(poll(&mut polled, PollTimeout::from(pause_ms)), Ok(1..))
    }
}
