//! Blocks of wake-up latencies and what is made of them: percentiles, stalls, paired ratios.
use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

/// A host stall (definition): any sample later than this.
const STALL_NS: u64 = 5_000_000;

/// One block: every wake-up latency, and what else was counted.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Every wake-up latency, ns.
    pub latency_ns: Vec<u64>,
    /// Cycles that came sooner than half a period after the one before.
    pub closer_than_half_period: u64,
    /// Cycles missed by our own doing.
    pub own_missed: u64,
}

impl Block {
    /// The latency below which `permille` thousandths lie, ns; 0 when empty.
    #[must_use]
    pub fn percentile(&self, permille: usize) -> u64 {
        let mut sorted = self.latency_ns.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(place).copied().unwrap_or(0)
    }

    /// Samples that count as a stall of the host.
    #[must_use]
    pub fn stalls(&self) -> usize {
        self.latency_ns.iter().filter(|ns| **ns > STALL_NS).count()
    }
}

/// cyclictest's histogram of one block, on the loop's CPU and priority; `None` when it is not installed.
///
/// # Errors
/// It is installed and fails.
pub fn cyclictest(seconds: u64) -> anyhow::Result<Option<Value>> {
    let cpu = std::thread::available_parallelism()?.get() - 1;
    let output = Command::new("cyclictest")
        .args(["-m", "-t1", "-p80", "-i1000", "-N", "-q"])
        .arg(format!("-a{cpu}"))
        .arg(format!("-D{seconds}"))
        .arg("-h200000")
        .output();
    let Ok(output) = output else { return Ok(None) };
    ensure!(output.status.success(), "cyclictest: {}", String::from_utf8_lossy(&output.stderr));
    let mut counts: Vec<(u64, u64)> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut fields = line.split_ascii_whitespace();
        if let (Some(Ok(ns)), Some(Ok(count))) =
            (fields.next().map(str::parse), fields.next().map(str::parse))
        {
            counts.push((ns, count));
        }
    }
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let at = |permille: u64| {
        let mut seen = 0;
        let found = counts.iter().find(|(_, count)| {
            seen += count;
            seen * 1000 >= total * permille
        });
        found.map_or(0, |(ns, _)| *ns)
    };
    Ok(Some(json!({"p50": at(500), "p90": at(900), "p99": at(990), "p999": at(999)})))
}

/// Mean of paired ratios with a 95 % interval (normal approximation over the pairs).
#[must_use]
pub fn ratio(pairs: &[(Block, Block)], permille: usize) -> Value {
    let ratios: Vec<f64> = pairs
        .iter()
        .map(|(floor, block)| {
            // Logarithms, so that a ratio and its inverse weigh the same.
            (block.percentile(permille) as f64 / floor.percentile(permille).max(1) as f64).ln()
        })
        .collect();
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let spread =
        ratios.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    let half = 1.96 * (spread / count).sqrt();
    json!({"value": mean.exp(), "lo": (mean - half).exp(), "hi": (mean + half).exp()})
}

/// The percentiles of several blocks taken together, ns.
#[must_use]
pub fn percentiles(blocks: &[&Block]) -> Value {
    let all = Block {
        latency_ns: blocks.iter().flat_map(|block| block.latency_ns.iter().copied()).collect(),
        ..Block::default()
    };
    json!({
        "p50": all.percentile(500), "p90": all.percentile(900), "p99": all.percentile(990),
        "p999": all.percentile(999), "max": all.latency_ns.iter().max(),
    })
}
