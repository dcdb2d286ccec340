//! The unsafe of this crate: one question to a network driver.
#![expect(unsafe_code, reason = "ioctl takes a pointer; nothing else lives here")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Asks how frames are gathered (ethtool.h).
const ETHTOOL_GCOALESCE: u32 = 0x0e;

/// `struct ethtool_coalesce` of linux/ethtool.h: the command and 22 numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coalesce {
    command: u32,
    /// µs to wait after a frame came in.
    pub(crate) rx_usecs: u32,
    /// Frames to wait for.
    pub(crate) rx_max_frames: u32,
    _rx_irq: [u32; 2],
    /// µs to wait after a frame went out.
    pub(crate) tx_usecs: u32,
    /// Frames to wait for.
    pub(crate) tx_max_frames: u32,
    _tx_irq: [u32; 2],
    _stats_block_usecs: u32,
    /// The driver chooses by itself.
    pub(crate) adaptive_rx: u32,
    /// The driver chooses by itself.
    pub(crate) adaptive_tx: u32,
    _by_rate: [u32; 11],
}

/// How the driver of `interface` gathers frames.
///
/// # Errors
/// No such interface, or its driver does not say (EOPNOTSUPP).
pub(crate) fn coalesce(interface: &str) -> io::Result<Coalesce> {
    let door: OwnedFd =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut answer = Coalesce {
        command: ETHTOOL_GCOALESCE,
        rx_usecs: 0,
        rx_max_frames: 0,
        _rx_irq: [0; 2],
        tx_usecs: 0,
        tx_max_frames: 0,
        _tx_irq: [0; 2],
        _stats_block_usecs: 0,
        adaptive_rx: 0,
        adaptive_tx: 0,
        _by_rate: [0; 11],
    };
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (slot, byte) in name.iter_mut().zip(interface.bytes()) {
        *slot = byte.cast_signed();
    }
    let data = (&raw mut answer).cast();
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: data };
    let mut request = libc::ifreq { ifr_name: name, ifr_ifru };
    // SAFETY: `request` is an ifreq that lives across the call, and its data point to as much memory as the
    // command writes: a struct ethtool_coalesce.
    let told = unsafe { libc::ioctl(door.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if told == 0 { Ok(answer) } else { Err(io::Error::last_os_error()) }
}
