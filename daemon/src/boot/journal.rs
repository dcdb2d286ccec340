//! What the hand-over tells the log: only so much at a time. Anybody may knock at the socket, a role's
//! user may come and go as it likes, and nobody may fill the disk by it.
use std::time::{Duration, Instant};

use kadenz_handover::Happening;
use shm_layout::code::Role;

/// Refusals told in full within one [`WINDOW`].
const REFUSALS_TOLD: u32 = 5;
/// The same of what happens to gateways of one role: six lives, of three lines each. A supervisor that
/// restarts an ending gateway once a second comes and goes ten times, and is told of in the sum.
const LIVES_TOLD: u32 = 18;
/// After it, everything is told in full again.
const WINDOW: Duration = Duration::from_secs(10);

/// So many lines in one window, and a sum of the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Ration {
    told: u32,
    kept_back: u64,
}

impl Ration {
    const fn tells(&mut self, most: u32) -> bool {
        let tells = self.told < most;
        if tells {
            self.told += 1;
        } else {
            self.kept_back += 1;
        }
        tells
    }
}

/// How many lines were kept back in a window, not all of them 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptBack {
    /// Refusals.
    pub refusals: u64,
    /// What happened to gateways, by role in the order of [`Role::ALL`].
    pub of_roles: [u64; Role::ALL.len()],
}

/// Decides what is worth a line.
#[derive(Debug)]
pub struct Journal {
    window_began: Instant,
    refusals: Ration,
    /// In the order of [`Role::ALL`]: one role's user hides nothing of another role.
    roles: [Ration; Role::ALL.len()],
}

impl Journal {
    /// Nothing told yet, at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { window_began: now, refusals: Ration::default(), roles: Default::default() }
    }

    /// What was kept back, once its window is over.
    pub fn summary(&mut self, now: Instant) -> Option<KeptBack> {
        if now.duration_since(self.window_began) < WINDOW {
            return None;
        }
        let ended = std::mem::replace(self, Self::new(now));
        let kept_back = KeptBack {
            refusals: ended.refusals.kept_back,
            of_roles: ended.roles.map(|ration| ration.kept_back),
        };
        (kept_back != KeptBack::default()).then_some(kept_back)
    }

    /// Whether `happening` gets a line of its own.
    pub fn tells(&mut self, happening: &Happening) -> bool {
        let (Happening::Connected { role, .. }
        | Happening::Ready { role, .. }
        | Happening::Gone { role, .. }) = happening
        else {
            return self.refusals.tells(REFUSALS_TOLD);
        };
        let place = Role::ALL.iter().position(|(one, ..)| one == role);
        let ration = place.and_then(|place| self.roles.get_mut(place));
        ration.is_none_or(|ration| ration.tells(LIVES_TOLD))
    }

    /// Writes to the log what there is to tell at `now`.
    pub fn log(&mut self, happenings: &[Happening], now: Instant) {
        if let Some(kept_back) = self.summary(now) {
            log_sums(&kept_back);
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

fn log_sums(kept_back: &KeptBack) {
    let window_s = WINDOW.as_secs();
    if kept_back.refusals > 0 {
        log::warn!(
            "handover.sock: {} more were refused within {window_s} s; somebody floods it",
            kept_back.refusals
        );
    }
    for ((role, ..), count) in Role::ALL.iter().zip(kept_back.of_roles) {
        if count > 0 {
            log::warn!(
                "handover.sock: {count} more lines about gateways of role {} within {window_s} s; \
                 they come and go: see the journal of kadenz-gateway, and what else runs as its user",
                role.word()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(role: Role) -> Happening {
        Happening::Gone { role, pid: 3, was_ready: true, reason: String::new() }
    }

    #[test]
    fn a_flood_of_refusals_is_a_few_lines_and_a_sum_and_hides_no_gateway() {
        let refused = Happening::Refused { pid: 1, uid: 2, reason: "no".to_owned() };
        let begin = Instant::now();
        let mut journal = Journal::new(begin);
        let told = (0..100_000).filter(|_| journal.tells(&refused)).count();
        assert_eq!(told, 5);
        assert!(journal.tells(&gone(Role::View)));
        assert_eq!(journal.summary(begin + WINDOW / 2), None);
        let kept_back = KeptBack { refusals: 99_995, ..KeptBack::default() };
        assert_eq!(journal.summary(begin + WINDOW), Some(kept_back));
        assert!(journal.tells(&refused), "told again");
        assert_eq!(journal.summary(begin + 2 * WINDOW), None, "nothing was kept back");
    }

    #[test]
    fn a_role_that_comes_and_goes_for_ever_is_a_few_lines_and_a_sum_and_hides_no_other_role() {
        let begin = Instant::now();
        let mut journal = Journal::new(begin);
        let told = (0..100_000).filter(|_| journal.tells(&gone(Role::ALL[0].0))).count();
        assert_eq!(told, 18);
        assert!(journal.tells(&gone(Role::ALL[1].0)));
        let kept_back = KeptBack { of_roles: [99_982, 0, 0], ..KeptBack::default() };
        assert_eq!(journal.summary(begin + WINDOW), Some(kept_back));
        assert!(journal.tells(&gone(Role::ALL[0].0)), "told again");
    }
}
