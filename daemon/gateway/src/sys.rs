//! The two calls that need unsafe code: ask for a scheduling class, end at once. Nothing else.

use std::io;

/// Gives the calling thread `SCHED_FIFO` at `priority` (1 to 99). Threads it starts later begin as
/// ordinary ones.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_NICE or RLIMIT_RTPRIO.
pub(crate) fn set_fifo(priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameter is a valid struct that the kernel only reads; 0 is the calling thread.
    #[expect(unsafe_code, reason = "nix wraps no scheduler call")]
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the process without running anything else of it: exit handlers may hang in a corrupted
/// domain.
pub(crate) fn end_now(code: u8) -> ! {
    // SAFETY: takes any code, has no precondition and does not return.
    #[expect(unsafe_code, reason = "std::process::exit runs exit handlers")]
    unsafe {
        libc::_exit(i32::from(code))
    }
}
