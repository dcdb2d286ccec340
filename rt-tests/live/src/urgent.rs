//! A thread that gets in the loop's way on purpose: pinned to its CPU, above its priority.
use anyhow::{Context, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Pins the calling thread to `cpu` and makes it SCHED_FIFO at `priority`, 1 ..= 98.
///
/// # Errors
/// The right to it is missing (CAP_SYS_NICE), or the CPU is.
pub fn become_urgent(cpu: usize, priority: u8) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &only).with_context(|| format!("pinning to CPU {cpu}"))?;
    let priority = ThreadPriorityValue::try_from(priority).map_err(|error| anyhow!("{error}"))?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let wanted = ThreadPriority::Crossplatform(priority);
    set_thread_priority_and_policy(thread_native_id(), wanted, policy)
        .map_err(|error| anyhow!("SCHED_FIFO: {error} (CAP_SYS_NICE is needed)"))
}
