//! Which publisher has which mailbox: a pure table. Which mailbox the loop listens to is decided in
//! kadenzd.

use shm_layout::SOURCES_MAX;

use crate::rate::Bucket;

/// For this long after its last batch a source's life can be claimed by no other publisher.
const IDLE_NS: u64 = 1_000_000_000;
/// A source that has sent nothing for this long gives its mailbox to the next that asks, if it is the
/// one silent for longest, and if its lease is over: four leases of the default 50 ms.
const SILENT_NS: u64 = 200_000_000;

#[derive(Clone, Copy, Debug)]
struct Holder {
    publisher: u128,
    source_id: u64,
    heard_ns: u64,
    bucket: Bucket,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to this mailbox.
    Mailbox(usize),
    /// Its source sends faster than it may.
    TooFast,
    /// All mailboxes are in use, or the life it claims is another's.
    Refused,
}

/// The mailboxes and who holds them.
#[derive(Debug)]
pub(crate) struct Sources {
    holders: [Option<Holder>; SOURCES_MAX],
    period_ns: u64,
    /// From when on a silent source gives its mailbox: never while it may still hold its lease.
    silent_ns: u64,
}

impl Sources {
    /// Nobody holds one yet; for a loop of this period and this lease.
    pub(crate) fn new(period_ns: u64, lease_ns: u64) -> Self {
        Self { holders: [None; SOURCES_MAX], period_ns, silent_ns: lease_ns.max(SILENT_NS) }
    }

    /// Where a batch of `publisher` goes that has just come under `source_id`. Who claims the life of a
    /// living source is none; who sends too fast loses what is too much, and nobody else does.
    pub(crate) fn judge(&mut self, publisher: u128, source_id: u64, now_ns: u64) -> Verdict {
        let is_own = |held: &Holder| held.publisher == publisher;
        let claims = |held: &Holder| {
            held.source_id == source_id
                && held.publisher != publisher
                && now_ns.saturating_sub(held.heard_ns) < IDLE_NS
        };
        if self.holders.iter().flatten().any(claims) {
            return Verdict::Refused;
        }
        let own = self.holders.iter().position(|holder| holder.as_ref().is_some_and(is_own));
        let Some(slot) = own.or_else(|| self.free(now_ns)) else { return Verdict::Refused };
        let Some(place) = self.holders.get_mut(slot) else { return Verdict::Refused };
        let kept = place.filter(is_own).map(|held| held.bucket);
        let mut bucket = kept.unwrap_or_else(|| Bucket::new(self.period_ns));
        let takes = bucket.takes(now_ns);
        *place = Some(Holder { publisher, source_id, heard_ns: now_ns, bucket });
        if takes { Verdict::Mailbox(slot) } else { Verdict::TooFast }
    }

    /// A mailbox nobody has had, else the one silent for longest.
    fn free(&self, now_ns: u64) -> Option<usize> {
        let heard_ns =
            |slot: &usize| self.holders.get(*slot).copied().flatten().map(|one| one.heard_ns);
        let idle = |heard_ns: Option<u64>| {
            heard_ns.is_none_or(|heard_ns| now_ns.saturating_sub(heard_ns) >= self.silent_ns)
        };
        (0..SOURCES_MAX).filter(|slot| idle(heard_ns(slot))).min_by_key(heard_ns)
    }
}

/// A publisher's id in the 64 bits of the contract: FNV-1a over its 128. Not 0, which means none.
pub(crate) fn source_id(publisher: u128) -> u64 {
    let hash = publisher.to_le_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A publisher that goes by an id of its own.
    fn mailbox(sources: &mut Sources, publisher: u128, now_ns: u64) -> Option<usize> {
        under(sources, publisher, source_id(publisher), now_ns)
    }

    fn under(sources: &mut Sources, publisher: u128, id: u64, now_ns: u64) -> Option<usize> {
        match sources.judge(publisher, id, now_ns) {
            Verdict::Mailbox(slot) => Some(slot),
            Verdict::TooFast | Verdict::Refused => None,
        }
    }

    #[test]
    fn who_claims_the_life_of_a_living_source_gets_no_mailbox_and_takes_none() {
        let mut sources = Sources::new(1_000_000, 50_000_000);
        assert_eq!(under(&mut sources, 7, 70, 0), Some(0));
        assert_eq!(under(&mut sources, 8, 70, IDLE_NS - 1), None);
        assert_eq!(under(&mut sources, 8, 80, IDLE_NS - 1), Some(1));
        assert_eq!(under(&mut sources, 8, 70, IDLE_NS - 1), None, "nor by changing its name");
        assert_eq!(under(&mut sources, 7, 70, IDLE_NS - 1), Some(0));
        // The same planner, come back as another publisher.
        assert_eq!(under(&mut sources, 9, 70, 2 * IDLE_NS - 1), Some(2));
    }

    #[test]
    fn a_source_keeps_its_mailbox_and_two_sources_never_share_one() {
        let mut sources = Sources::new(1_000_000, 50_000_000);
        assert_eq!(mailbox(&mut sources, 7, 0), Some(0));
        assert_eq!(mailbox(&mut sources, 8, 0), Some(1));
        assert_eq!(mailbox(&mut sources, 7, IDLE_NS * 10), Some(0));
    }

    #[test]
    fn a_mailbox_is_taken_over_only_from_a_source_that_has_been_idle() {
        let mut sources = Sources::new(1_000_000, 50_000_000);
        for publisher in 0..4 {
            assert!(mailbox(&mut sources, publisher, u64::from(publisher == 2)).is_some());
        }
        assert_eq!(mailbox(&mut sources, 9, SILENT_NS - 1), None, "all four are in use");
        for publisher in [0, 3] {
            mailbox(&mut sources, publisher, SILENT_NS - 1);
        }
        assert_eq!(mailbox(&mut sources, 9, SILENT_NS), Some(1));
        assert_eq!(mailbox(&mut sources, 10, SILENT_NS), None);
        assert_eq!(mailbox(&mut sources, 10, SILENT_NS + 1), Some(2));
    }

    #[test]
    fn a_lease_longer_than_that_time_keeps_its_mailbox_until_it_is_over() {
        let lease_ns = 3 * SILENT_NS;
        let mut sources = Sources::new(1_000_000, lease_ns);
        for publisher in 0..4 {
            assert!(mailbox(&mut sources, publisher, 0).is_some());
        }
        assert_eq!(mailbox(&mut sources, 9, lease_ns - 1), None);
        assert_eq!(mailbox(&mut sources, 9, lease_ns), Some(0));
    }

    #[test]
    fn a_source_that_sends_too_fast_keeps_its_mailbox_and_costs_the_other_nothing() {
        let mut sources = Sources::new(1_000_000, 50_000_000);
        let mut verdicts = Vec::new();
        for n in 0..1000_u64 {
            let now_ns = n * 10_000;
            verdicts.push(sources.judge(7, 70, now_ns));
            if n % 400 == 0 {
                assert_eq!(sources.judge(8, 80, now_ns), Verdict::Mailbox(1));
            }
        }
        let taken = verdicts.iter().filter(|one| **one == Verdict::Mailbox(0)).count();
        assert!(verdicts.contains(&Verdict::TooFast) && !verdicts.contains(&Verdict::Refused));
        assert!((25..=41).contains(&taken), "{taken}");
    }

    proptest! {
        #[test]
        fn within_that_time_no_mailbox_changes_hands(
            heard in proptest::collection::vec((0..10_u128, 0..SILENT_NS / 64), 1..64),
        ) {
            let (mut sources, mut now_ns) = (Sources::new(1_000_000, 50_000_000), 0);
            let mut seen = std::collections::HashMap::new();
            for (publisher, pause_ns) in heard {
                now_ns += pause_ns;
                if let Some(slot) = mailbox(&mut sources, publisher, now_ns) {
                    prop_assert_eq!(*seen.entry(slot).or_insert(publisher), publisher);
                }
            }
        }
    }
}
