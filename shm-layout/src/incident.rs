//! A breach of timing with the evidence around it, and the cause it points to.
use crate::code::{Cause, Finding, IncidentKind};
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
        busy_permille: u32, "1/1000", "0 ..= 1000", "kadenzd";
        /// System management interrupts in the window.
        smi_count: u32, "1", "any", "kadenzd";
        /// Wake-up latencies around it; its own pass in the middle, 0 where there was no pass.
        around_latency_ns: [u32; INCIDENT_PASSES], "ns", "any", "kadenzd";
        /// Times of the passes around it, likewise.
        around_time_ns: [u32; INCIDENT_PASSES], "ns", "any", "kadenzd";
    }
}

/// The stages of a cycle in words, in order; `publish` has the flight recorder behind it.
pub const STAGE_WORDS: [&str; STAGES] =
    ["receive", "take", "judge", "motion", "control", "limit", "send", "publish"];

/// A duration as people say it: 1.25 s, 98.2 ms, 412 µs.
struct Span(u64);

impl core::fmt::Display for Span {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ns = self.0 as f64;
        match self.0 {
            0..1_000_000 => write!(f, "{:.0} µs", ns * 1e-3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} ms", ns * 1e-6),
            _ => write!(f, "{:.2} s", ns * 1e-9),
        }
    }
}

impl Incident {
    /// How late its pass woke, ns.
    #[must_use]
    pub const fn wake_latency_ns(&self) -> u64 {
        self.wake_ns.saturating_sub(self.grid_ns)
    }

    /// The word of its worst stage; `None` when no stage ran over.
    #[must_use]
    pub fn stage_word(&self) -> Option<&'static str> {
        STAGE_WORDS.get(usize::try_from(self.stage).ok()?).copied()
    }

    fn usual_ns(&self) -> u64 {
        let stage = usize::try_from(self.stage).unwrap_or(STAGES);
        self.stage_usual_ns.get(stage).map_or(0, |ns| u64::from(*ns))
    }
}

/// One line: the cause first, then what happened.
impl core::fmt::Display for Incident {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let lost = Span(self.lost_ns);
        match Finding::try_from(self.finding).unwrap_or(Finding::Nothing) {
            Finding::Nothing => write!(f, "no cause found")?,
            Finding::Stage => {
                let stage = self.stage_word().unwrap_or("a pass");
                let took = Span(self.lost_ns.saturating_add(self.usual_ns()));
                write!(f, "ours: {stage} {took}, usually {}", Span(self.usual_ns()))?;
            }
            Finding::PageFault => {
                let (minor, major) = (self.minor_faults, self.major_faults);
                write!(f, "ours: {minor} minor and {major} major page faults")?;
            }
            Finding::Allocation => write!(f, "ours: {} allocations", self.allocations)?,
            Finding::OwnThread => write!(f, "ours: another thread of kadenzd ran {lost}")?,
            Finding::DeniedCall => write!(f, "ours: system call {} denied", self.system_call)?,
            Finding::Steal => write!(f, "host stole {lost}")?,
            Finding::Firmware => write!(f, "firmware took the CPU ({} SMI)", self.smi_count)?,
            Finding::ProcessStopped => {
                write!(f, "the whole process stood still for {lost} (signal, debugger, freezer)")?;
            }
            Finding::Preempted => write!(f, "kernel ran another task for {lost}")?,
            Finding::Throttled => write!(f, "real-time throttling for {lost}")?,
            Finding::Interrupts => write!(f, "kernel served {} interrupts", self.interrupts)?,
            Finding::LateTimer => {
                write!(f, "the timer came {lost} late, the CPU had no other task")?
            }
            Finding::BusLate => write!(f, "bus answered {lost} late")?,
        }
        let kind = IncidentKind::word_of(self.kind);
        let (late, ran) = (Span(self.wake_latency_ns()), Span(self.cycle_time_ns));
        write!(f, " — {kind}, cycle {}: woke {late} late, ran {ran}", self.cycle)?;
        if self.skipped > 0 {
            write!(f, ", {} missed", self.skipped)?;
        }
        if self.suppressed > 0 {
            write!(f, " (and {} incidents before it)", self.suppressed)?;
        }
        write!(f, " [{}]", Cause::word_of(self.cause))
    }
}
