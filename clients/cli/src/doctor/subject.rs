//! Who is examined: one host, with the demands of one machine, or of the defaults where none is named.
use std::path::PathBuf;

use kadenz_config::machine::{Cpu, Machine};
use kadenz_config::{EXIT_CODE, Exemption};
use kadenz_host::isolation::Isolation;
use kadenz_host::{Files, thread};
use kadenz_paths::RuntimeDir;

use super::finding::{Check, Finding};
use crate::args::DoctorOptions;
use crate::check;
use crate::reply::{EXIT_USAGE, Failure};

/// Period without a machine's file.
const PERIOD_US_DEFAULT: u32 = 1000;
/// SCHED_FIFO priority without a machine's file.
const PRIORITY_FIFO_DEFAULT: u8 = 80;

/// The host and what is demanded of it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) files: Files,
    /// The loop's CPU.
    pub(crate) cpu: usize,
    /// The group whose partition keeps that CPU from this process; `None` when it may run there.
    pub(crate) kept_by: Option<String>,
    pub(crate) priority_fifo: u8,
    pub(crate) period_ns: u64,
    /// Wake-ups later than this are incidents.
    pub(crate) late_wake_ns: u64,
    /// What the machine's file exempts.
    pub(crate) exempt: Vec<Exemption>,
    pub(crate) machine: Option<Machine>,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) interface: Option<String>,
    /// Length of the probe.
    pub(crate) seconds: u64,
}

impl Subject {
    /// Reads the machine's file, if one is named.
    pub(crate) fn of(dir: &RuntimeDir, options: &DoctorOptions) -> Result<Self, Failure> {
        let machine = match (&options.config, &options.demo) {
            (Some(file), _) => Some(
                Machine::load(file).map_err(|error| Failure::new(EXIT_CODE, error.to_string()))?,
            ),
            (None, Some(name)) => Some(check::demo(name)?),
            (None, None) => None,
        };
        let cpu = match (options.cpu, &machine) {
            (Some(number), _) => Cpu::Number(number),
            (None, Some(machine)) => machine.host.cpu,
            (None, None) => Cpu::Last,
        };
        let files = Files::here();
        let (cpu, kept_by) = place(&files, cpu)?;
        let period_us = machine.as_ref().map_or(PERIOD_US_DEFAULT, |machine| machine.period_us);
        let late_wake_us =
            machine.as_ref().map_or(period_us / 4, |machine| machine.overrun.late_wake_us);
        Ok(Self {
            files,
            cpu,
            kept_by,
            priority_fifo: machine
                .as_ref()
                .map_or(PRIORITY_FIFO_DEFAULT, |machine| machine.host.priority_fifo),
            period_ns: u64::from(period_us) * 1_000,
            late_wake_ns: u64::from(late_wake_us) * 1_000,
            exempt: machine.as_ref().map(|one| one.host.exempt.clone()).unwrap_or_default(),
            machine,
            runtime_dir: dir.as_path().to_path_buf(),
            interface: options.interface.clone(),
            seconds: options.seconds,
        })
    }

    /// The finding, let stand if the machine's file exempts any of `names`.
    pub(crate) fn judged(&self, finding: Finding, names: &[Exemption]) -> Finding {
        finding.exempt_by(&self.exempt, names)
    }

    /// The text of a file, or what to say when it is not there.
    pub(crate) fn text_or(&self, path: &str, otherwise: &str) -> String {
        self.files.text(path).unwrap_or_else(|| otherwise.to_owned())
    }

    /// Not applicable, since `path` is not there.
    pub(crate) fn absent(check: Check, path: &str) -> Finding {
        Finding::not_applicable(check, format!("{path} is not there"))
    }

    /// All CPUs but the loop's, as `irqaffinity=` wants them.
    pub(crate) fn other_cpus(&self) -> kadenz_host::CpuList {
        let online = self.text_or("/sys/devices/system/cpu/online", "");
        kadenz_host::CpuList::of(&online).without(self.cpu)
    }
}

/// The CPU that is meant. A partition takes its CPUs from everybody outside its group: the doctor's shell may
/// not go where kadenzd, started in its slice, will run.
fn place(files: &Files, cpu: Cpu) -> Result<(usize, Option<String>), Failure> {
    let isolation = Isolation::of(files);
    let kept = isolation.partitions.iter().filter(|one| one.is_isolated());
    let kept = kept.flat_map(|one| one.cpus.iter().map(|cpu| (cpu, one.group.clone())));
    let kept = match cpu {
        Cpu::Last => kept.max_by_key(|(cpu, _)| *cpu),
        Cpu::Number(number) => kept.into_iter().find(|(cpu, _)| *cpu == usize::from(number)),
    };
    match (kept, thread::loop_cpu(cpu)) {
        (None, reached) => reached
            .map(|cpu| (cpu, None))
            .map_err(|error| Failure::new(EXIT_USAGE, format!("{error:#}; or give --cpu N"))),
        (Some((kept, _)), Ok(reached)) if reached == kept => Ok((kept, None)),
        (Some((kept, group)), _) => Ok((kept, Some(group))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host with the demands of the defaults.
    pub(crate) fn subject() -> Subject {
        Subject {
            files: Files::here(),
            cpu: 1,
            kept_by: None,
            priority_fifo: PRIORITY_FIFO_DEFAULT,
            period_ns: 1_000_000,
            late_wake_ns: 250_000,
            exempt: Vec::new(),
            machine: None,
            runtime_dir: PathBuf::from("/dev/shm"),
            interface: None,
            seconds: 1,
        }
    }
}
