//! One gateway's connection as kadenzd sees it: bytes to lines, bounded in size and time. Whether a
//! role may be had is decided in server.rs.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kadenz_paths::Token;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg};
use shm_layout::code::Role;

use crate::message::LINE_BYTES_MAX;

/// From connecting to a whole hello. A gateway says it at once.
const HELLO_TIME: Duration = Duration::from_secs(1);
/// From the grant to `ready`. A gateway needs some 10 ms; a loaded machine more.
const READY_TIME: Duration = Duration::from_secs(10);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing granted yet.
    Hello,
    /// Holds the role and has not said `ready`.
    Granted(Role, Token),
    /// Holds the role and serves.
    Ready(Role, Token),
}

/// What a look at a connection gave.
pub(crate) enum Progress {
    /// Nothing to act on.
    Nothing,
    /// A whole line.
    Line(String),
    /// The peer is gone.
    Closed,
    /// The peer broke the protocol; why.
    Broken(String),
}

pub(crate) struct Connection {
    stream: UnixStream,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) stage: Stage,
    since: Instant,
    buffer: Vec<u8>,
}

impl Connection {
    /// Takes an accepted stream and asks the kernel who connected.
    pub(crate) fn accepted(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let peer = getsockopt(&stream, PeerCredentials)?;
        Ok(Self {
            stream,
            pid: peer.pid(),
            uid: peer.uid(),
            stage: Stage::Hello,
            since: Instant::now(),
            buffer: Vec::new(),
        })
    }

    /// The role it holds.
    pub(crate) fn role(&self) -> Option<Role> {
        match self.stage {
            Stage::Hello => None,
            Stage::Granted(role, _) | Stage::Ready(role, _) => Some(role),
        }
    }

    pub(crate) fn advance(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
    }

    /// When it must have come further; None when it may take its time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Hello => Some(self.since + HELLO_TIME),
            Stage::Granted(..) => Some(self.since + READY_TIME),
            Stage::Ready(..) => None,
        }
    }

    /// Reads once; never waits.
    pub(crate) fn read(&mut self) -> Progress {
        let mut bytes = [0; 512];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Progress::Closed,
            Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            Err(error) if is_passing(&error) => return Progress::Nothing,
            Err(_) => return Progress::Closed,
        }
        if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.drain(..=end).take(end).collect();
            // One line per stage: more would be said to a question that was not asked yet.
            if !self.buffer.is_empty() {
                let more = self.buffer.len();
                return Progress::Broken(format!(
                    "{more} bytes after the line; wait for the answer"
                ));
            }
            return String::from_utf8(line)
                .map_or_else(|_| Progress::Broken("a line is UTF-8".to_owned()), Progress::Line);
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            let bytes = self.buffer.len();
            return Progress::Broken(format!(
                "{bytes} bytes without a line feed; a line has at most {LINE_BYTES_MAX}"
            ));
        }
        Progress::Nothing
    }

    /// Sends `line` with `fds` attached, whole or not at all worth keeping the connection for.
    pub(crate) fn send(&self, line: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let bytes = [IoSlice::new(line.as_bytes())];
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), &bytes, rights, flags, None)?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Errors that say "later", not "gone".
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
