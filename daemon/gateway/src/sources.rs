//! Which publisher has which mailbox: a pure table. Which mailbox the loop listens to is decided in
//! kadenzd.

use shm_layout::SOURCES_MAX;

/// A source that has sent nothing for this long gives its mailbox to the next that asks.
const IDLE_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Holder {
    publisher: u128,
    source_id: u64,
    heard_ns: u64,
}

/// The mailboxes and who holds them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    holders: [Option<Holder>; SOURCES_MAX],
}

impl Sources {
    /// The mailbox of `publisher`, which has just been heard under `source_id`; `None` while all are in
    /// use, and for an id that another publisher goes by: who claims the life of a living source is none.
    pub(crate) fn mailbox(
        &mut self,
        publisher: u128,
        source_id: u64,
        now_ns: u64,
    ) -> Option<usize> {
        let is_own = |held: &Holder| held.publisher == publisher;
        let claims = |held: &Holder| {
            held.source_id == source_id
                && held.publisher != publisher
                && now_ns.saturating_sub(held.heard_ns) < IDLE_NS
        };
        if self.holders.iter().flatten().any(claims) {
            return None;
        }
        let own = self.holders.iter().position(|holder| holder.as_ref().is_some_and(is_own));
        let slot = own.or_else(|| self.free(now_ns))?;
        *self.holders.get_mut(slot)? = Some(Holder { publisher, source_id, heard_ns: now_ns });
        Some(slot)
    }

    /// A mailbox nobody has had, else the one silent for longest.
    fn free(&self, now_ns: u64) -> Option<usize> {
        let heard_ns =
            |slot: &usize| self.holders.get(*slot).copied().flatten().map(|one| one.heard_ns);
        let idle = |heard_ns: Option<u64>| {
            heard_ns.is_none_or(|heard_ns| now_ns.saturating_sub(heard_ns) >= IDLE_NS)
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
        sources.mailbox(publisher, source_id(publisher), now_ns)
    }

    #[test]
    fn who_claims_the_life_of_a_living_source_gets_no_mailbox_and_takes_none() {
        let mut sources = Sources::default();
        assert_eq!(sources.mailbox(7, 70, 0), Some(0));
        assert_eq!(sources.mailbox(8, 70, IDLE_NS - 1), None);
        assert_eq!(sources.mailbox(8, 80, IDLE_NS - 1), Some(1));
        assert_eq!(sources.mailbox(8, 70, IDLE_NS - 1), None, "nor by changing its name");
        assert_eq!(sources.mailbox(7, 70, IDLE_NS - 1), Some(0));
        // The same planner, come back as another publisher.
        assert_eq!(sources.mailbox(9, 70, 2 * IDLE_NS - 1), Some(2));
    }

    #[test]
    fn a_source_keeps_its_mailbox_and_two_sources_never_share_one() {
        let mut sources = Sources::default();
        assert_eq!(mailbox(&mut sources, 7, 0), Some(0));
        assert_eq!(mailbox(&mut sources, 8, 0), Some(1));
        assert_eq!(mailbox(&mut sources, 7, IDLE_NS * 10), Some(0));
    }

    #[test]
    fn a_mailbox_is_taken_over_only_from_a_source_that_has_been_idle() {
        let mut sources = Sources::default();
        for publisher in 0..4 {
            assert!(mailbox(&mut sources, publisher, u64::from(publisher == 2)).is_some());
        }
        assert_eq!(mailbox(&mut sources, 9, IDLE_NS - 1), None, "all four are in use");
        for publisher in [0, 3] {
            mailbox(&mut sources, publisher, IDLE_NS - 1);
        }
        assert_eq!(mailbox(&mut sources, 9, IDLE_NS), Some(1));
        assert_eq!(mailbox(&mut sources, 10, IDLE_NS), None);
        assert_eq!(mailbox(&mut sources, 10, IDLE_NS + 1), Some(2));
    }

    proptest! {
        #[test]
        fn within_an_idle_time_no_mailbox_changes_hands(
            heard in proptest::collection::vec((0..10_u128, 0..IDLE_NS / 64), 1..64),
        ) {
            let (mut sources, mut now_ns) = (Sources::default(), 0);
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
