//! Finds the cause of gaps in the grid, off the RT thread, from what the loop cheaply noted.
//!
//! Evidence is sampled every few milliseconds: steal of the loop's CPU (`/proc/stat`), and CPU time,
//! faults and switches of the loop's thread. A gap is judged once samples from after it exist:
//! *host* when steal rose; *own* when the pass before it ran over and the thread really used the CPU for
//! that long, or took page faults; else it stays unattributed.
use std::collections::VecDeque;
use std::fs;

use kadenz_lanes::{BroadcastReader, GaugeWriter, Read};
use shm_layout::code::Cause;
use shm_layout::health::Health;

use crate::rt::clock::now_ns;
use crate::rt::stats::{Gap, gauge};

/// A gap is judged this long after it ended; steal is accounted at ticks.
const SETTLE_NS: u64 = 60_000_000;
/// Evidence is kept this long.
const HISTORY_NS: u64 = 5_000_000_000;

/// One look at the evidence.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ns: u64,
    steal_ticks: u64,
    cpu_time_ns: u64,
    faults: Faults,
}

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    minor: u64,
    major: u64,
    involuntary: u64,
}

/// Watches one loop thread on one CPU.
pub struct Attribution {
    gaps: BroadcastReader<'static>,
    gauges: GaugeWriter<'static>,
    cpu: usize,
    thread: i32,
    baseline: Faults,
    history: VecDeque<Sample>,
    waiting: VecDeque<Gap>,
}

impl Attribution {
    /// Begins to watch; call it when the loop is about to begin.
    #[must_use]
    pub fn new(
        gaps: BroadcastReader<'static>,
        gauges: GaugeWriter<'static>,
        cpu: usize,
        thread: i32,
    ) -> Self {
        let first = look(cpu, thread);
        Self {
            gaps,
            gauges,
            cpu,
            thread,
            baseline: first.faults,
            history: VecDeque::from([first]),
            waiting: VecDeque::new(),
        }
    }

    /// Takes one look at the evidence and judges what can be judged. Call it every few milliseconds.
    pub fn look(&mut self) {
        let sample = look(self.cpu, self.thread);
        while self.history.len() > 1 && self.history[1].at_ns + HISTORY_NS < sample.at_ns {
            self.history.pop_front();
        }
        self.history.push_back(sample);
        let since = |now: u64, then: u64| now.saturating_sub(then);
        self.gauges.set(gauge!(minor_faults), since(sample.faults.minor, self.baseline.minor));
        self.gauges.set(gauge!(major_faults), since(sample.faults.major, self.baseline.major));
        self.gauges.set(
            gauge!(involuntary_switches),
            since(sample.faults.involuntary, self.baseline.involuntary),
        );
        self.gauges.set(gauge!(allocations), crate::rt_allocations());
        self.take_gaps();
        self.judge_settled(sample.at_ns);
    }

    /// Judges what is left, settled or not. Call it after the loop has ended.
    pub fn finish(mut self) {
        self.look();
        self.judge_settled(u64::MAX);
    }

    fn take_gaps(&mut self) {
        let mut words = [0u64; Gap::WORDS];
        loop {
            match self.gaps.read_next(&mut words) {
                Read::Record { words: Gap::WORDS, .. } => {
                    self.waiting.push_back(Gap::from_words(&words));
                }
                Read::Record { .. } | Read::Lost { .. } => {}
                Read::Empty => break,
            }
        }
    }

    fn judge_settled(&mut self, now_ns: u64) {
        while let Some(gap) = self.waiting.front().copied() {
            let end_ns = gap.wake_ns.saturating_add(gap.cycle_time_ns);
            if end_ns.saturating_add(SETTLE_NS) > now_ns {
                break;
            }
            self.waiting.pop_front();
            let cause = self.judge(&gap);
            log::debug!(
                "{} cycle(s) missed, cause {}: woke {} µs late, ran {} µs",
                gap.skipped,
                cause.word(),
                gap.wake_latency_ns / 1_000,
                gap.cycle_time_ns / 1_000
            );
            let place = cause.code() as usize;
            self.gauges.add(gauge!(missed_by_cause) + place, gap.skipped);
        }
    }

    fn judge(&self, gap: &Gap) -> Cause {
        let begin_ns = gap.wake_ns.saturating_sub(gap.wake_latency_ns);
        let end_ns = gap.wake_ns.saturating_add(gap.cycle_time_ns);
        let before = self.history.iter().rev().find(|sample| sample.at_ns <= begin_ns);
        let after = self.history.iter().find(|sample| sample.at_ns >= end_ns);
        let settled = self
            .history
            .iter()
            .find(|sample| sample.at_ns >= end_ns.saturating_add(SETTLE_NS / 2))
            .or(self.history.back());
        let (Some(before), Some(after), Some(settled)) = (before, after, settled) else {
            return Cause::Unattributed;
        };
        let used_ns = after.cpu_time_ns.saturating_sub(before.cpu_time_ns);
        let ran_over = gap.cycle_time_ns > gap.wake_latency_ns;
        // What the thread uses of the CPU anyway, in as long a time.
        let window_ns = after.at_ns.saturating_sub(before.at_ns);
        let usual_ns = self.usual_share(before.at_ns) * window_ns as f64;
        let really_ran = used_ns as f64 - usual_ns > 0.6 * gap.cycle_time_ns as f64;
        log::debug!("the thread used {used_ns} ns in {window_ns} ns, usually {usual_ns:.0} ns");
        let faulted =
            after.faults.minor + after.faults.major > before.faults.minor + before.faults.major;
        // Steal first: a virtual CPU that was taken away inside a pass may be booked as used by it.
        if settled.steal_ticks > before.steal_ticks {
            Cause::Host
        } else if ran_over && (really_ran || faulted) {
            Cause::Own
        } else {
            Cause::Unattributed
        }
    }

    /// Share of the CPU that the thread used up to `until_ns`, as far back as the evidence goes.
    fn usual_share(&self, until_ns: u64) -> f64 {
        let last = self.history.iter().rev().find(|sample| sample.at_ns <= until_ns);
        match (self.history.front(), last) {
            (Some(first), Some(last)) if last.at_ns > first.at_ns => {
                last.cpu_time_ns.saturating_sub(first.cpu_time_ns) as f64
                    / (last.at_ns - first.at_ns) as f64
            }
            _ => 0.0,
        }
    }
}

fn look(cpu: usize, thread: i32) -> Sample {
    Sample {
        at_ns: now_ns(),
        steal_ticks: steal_ticks(cpu).unwrap_or(0),
        cpu_time_ns: cpu_time_ns(thread).unwrap_or(0),
        faults: faults(thread).unwrap_or_default(),
    }
}

fn steal_ticks(cpu: usize) -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let name = format!("cpu{cpu}");
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name))?;
    line.split_ascii_whitespace().nth(8)?.parse().ok()
}

fn cpu_time_ns(thread: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn faults(thread: i32) -> Option<Faults> {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    // Fields after the name in parentheses; minflt is field 10 and majflt field 12 of proc(5).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"))?;
    Some(Faults { minor, major, involuntary: line.trim().parse().ok()? })
}

const _: () = assert!(core::mem::offset_of!(Health, missed_by_cause).is_multiple_of(8));
