//! The one place where received descriptor numbers become owned descriptors; nothing else.
#![expect(unsafe_code, reason = "SCM_RIGHTS delivers plain numbers")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Descriptors one answer carries at most.
pub(crate) const FDS_MAX: usize = 2;

/// Reads what is there, up to `bytes.len()` bytes, and appends the descriptors that came with it to
/// `fds`. Gives the number of bytes; 0 at the end of the stream.
///
/// # Errors
/// The kernel's answer; `WouldBlock` when nothing is there.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; FDS_MAX]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                // SAFETY: the kernel has just made this descriptor for us, once, and nobody else in
                // this process knows its number.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok(message.bytes)
}
