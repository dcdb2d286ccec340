//! What the kernel says about a CPU and a thread: steal, interrupts, CPU time. Read beside a block, never inside.
use std::fs;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Interrupts of one CPU that other CPUs or the kernel cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupts {
    /// Function calls from other CPUs (`CAL`): code patching after a filter is installed, among others.
    pub function_calls: u64,
    /// TLB shootdowns (`TLB`): another thread of the same process unmapped or protected memory.
    pub tlb_shootdowns: u64,
    /// Rescheduling interrupts (`RES`).
    pub rescheduling: u64,
    /// Local timer interrupts (`LOC`).
    pub timer: u64,
}

impl Interrupts {
    /// Those since `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            function_calls: self.function_calls.saturating_sub(before.function_calls),
            tlb_shootdowns: self.tlb_shootdowns.saturating_sub(before.tlb_shootdowns),
            rescheduling: self.rescheduling.saturating_sub(before.rescheduling),
            timer: self.timer.saturating_sub(before.timer),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        Self {
            function_calls: self.function_calls + other.function_calls,
            tlb_shootdowns: self.tlb_shootdowns + other.tlb_shootdowns,
            rescheduling: self.rescheduling + other.rescheduling,
            timer: self.timer + other.timer,
        }
    }
}

/// One look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence {
    /// Steal of the CPU since boot, ticks.
    pub steal_ticks: u64,
    /// Its interrupts since boot.
    pub interrupts: Interrupts,
    /// CPU time of the thread since its start, ns.
    pub cpu_ns: u64,
}

impl Evidence {
    /// Looks at `cpu`, and at the thread `thread` of the process `process`.
    ///
    /// # Errors
    /// The kernel does not say: a comparison without steal would be worth nothing.
    pub fn look(cpu: usize, process: i32, thread: i32) -> anyhow::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
        let schedstat = format!("/proc/{process}/task/{thread}/schedstat");
        let cpu_ns =
            read(&schedstat)?.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok());
        Ok(Self {
            steal_ticks: steal_ticks(&read("/proc/stat")?, cpu)
                .with_context(|| format!("/proc/stat names no steal of CPU {cpu}"))?,
            interrupts: interrupts(&read("/proc/interrupts")?, cpu)
                .with_context(|| format!("/proc/interrupts has no column of CPU {cpu}"))?,
            cpu_ns: cpu_ns.with_context(|| schedstat.clone())?,
        })
    }
}

fn steal_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    line.split_ascii_whitespace().nth(8)?.parse().ok()
}

/// Columns are those of CPUs that are online, named in the first line. A kernel without a kind has no such line.
fn interrupts(table: &str, cpu: usize) -> Option<Interrupts> {
    let mut lines = table.lines();
    let name = format!("CPU{cpu}");
    let column = lines.next()?.split_ascii_whitespace().position(|word| word == name)?;
    let count = |kind: &str| {
        let line = table.lines().find(|line| line.trim_start().starts_with(kind))?;
        line.split_ascii_whitespace().nth(column + 1)?.parse().ok()
    };
    Some(Interrupts {
        function_calls: count("CAL:").unwrap_or(0),
        tlb_shootdowns: count("TLB:").unwrap_or(0),
        rescheduling: count("RES:").unwrap_or(0),
        timer: count("LOC:").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read_by_the_column_of_the_cpu() {
        let table = "            CPU0       CPU2\n  0:  7  8  IO-APIC  timer\n\
                     LOC:   11   22   Local timer interrupts\nRES: 3 4 Rescheduling interrupts\n\
                     CAL:   5   6   Function call interrupts\nTLB:  1  2  TLB shootdowns\n";
        let found = interrupts(table, 2).unwrap();
        let expected =
            Interrupts { function_calls: 6, tlb_shootdowns: 2, rescheduling: 4, timer: 22 };
        assert_eq!(found, expected);
        assert_eq!(interrupts(table, 1), None);
        let stat =
            "cpu  1 2 3 4 5 6 7 8 9 10\ncpu1 1 2 3 4 5 6 7 42 9 10\ncpu10 1 2 3 4 5 6 7 43 9 10\n";
        assert_eq!(steal_ticks(stat, 1), Some(42));
        assert_eq!(steal_ticks(stat, 2), None);
    }
}
