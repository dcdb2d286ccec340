//! The one place of this crate with unsafe code: ending the process at once.

/// Ends the process without running anything else of it: no exit handler, no destructor.
pub(crate) fn end_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any code, has no precondition and does not return.
    #[expect(unsafe_code, reason = "std::process::exit runs exit handlers, which may hang as well")]
    unsafe {
        libc::_exit(code)
    }
}
