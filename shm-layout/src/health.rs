//! How the loop itself is doing: counters and histograms since start, read at any time.
use crate::histogram::BUCKETS;
use crate::record::record;
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// Counters and histograms of the loop since its start. All of them only rise, apart from `sampled_ns`.
    Health as "Kadenz.Health" {
        /// Fingerprint of the contract.
        layout_hash: u64, "-", "equals LAYOUT_HASH", "kadenzd";
        /// Random number of this life of the daemon.
        daemon_id: u64, "-", "any", "kadenzd";
        /// When these numbers were copied, CLOCK_MONOTONIC.
        sampled_ns: u64, "ns", "any", "gateway";
        /// Passes.
        cycles: u64, "1", "rising", "kadenzd";
        /// Grid points without a pass, in all.
        missed_cycles: u64, "1", "rising", "kadenzd";
        /// Missed by cause, indexed by `Cause`; attributed off the RT thread within 100 ms.
        missed_by_cause: [u64; 5], "1", "rising", "kadenzd";
        /// Passes that published after the next grid point.
        overruns: u64, "1", "rising", "kadenzd";
        /// Longest wake-up latency.
        wake_latency_ns_max: u64, "ns", "any", "kadenzd";
        /// Longest pass.
        cycle_time_ns_max: u64, "ns", "any", "kadenzd";
        /// Requests the loop never saw because their ring overflowed.
        requests_lost: u64, "1", "rising", "kadenzd";
        /// Mailbox reads given up because the writer overtook them.
        mailbox_overtaken: u64, "1", "rising", "kadenzd";
        /// Input records the flight recorder had no room for.
        recorder_drops: u64, "1", "rising", "kadenzd";
        /// Minor page faults of the RT thread since its loop began.
        minor_faults: u64, "1", "rising", "kadenzd";
        /// Major page faults of the RT thread since its loop began.
        major_faults: u64, "1", "rising", "kadenzd";
        /// Involuntary context switches of the RT thread since its loop began.
        involuntary_switches: u64, "1", "rising", "kadenzd";
        /// Heap allocations of the RT thread since its loop began.
        allocations: u64, "1", "rising", "kadenzd";
        /// System calls of the RT thread since its loop began, as its own wrappers count them.
        system_calls: u64, "1", "rising", "kadenzd";
        /// System calls outside the RT thread's list, which the kernel refused it.
        denied_calls: u64, "1", "rising", "kadenzd";
        /// Breaches of timing that became incidents, those kept back by the rate limit included.
        incidents: u64, "1", "rising", "kadenzd";
        /// Incidents kept back by the rate limit.
        incidents_suppressed: u64, "1", "rising", "kadenzd";
        /// Cycles that were overwritten in the flight recorder before they were saved to disk.
        recorder_unsaved: u64, "1", "rising", "kadenzd";
        /// Batches or requests that this gateway refused.
        gateway_refused: u64, "1", "rising", "gateway";
        /// Batches that this gateway dropped because their source sent faster than it may.
        gateway_rate_limited: u64, "1", "rising", "gateway";
        /// Records that were overwritten before this gateway came round to them.
        gateway_overwritten: u64, "1", "rising", "gateway";
        /// Wake-up latency, buckets of `histogram`.
        wake_latency: [u64; BUCKETS], "1", "rising", "kadenzd";
        /// Time of one pass from wake to publish, buckets of `histogram`.
        cycle_time: [u64; BUCKETS], "1", "rising", "kadenzd";
    }
}
