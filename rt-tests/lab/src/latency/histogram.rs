//! Durations to the nanosecond and how often each came: what both programs are reduced to before they are compared.
use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Columns of the drawn histogram.
const BAR: usize = 40;

/// How often each duration came, ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// Reads lines of `duration count`, both in decimal; others are none of it.
    ///
    /// # Errors
    /// A line of two words that are no numbers, or nothing at all.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (ns, count) = line.split_once(' ').with_context(|| format!("`{line}`"))?;
            let ns = ns.parse().with_context(|| format!("`{line}`"))?;
            let count: u64 = count.trim().parse().with_context(|| format!("`{line}`"))?;
            *counts.entry(ns).or_default() += count;
        }
        counts.retain(|_, count: &mut u64| *count > 0);
        ensure!(!counts.is_empty(), "an empty histogram");
        Ok(Self(counts))
    }

    /// Takes in another.
    pub fn add(&mut self, other: &Self) {
        for (ns, count) in &other.0 {
            *self.0.entry(*ns).or_default() += count;
        }
    }

    /// Durations counted.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.0.values().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|(value, count)| value * count).sum()
    }

    /// The shortest, ns; 0 when there is none.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.0.first_key_value().map_or(0, |(ns, _)| *ns)
    }

    /// The smallest duration that `permille` thousandths of all do not exceed, ns; 0 when there is none.
    #[must_use]
    pub fn percentile(&self, permille: u64) -> u64 {
        let wanted = (self.samples() * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= wanted
        });
        found.map_or(0, |(ns, _)| *ns)
    }

    /// p50, p90, p99, p99.9 and the longest, ns.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "p50": self.percentile(500),
            "p90": self.percentile(900),
            "p99": self.percentile(990),
            "p999": self.percentile(999),
            "max": self.percentile(1000),
        })
    }

    /// Share of durations in each of the bins `from + k × width`, the last open.
    fn shares(&self, from: u64, width: u64, bins: usize) -> Vec<f64> {
        let mut counts = vec![0_u64; bins];
        for (ns, count) in &self.0 {
            let bin = usize::try_from(ns.saturating_sub(from) / width).unwrap_or(usize::MAX);
            counts[bin.min(bins - 1)] += count;
        }
        let total = self.samples().max(1) as f64;
        counts.iter().map(|count| *count as f64 / total).collect()
    }
}

/// Two histograms side by side, bins of `width` ns: a line each, where either has anything.
#[must_use]
pub fn side_by_side(left: &Histogram, right: &Histogram, width: u64) -> String {
    let from = left.min().min(right.min()) / width * width;
    let to = left.percentile(1000).max(right.percentile(1000));
    let bins = usize::try_from((to.saturating_sub(from)) / width + 1).unwrap_or(1).min(200);
    let (left, right) = (left.shares(from, width, bins), right.shares(from, width, bins));
    let mut text = String::new();
    for (bin, (one, other)) in left.iter().zip(&right).enumerate() {
        if *one == 0.0 && *other == 0.0 {
            continue;
        }
        let at = (from + width * bin as u64) as f64 / 1e3;
        text += &format!("  {at:7.2} {:>BAR$}|{:<BAR$}\n", bar(*one), bar(*other));
    }
    text
}

/// A share as a bar on a logarithmic scale: a ten-thousandth is one sign, all of them fill it.
fn bar(share: f64) -> String {
    if share <= 0.0 {
        return String::new();
    }
    let filled = (1.0 + share.log10() / 4.0).clamp(0.0, 1.0) * BAR as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ..= BAR")]
    let signs = (filled.round() as usize).max(1);
    "#".repeat(signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_came() {
        let text = "# Histogram\n000010 000098\n000020 000001\n000030 1\n000040 0\n";
        let found = Histogram::parse(text).unwrap();
        assert_eq!((found.samples(), found.min()), (100, 10));
        assert_eq!(found.percentile(500), 10);
        assert_eq!(found.percentile(990), 20);
        assert_eq!(found.percentile(1000), 30);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        assert!(Histogram::parse("").is_err());
        assert!(Histogram::parse("10 x\n").unwrap_err().to_string().contains("10 x"));
    }

    #[test]
    fn side_by_side_shows_each_where_it_is() {
        let one = Histogram::parse("1000 10\n").unwrap();
        let other = Histogram::parse("1000 5\n5000 5\n").unwrap();
        let text = side_by_side(&one, &other, 500);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("#|#") && lines[1].contains(" |#"), "{text}");
    }
}
