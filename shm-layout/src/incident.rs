//! A breach of timing with the evidence around it, and the cause it points to.
use crate::record::record;
use crate::{INCIDENT_PASSES, STAGES};
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// One measured breach of timing. Evidence is counted over `window_ns`, the time between two looks
    /// that encloses the breach; what could not be read is 0 and lacks its bit in `evidence`.
    Incident as "Kadenz.Incident" {
        /// Number of the incident, from 0; a gap is what the rate limit kept back.
        sequence: u64, "1", "rising", "kadenzd";
        /// Pass in which it was found.
        cycle: u64, "1", "any", "kadenzd";
        /// Grid point of that pass, CLOCK_MONOTONIC.
        grid_ns: u64, "ns", "any", "kadenzd";
        /// Wake of that pass, CLOCK_MONOTONIC.
        wake_ns: u64, "ns", ">= grid_ns", "kadenzd";
        /// How long that pass ran.
        cycle_time_ns: u64, "ns", "any", "kadenzd";
        /// What kind of breach (`IncidentKind`).
        kind: u32, "-", "IncidentKind", "kadenzd";
        /// Its cause (`Cause`).
        cause: u32, "-", "Cause", "kadenzd";
        /// What the cause rests on (`Finding`).
        finding: u32, "-", "Finding", "kadenzd";
        /// Stage that ran furthest over its usual time; `STAGES` when none did.
        stage: u32, "1", "0 ..= 8", "kadenzd";
        /// What the finding measures: time lost to it.
        lost_ns: u64, "ns", "any", "kadenzd";
        /// Grid points without a pass.
        skipped: u32, "cycle", "any", "kadenzd";
        /// Incidents before this one that the rate limit kept back.
        suppressed: u32, "1", "any", "kadenzd";
        /// Bits of `evidence`: which of the numbers below could be read.
        evidence: u32, "-", "bit set", "kadenzd";
        /// System call that was refused, its number on this architecture; 0 unless the kind is `denied-call`.
        system_call: u32, "-", "any", "kadenzd";
        /// How long each stage of that pass ran.
        stage_ns: [u32; STAGES], "ns", "any", "kadenzd";
        /// How long each stage usually runs: a moving median.
        stage_usual_ns: [u32; STAGES], "ns", "any", "kadenzd";
        /// Time between the looks that enclose it.
        window_ns: u64, "ns", "any", "kadenzd";
        /// CPU time of the RT thread in the window.
        cpu_time_ns: u64, "ns", "any", "kadenzd";
        /// Time in which the RT thread was runnable and did not run.
        run_delay_ns: u64, "ns", "any", "kadenzd";
        /// CPU time of other threads of the daemon that ran last on the loop's CPU, in the window.
        own_threads_ns: u64, "ns", "any", "kadenzd";
        /// Steal of the loop's CPU in the window and until it was accounted.
        steal_ns: u64, "ns", "any", "kadenzd";
        /// How late the bus answered beyond its bound.
        bus_late_ns: u64, "ns", "any", "kadenzd";
        /// Interrupts of the loop's CPU in the window, the timer's included.
        interrupts: u64, "1", "any", "kadenzd";
        /// Softirqs of the loop's CPU in the window.
        softirqs: u64, "1", "any", "kadenzd";
        /// Minor page faults of the RT thread in the window.
        minor_faults: u32, "1", "any", "kadenzd";
        /// Major page faults of the RT thread in the window.
        major_faults: u32, "1", "any", "kadenzd";
        /// Allocations of the RT thread in the window.
        allocations: u32, "1", "any", "kadenzd";
        /// Involuntary context switches of the RT thread in the window.
        involuntary_switches: u32, "1", "any", "kadenzd";
        /// Share of the second before in which the loop's CPU was not idle, in thousandths.
        busy_permille: u32, "1", "0 ..= 1000", "kadenzd";
        /// System management interrupts in the window.
        smi_count: u32, "1", "any", "kadenzd";
        /// Wake-up latencies around it; its own pass in the middle, 0 where there was no pass.
        around_latency_ns: [u32; INCIDENT_PASSES], "ns", "any", "kadenzd";
        /// Times of the passes around it, likewise.
        around_time_ns: [u32; INCIDENT_PASSES], "ns", "any", "kadenzd";
    }
}
