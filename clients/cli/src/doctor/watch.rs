//! What happens on the loop's CPU while the probe runs: tasks, interrupts, softirqs and stolen time, counted
//! before and after.
use std::collections::HashMap;
use std::fs::File;

use kadenz_host::{CpuList, Files, counters};

/// Mark of a kernel thread in field 9 of its `stat` (PF_KTHREAD, sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One task at one moment.
#[derive(Clone, Debug)]
struct Task {
    name: String,
    is_kernel: bool,
    /// It may run on the CPU and nowhere else.
    is_bound: bool,
    switches: u64,
    cpu: usize,
}

/// The CPU at one moment.
#[derive(Debug)]
pub(crate) struct Look {
    tasks: HashMap<u32, Task>,
    interrupts: Vec<counters::Row>,
    softirqs: Vec<counters::Row>,
    steal_ticks: Option<u64>,
    smi: Option<u64>,
}

/// A task that ran on the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) name: String,
    pub(crate) is_kernel: bool,
    /// Times it was switched to.
    pub(crate) switches: u64,
}

/// What happened between two looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    /// Most switches first.
    pub(crate) visitors: Vec<Visitor>,
    /// Interrupts of devices, most first: number with name, count.
    pub(crate) devices: Vec<(String, u64)>,
    /// Interrupts between CPUs and of the CPU itself but its timer's: name, count.
    pub(crate) local: Vec<(String, u64)>,
    /// The timer's.
    pub(crate) timer: u64,
    /// Softirqs, most first.
    pub(crate) softirqs: Vec<(String, u64)>,
    /// Time the hypervisor took, ms; `None` when not told.
    pub(crate) stolen_ms: Option<u64>,
    /// System management interrupts; `None` when not told.
    pub(crate) smi: Option<u64>,
}

impl Look {
    /// Looks at `cpu`; this process and the loop's thread of a daemon are left out.
    pub(crate) fn at(files: &Files, cpu: usize, left_out: &[u32]) -> Self {
        let rows = |path: &str| {
            let text = files.text(path).unwrap_or_default();
            counters::rows(&text, cpu).collect::<Vec<_>>()
        };
        let ticks = files.text("/proc/stat").and_then(|text| counters::cpu_ticks(&text, cpu));
        let msr = File::open(files.path(&format!("/dev/cpu/{cpu}/msr"))).ok();
        Self {
            tasks: tasks(files, cpu, left_out),
            interrupts: rows("/proc/interrupts"),
            softirqs: rows("/proc/softirqs"),
            steal_ticks: ticks.map(|(steal, _)| steal),
            smi: msr.as_ref().and_then(counters::smi_count),
        }
    }

    /// What happened from `self` to `after` on `cpu`.
    pub(crate) fn until(&self, after: &Self, cpu: usize) -> Happened {
        let mut visitors: Vec<Visitor> = after
            .tasks
            .iter()
            .filter_map(|(id, now)| {
                let before = self.tasks.get(id).map_or(0, |task| task.switches);
                let switches = now.switches.saturating_sub(before);
                (switches > 0 && (now.is_bound || now.cpu == cpu)).then(|| Visitor {
                    name: now.name.clone(),
                    is_kernel: now.is_kernel,
                    switches,
                })
            })
            .collect();
        visitors.sort_by(|one, other| {
            other.switches.cmp(&one.switches).then_with(|| one.name.cmp(&other.name))
        });
        let rises = rises(&self.interrupts, &after.interrupts);
        let is_device = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let timer = rises.iter().find(|(row, _)| row.label == "LOC").map_or(0, |(_, count)| *count);
        let named = |row: &counters::Row| match row.about.is_empty() {
            true => row.label.clone(),
            false => format!("{} {}", row.label, row.about),
        };
        let (devices, local): (Vec<_>, Vec<_>) = rises
            .into_iter()
            .filter(|(row, _)| row.label != "LOC")
            .partition(|(row, _)| is_device(&row.label));
        let pair = |smi: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(smi?));
        Happened {
            visitors,
            devices: devices.iter().map(|(row, count)| (named(row), *count)).collect(),
            local: local.into_iter().map(|(row, count)| (row.label, count)).collect(),
            timer,
            softirqs: rises_by_label(&self.softirqs, &after.softirqs),
            stolen_ms: pair(self.steal_ticks, after.steal_ticks)
                .map(|ticks| ticks * counters::TICK_NS / 1_000_000),
            smi: pair(self.smi, after.smi),
        }
    }
}

/// Rows that rose, and by how much; most first.
fn rises(before: &[counters::Row], after: &[counters::Row]) -> Vec<(counters::Row, u64)> {
    let mut risen: Vec<(counters::Row, u64)> = after
        .iter()
        .filter_map(|row| {
            let then = before.iter().find(|other| other.label == row.label)?;
            let count = row.count.saturating_sub(then.count);
            (count > 0).then(|| (row.clone(), count))
        })
        .collect();
    risen.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    risen
}

fn rises_by_label(before: &[counters::Row], after: &[counters::Row]) -> Vec<(String, u64)> {
    rises(before, after).into_iter().map(|(row, count)| (row.label, count)).collect()
}

/// Every task that may run on `cpu`.
fn tasks(files: &Files, cpu: usize, left_out: &[u32]) -> HashMap<u32, Task> {
    let mut found = HashMap::new();
    let own = std::process::id();
    for process in numbers(files, "/proc") {
        if process == own {
            continue;
        }
        let base = format!("/proc/{process}/task");
        for id in numbers(files, &base) {
            if left_out.contains(&id) {
                continue;
            }
            let text = |name: &str| files.text(&format!("{base}/{id}/{name}"));
            let (Some(status), Some(stat)) = (text("status"), text("stat")) else { continue };
            if let Some(task) = task(&status, &stat, cpu) {
                found.insert(id, task);
            }
        }
    }
    found
}

fn numbers(files: &Files, directory: &str) -> Vec<u32> {
    files.names(directory).iter().filter_map(|name| name.parse().ok()).collect()
}

/// A task that may run on `cpu`.
fn task(status: &str, stat: &str, cpu: usize) -> Option<Task> {
    let number = |name: &str| counters::of_status(status, name)?.parse::<u64>().ok();
    let allowed = CpuList::of(counters::of_status(status, "Cpus_allowed_list")?);
    if !allowed.contains(cpu) {
        return None;
    }
    let flags: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(9 - 3)?.parse().ok()?;
    let (_, _, last_cpu) = counters::faults_and_cpu(stat)?;
    Some(Task {
        name: counters::of_status(status, "Name")?.to_owned(),
        is_kernel: flags & KERNEL_THREAD != 0,
        is_bound: allowed.count() == 1,
        switches: number("voluntary_ctxt_switches")? + number("nonvoluntary_ctxt_switches")?,
        cpu: last_cpu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, count: u64) -> counters::Row {
        counters::Row { label: label.to_owned(), count, about: String::new() }
    }

    fn look(switches: u64, counts: [u64; 3]) -> Look {
        let task = |name: &str, is_kernel, is_bound, cpu| Task {
            name: name.to_owned(),
            is_kernel,
            is_bound,
            switches,
            cpu,
        };
        let tasks = HashMap::from([
            (1, task("ksoftirqd/1", true, true, 1)),
            (2, task("browser", false, false, 1)),
            (3, task("elsewhere", false, false, 0)),
        ]);
        let [device, timer, calls] = counts;
        Look {
            tasks,
            interrupts: vec![row("24", device), row("LOC", timer), row("CAL", calls)],
            softirqs: Vec::new(),
            steal_ticks: Some(switches),
            smi: None,
        }
    }

    #[test]
    fn what_rose_is_told_apart_by_what_it_is() {
        let happened = look(1, [5, 100, 7]).until(&look(4, [9, 300, 7]), 1);
        let names: Vec<&str> = happened.visitors.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["browser", "ksoftirqd/1"]);
        assert_eq!((happened.timer, happened.devices.len()), (200, 1));
        assert_eq!(happened.devices[0], ("24".to_owned(), 4));
        assert!(happened.local.is_empty(), "no call rose");
        assert_eq!((happened.stolen_ms, happened.smi), (Some(30), None));
    }

    #[test]
    fn the_tasks_of_this_host_are_found_without_this_process() {
        let files = Files::here();
        let own = files.text("/proc/self/comm").unwrap();
        let look = Look::at(&files, 0, &[]);
        assert!(!look.tasks.is_empty());
        assert!(!look.tasks.contains_key(&std::process::id()), "{own}");
    }
}
