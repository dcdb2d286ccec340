//! The one clock of the contract, CLOCK_MONOTONIC, as a number. No other time source is used by clients.
use nix::time::{ClockId, clock_gettime};

/// Now, CLOCK_MONOTONIC, ns.
#[must_use]
pub fn now_ns() -> u64 {
    // The clock is always there on Linux and never negative; 0 would only make readers look again.
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
