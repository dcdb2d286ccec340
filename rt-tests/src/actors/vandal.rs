//! A process that holds a gateway's inbound lanes and writes what it likes, while the loop runs.
use std::sync::atomic::Ordering;

use kadenz_lanes::Word;
use shm_layout::knot::KnotBatchHeader;
use shm_layout::{LAYOUT_HASH, SOURCES_MAX};

use crate::island::Inbound;
use crate::random::Random;

/// Words at the front of a lane: its head and slot headers live there or shortly behind.
const FRONT_WORDS: u64 = 96;

/// Scribbles over inbound lanes.
pub struct Vandal {
    random: Random,
    inbound: Inbound,
    /// Chance per cycle, in a million, of an attack.
    attacks: u64,
}

impl Vandal {
    /// A vandal who holds every inbound lane.
    #[must_use]
    pub fn new(seed: u64, inbound: Inbound, attacks: u64) -> Self {
        Self { random: Random::stream(seed, "vandal"), inbound, attacks }
    }

    /// One cycle.
    pub fn act(&mut self) {
        if !self.random.per_million(self.attacks) {
            return;
        }
        let which = self.random.below(SOURCES_MAX as u64 + 1) as usize;
        let lane = self.inbound.mailboxes.get(which).copied().unwrap_or(self.inbound.requests);
        match self.random.below(8) {
            0 => lane.iter().for_each(|word| store(word, 0)),
            1 => {
                for word in lane {
                    let bits = self.random.bits();
                    store(word, bits);
                }
            }
            2 => self.nudge(lane),
            _ => self.scatter(lane),
        }
    }

    /// Random words in random places, most of them near the front.
    fn scatter(&mut self, lane: &[Word]) {
        for _ in 0..self.random.within(1, 60) {
            let end = if self.random.percent(50) {
                FRONT_WORDS.min(lane.len() as u64)
            } else {
                lane.len() as u64
            };
            let place = self.random.below(end) as usize;
            let bits = self.word();
            store(&lane[place], bits);
        }
    }

    /// Changes what stands there by little: counts, sequences and numbers that stay plausible.
    fn nudge(&mut self, lane: &[Word]) {
        for _ in 0..self.random.within(1, 20) {
            let place = self.random.below(lane.len() as u64) as usize;
            // ORDERING: relaxed, one thread plays both sides.
            let now = lane[place].load(Ordering::Relaxed);
            let bits = match self.random.below(3) {
                0 => now.wrapping_add(self.random.within(1, 3)),
                1 => now ^ (1 << self.random.below(64)),
                _ => (f64::from_bits(now) * self.random.between(0.5, 2.0)).to_bits(),
            };
            store(&lane[place], bits);
        }
    }

    fn word(&mut self) -> u64 {
        match self.random.below(6) {
            0 => self.random.bits(),
            1 => self.random.awkward().to_bits(),
            2 => LAYOUT_HASH,
            3 => self.random.below(200),
            4 => u64::MAX - self.random.below(3),
            _ => KnotBatchHeader::WORDS as u64 + self.random.below(2_000),
        }
    }
}

fn store(word: &Word, bits: u64) {
    // ORDERING: relaxed, a hostile writer keeps no order.
    word.store(bits, Ordering::Relaxed);
}
