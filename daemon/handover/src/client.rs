//! A gateway's end of the hand-over: asks once, gets its lanes, keeps the connection.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kadenz_paths::RuntimeDir;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use shm_layout::code::Role;

use crate::connection::is_passing;
use crate::message::{Answer, Grant, Hello, LINE_BYTES_MAX, READY, line_of};
use crate::sys;

/// Why a gateway got no lanes.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon answers; trying again later may help.
    #[error("{socket}: {source}; kadenzd is not running there, or starting")]
    Unreachable {
        /// The socket.
        socket: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The daemon refused, with the remedy.
    #[error("kadenzd refused: {0}")]
    Refused(String),
    /// The answer makes no sense.
    #[error("answer of kadenzd not understood: {0}; run kadenzd and its gateways from one build")]
    Malformed(String),
}

/// Lanes and terms, fresh from kadenzd.
#[derive(Debug)]
pub struct Handover {
    /// Token, role and terms.
    pub grant: Grant,
    /// Descriptor of the outbound lane.
    pub outbound: OwnedFd,
    /// Descriptor of the inbound lane; a view gateway is given none.
    pub inbound: Option<OwnedFd>,
    /// The connection that holds the role.
    pub tether: Tether,
}

/// The connection that holds the role: closed by whoever ends first.
#[derive(Debug)]
pub struct Tether {
    stream: UnixStream,
}

impl Tether {
    /// Says that services are open and the first pass is done; kadenzd then announces the epoch.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn ready(&mut self) -> io::Result<()> {
        self.stream.write_all(format!("{READY}\n").as_bytes())
    }

    /// False once kadenzd has closed the connection or ended. Never waits; one system call.
    #[must_use]
    pub fn holds(&self) -> bool {
        let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        // Nothing is ever said after the grant, so anything to read is the end.
        !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..))
    }
}

/// Asks the kadenzd of `dir` for `role` and waits up to `timeout` for the answer.
///
/// # Errors
/// [`ClientError`].
pub fn request(dir: &RuntimeDir, role: Role, timeout: Duration) -> Result<Handover, ClientError> {
    let path = dir.handover_socket();
    let unreachable =
        |source| ClientError::Unreachable { socket: path.display().to_string(), source };
    let mut stream = connected(&path).map_err(unreachable)?;
    // A daemon that refuses at once may have closed already; what it said is still to be read.
    let _refusal_is_read_below = stream.write_all(line_of(&Hello::of_this_build(role)).as_bytes());
    let mut fds = Vec::new();
    let line = answer_line(&stream, &mut fds, Instant::now() + timeout).map_err(unreachable)?;
    let grant = match serde_json::from_str(&line) {
        Ok(Answer::Granted(grant)) => grant,
        Ok(Answer::Refused { refused }) => return Err(ClientError::Refused(refused)),
        Err(error) => return Err(ClientError::Malformed(format!("{error} in {line:?}"))),
    };
    grant.terms.check().map_err(ClientError::Malformed)?;
    if grant.role != role {
        let (got, asked) = (grant.role.word(), role.word());
        return Err(ClientError::Malformed(format!("role {got} granted, {asked} asked for")));
    }
    let expected = if role == Role::View { 1 } else { 2 };
    let count = fds.len();
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next()) {
        (Some(outbound), inbound) if count == expected => {
            Ok(Handover { grant, outbound, inbound, tether: Tether { stream } })
        }
        _ => Err(ClientError::Malformed(format!(
            "{count} descriptors came with role {}, {expected} belong to it",
            role.word()
        ))),
    }
}

/// Connects without waiting: a full backlog is `WouldBlock`, not a gateway that hangs.
fn connected(path: &std::path::Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

/// Reads up to the line feed, until `deadline`.
fn answer_line(
    stream: &UnixStream,
    fds: &mut Vec<OwnedFd>,
    deadline: Instant,
) -> io::Result<String> {
    let mut line = Vec::new();
    // BOUND: each turn reads at least a byte of at most LINE_BYTES_MAX, or ends, or waits for what
    // is left until the deadline.
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut polled = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        let left_ms = u16::try_from(left.as_millis()).unwrap_or(u16::MAX).max(1);
        poll(&mut polled, PollTimeout::from(left_ms))?;
        let mut bytes = [0; LINE_BYTES_MAX];
        match sys::receive(stream.as_fd(), &mut bytes, fds) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => line.extend_from_slice(&bytes[..count]),
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without end"));
        }
    }
}
