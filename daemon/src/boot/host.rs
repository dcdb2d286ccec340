//! What the host must give a real-time loop: asked for, read back, and either there or exempted by name.
use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use kadenz_config::Exemption;
use kadenz_config::machine::Machine;
use kadenz_host::fingerprint::{self, Change};
use kadenz_host::isolation::Isolation;
use kadenz_host::{Files, clock, kernel, memory, sleep, thread};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

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
    let files = Files::here();
    let cpu = thread::loop_cpu(machine.host.cpu)?;
    let mut lacks = Vec::new();
    let mut check = |name, outcome: anyhow::Result<()>| {
        if let Err(error) = outcome {
            lacks.push(Lack { name, found: format!("{error:#}") });
        }
    };
    check(Exemption::PreemptRt, kernel::preempt_rt(&files));
    check(Exemption::IsolatedCpu, Isolation::of(&files).check(cpu).map(|_how| ()));
    check(Exemption::MemoryLock, memory::lock());
    check(Exemption::Tmpfs, memory::tmpfs(runtime_dir));
    check(Exemption::OneUser, own_users(machine));
    let mut cpu_dma_latency = None;
    let held = sleep::hold_off(&files).map(|file| cpu_dma_latency = Some(file));
    check(Exemption::CpuDmaLatency, held);
    if clock::enters_kernel()? {
        lacks.push(Lack { name: Exemption::VdsoClock, found: clock::slow(&files) });
    }
    refuse_unexempted(machine, &lacks)?;
    thread::leave_to_the_loop(cpu)?;
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
    memory::prefault_stack();
    thread::pin(ready.cpu)?;
    thread::tighten_timers()?;
    let mut lacks = Vec::new();
    if let Err(error) = thread::fifo(machine.host.priority_fifo) {
        lacks.push(Lack { name: Exemption::Scheduler, found: format!("{error:#}") });
    }
    refuse_unexempted(machine, &lacks)?;
    Ok(lacks)
}

/// Whether this host has changed since `kadenz doctor` judged it; told to people as well. Where it never was
/// judged, nothing has changed.
#[must_use]
pub fn has_changed() -> bool {
    let file = fingerprint::file();
    let Some(changes) = fingerprint::changes_since_judged(&Files::here(), &file) else {
        log::info!("no fingerprint of this host in {}; `kadenz doctor` stores one", file.display());
        return false;
    };
    if !changes.is_empty() {
        let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
        log::warn!(
            "this host has changed since it was judged ({}):\n  {}\nEnable is refused until somebody \
             acknowledges it: `kadenz enable --acknowledge-host`, or `kadenz doctor` and a new start.",
            file.display(),
            lines.join("\n  ")
        );
    }
    !changes.is_empty()
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
        "this host lacks what the loop needs:\n{}\nMend it, or exempt it by name in [host] exempt; \
         `kadenz doctor` tells how.",
        refused.join("\n")
    )
}

fn own_users(machine: &Machine) -> anyhow::Result<()> {
    match machine.roles {
        Some(_) => Ok(()),
        None => bail!("[roles] names no users; gateways share this one"),
    }
}
