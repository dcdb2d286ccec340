//! What the arms show: JSON for programs, text for people, and which promise was not kept.
use std::fmt::Write;

use serde_json::{Value, json};

use super::arms::Arm;
use super::block::{Block, WITHOUT_CAUSE, percentiles, pooled};
use super::compare::{Pair, Ratio, bootstrap, ratio};
use super::evidence::Interrupts;
use super::svg::Panel;

/// What the lower bound of the ratio at p50 and p99 may be at most.
pub const RATIO_MAX: f64 = 1.05;

/// What the lower bound of the ratio of missed cycles may be at most: below one more in most blocks.
const MISSED_RATIO_MAX: f64 = 1.5;

/// All pairs of one arm.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The arm.
    pub arm: Arm,
    /// Its pairs, in order.
    pub pairs: Vec<Pair>,
}

impl Measured {
    /// No pairs yet.
    #[must_use]
    pub const fn new(arm: Arm) -> Self {
        Self { arm, pairs: Vec::new() }
    }

    /// Pairs that can be compared.
    #[must_use]
    pub fn kept(&self) -> Vec<&Pair> {
        self.pairs.iter().filter(|pair| pair.unequal().is_none()).collect()
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.pairs.iter().map(|pair| &pair.block)
    }

    fn floors(&self) -> impl Iterator<Item = &Block> {
        self.pairs.iter().map(|pair| &pair.floor)
    }

    fn sum(&self, of: impl Fn(&Block) -> u64) -> u64 {
        self.blocks().map(of).sum()
    }

    fn own_missed(&self) -> u64 {
        self.missed_of("own")
    }

    fn missed_of(&self, cause: &str) -> u64 {
        self.sum(|block| block.missed_by_cause.get(cause).copied().unwrap_or(0))
    }

    fn ratios(&self) -> [(&'static str, Option<Ratio>); 3] {
        let kept = self.kept();
        [("p50", 500), ("p99", 990), ("p999", 999)].map(|(name, at)| (name, ratio(&kept, at)))
    }

    /// Cycles missed for whatever cause against the floor's, one added to both; pairs that can be compared.
    fn missed_ratio(&self) -> Option<Ratio> {
        let of = |pair: &&Pair| (pair.block.missed + 1) as f64 / (pair.floor.missed + 1) as f64;
        bootstrap(&self.kept().iter().map(of).collect::<Vec<_>>())
    }

    /// What this arm's company adds to the latency of the daemon itself, round by round against `idle`: the ratio
    /// at p50 and p99. A round lies minutes apart, so its interval is wider than that of a pair.
    #[must_use]
    pub fn added_to(&self, idle: &Self) -> [(&'static str, Option<Ratio>); 2] {
        let rounds: Vec<Pair> = idle
            .blocks()
            .zip(self.blocks())
            .map(|(idle, block)| Pair { floor: idle.clone(), block: block.clone() })
            .filter(|round| round.unequal().is_none())
            .collect();
        let rounds: Vec<&Pair> = rounds.iter().collect();
        [("p50", 500), ("p99", 990)].map(|(name, at)| (name, ratio(&rounds, at)))
    }

    /// Promises this arm breaks, in words. `wanted` pairs were asked for.
    #[must_use]
    pub fn broken(&self, wanted: usize) -> Vec<String> {
        let name = self.arm.name;
        let mut broken = Vec::new();
        let (kept, all) = (self.kept().len(), self.pairs.len());
        if 3 * kept < 2 * wanted {
            broken.push(format!(
                "{name}: {kept} of {all} pairs had equal stalls and steal, two thirds of {wanted} are needed: \
                 the host is too unquiet to say anything; run again when it is quiet"
            ));
        }
        for (at, ratio) in self.ratios().iter().take(2) {
            if let Some(ratio) = ratio.filter(|ratio| ratio.lo > RATIO_MAX) {
                broken
                    .push(format!("{name}: {at} is {ratio} times the floor's, above {RATIO_MAX}"));
            }
        }
        if let Some(ratio) = self.missed_ratio().filter(|ratio| ratio.lo > MISSED_RATIO_MAX) {
            broken.push(format!("{name}: {ratio} times the cycles that the floor missed"));
        }
        let (own, closer) = (self.own_missed(), self.sum(|block| block.closer_than_half_period));
        if own > 0 {
            broken.push(format!("{name}: {own} cycles missed by our own doing"));
        }
        let without = self.missed_of(WITHOUT_CAUSE);
        if without > 0 {
            broken.push(format!(
                "{name}: {without} missed cycles have no cause: the rig cannot say that they were not ours"
            ));
        }
        if closer > 0 {
            broken.push(format!("{name}: {closer} cycles closer than half a period"));
        }
        broken
    }

    /// The arm as its JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let ratios = self.ratios().map(|(name, ratio)| {
            (name.to_owned(), ratio.map_or(Value::Null, |ratio| ratio.json()))
        });
        let mut causes = std::collections::BTreeMap::<&str, u64>::new();
        for (cause, count) in self.blocks().flat_map(|block| &block.missed_by_cause) {
            *causes.entry(cause).or_default() += count;
        }
        let discarded: Vec<String> = self.pairs.iter().filter_map(Pair::unequal).collect();
        json!({
            "about": self.arm.about,
            "wake_ns": percentiles(pooled(self.blocks())),
            "floor_ns": percentiles(pooled(self.floors())),
            "ratio": Value::Object(ratios.into_iter().collect()),
            "own_missed_cycles": self.own_missed(),
            "missed_cycles": causes,
            "floor_missed_cycles": self.floors().map(|floor| floor.missed).sum::<u64>(),
            "missed_ratio": self.missed_ratio().map_or(Value::Null, |ratio| ratio.json()),
            "closer_than_half_period": self.sum(|block| block.closer_than_half_period),
            "host_stalls": self.sum(|block| block.stalls() as u64),
            "floor_host_stalls": self.floors().map(|floor| floor.stalls() as u64).sum::<u64>(),
            "cpu_ns_per_cycle": median(self.blocks().map(Block::cpu_per_cycle_ns)),
            "floor_cpu_ns_per_cycle": median(self.floors().map(Block::cpu_per_cycle_ns)),
            "interrupts": interrupts(self.blocks()),
            "floor_interrupts": interrupts(self.floors()),
            "pairs_kept": self.kept().len(),
            "pairs_discarded": discarded,
            "blocks": self.pairs.iter().map(pair_json).collect::<Vec<_>>(),
        })
    }

    /// The arm in words.
    #[must_use]
    pub fn text(&self) -> String {
        let value = self.json();
        let mut out = format!("{}: {}\n", self.arm.name, self.arm.about);
        // Writing to a String cannot fail.
        for (who, key) in [("kadenzd", "wake_ns"), ("floor", "floor_ns")] {
            let us = |at: &str| value[key][at].as_u64().unwrap_or(0) as f64 / 1e3;
            let _ = writeln!(
                out,
                "  {who:8} p50 {:6.1}  p90 {:6.1}  p99 {:6.1}  p99.9 {:6.1}  max {:8.1} µs",
                us("p50"),
                us("p90"),
                us("p99"),
                us("p999"),
                us("max")
            );
        }
        for (name, ratio) in self.ratios() {
            let shown = ratio.map_or("no pairs".to_owned(), |ratio| ratio.to_string());
            let _ = writeln!(out, "  ratio at {name:4} {shown}");
        }
        let number = |key: &str| value[key].as_u64().unwrap_or(0);
        let _ = writeln!(
            out,
            "  missed cycles {} (floor: {}); closer than half a period {}; host stalls {} / {}",
            value["missed_cycles"],
            number("floor_missed_cycles"),
            number("closer_than_half_period"),
            number("host_stalls"),
            number("floor_host_stalls")
        );
        let _ = writeln!(
            out,
            "  CPU per cycle {:.1} / {:.1} µs; interrupts {} / {}",
            number("cpu_ns_per_cycle") as f64 / 1e3,
            number("floor_cpu_ns_per_cycle") as f64 / 1e3,
            value["interrupts"],
            value["floor_interrupts"]
        );
        let _ = writeln!(
            out,
            "  {} pairs compared, discarded: {}",
            number("pairs_kept"),
            value["pairs_discarded"]
        );
        out
    }

    /// The arm as a picture.
    #[must_use]
    pub fn panel(&self) -> Panel {
        Panel {
            title: format!("{}: {}", self.arm.name, self.arm.about),
            floor_ns: pooled(self.floors()),
            arm_ns: pooled(self.blocks()),
        }
    }
}

/// One pair in short, so that a reader can do his own statistics.
fn pair_json(pair: &Pair) -> Value {
    let short = |block: &Block| {
        json!({
            "p50": block.percentile(500), "p99": block.percentile(990),
            "p999": block.percentile(999), "stalls": block.stalls(), "missed": block.missed,
            "steal_ticks": block.steal_ticks, "interrupts": block.interrupts,
        })
    };
    json!({"floor": short(&pair.floor), "kadenzd": short(&pair.block)})
}

fn interrupts<'a>(blocks: impl Iterator<Item = &'a Block>) -> Value {
    let none = Interrupts::default();
    json!(blocks.fold(none, |sum, block| sum.and(&block.interrupts)))
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    super::block::percentile_of(&sorted, 500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::arms::ARMS;

    fn measured(floor_ns: u64, block_ns: u64, count: usize) -> Measured {
        let block = |ns: u64| Block {
            latency_ns: vec![ns; 100],
            missed_by_cause: [("own".to_owned(), 0)].into(),
            ..Block::default()
        };
        let pair = Pair { floor: block(floor_ns), block: block(block_ns) };
        Measured { arm: ARMS[0], pairs: vec![pair; count] }
    }

    #[test]
    fn a_loop_as_quick_as_its_floor_keeps_every_promise() {
        assert_eq!(measured(4_000, 4_100, 12).broken(12), Vec::<String>::new());
    }

    #[test]
    fn a_slower_loop_breaks_the_promise_at_both_percentiles() {
        let broken = measured(4_000, 4_400, 12).broken(12);
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].starts_with("idle: p50") && broken[1].starts_with("idle: p99"));
    }

    #[test]
    fn cycles_that_the_daemon_misses_and_its_floor_does_not_are_no_success_whatever_their_cause() {
        let mut measured = measured(4_000, 4_000, 12);
        measured.pairs[3].block.missed = 9;
        assert_eq!(measured.broken(12), Vec::<String>::new(), "one block has had company");
        for pair in &mut measured.pairs {
            pair.block.missed = 2;
        }
        let broken = measured.broken(12);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].contains("times the cycles that the floor missed"));
    }

    #[test]
    fn a_missed_cycle_without_a_cause_is_no_success() {
        let mut measured = measured(4_000, 4_000, 12);
        measured.pairs[3].block.missed_by_cause.insert(WITHOUT_CAUSE.to_owned(), 2);
        let broken = measured.broken(12);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].contains("2 missed cycles have no cause"));
    }

    #[test]
    fn one_own_miss_and_one_crowded_cycle_break_their_promises() {
        let mut measured = measured(4_000, 4_000, 12);
        measured.pairs[7].block.missed_by_cause.insert("own".to_owned(), 1);
        measured.pairs[8].block.closer_than_half_period = 1;
        let broken = measured.broken(12);
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].contains("own doing") && broken[1].contains("half a period"));
    }

    #[test]
    fn what_company_adds_is_told_against_the_idle_daemon() {
        let (idle, arm) = (measured(4_000, 4_000, 12), measured(4_000, 4_400, 12));
        let [(_, p50), (_, p99)] = arm.added_to(&idle);
        assert!(p50.is_some_and(|ratio| ratio.lo > 1.09 && ratio.hi < 1.11));
        assert_eq!(p99, p50);
        assert_eq!(arm.added_to(&Measured::new(ARMS[0]))[0].1, None);
    }

    #[test]
    fn too_few_pairs_that_can_be_compared_are_no_success() {
        let mut measured = measured(4_000, 4_000, 12);
        for pair in measured.pairs.iter_mut().take(5) {
            pair.block.steal_ticks = 50;
        }
        let broken = measured.broken(12);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].contains("7 of 12 pairs"));
        let none = Measured::new(ARMS[1]);
        assert_eq!(none.broken(12).len(), 1);
    }

    #[test]
    fn the_keys_that_others_rely_on_are_there() {
        let value = measured(4_000, 4_000, 12).json();
        for key in ["p50", "p90", "p99", "p999", "max"] {
            assert_eq!(value["wake_ns"][key], 4_000, "{key}");
        }
        for at in ["p50", "p99", "p999"] {
            for key in ["value", "lo", "hi"] {
                assert!(value["ratio"][at][key].is_f64(), "{at} {key}");
            }
        }
        for key in ["own_missed_cycles", "closer_than_half_period", "host_stalls"] {
            assert_eq!(value[key], 0, "{key}");
        }
    }
}
