//! How fast one source may send: a bucket of tokens, time as an argument. Pure.

/// Batches that may come at once: what a source's queue holds, so that nothing an honest source sent
/// while the gateway stood still counts against it.
const BURST: u64 = 16;
/// Time that one batch earns at most, ns: 2,500 per second, ten times what the planner sends (one per
/// 4 ms, clients/planner/src/main.rs).
const BATCH_NS: u64 = 400_000;

/// The tokens of one source, kept as time: each batch costs some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    batch_ns: u64,
    /// Until when the source has spent its time.
    spent_until_ns: u64,
}

impl Bucket {
    /// A full one, for a loop of this period: a source that sends in step with the loop, which takes
    /// one batch per cycle, may always do so twice over.
    pub(crate) fn new(period_ns: u64) -> Self {
        Self { batch_ns: BATCH_NS.min(period_ns / 2).max(1), spent_until_ns: 0 }
    }

    /// Whether one more batch may come at `now_ns`; it is paid for if it may.
    pub(crate) fn takes(&mut self, now_ns: u64) -> bool {
        let spent_until_ns = self.spent_until_ns.max(now_ns) + self.batch_ns;
        let fits = spent_until_ns - now_ns <= BURST * self.batch_ns;
        if fits {
            self.spent_until_ns = spent_until_ns;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn ten_times_the_planners_rate_passes_and_a_hundred_times_is_cut_to_that() {
        let mut bucket = Bucket::new(MS);
        assert!((0..1000).all(|n| bucket.takes(MS + n * 400_000)));
        let mut bucket = Bucket::new(MS);
        // A second at 25,000 per second.
        let taken = (0..25_000).filter(|n| bucket.takes(MS + n * 40_000)).count();
        assert!((2_500..=2_516).contains(&taken), "{taken}");
    }

    #[test]
    fn a_full_queue_passes_after_a_stall_and_a_fast_loop_is_served_in_step() {
        let mut bucket = Bucket::new(MS);
        assert!((0..16).all(|_| bucket.takes(MS)) && !bucket.takes(MS));
        let mut bucket = Bucket::new(100_000);
        assert!((0..10_000).all(|n| bucket.takes(n * 100_000)));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_whatever_comes_when(
            pauses_ns in proptest::collection::vec(0..2 * MS, 1..300),
        ) {
            let (mut bucket, mut now_ns, mut taken) = (Bucket::new(MS), 0, 0);
            for pause_ns in pauses_ns {
                now_ns += pause_ns;
                taken += u64::from(bucket.takes(now_ns));
                prop_assert!(taken <= BURST + now_ns / BATCH_NS);
            }
        }
    }
}
