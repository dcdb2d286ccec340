//! What the host must give a real-time loop: asked for, read back, and either there or exempted by name.
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};
use kadenz_config::Exemption;
use kadenz_config::machine::{Cpu, Machine};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Pid;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, get_thread_priority,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

use super::restriction;

/// Stack touched before the loop begins; the loop's frames need far less.
const PREFAULT_BYTES: usize = 256 * 1024;
/// Timer slack asked for, ns; the kernel rounds 0 to its default.
const TIMER_SLACK_NS: u64 = 1;

/// One thing the host lacks.
#[derive(Clone, Debug)]
pub struct Lack {
    /// The name by which a configuration may exempt it.
    pub name: Exemption,
    /// What was found.
    pub found: String,
}

/// A host that is fit for the loop, or whose lacks the configuration names.
///
/// Holds what must stay open as long as the loop runs.
#[derive(Debug)]
pub struct HostReady {
    /// CPU the loop will run on.
    pub cpu: usize,
    /// What is missing and exempted.
    pub lacks: Vec<Lack>,
    _cpu_dma_latency: Option<File>,
}

/// Prepares the process and checks the host.
///
/// # Errors
/// Everything the host lacks that the configuration does not exempt, with the remedy.
pub fn prepare(machine: &Machine, runtime_dir: &Path) -> anyhow::Result<HostReady> {
    let cpu = loop_cpu(machine)?;
    let mut lacks = Vec::new();
    let mut check = |name, outcome: anyhow::Result<()>| {
        if let Err(error) = outcome {
            lacks.push(Lack { name, found: format!("{error:#}") });
        }
    };
    check(Exemption::PreemptRt, preempt_rt());
    check(Exemption::IsolatedCpu, isolated(cpu));
    check(Exemption::MemoryLock, lock_memory());
    check(Exemption::Tmpfs, tmpfs(runtime_dir));
    check(Exemption::OneUser, own_users(machine));
    let mut cpu_dma_latency = None;
    check(Exemption::CpuDmaLatency, no_deep_sleep().map(|file| cpu_dma_latency = Some(file)));
    if restriction::clock_enters_kernel()? {
        lacks.push(Lack { name: Exemption::VdsoClock, found: slow_clock() });
    }
    refuse_unexempted(machine, &lacks)?;
    leave_to_the_loop(cpu)?;
    Ok(HostReady { cpu, lacks, _cpu_dma_latency: cpu_dma_latency })
}

/// Makes the calling thread the RT thread: signals blocked, stack present, pinned, FIFO; all read back.
///
/// # Errors
/// What could not be had and is not exempted.
pub fn become_rt_thread(machine: &Machine, ready: &HostReady) -> anyhow::Result<Vec<Lack>> {
    let mut blocked = SigSet::all();
    // A denied call is told by it; blocked, it would end the process.
    blocked.remove(Signal::SIGSYS);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)
        .context("blocking signals on the RT thread")?;
    prefault_stack();
    pin(ready.cpu)?;
    prctl::set_timerslack(TIMER_SLACK_NS).context("setting the timer slack")?;
    let slack = prctl::get_timerslack().context("reading the timer slack back")?;
    if u64::try_from(slack) != Ok(TIMER_SLACK_NS) {
        bail!("asked for a timer slack of {TIMER_SLACK_NS} ns, the kernel says {slack} ns");
    }
    let mut lacks = Vec::new();
    if let Err(error) = fifo(machine.host.priority_fifo) {
        lacks.push(Lack { name: Exemption::Scheduler, found: format!("{error:#}") });
    }
    refuse_unexempted(machine, &lacks)?;
    Ok(lacks)
}

fn refuse_unexempted(machine: &Machine, lacks: &[Lack]) -> anyhow::Result<()> {
    let refused: Vec<String> = lacks
        .iter()
        .filter(|lack| !machine.is_exempt(lack.name))
        .map(|lack| format!("  {}: {}", lack.name.name(), lack.found))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    bail!(
        "this host lacks what the loop needs:\n{}\nMend it, or exempt it by name in [host] exempt.",
        refused.join("\n")
    )
}

fn loop_cpu(machine: &Machine) -> anyhow::Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("reading the CPU affinity")?;
    let is_allowed = |cpu: usize| allowed.is_set(cpu).unwrap_or(false);
    match machine.host.cpu {
        Cpu::Last => (0..CpuSet::count())
            .rev()
            .find(|cpu| is_allowed(*cpu))
            .context("this process may run on no CPU at all"),
        Cpu::Number(number) if is_allowed(usize::from(number)) => Ok(usize::from(number)),
        Cpu::Number(number) => {
            bail!("[host] cpu = {number}: this process may not run there; choose an online CPU")
        }
    }
}

fn preempt_rt() -> anyhow::Result<()> {
    let realtime = std::fs::read_to_string("/sys/kernel/realtime").unwrap_or_default();
    let version = nix::sys::utsname::uname().context("uname")?;
    let version = version.version().to_string_lossy().into_owned();
    if realtime.trim() == "1" || version.contains("PREEMPT_RT") {
        return Ok(());
    }
    bail!("the kernel is `{version}`, not PREEMPT_RT; install an RT kernel")
}

fn isolated(cpu: usize) -> anyhow::Result<()> {
    let path = "/sys/devices/system/cpu/isolated";
    let list = std::fs::read_to_string(path).unwrap_or_default();
    if is_in_list(list.trim(), cpu) {
        return Ok(());
    }
    bail!("CPU {cpu} is not isolated (isolated: `{}`); boot with isolcpus={cpu}", list.trim())
}

/// Whether a kernel CPU list such as `1-3,5` names `cpu`.
fn is_in_list(list: &str, cpu: usize) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&cpu),
            _ => false,
        }
    })
}

fn lock_memory() -> anyhow::Result<()> {
    // With a finite limit mlockall may succeed now and every later mapping fail, the loop's own stack
    // among them.
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).context("reading RLIMIT_MEMLOCK")?;
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    if limit != RLIM_INFINITY && !has_ipc_lock(&status) {
        bail!(
            "only {} kB may be locked (RLIMIT_MEMLOCK) and CAP_IPC_LOCK is missing; grant it, or \
             LimitMEMLOCK=infinity",
            limit / 1024
        );
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
        .context("mlockall (grant CAP_IPC_LOCK or LimitMEMLOCK=infinity)")?;
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    match locked.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok()) {
        Some(kilobytes) if kilobytes > 0 => Ok(()),
        _ => bail!("mlockall succeeded, yet nothing is locked (VmLck {locked:?})"),
    }
}

/// Whether the effective capabilities in a `/proc/self/status` hold CAP_IPC_LOCK (bit 14).
fn has_ipc_lock(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << 14) != 0)
}

fn slow_clock() -> String {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(path).unwrap_or_default();
    format!("clock source `{}` has no vDSO; boot with clocksource=tsc", source.trim())
}

fn tmpfs(dir: &Path) -> anyhow::Result<()> {
    let kind = statfs(dir).with_context(|| dir.display().to_string())?.filesystem_type();
    if kind == TMPFS_MAGIC {
        return Ok(());
    }
    bail!("{} is not on tmpfs; a disk would fault the loop at write-back", dir.display())
}

fn own_users(machine: &Machine) -> anyhow::Result<()> {
    match machine.roles {
        Some(_) => Ok(()),
        None => bail!("[roles] names no users; gateways share this one"),
    }
}

/// Keeps CPUs out of deep sleep for as long as the file stays open (PM QoS, 0 µs).
fn no_deep_sleep() -> anyhow::Result<File> {
    let path = "/dev/cpu_dma_latency";
    let mut file = OpenOptions::new().read(true).write(true).open(path).context(path)?;
    file.write_all(&0i32.to_ne_bytes()).with_context(|| format!("writing 0 to {path}"))?;
    let mut told = [0u8; 4];
    file.rewind().ok();
    file.read_exact(&mut told).with_context(|| format!("reading {path} back"))?;
    if i32::from_ne_bytes(told) != 0 {
        bail!("{path} says {} µs after 0 was asked for", i32::from_ne_bytes(told));
    }
    Ok(file)
}

/// Keeps this thread, and those it starts, off the loop's CPU where there is another: a system call of ours there
/// holds the loop up like anybody's in a kernel that does not preempt itself (seen in `cargo chaos` 2026-11-25:
/// 0.3 to 0.4 ms of another thread of the daemon, a cycle missed each time).
fn leave_to_the_loop(cpu: usize) -> anyhow::Result<()> {
    let mut others = sched_getaffinity(Pid::from_raw(0)).context("reading the CPU affinity")?;
    others.unset(cpu).with_context(|| format!("CPU {cpu}"))?;
    if (0..CpuSet::count()).all(|other| !others.is_set(other).unwrap_or(false)) {
        return Ok(());
    }
    sched_setaffinity(Pid::from_raw(0), &others)
        .with_context(|| format!("keeping the daemon's other threads off CPU {cpu}"))
}

fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &only).with_context(|| format!("pinning to CPU {cpu}"))?;
    let told = sched_getaffinity(Pid::from_raw(0)).context("reading the affinity back")?;
    if told != only {
        bail!("asked for CPU {cpu} alone, but the affinity is {told:?}");
    }
    Ok(())
}

fn fifo(priority: u8) -> anyhow::Result<()> {
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

/// Touches the stack that the loop will use, so that it is present.
#[inline(never)]
fn prefault_stack() {
    let mut stack = [0u8; PREFAULT_BYTES];
    for page in stack.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&stack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_to_lock_memory_is_read_from_the_effective_capabilities() {
        assert!(has_ipc_lock("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(has_ipc_lock("CapEff:\t0000000000004000\n"));
        assert!(!has_ipc_lock("CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"));
        assert!(!has_ipc_lock(""));
    }

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
    fn kernel_cpu_lists_are_read_as_the_kernel_writes_them() {
        for (list, cpu, inside) in [
            ("", 0, false),
            ("1", 1, true),
            ("0-3,8", 8, true),
            ("0-3,8", 4, false),
            ("2-3", 3, true),
        ] {
            assert_eq!(is_in_list(list, cpu), inside, "{list} {cpu}");
        }
    }
}
