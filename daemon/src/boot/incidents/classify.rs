//! From evidence to a cause: a pure rule, so that every cause can be shown on made-up evidence.
use kadenz_host::counters::TICK_NS;
use shm_layout::STAGES;
use shm_layout::code::{Cause, Finding, IncidentKind, evidence};

/// What was found around one breach; differences across the window that encloses it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) wake_latency_ns: u64,
    pub(super) cycle_time_ns: u64,
    /// What a pass usually takes.
    pub(super) cycle_usual_ns: u64,
    pub(super) bus_late_ns: u64,
    pub(super) stage_over_ns: [u64; STAGES],
    pub(super) evidence: u32,
    pub(super) window_ns: u64,
    pub(super) cpu_time_ns: u64,
    /// CPU time the thread usually uses in such a window.
    pub(super) cpu_usual_ns: u64,
    pub(super) run_delay_ns: u64,
    pub(super) own_threads_ns: u64,
    pub(super) steal_ns: u64,
    /// Steal that such a window usually holds.
    pub(super) steal_usual_ns: u64,
    pub(super) busy_permille: u32,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) allocations: u64,
    pub(super) interrupts: u64,
    pub(super) softirqs: u64,
    /// Both, beyond what they usually are in such a window.
    pub(super) interrupts_over: u64,
    pub(super) smi_count: u64,
    /// Longest time in which the mainland did not come round to look either.
    pub(super) mainland_gap_ns: u64,
}

/// The cause, what it rests on, and the time lost to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) cause: Cause,
    pub(super) finding: Finding,
    pub(super) lost_ns: u64,
    /// Stage that ran furthest over its usual time; `STAGES` when none did.
    pub(super) stage: usize,
}

/// The mainland looks every 20 ms: a shorter stillness of the whole process is not told from its pauses.
const STILL_NS_MIN: u64 = 40_000_000;
/// An interrupt and what it wakes take some microseconds.
const INTERRUPT_NS: u64 = 2_000;
/// What one system management interrupt takes at most, where firmware is not broken altogether.
const SMI_NS: u64 = 1_000_000;
/// Real-time tasks are throttled after 950 of 1000 ms by default.
const THROTTLED_PERMILLE: u32 = 930;

/// Judges a breach of timing. `denied`: it is about a system call that was refused.
pub(super) fn judge(kind: IncidentKind, found: &Found) -> Judged {
    let over_ns = found.cycle_time_ns.saturating_sub(found.cycle_usual_ns);
    let ran_over = over_ns > found.wake_latency_ns;
    let lost_ns = if ran_over { over_ns } else { found.wake_latency_ns };
    let worst = found.stage_over_ns.iter().enumerate().max_by_key(|(_, over)| **over);
    let stage = match worst {
        Some((index, over)) if ran_over && *over > 0 => index,
        _ => STAGES,
    };
    let (cause, finding, lost_ns) = if kind == IncidentKind::DeniedCall {
        (Cause::Own, Finding::DeniedCall, lost_ns)
    } else {
        let (cause, finding) = decide(found, ran_over, lost_ns);
        let measured_ns = match finding {
            Finding::Steal => found.steal_ns.min(lost_ns),
            Finding::BusLate => found.bus_late_ns,
            Finding::OwnThread => found.own_threads_ns.min(lost_ns),
            Finding::Stage => worst.map_or(lost_ns, |(_, over)| *over),
            _ => lost_ns,
        };
        (cause, finding, measured_ns)
    };
    Judged { cause, finding, lost_ns, stage }
}

fn decide(found: &Found, ran_over: bool, lost_ns: u64) -> (Cause, Finding) {
    let most = |part_ns: u64| part_ns >= lost_ns / 2;
    let reads = |bit: u32| found.evidence & bit != 0;
    // What is certainly ours is no host's doing, however busy that is.
    if found.allocations > 0 {
        return (Cause::Own, Finding::Allocation);
    }
    if most(found.own_threads_ns) && most(found.run_delay_ns) && reads(evidence::THREAD) {
        return (Cause::Own, Finding::OwnThread);
    }
    let used_over_ns = found.cpu_time_ns.saturating_sub(found.cpu_usual_ns);
    let really_ran =
        ran_over && reads(evidence::THREAD) && used_over_ns as f64 > 0.6 * lost_ns as f64;
    // Steal is told in whole ticks, so up to one more may have been stolen.
    let stolen_ns = found.steal_ns.saturating_sub(found.steal_usual_ns);
    if stolen_ns > 0 && most(stolen_ns + TICK_NS) {
        // A virtual CPU that was taken away inside a pass may be booked as used by it: then two causes
        // explain the same loss, and neither is shown.
        let both = really_ran && lost_ns < TICK_NS;
        return if both {
            (Cause::Unattributed, Finding::Nothing)
        } else {
            (Cause::Host, Finding::Steal)
        };
    }
    if most(found.smi_count.saturating_mul(SMI_NS)) && found.smi_count > 0 {
        return (Cause::Host, Finding::Firmware);
    }
    if found.bus_late_ns > 0 && most(found.bus_late_ns) {
        return (Cause::Bus, Finding::BusLate);
    }
    if found.minor_faults + found.major_faults > 0 && ran_over {
        return (Cause::Own, Finding::PageFault);
    }
    if most(found.run_delay_ns) && reads(evidence::THREAD) {
        let throttled = reads(evidence::THROTTLING) && found.busy_permille >= THROTTLED_PERMILLE;
        let finding = if throttled { Finding::Throttled } else { Finding::Preempted };
        return (Cause::Kernel, finding);
    }
    if really_ran {
        return (Cause::Own, Finding::Stage);
    }
    if lost_ns >= STILL_NS_MIN && found.mainland_gap_ns as f64 > 0.8 * lost_ns as f64 {
        return (Cause::Kernel, Finding::ProcessStopped);
    }
    if found.interrupts_over > 0 && most(found.interrupts_over.saturating_mul(INTERRUPT_NS)) {
        return (Cause::Kernel, Finding::Interrupts);
    }
    if !ran_over && reads(evidence::THREAD) {
        return (Cause::Kernel, Finding::LateTimer);
    }
    (Cause::Unattributed, Finding::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const ALL: u32 =
        evidence::THREAD | evidence::STEAL | evidence::INTERRUPTS | evidence::THROTTLING;

    fn late(latency_ns: u64) -> Found {
        Found {
            wake_latency_ns: latency_ns,
            cycle_time_ns: 30_000,
            cycle_usual_ns: 25_000,
            evidence: ALL,
            window_ns: 40 * MS,
            ..Found::default()
        }
    }

    fn long(time_ns: u64) -> Found {
        let mut stage_over_ns = [0; STAGES];
        stage_over_ns[4] = time_ns;
        Found { cycle_time_ns: time_ns + 25_000, stage_over_ns, ..late(5_000) }
    }

    fn verdict(found: &Found) -> (Cause, Finding) {
        let judged = judge(IncidentKind::MissedCycles, found);
        (judged.cause, judged.finding)
    }

    #[test]
    fn every_cause_is_told_from_its_evidence() {
        let cases = [
            (Found { steal_ns: 90 * MS, ..late(98 * MS) }, Cause::Host, Finding::Steal),
            (Found { smi_count: 1, ..late(MS) }, Cause::Host, Finding::Firmware),
            (Found { bus_late_ns: 2 * MS, ..long(2 * MS) }, Cause::Bus, Finding::BusLate),
            (Found { allocations: 1, ..long(2 * MS) }, Cause::Own, Finding::Allocation),
            (Found { minor_faults: 9, ..long(2 * MS) }, Cause::Own, Finding::PageFault),
            (Found { cpu_time_ns: 2 * MS, ..long(2 * MS) }, Cause::Own, Finding::Stage),
            (
                Found { run_delay_ns: 3 * MS, own_threads_ns: 3 * MS, ..late(3 * MS) },
                Cause::Own,
                Finding::OwnThread,
            ),
            (Found { run_delay_ns: 3 * MS, ..late(3 * MS) }, Cause::Kernel, Finding::Preempted),
            (
                Found { run_delay_ns: 48 * MS, busy_permille: 960, ..late(48 * MS) },
                Cause::Kernel,
                Finding::Throttled,
            ),
            (
                Found { mainland_gap_ns: 99 * MS, ..late(95 * MS) },
                Cause::Kernel,
                Finding::ProcessStopped,
            ),
            (Found { interrupts_over: 900, ..late(MS) }, Cause::Kernel, Finding::Interrupts),
            (late(MS), Cause::Kernel, Finding::LateTimer),
            (long(2 * MS), Cause::Unattributed, Finding::Nothing),
        ];
        for (found, cause, finding) in cases {
            assert_eq!(verdict(&found), (cause, finding), "{found:?}");
        }
    }

    #[test]
    fn a_host_that_always_steals_a_little_excuses_nothing_of_ours() {
        let usual = Found { steal_ns: 10 * MS, steal_usual_ns: 10 * MS, ..long(2 * MS) };
        let stage = Found { cpu_time_ns: 2 * MS, ..usual };
        assert_eq!(verdict(&stage), (Cause::Own, Finding::Stage));
        let thread = Found { run_delay_ns: 2 * MS, own_threads_ns: 2 * MS, ..usual };
        let stolen = Found { steal_ns: 90 * MS, ..thread };
        assert_eq!(verdict(&stolen), (Cause::Own, Finding::OwnThread));
        let smi = Found { smi_count: 1, cpu_time_ns: 60 * MS, ..long(60 * MS) };
        assert_eq!(verdict(&smi), (Cause::Own, Finding::Stage));
    }

    #[test]
    fn a_short_pass_that_steal_and_our_own_work_explain_alike_is_nobodys() {
        let found = Found { steal_ns: 10 * MS, cpu_time_ns: 2 * MS, ..long(2 * MS) };
        assert_eq!(verdict(&found), (Cause::Unattributed, Finding::Nothing));
    }

    #[test]
    fn a_little_steal_does_not_excuse_a_long_pass_of_our_own() {
        let found = Found { steal_ns: 10 * MS, cpu_time_ns: 60 * MS, ..long(60 * MS) };
        assert_eq!(verdict(&found), (Cause::Own, Finding::Stage));
    }

    #[test]
    fn a_stage_is_named_and_its_own_time_told() {
        let judged = judge(IncidentKind::Overrun, &Found { cpu_time_ns: 2 * MS, ..long(2 * MS) });
        assert_eq!((judged.stage, judged.lost_ns), (4, 2 * MS));
        assert_eq!(judge(IncidentKind::LateWake, &late(MS)).stage, STAGES);
    }

    #[test]
    fn without_evidence_nothing_is_claimed() {
        let blind = Found { evidence: 0, ..late(MS) };
        assert_eq!(verdict(&blind), (Cause::Unattributed, Finding::Nothing));
    }

    #[test]
    fn a_denied_call_is_our_own_whatever_else_was_found() {
        let judged = judge(IncidentKind::DeniedCall, &Found { steal_ns: MS, ..late(0) });
        assert_eq!((judged.cause, judged.finding), (Cause::Own, Finding::DeniedCall));
    }
}
