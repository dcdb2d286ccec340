//! The loop's own account of itself, as a status tells it.
use serde::{Deserialize, Serialize};
use shm_layout::code::Cause;
use shm_layout::health::Health;

use super::Percentiles;

/// Missed cycles by cause.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct MissedByCause {
    /// Our own doing.
    pub own: u64,
    /// The host took the CPU away.
    pub host: u64,
    /// The kernel was late.
    pub kernel: u64,
    /// The bus answered late.
    pub bus: u64,
    /// None of these could be shown.
    pub unattributed: u64,
}

/// The loop since its start.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LoopStatus {
    /// Passes.
    pub cycles: u64,
    /// Grid points without a pass.
    pub missed_cycles: u64,
    /// The same by cause.
    pub missed_by_cause: MissedByCause,
    /// Passes that published after the next grid point.
    pub overruns: u64,
    /// Breaches of timing that became incidents.
    pub incidents: u64,
    /// Wake-up latency, ns.
    pub wake_latency_ns: Percentiles,
    /// Wake to publish, ns.
    pub cycle_time_ns: Percentiles,
    /// Requests that overflowed.
    pub requests_lost: u64,
    /// Input records the flight recorder had no room for.
    pub recorder_drops: u64,
    /// Cycles overwritten in the flight recorder before they were saved to disk.
    pub recorder_unsaved: u64,
    /// Page faults of the RT thread, minor and major.
    pub page_faults: u64,
    /// Involuntary context switches of the RT thread.
    pub involuntary_switches: u64,
    /// Heap allocations of the RT thread.
    pub allocations: u64,
    /// System calls of the RT thread: about one per pass.
    pub system_calls: u64,
    /// System calls outside its list, which the kernel refused it.
    pub denied_calls: u64,
}

impl LoopStatus {
    pub(super) fn of(health: &Health) -> Self {
        let by = |cause: Cause| health.missed_by_cause[cause as usize];
        Self {
            cycles: health.cycles,
            missed_cycles: health.missed_cycles,
            missed_by_cause: MissedByCause {
                own: by(Cause::Own),
                host: by(Cause::Host),
                kernel: by(Cause::Kernel),
                bus: by(Cause::Bus),
                unattributed: by(Cause::Unattributed),
            },
            overruns: health.overruns,
            incidents: health.incidents,
            wake_latency_ns: Percentiles::of(&health.wake_latency, health.wake_latency_ns_max),
            cycle_time_ns: Percentiles::of(&health.cycle_time, health.cycle_time_ns_max),
            requests_lost: health.requests_lost,
            recorder_drops: health.recorder_drops,
            recorder_unsaved: health.recorder_unsaved,
            page_faults: health.minor_faults.saturating_add(health.major_faults),
            involuntary_switches: health.involuntary_switches,
            allocations: health.allocations,
            system_calls: health.system_calls,
            denied_calls: health.denied_calls,
        }
    }
}
