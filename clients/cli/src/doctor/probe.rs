//! The probe: a thread as the loop's will be, on its CPU and at its priority, that does nothing but wake up.
use std::time::Instant;

use anyhow::{Context, anyhow};
use kadenz_host::{Files, counters, memory, thread};
use kadenz_link::clock::now_ns;
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use shm_layout::histogram::{BUCKETS, bucket_of, percentile_ns};

/// How long the thread stays busy to count ticks, ms: long enough for some at 100 Hz, far from the kernel's
/// bound on real-time threads.
const BUSY_MS: u64 = 200;

/// How the probe's thread is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) cpu: usize,
    pub(crate) priority_fifo: u8,
    pub(crate) period_ns: u64,
    pub(crate) seconds: u64,
}

/// What the probe measured.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// Wake-up latencies, by bucket.
    counts: Box<[u64]>,
    /// The longest, ns.
    pub(crate) max_ns: u64,
    /// Grid points that passed without a wake-up.
    pub(crate) missed: u64,
    /// Why the thread was not SCHED_FIFO; `None` when it was.
    pub(crate) no_fifo: Option<String>,
    /// Timer interrupts of the CPU while the thread was busy, per second; `None` when they are not told.
    pub(crate) ticks_per_s: Option<u64>,
}

impl Probe {
    /// The latency below which `permille` thousandths of the wake-ups lie, ns.
    pub(crate) fn at(&self, permille: u64) -> u64 {
        // A bucket reports its upper edge, which may lie above the longest.
        percentile_ns(&self.counts, permille).min(self.max_ns)
    }

    /// Wake-ups.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Wake-ups that were later than `bound_ns`, by whole buckets above it.
    pub(crate) fn later_than(&self, bound_ns: u64) -> u64 {
        self.counts.iter().skip(bucket_of(bound_ns).saturating_add(1)).sum()
    }
}

/// Runs the probe; this thread waits for it.
///
/// # Errors
/// The thread cannot be had on its CPU.
pub(crate) fn run(demand: Demand) -> anyhow::Result<Probe> {
    let probe = std::thread::Builder::new()
        .name("kadenz-probe".to_owned())
        .spawn(move || measure(demand))
        .context("starting the probe's thread")?;
    probe.join().map_err(|_panic| anyhow!("the probe's thread panicked"))?
}

fn measure(demand: Demand) -> anyhow::Result<Probe> {
    memory::prefault_stack();
    thread::pin(demand.cpu)?;
    thread::tighten_timers()?;
    let no_fifo = thread::fifo(demand.priority_fifo).err().map(|error| format!("{error:#}"));
    let mut counts = vec![0u64; BUCKETS].into_boxed_slice();
    let (mut max_ns, mut missed) = (0, 0);
    let period_ns = demand.period_ns;
    let origin_ns = now_ns().saturating_add(10 * period_ns);
    let end_ns = origin_ns.saturating_add(demand.seconds.saturating_mul(1_000_000_000));
    let mut due_ns = origin_ns;
    while due_ns < end_ns {
        sleep_until(due_ns)?;
        let late_ns = now_ns().saturating_sub(due_ns);
        counts[bucket_of(late_ns)] += 1;
        max_ns = max_ns.max(late_ns);
        // The grid of the loop: points that are past are skipped in phase.
        let passed = late_ns / period_ns;
        missed += passed;
        due_ns = due_ns.saturating_add((passed + 1) * period_ns);
    }
    let ticks_per_s = ticks_while_busy(demand.cpu);
    Ok(Probe { counts, max_ns, missed, no_fifo, ticks_per_s })
}

fn sleep_until(due_ns: u64) -> anyhow::Result<()> {
    let due = TimeSpec::new(
        i64::try_from(due_ns / 1_000_000_000).unwrap_or(i64::MAX),
        i64::try_from(due_ns % 1_000_000_000).unwrap_or(0),
    );
    // BOUND: each return is either the due time or one signal, of which nobody sends any.
    loop {
        match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &due) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("clock_nanosleep"),
        }
    }
}

/// Stays busy on the CPU and counts the timer's interrupts there.
fn ticks_while_busy(cpu: usize) -> Option<u64> {
    let files = Files::here();
    let ticks = || {
        let table = files.text("/proc/interrupts")?;
        counters::rows(&table, cpu).find(|row| row.label == "LOC").map(|row| row.count)
    };
    let before = ticks()?;
    let begun = Instant::now();
    while begun.elapsed().as_millis() < u128::from(BUSY_MS) {
        std::hint::spin_loop();
    }
    let after = ticks()?;
    Some(after.saturating_sub(before).saturating_mul(1000) / BUSY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grid_point_is_either_a_wake_up_or_missed() {
        let cpu = thread::loop_cpu(kadenz_config::machine::Cpu::Last).unwrap();
        let demand = Demand { cpu, priority_fifo: 80, period_ns: 1_000_000, seconds: 1 };
        let probe = run(demand).unwrap();
        // The last wake-up may be late beyond the end.
        let points = probe.count() + probe.missed;
        assert!(points >= 1000, "{points}");
        assert!(probe.at(500) <= probe.at(999) && probe.at(999) <= probe.max_ns);
        assert_eq!(probe.later_than(0) + probe.counts[0], probe.count());
        assert!(probe.later_than(u64::MAX) == 0);
    }
}
