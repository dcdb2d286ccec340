//! What a real-time thread asks of the scheduler, each read back: its CPU, its priority, its timers.
use anyhow::{Context, bail};
use kadenz_config::machine::Cpu;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::unistd::Pid;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, get_thread_priority,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Timer slack asked for, ns; the kernel rounds 0 to its default.
const TIMER_SLACK_NS: u64 = 1;

/// The CPU that `cpu` of a configuration means for this process, found out by going there: the affinity a
/// process begins with says little, for `isolcpus=` takes the isolated CPUs out of everybody's.
///
/// # Errors
/// This process may not run there.
pub fn loop_cpu(cpu: Cpu) -> anyhow::Result<usize> {
    // On a thread of its own: affinities are a thread's.
    let goes_to = move || match cpu {
        Cpu::Last => (0..CpuSet::count()).rev().find(|cpu| pin(*cpu).is_ok()),
        Cpu::Number(number) => Some(usize::from(number)).filter(|cpu| pin(*cpu).is_ok()),
    };
    let Ok(found) = std::thread::spawn(goes_to).join() else {
        bail!("the thread that tries CPUs panicked")
    };
    match (found, cpu) {
        (Some(found), _) => Ok(found),
        (None, Cpu::Last) => bail!("this process may run on no CPU at all"),
        (None, Cpu::Number(number)) => {
            bail!("[host] cpu = {number}: this process may not run there; choose an online CPU")
        }
    }
}

/// Pins the calling thread to `cpu`.
///
/// # Errors
/// The kernel refuses, or the thread is not there alone afterwards.
pub fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &only).with_context(|| format!("pinning to CPU {cpu}"))?;
    let told = sched_getaffinity(Pid::from_raw(0)).context("reading the affinity back")?;
    if told != only {
        bail!("asked for CPU {cpu} alone, but the affinity is {told:?}");
    }
    Ok(())
}

/// Keeps the calling thread, and those it starts, off the loop's CPU where there is another: a system call of ours
/// there holds the loop up like anybody's in a kernel that does not preempt itself (seen in `cargo chaos`
/// 2026-11-25: 0.3 to 0.4 ms of another thread of the daemon, a cycle missed each time).
///
/// # Errors
/// The kernel refuses.
pub fn leave_to_the_loop(cpu: usize) -> anyhow::Result<()> {
    let mut others = sched_getaffinity(Pid::from_raw(0)).context("reading the CPU affinity")?;
    others.unset(cpu).with_context(|| format!("CPU {cpu}"))?;
    if (0..CpuSet::count()).all(|other| !others.is_set(other).unwrap_or(false)) {
        return Ok(());
    }
    sched_setaffinity(Pid::from_raw(0), &others)
        .with_context(|| format!("keeping the other threads off CPU {cpu}"))
}

/// Gives the calling thread the shortest timer slack.
///
/// # Errors
/// The kernel refuses or says another one afterwards.
pub fn tighten_timers() -> anyhow::Result<()> {
    prctl::set_timerslack(TIMER_SLACK_NS).context("setting the timer slack")?;
    let slack = prctl::get_timerslack().context("reading the timer slack back")?;
    if u64::try_from(slack) != Ok(TIMER_SLACK_NS) {
        bail!("asked for a timer slack of {TIMER_SLACK_NS} ns, the kernel says {slack} ns");
    }
    Ok(())
}

/// Makes the calling thread SCHED_FIFO of `priority`, 1 ..= 98.
///
/// # Errors
/// No right to it, or the thread is not what was asked afterwards.
pub fn fifo(priority: u8) -> anyhow::Result<()> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let wanted = ThreadPriorityValue::try_from(priority)
        .map_err(|error| anyhow::anyhow!("priority {priority}: {error}"))?;
    let thread = thread_native_id();
    set_thread_priority_and_policy(thread, ThreadPriority::Crossplatform(wanted), policy).map_err(
        |error| {
            anyhow::anyhow!("SCHED_FIFO {priority}: {error} (grant CAP_SYS_NICE or LimitRTPRIO)")
        },
    )?;
    let told = thread_schedule_policy().map_err(|error| anyhow::anyhow!("{error}"))?;
    let level = get_thread_priority(thread).map_err(|error| anyhow::anyhow!("{error}"))?;
    if told != policy || level != ThreadPriority::Crossplatform(wanted) {
        bail!("asked for SCHED_FIFO {priority}, got {told:?} {level:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    #[test]
    fn the_daemons_other_threads_leave_the_loops_cpu_to_the_loop() {
        // On a thread of its own: affinities are a thread's.
        let kept_off = std::thread::spawn(|| {
            let before = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let allowed: Vec<usize> =
                (0..CpuSet::count()).filter(|cpu| before.is_set(*cpu).unwrap()).collect();
            let cpu = *allowed.last().unwrap();
            leave_to_the_loop(cpu).unwrap();
            let child = std::thread::spawn(|| sched_getaffinity(Pid::from_raw(0)).unwrap());
            let after = child.join().unwrap();
            let others = allowed.iter().filter(|other| **other != cpu);
            let keeps_others = others.clone().all(|other| after.is_set(*other).unwrap());
            // With one CPU there is no other to go to.
            keeps_others && after.is_set(cpu).unwrap() == (others.count() == 0)
        });
        assert!(kept_off.join().unwrap());
    }

    #[test]
    fn a_cpu_this_process_may_not_use_is_refused_by_its_number() {
        let words = loop_cpu(Cpu::Number(1023)).unwrap_err().to_string();
        assert!(words.contains("cpu = 1023"), "{words}");
        assert!(loop_cpu(Cpu::Last).is_ok());
    }

    #[test]
    fn a_cpu_that_is_not_in_the_affinity_is_found_all_the_same() {
        let last = loop_cpu(Cpu::Last).unwrap();
        let from_the_first = std::thread::spawn(|| {
            let first = (0..CpuSet::count()).find(|cpu| pin(*cpu).is_ok()).unwrap();
            (first, loop_cpu(Cpu::Last).unwrap())
        });
        let (first, found) = from_the_first.join().unwrap();
        assert_eq!(found, last);
        assert!(first <= last);
    }

    #[test]
    fn a_process_that_may_not_set_its_timer_slack_is_told_so() {
        let refused = std::thread::spawn(|| {
            let denied = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap());
            let rules = BTreeMap::from([(libc::SYS_prctl, Vec::new())]);
            let architecture = std::env::consts::ARCH.try_into().unwrap();
            let filter =
                SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture).unwrap();
            let program: BpfProgram = filter.try_into().unwrap();
            seccompiler::apply_filter(&program).unwrap();
            format!("{:#}", tighten_timers().unwrap_err())
        });
        let words = refused.join().unwrap();
        assert!(words.contains("setting the timer slack"), "{words}");
    }

    #[test]
    fn the_timer_slack_is_what_was_asked_for() {
        std::thread::spawn(|| tighten_timers().unwrap()).join().unwrap();
    }
}
