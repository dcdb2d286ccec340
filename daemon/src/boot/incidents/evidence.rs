//! What can be read about the loop's CPU and thread from outside, and what it changed by across a breach.
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use kadenz_host::counters::{
    TICK_NS, column_sum, cpu_ticks, faults_and_cpu, of_status, ran_and_waited, smi_count,
};
use shm_layout::code::evidence;

use crate::rt::clock::now_ns;

/// Looks are kept this long.
const HISTORY_NS: u64 = 5_000_000_000;
/// Interrupt tables are long on large hosts: they are read at every so many-th look.
const INTERRUPTS_EVERY: u64 = 2;
/// Share of the CPU over this long before a breach tells whether real-time throttling could have set in.
const BUSY_OVER_NS: u64 = 1_000_000_000;

/// One look: counters since some beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) at_ns: u64,
    pub(super) steal_ns: u64,
    pub(super) idle_ns: u64,
    pub(super) cpu_time_ns: u64,
    pub(super) run_delay_ns: u64,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) involuntary_switches: u64,
    pub(super) own_threads_ns: u64,
    /// When the two below were read.
    pub(super) interrupts_at_ns: u64,
    pub(super) interrupts: u64,
    pub(super) softirqs: u64,
    pub(super) smi_count: u64,
    pub(super) allocations: u64,
}

/// A file of procfs, kept open and read from its start again and again.
struct ProcFile {
    file: Option<File>,
    bytes: Vec<u8>,
}

impl ProcFile {
    fn open(path: &str) -> Self {
        Self { file: File::open(path).ok(), bytes: vec![0; 4096] }
    }

    /// The whole text; `None` when it cannot be read.
    fn text(&mut self) -> Option<&str> {
        let file = self.file.as_ref()?;
        let mut length = 0;
        // BOUND: ends at the end of the file; procfs files are a few hundred kB at most.
        loop {
            if length == self.bytes.len() {
                self.bytes.resize(2 * length, 0);
            }
            match file.read_at(&mut self.bytes[length..], length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(_) => return None,
            }
        }
        std::str::from_utf8(&self.bytes[..length]).ok()
    }
}

/// The places to look at for one thread on one CPU.
pub(super) struct Sources {
    cpu: usize,
    thread: i32,
    stat: ProcFile,
    schedstat: ProcFile,
    thread_stat: ProcFile,
    thread_status: ProcFile,
    interrupts: ProcFile,
    softirqs: ProcFile,
    smi: Option<File>,
    throttling: bool,
    others: HashMap<i32, u64>,
    own_threads_ns: u64,
    looks: u64,
    last: Look,
}

impl Sources {
    pub(super) fn new(cpu: usize, thread: i32) -> Self {
        let of_thread = |name: &str| ProcFile::open(&format!("/proc/self/task/{thread}/{name}"));
        let runtime_us = fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us");
        Self {
            cpu,
            thread,
            stat: ProcFile::open("/proc/stat"),
            schedstat: of_thread("schedstat"),
            thread_stat: of_thread("stat"),
            thread_status: of_thread("status"),
            interrupts: ProcFile::open("/proc/interrupts"),
            softirqs: ProcFile::open("/proc/softirqs"),
            smi: File::open(format!("/dev/cpu/{cpu}/msr")).ok(),
            throttling: runtime_us.is_ok_and(|text| text.trim() != "-1"),
            others: HashMap::new(),
            own_threads_ns: 0,
            looks: 0,
            last: Look::default(),
        }
    }

    /// Looks at everything; what cannot be read stays 0.
    pub(super) fn look(&mut self) -> Look {
        let mut look = Look { at_ns: now_ns(), ..self.last };
        if let Some((steal, idle)) = self.stat.text().and_then(|text| cpu_ticks(text, self.cpu)) {
            (look.steal_ns, look.idle_ns) = (steal * TICK_NS, idle * TICK_NS);
        }
        if let Some((ran, waited)) = self.schedstat.text().and_then(ran_and_waited) {
            (look.cpu_time_ns, look.run_delay_ns) = (ran, waited);
        }
        if let Some((minor, major, _)) = self.thread_stat.text().and_then(faults_and_cpu) {
            (look.minor_faults, look.major_faults) = (minor, major);
        }
        if let Some(count) = self.thread_status.text().and_then(involuntary_switches) {
            look.involuntary_switches = count;
        }
        self.look_at_other_threads();
        look.own_threads_ns = self.own_threads_ns;
        if self.looks.is_multiple_of(INTERRUPTS_EVERY) {
            let cpu = self.cpu;
            look.interrupts_at_ns = look.at_ns;
            let sum = |file: &mut ProcFile| file.text().map_or(0, |text| column_sum(text, cpu));
            (look.interrupts, look.softirqs) = (sum(&mut self.interrupts), sum(&mut self.softirqs));
        }
        if let Some(count) = self.smi.as_ref().and_then(smi_count) {
            look.smi_count = count;
        }
        look.allocations = crate::rt_allocations();
        self.looks += 1;
        self.last = look;
        look
    }

    /// Adds what the daemon's other threads ran on the loop's CPU since the last look.
    fn look_at_other_threads(&mut self) {
        let Ok(entries) = fs::read_dir("/proc/self/task") else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if id == self.thread {
                continue;
            }
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            let Some((ran_ns, _)) = read("schedstat").as_deref().and_then(ran_and_waited) else {
                continue;
            };
            let before_ns = self.others.insert(id, ran_ns);
            let cpu = read("stat").as_deref().and_then(faults_and_cpu).map(|(_, _, cpu)| cpu);
            // A thread that was not there at the last look has run all its time since.
            let since_ns = ran_ns.saturating_sub(before_ns.unwrap_or(0));
            if cpu == Some(self.cpu) && (before_ns.is_some() || self.looks > 0) {
                self.own_threads_ns += since_ns;
            }
        }
    }

    /// Bits of `evidence`: what this host lets us read.
    pub(super) fn readable(&self) -> u32 {
        let bit = |open: bool, bit: u32| if open { bit } else { 0 };
        bit(self.schedstat.file.is_some() && self.thread_stat.file.is_some(), evidence::THREAD)
            | bit(self.stat.file.is_some(), evidence::STEAL)
            | bit(self.interrupts.file.is_some(), evidence::INTERRUPTS)
            | bit(self.throttling, evidence::THROTTLING)
            | bit(self.smi.as_ref().and_then(smi_count).is_some(), evidence::SMI)
            | evidence::OWN_THREADS
    }
}

/// Looks of the last seconds, oldest first; never empty.
pub(super) struct History(VecDeque<Look>);

impl History {
    pub(super) fn beginning_with(look: Look) -> Self {
        Self(VecDeque::from([look]))
    }

    pub(super) fn add(&mut self, look: Look) {
        while self.0.len() > 1 && self.0[1].at_ns + HISTORY_NS < look.at_ns {
            self.0.pop_front();
        }
        self.0.push_back(look);
    }

    /// The newest look at or before `at_ns`.
    pub(super) fn before(&self, at_ns: u64) -> Option<&Look> {
        self.0.iter().rev().find(|look| look.at_ns <= at_ns)
    }

    /// The oldest look at or after `at_ns`.
    pub(super) fn after(&self, at_ns: u64) -> Option<&Look> {
        self.0.iter().find(|look| look.at_ns >= at_ns)
    }

    /// The oldest look that read interrupts at or after `at_ns`.
    pub(super) fn interrupts_after(&self, at_ns: u64) -> Option<&Look> {
        self.0.iter().find(|look| look.interrupts_at_ns >= at_ns)
    }

    pub(super) fn newest(&self) -> Option<&Look> {
        self.0.back()
    }

    /// Longest time between two looks that touches `from_ns ..= to_ns`.
    pub(super) fn longest_gap_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs
            .filter(|(a, b)| b.at_ns >= from_ns && a.at_ns <= to_ns)
            .map(|(a, b)| b.at_ns.saturating_sub(a.at_ns))
            .fold(0, u64::max)
    }

    /// What `counted` usually rises by in `window_ns`, from what lies before `until_ns`.
    pub(super) fn usual(&self, until_ns: u64, window_ns: u64, counted: fn(&Look) -> u64) -> u64 {
        match (self.0.front(), self.before(until_ns)) {
            (Some(first), Some(last)) if last.at_ns > first.at_ns => {
                let rise = u128::from(counted(last).saturating_sub(counted(first)));
                let usual = rise * u128::from(window_ns) / u128::from(last.at_ns - first.at_ns);
                u64::try_from(usual).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }

    /// Share of the second before `at_ns` in which the CPU was not idle, thousandths.
    pub(super) fn busy_permille(&self, at_ns: u64) -> u32 {
        let Some(last) = self.before(at_ns) else { return 0 };
        let Some(first) = self.before(at_ns.saturating_sub(BUSY_OVER_NS)) else { return 0 };
        let window_ns = last.at_ns.saturating_sub(first.at_ns).max(1);
        let idle_ns = last.idle_ns.saturating_sub(first.idle_ns).min(window_ns);
        u32::try_from(1000 - 1000 * idle_ns / window_ns).unwrap_or(0)
    }
}

fn involuntary_switches(text: &str) -> Option<u64> {
    of_status(text, "nonvoluntary_ctxt_switches")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_this_process_is_looked_at() {
        let mut sources = Sources::new(0, nix::unistd::gettid().as_raw());
        let first = sources.look();
        // The kernel adds a thread's time up at a tick or a switch.
        let later = (0..100_000).map(|_| sources.look()).find(|look| look.cpu_time_ns > 0);
        assert!(later.is_some_and(|later| later.cpu_time_ns >= first.cpu_time_ns));
        assert_ne!(sources.readable() & evidence::THREAD, 0);
    }

    #[test]
    fn the_history_tells_gaps_usual_rises_and_how_busy_a_cpu_was() {
        let look = |at_ms: u64, idle_ms: u64| Look {
            at_ns: at_ms * 1_000_000,
            idle_ns: idle_ms * 1_000_000,
            interrupts: at_ms,
            ..Look::default()
        };
        let mut history = History::beginning_with(look(0, 0));
        for at_ms in [500, 1000, 1020, 1120] {
            history.add(look(at_ms, at_ms / 2));
        }
        assert_eq!(history.longest_gap_ns(1_050_000_000, 1_060_000_000), 100_000_000);
        assert_eq!(history.usual(1_000_000_000, 50_000_000, |look| look.interrupts), 50);
        assert_eq!(history.busy_permille(1_120_000_000), 500);
        assert_eq!(history.before(1_010_000_000).map(|look| look.at_ns), Some(1_000_000_000));
        assert_eq!(history.after(1_030_000_000).map(|look| look.at_ns), Some(1_120_000_000));
    }
}
