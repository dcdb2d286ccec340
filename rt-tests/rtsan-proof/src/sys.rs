//! The sanitizer's runtime as this binary sees it: where a thread becomes real-time and where it ends
//! to be. The runtime itself comes with the compiler and is given to the linker.
#![expect(unsafe_code, reason = "the sanitizer's runtime is C")]

unsafe extern "C" {
    fn __rtsan_ensure_initialized();
    fn __rtsan_realtime_enter();
    fn __rtsan_realtime_exit();
}

/// Runs `work` as the body of a real-time function: whatever it calls in the C library that may block
/// ends the process with a report, exit code 43.
pub fn real_time<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: takes nothing, gives nothing, may be called any number of times.
    unsafe { __rtsan_ensure_initialized() };
    // SAFETY: a counter of this thread; its end stands below, and nothing unwinds past it (abort).
    unsafe { __rtsan_realtime_enter() };
    let done = work();
    // SAFETY: pairs with the enter above.
    unsafe { __rtsan_realtime_exit() };
    done
}
