//! What the hand-over tells the log: everything about gateways, refusals only so many. Anybody may knock
//! at the socket, and nobody may fill the disk by it.
use std::time::{Duration, Instant};

use kadenz_handover::Happening;

/// Refusals told in full within one [`WINDOW`].
const REFUSALS_TOLD: u32 = 5;
/// After it, refusals are told in full again.
const WINDOW: Duration = Duration::from_secs(10);

/// Decides what is worth a line.
#[derive(Debug)]
pub struct Journal {
    window_began: Instant,
    told: u32,
    kept_back: u64,
}

impl Journal {
    /// Nothing told yet, at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { window_began: now, told: 0, kept_back: 0 }
    }

    /// How many refusals were kept back, once their window is over.
    pub fn summary(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.window_began) < WINDOW {
            return None;
        }
        self.window_began = now;
        self.told = 0;
        let kept_back = std::mem::take(&mut self.kept_back);
        (kept_back > 0).then_some(kept_back)
    }

    /// Whether `happening` gets a line of its own.
    pub fn tells(&mut self, happening: &Happening) -> bool {
        if !matches!(happening, Happening::Refused { .. }) {
            return true;
        }
        let tells = self.told < REFUSALS_TOLD;
        if tells {
            self.told += 1;
        } else {
            self.kept_back += 1;
        }
        tells
    }

    /// Writes to the log what there is to tell at `now`.
    pub fn log(&mut self, happenings: &[Happening], now: Instant) {
        if let Some(kept_back) = self.summary(now) {
            log::warn!(
                "handover.sock: {kept_back} more were refused within {} s; somebody floods it",
                WINDOW.as_secs()
            );
        }
        for happening in happenings {
            if self.tells(happening) {
                match happening {
                    Happening::Refused { .. } | Happening::Gone { .. } => {
                        log::warn!("{happening:?}");
                    }
                    _ => log::info!("{happening:?}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm_layout::code::Role;

    #[test]
    fn a_flood_of_refusals_is_a_few_lines_and_a_sum_and_hides_no_gateway() {
        let refused = Happening::Refused { pid: 1, uid: 2, reason: "no".to_owned() };
        let gone =
            Happening::Gone { role: Role::View, pid: 3, was_ready: true, reason: String::new() };
        let begin = Instant::now();
        let mut journal = Journal::new(begin);
        let told = (0..100_000).filter(|_| journal.tells(&refused)).count();
        assert_eq!(told, 5);
        assert!(journal.tells(&gone));
        assert_eq!(journal.summary(begin + WINDOW / 2), None);
        assert_eq!(journal.summary(begin + WINDOW), Some(99_995));
        assert!(journal.tells(&refused), "told again");
        assert_eq!(journal.summary(begin + 2 * WINDOW), None, "nothing was kept back");
    }
}
