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
        /// Wake-up latency, buckets of `histogram`.
        wake_latency: [u64; BUCKETS], "1", "rising", "kadenzd";
        /// Time of one pass from wake to publish, buckets of `histogram`.
        cycle_time: [u64; BUCKETS], "1", "rising", "kadenzd";
    }
}
