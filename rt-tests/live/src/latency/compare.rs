//! Pairs of blocks and what they show: which pairs may be compared, ratios with their intervals.
//!
//! The statistic is the *median over pairs of the ratio of a percentile*. Within a pair both blocks saw the
//! same minute of the host; between pairs its latencies drift by more than what is looked for, so pooled
//! percentiles would compare minutes, not programs. The median leaves the one pair in which something else
//! ran beside one of its blocks without weight. The interval is a bootstrap: pairs are drawn again, with
//! replacement, and 95 % of the medians lie within it.
use serde_json::{Value, json};

use super::block::Block;

/// Drawings of the bootstrap.
const DRAWINGS: usize = 4_000;
/// Blocks may differ in steal by this much and still be compared, ticks: what one tick more or less at both
/// ends of both blocks makes.
const STEAL_TICKS_APART_MAX: u64 = 2;

/// A block of the floor beside a block of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The bare loop.
    pub floor: Block,
    /// The real daemon.
    pub block: Block,
}

impl Pair {
    /// Why this pair cannot be compared; `None` when it can.
    #[must_use]
    pub fn unequal(&self) -> Option<String> {
        let (stalls, floor_stalls) = (self.block.stalls(), self.floor.stalls());
        if stalls != floor_stalls {
            return Some(format!("host stalls {stalls}, in the floor {floor_stalls}"));
        }
        let (steal, floor_steal) = (self.block.steal_ticks, self.floor.steal_ticks);
        (steal.abs_diff(floor_steal) > STEAL_TICKS_APART_MAX)
            .then(|| format!("steal {steal} ticks, in the floor {floor_steal}"))
    }
}

/// A ratio and the interval it lies in, 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Median over pairs.
    pub value: f64,
    /// Lower bound.
    pub lo: f64,
    /// Upper bound.
    pub hi: f64,
}

impl Ratio {
    /// The ratio as its JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"value": self.value, "lo": self.lo, "hi": self.hi})
    }
}

impl core::fmt::Display for Ratio {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.value, self.lo, self.hi)
    }
}

/// Median ratio of the percentile `permille` over pairs; `None` without pairs.
#[must_use]
pub fn ratio(pairs: &[&Pair], permille: usize) -> Option<Ratio> {
    let of = |pair: &&Pair| {
        let floor = pair.floor.percentile(permille).max(1);
        pair.block.percentile(permille) as f64 / floor as f64
    };
    bootstrap(&pairs.iter().map(of).collect::<Vec<_>>())
}

/// Median of `ratios` with the bootstrap interval; `None` when there are none. The same ratios give the same
/// interval.
#[must_use]
pub fn bootstrap(ratios: &[f64]) -> Option<Ratio> {
    let value = median(&mut ratios.to_vec())?;
    let mut random = SplitMix(0x6b61_6465_6e7a);
    let mut medians: Vec<f64> = (0..DRAWINGS)
        .filter_map(|_| {
            let mut drawn: Vec<f64> = ratios
                .iter()
                .filter_map(|_| ratios.get(random.below(ratios.len())))
                .copied()
                .collect();
            median(&mut drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let lo = medians.get(DRAWINGS / 40).copied()?;
    let hi = medians.get(DRAWINGS - 1 - DRAWINGS / 40).copied()?;
    Some(Ratio { value, lo, hi })
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    match values.len() % 2 {
        0 => Some(f64::midpoint(values.get(middle - 1).copied()?, upper)),
        _ => Some(upper),
    }
}

/// A seeded generator (SplitMix64): no statistics without repetition.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A place below `end`, 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.bits() % (end as u64).max(1)).unwrap_or(0)
    }

    /// A number in 0 .. 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute of a host: latencies with a long tail, `slower` times as late.
    fn block(random: &mut SplitMix, host: f64, slower: f64) -> Block {
        let latency_ns = (0..2_000)
            .map(|_| {
                let u = random.unit().max(1e-9);
                let tail = if random.unit() < 0.02 { 4.0 } else { 1.0 };
                let ns = 3_000.0 * host * slower * tail * (1.0 + 0.3 * (-u.ln()));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small and positive"
                )]
                let ns = ns as u64;
                ns
            })
            .collect();
        Block { latency_ns, ..Block::default() }
    }

    /// Pairs of a host that drifts by a factor of three.
    fn pairs(seed: u64, slower: f64) -> Vec<Pair> {
        let mut random = SplitMix(seed);
        (0..12)
            .map(|_| {
                let host = 1.0 + 2.0 * random.unit();
                let floor = block(&mut random, host, 1.0);
                Pair { floor, block: block(&mut random, host, slower) }
            })
            .collect()
    }

    fn of(pairs: &[Pair], permille: usize) -> Ratio {
        ratio(&pairs.iter().collect::<Vec<_>>(), permille).unwrap()
    }

    #[test]
    fn a_loop_ten_percent_slower_is_found_on_a_host_that_drifts_threefold() {
        for seed in 0..20 {
            let found = of(&pairs(seed, 1.1), 500);
            assert!(found.lo > 1.05 && found.hi < 1.15, "seed {seed}: {found}");
        }
    }

    #[test]
    fn equal_loops_pass() {
        for seed in 0..20 {
            let equal = pairs(seed, 1.0);
            for permille in [500, 990] {
                let found = of(&equal, permille);
                assert!(found.lo < 1.05 && found.hi > 0.95, "seed {seed}, {permille}: {found}");
            }
        }
    }

    #[test]
    fn one_pair_with_company_does_not_decide() {
        let mut disturbed = pairs(1, 1.0);
        for ns in &mut disturbed[3].block.latency_ns {
            *ns *= 40;
        }
        assert!(of(&disturbed, 500).hi < 1.05);
    }

    #[test]
    fn pairs_with_unequal_stalls_or_steal_are_not_compared() {
        let mut pair = Pair::default();
        assert_eq!(pair.unequal(), None);
        pair.block.latency_ns.push(6_000_000);
        assert!(pair.unequal().is_some_and(|why| why.contains("stalls 1")));
        pair.floor.latency_ns.push(90_000_000);
        assert_eq!(pair.unequal(), None, "both stalled once");
        pair.floor.steal_ticks = 3;
        assert!(pair.unequal().is_some_and(|why| why.contains("steal")));
        pair.block.steal_ticks = 1;
        assert_eq!(pair.unequal(), None, "one tick more or less at each end");
    }

    #[test]
    fn no_pairs_have_no_ratio() {
        assert_eq!(ratio(&[], 500), None);
        assert_eq!(bootstrap(&[1.5]), Some(Ratio { value: 1.5, lo: 1.5, hi: 1.5 }));
    }
}
