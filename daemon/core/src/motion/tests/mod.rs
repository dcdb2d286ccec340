//! Proofs of motion on the host, and what they share: a seeded generator, a source that plans
//! jerk-limited moves, and the definition of a jump; nothing here is built into the daemon.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "tests end on a surprise, count in small numbers and compare exact landings"
)]

extern crate std;

mod ramp;
mod quintic;
mod path;
mod rate;
mod stop;

use super::axis::{AxisLimits, AxisReference};
use shm_layout::knot::KnotAxis;
use std::vec::Vec;

/// The period of all tests.
pub const DT_S: f64 = 1e-3;

/// A seeded generator (SplitMix64): the same seed is the same test.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Evenly between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of any magnitude between `low` and `high`, with either sign.
    pub fn magnitude(&mut self, low: f64, high: f64) -> f64 {
        let value = self.between(low.ln(), high.ln()).exp();
        if self.chance(50) { value } else { -value }
    }
}

pub const LIMITS: AxisLimits = AxisLimits {
    position_min: f64::NEG_INFINITY,
    position_max: f64::INFINITY,
    velocity: 1.0,
    acceleration: 10.0,
    jerk: 500.0,
};

/// One planned axis: stretches of constant jerk, whole milliseconds long.
#[derive(Default)]
pub struct PlannedAxis {
    stretches: Vec<(u64, f64, AxisReference)>,
    end_ms: u64,
    end: AxisReference,
}

fn after(from: AxisReference, jerk: f64, t: f64) -> AxisReference {
    AxisReference {
        position: from.position
            + t * (from.velocity + t * (from.acceleration / 2.0 + t * jerk / 6.0)),
        velocity: from.velocity + t * (from.acceleration + t * jerk / 2.0),
        acceleration: from.acceleration + t * jerk,
    }
}

impl PlannedAxis {
    fn push(&mut self, duration_ms: u64, jerk: f64) {
        if duration_ms > 0 {
            self.stretches.push((self.end_ms, jerk, self.end));
            self.end = after(self.end, jerk, duration_ms as f64 * 1e-3);
            self.end_ms += duration_ms;
        }
    }

    /// A move from rest to rest that uses `share` of at least one limit, then a pause.
    fn push_move(&mut self, random: &mut Seeded, share: f64) {
        let (jerk_ms, acceleration_ms, cruise_ms) =
            (1 + random.below(40), random.below(60), random.below(120));
        let (tj, ta) = (jerk_ms as f64 * 1e-3, acceleration_ms as f64 * 1e-3);
        let size =
            (LIMITS.jerk).min(LIMITS.acceleration / tj).min(LIMITS.velocity / (tj * (tj + ta)));
        let jerk = if random.chance(50) { share * size } else { -share * size };
        let ramp = [(jerk_ms, 1.0), (acceleration_ms, 0.0), (jerk_ms, -1.0)];
        for (duration_ms, sign) in ramp {
            self.push(duration_ms, sign * jerk);
        }
        self.end.acceleration = 0.0;
        self.push(cruise_ms, 0.0);
        for (duration_ms, sign) in ramp {
            self.push(duration_ms, -sign * jerk);
        }
        (self.end.velocity, self.end.acceleration) = (0.0, 0.0);
        self.push(random.below(30), 0.0);
    }

    fn at(&self, ms: u64) -> AxisReference {
        if ms >= self.end_ms {
            return self.end;
        }
        let found = self.stretches.iter().rev().find(|(start_ms, ..)| *start_ms <= ms);
        found.map_or(AxisReference::default(), |(start_ms, jerk, from)| {
            after(*from, *jerk, (ms - start_ms) as f64 * 1e-3)
        })
    }
}

/// The knots of a plan: (path time, axes), at rest at both ends.
pub type Plan = Vec<(f64, Vec<KnotAxis>)>;

pub fn knot_axis(reference: AxisReference) -> KnotAxis {
    KnotAxis {
        position: reference.position,
        velocity: reference.velocity,
        acceleration: reference.acceleration,
        torque_feed_forward: 0.0,
    }
}

/// Random moves of `axes` axes with a knot at every jerk switch of every axis, and segments of at
/// most 8 to 25 ms. Each move uses a random part of the limits within `shares`.
pub fn random_plan(random: &mut Seeded, axes: usize, moves: usize, shares: (f64, f64)) -> Plan {
    let mut planned: Vec<PlannedAxis> = Vec::new();
    for _ in 0..axes {
        let mut axis = PlannedAxis::default();
        for _ in 0..moves {
            let share = random.between(shares.0, shares.1);
            axis.push_move(random, share);
        }
        planned.push(axis);
    }
    let end_ms = planned.iter().map(|axis| axis.end_ms).max().unwrap_or(0) + 1;
    let mut switches: Vec<u64> = planned
        .iter()
        .flat_map(|axis| axis.stretches.iter().map(|stretch| stretch.0).chain([axis.end_ms]))
        .chain([0, end_ms])
        .collect();
    switches.sort_unstable();
    switches.dedup();
    let longest_ms = 8 + random.below(18);
    let mut times_ms = Vec::new();
    for pair in switches.windows(2) {
        times_ms.extend((pair[0]..pair[1]).step_by(longest_ms as usize));
    }
    times_ms.push(end_ms);
    times_ms
        .iter()
        .map(|ms| {
            let knots = planned.iter().map(|axis| knot_axis(axis.at(*ms))).collect();
            (*ms as f64 * 1e-3, knots)
        })
        .collect()
}

/// The first jump between two consecutive references, in words.
pub fn jump(
    before: &[AxisReference],
    after: &[AxisReference],
    limits: &AxisLimits,
    dt_s: f64,
) -> Option<std::string::String> {
    let allowed = dt_s * (1.0 + 1e-9);
    before.iter().zip(after).enumerate().find_map(|(axis, (from, to))| {
        let ratios = [
            ("position", (to.position - from.position).abs() / (limits.velocity * allowed)),
            ("velocity", (to.velocity - from.velocity).abs() / (limits.acceleration * allowed)),
            ("acceleration", (to.acceleration - from.acceleration).abs() / (limits.jerk * allowed)),
        ];
        let found = ratios.iter().find(|(_, ratio)| ratio.is_nan() || *ratio > 1.0);
        found.map(|(what, ratio)| std::format!("axis {axis}: {what} jumps, ratio {ratio:.12}"))
    })
}
