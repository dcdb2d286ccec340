//! What can be wrong with a batch of knots: each defect once in a while, never two runs alike.
use shm_layout::KNOTS_PER_BATCH_MAX;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};

use crate::random::Random;

/// Spoils batches.
pub struct Mischief {
    random: Random,
}

impl Mischief {
    /// The mischief of the planner in `slot`.
    #[must_use]
    pub fn new(seed: u64, slot: usize) -> Self {
        Self { random: Random::stream(seed, &format!("mischief {slot}")) }
    }

    /// Makes one thing wrong; gives how many copies are posted (0: the batch is lost).
    pub fn spoil(&mut self, batch: &mut Vec<u64>) -> usize {
        let Some(mut head) = KnotBatchHeader::from_slice(batch) else { return 1 };
        let knots = usize::from(head.knot_count).clamp(1, KNOTS_PER_BATCH_MAX);
        let place = self.random.below(knots as u64) as usize;
        match self.random.below(16) {
            0 => return 0,
            1 => return self.random.within(2, 6) as usize,
            2 => head.first_index = head.first_index.wrapping_add(self.random.within(1, 9)),
            3 => head.first_index = head.first_index.wrapping_sub(self.random.within(1, 9)),
            4 => head.layout_hash ^= 1 << self.random.below(64),
            5 => head.axis_count = self.random.bits() as u16,
            6 => head.knot_count = self.random.bits() as u16,
            7 => head.last_is_final = self.random.below(3) as u16,
            8 => head.tau_s[place] = self.random.awkward(),
            9 => head.tau_s.swap(place, (place + 1) % knots),
            10 => head.tau_s[place] += self.random.between(-0.3, 0.3),
            11 => head.path_id = self.random.below(3),
            12 => head.source_id = self.random.below(4),
            13 => head.heartbeat = self.random.bits(),
            _ => {}
        }
        batch[..KnotBatchHeader::WORDS].copy_from_slice(head.as_words());
        let rows = batch.len() - KnotBatchHeader::WORDS;
        match self.random.below(8) {
            0 if rows > 0 => {
                let at = KnotBatchHeader::WORDS + self.random.below(rows as u64) as usize;
                batch[at] = self.random.awkward().to_bits();
            }
            1 if rows > 0 => {
                let at = KnotBatchHeader::WORDS + self.random.below(rows as u64) as usize;
                let factor = self.random.between(-4.0, 4.0);
                batch[at] = (f64::from_bits(batch[at]) * factor).to_bits();
            }
            // A torque out of all proportion is finite and still must not make a command infinite.
            2 if rows >= KnotAxis::WORDS => {
                for row in batch[KnotBatchHeader::WORDS..].chunks_exact_mut(KnotAxis::WORDS) {
                    let sign = if self.random.percent(50) { 1.0 } else { -1.0 };
                    row[3] = (sign * f64::MAX).to_bits();
                }
            }
            3 => batch.truncate(self.random.within(1, batch.len() as u64) as usize),
            _ => {}
        }
        1
    }
}
