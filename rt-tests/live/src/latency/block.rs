//! What one block of a loop was: every wake-up latency, and what was counted beside it.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::evidence::Interrupts;

/// A host stall (definition): any sample later than this, ns.
pub const STALL_NS: u64 = 5_000_000;

/// One block.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Block {
    /// Every wake-up latency, ns.
    pub latency_ns: Vec<u64>,
    /// Cycles that came sooner than half a period after the one before.
    pub closer_than_half_period: u64,
    /// Grid points without a pass within the block.
    pub missed: u64,
    /// Those of them that a long pass ran past, rather than a late wake-up; the bare loop's alone.
    pub missed_long: u64,
    /// Missed grid points by cause, as kadenzd judged them over its whole life; empty for a bare loop.
    pub missed_by_cause: BTreeMap<String, u64>,
    /// CPU time of the loop's thread within the block, ns.
    pub cpu_ns: u64,
    /// Steal of the loop's CPU within the block, in ticks of `/proc/stat`.
    pub steal_ticks: u64,
    /// Interrupts of the loop's CPU within the block.
    pub interrupts: Interrupts,
}

impl Block {
    /// The latency below which `permille` thousandths lie, ns; 0 when empty.
    #[must_use]
    pub fn percentile(&self, permille: usize) -> u64 {
        let mut sorted = self.latency_ns.clone();
        sorted.sort_unstable();
        percentile_of(&sorted, permille)
    }

    /// Samples that count as a stall of the host.
    #[must_use]
    pub fn stalls(&self) -> usize {
        self.latency_ns.iter().filter(|ns| **ns > STALL_NS).count()
    }

    /// CPU time of one cycle, ns; 0 when empty.
    #[must_use]
    pub fn cpu_per_cycle_ns(&self) -> u64 {
        self.cpu_ns / (self.latency_ns.len() as u64).max(1)
    }

    /// Takes in the next wake-up. `last_wake_ns` is the one before, of the same life.
    pub fn wake(&mut self, grid_ns: u64, wake_ns: u64, period_ns: u64, last_wake_ns: Option<u64>) {
        self.latency_ns.push(wake_ns.saturating_sub(grid_ns));
        if last_wake_ns.is_some_and(|last| wake_ns.saturating_sub(last) < period_ns / 2) {
            self.closer_than_half_period += 1;
        }
    }
}

/// The value in ascending `sorted` below which `permille` thousandths lie; 0 when empty.
#[must_use]
pub fn percentile_of(sorted: &[u64], permille: usize) -> u64 {
    let place = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(0)
}

/// Percentiles of `values` taken together, in their unit; zeros when there are none.
#[must_use]
pub fn percentiles(values: impl IntoIterator<Item = u64>) -> Value {
    let mut sorted: Vec<u64> = values.into_iter().collect();
    sorted.sort_unstable();
    json!({
        "p50": percentile_of(&sorted, 500), "p90": percentile_of(&sorted, 900),
        "p99": percentile_of(&sorted, 990), "p999": percentile_of(&sorted, 999),
        "max": sorted.last().copied().unwrap_or(0),
    })
}

/// All latencies of several blocks, ns.
pub fn pooled<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Vec<u64> {
    blocks.into_iter().flat_map(|block| block.latency_ns.iter().copied()).collect()
}

/// Key of missed cycles that no cause was counted for.
pub const WITHOUT_CAUSE: &str = "without-cause";

/// Missed grid points by cause in the report kadenzd prints at its end; what its causes fall short
/// of its sum is [`WITHOUT_CAUSE`].
///
/// # Errors
/// The report has no such line, the line does not name `own` (never a silent 0), or the causes exceed the sum.
pub fn missed_by_cause(report: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let causes = || {
        let (_, rest) = report.split_once("missed cycles: ")?;
        let (sum, rest) = rest.lines().next()?.split_once('(')?;
        let (list, _) = rest.split_once(')')?;
        let one = |part: &str| {
            let (word, count) = part.trim().rsplit_once(' ')?;
            Some((word.to_owned(), count.parse().ok()?))
        };
        let mut causes: BTreeMap<String, u64> = list.split(',').map(one).collect::<Option<_>>()?;
        let without = sum.trim().parse::<u64>().ok()?.checked_sub(causes.values().sum())?;
        if without > 0 {
            causes.insert(WITHOUT_CAUSE.to_owned(), without);
        }
        causes.contains_key("own").then_some(causes)
    };
    causes().ok_or_else(|| {
        anyhow::anyhow!(
            "kadenzd's report names no missed cycles by cause (`own` among them):\n{report}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_whole() {
        let block = Block { latency_ns: (1..=1000).rev().collect(), ..Block::default() };
        assert_eq!(block.percentile(500), 501);
        assert_eq!(block.percentile(990), 991);
        assert_eq!(block.percentile(999), 1000);
        assert_eq!(percentiles([5, 1, 3])["max"], 5);
        assert_eq!(Block::default().percentile(500), 0);
    }

    #[test]
    fn what_the_report_says_is_read_and_what_it_does_not_say_is_an_error() {
        let said = "cycles: 9\nmissed cycles: 7 (own 3, host 4, unattributed 0); overruns: 2\n";
        let causes = missed_by_cause(said).unwrap();
        assert_eq!((causes["own"], causes["host"], causes["unattributed"]), (3, 4, 0));
        assert!(!causes.contains_key(WITHOUT_CAUSE));
        let short = missed_by_cause("missed cycles: 7 (own 1, host 4)\n").unwrap();
        assert_eq!(short[WITHOUT_CAUSE], 2);
        for broken in [
            "missed cycles: 7 (own 4, host 4)\n",
            "",
            "cycles: 9\n",
            "missed cycles: 7\n",
            "missed cycles: 4 (host 4)\n",
            "missed cycles: 7 (own many)\n",
            "missed cycles: 7 (own)\n",
        ] {
            assert!(missed_by_cause(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn two_wakes_closer_than_half_a_period_are_counted() {
        let mut block = Block::default();
        block.wake(1_000, 1_010, 1_000, None);
        block.wake(2_000, 2_010, 1_000, Some(1_010));
        block.wake(3_000, 2_509, 1_000, Some(2_010));
        assert_eq!(block.closer_than_half_period, 1);
        assert_eq!(block.latency_ns, [10, 10, 0]);
    }
}
