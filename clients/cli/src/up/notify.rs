//! The service manager's end of sd_notify: who is ready, who lives. The kernel tells who speaks.
use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    bind, recvmsg, setsockopt, socket, sockopt,
};

/// Messages read in one pass: who floods the socket must not hold the supervisor up.
const MESSAGES_PER_PASS: usize = 256;
/// Longest message that is read; the rest of a longer one is cut off.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The name of a supervisor's socket is this, its process id, and the suffix.
pub(crate) const NOTIFY_PREFIX: &str = "notify-";
/// See [`NOTIFY_PREFIX`].
pub(crate) const NOTIFY_SUFFIX: &str = ".sock";

/// What one message says (sd_notify(3)); words we do not act on are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The service does its work from now on.
    pub(crate) ready: bool,
    /// The service is alive.
    pub(crate) alive: bool,
}

impl Said {
    /// Reads a message; any bytes are one.
    pub(crate) fn parse(message: &[u8]) -> Self {
        let mut said = Self::default();
        for line in message.split(|byte| *byte == b'\n') {
            match line {
                b"READY=1" => said.ready = true,
                b"WATCHDOG=1" => said.alive = true,
                _ => {}
            }
        }
        said
    }
}

/// The socket that children are told of in `$NOTIFY_SOCKET`. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    fd: OwnedFd,
    path: PathBuf,
}

impl NotifySocket {
    /// A socket in `dir`, named after this process. Only this user may speak to it, unless
    /// `for_all`: then children of other users can, and what others say is told by its sender.
    pub(crate) fn bind(dir: &Path, for_all: bool) -> io::Result<Self> {
        let path = dir.join(format!("{NOTIFY_PREFIX}{}{NOTIFY_SUFFIX}", std::process::id()));
        // A namesake that was killed may have left it.
        let _absent = fs::remove_file(&path);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::PassCred, &true)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(&path)?)?;
        let socket = Self { fd, path };
        let mode = if for_all { 0o666 } else { 0o600 };
        fs::set_permissions(&socket.path, fs::Permissions::from_mode(mode))?;
        Ok(socket)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What has been said since the last call, with the process that said it. Never waits.
    pub(crate) fn heard(&self) -> Vec<(i32, Said)> {
        let mut heard = Vec::new();
        for _ in 0..MESSAGES_PER_PASS {
            match self.next() {
                Some((Some(pid), said)) => heard.push((pid, said)),
                Some((None, _)) => {}
                None => break,
            }
        }
        heard
    }

    fn next(&self) -> Option<(Option<i32>, Said)> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let mut control = cmsg_space!(UnixCredentials);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let (count, pid) = {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let fd = self.fd.as_raw_fd();
            let message = recvmsg::<()>(fd, &mut parts, Some(&mut control), flags).ok()?;
            // Control data that does not fit (passed descriptors) makes a sender nobody.
            let pid = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| match one {
                    ControlMessageOwned::ScmCredentials(who) => Some(who.pid()),
                    _ => None,
                })
            });
            (message.bytes, pid)
        };
        Some((pid, Said::parse(bytes.get(..count).unwrap_or_default())))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn what_is_said_comes_with_the_process_that_said_it() {
        let dir = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(dir.path(), false).unwrap();
        let child = UnixDatagram::unbound().unwrap();
        child.send_to(b"STATUS=fine\nREADY=1\n", socket.path()).unwrap();
        child.send_to(b"WATCHDOG=1", socket.path()).unwrap();
        child.send_to(b"", socket.path()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let expected = [
            (own, Said { ready: true, alive: false }),
            (own, Said { ready: false, alive: true }),
            (own, Said::default()),
        ];
        assert_eq!(socket.heard(), expected);
        assert!(socket.heard().is_empty());
        let path = socket.path().to_path_buf();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_flood_is_read_in_bounded_helpings() {
        let dir = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(dir.path(), false).unwrap();
        let child = UnixDatagram::unbound().unwrap();
        child.set_nonblocking(true).unwrap();
        while child.send_to(&[b'x'; 9000], socket.path()).is_ok() {}
        let heard = socket.heard();
        assert!(!heard.is_empty() && heard.len() <= MESSAGES_PER_PASS);
        assert!(heard.iter().all(|(_, said)| *said == Said::default()));
    }

    #[test]
    fn only_whole_lines_count() {
        for no_word in ["READY=10", "READY=0", " READY=1", "XREADY=1", "READY=1\r", "ready=1"] {
            assert_eq!(Said::parse(no_word.as_bytes()), Said::default(), "{no_word}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let said = Said::parse(&bytes);
            let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            prop_assert_eq!(said.ready, lines.contains(&b"READY=1".as_slice()));
        }
    }
}
