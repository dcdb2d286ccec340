//! When a client looks for a new epoch: pure pacing, time is an argument. No I/O.
use kadenz_paths::Token;

/// Samples older than this make a client re-read the announcement, ns.
pub const STALE_NS: u64 = 20_000_000;
/// The announcement is read at most this often, ns.
pub const LOOK_EVERY_NS: u64 = 5_000_000;
/// With an unchanged announcement a client re-opens after this, ns; each time twice as late.
pub const REOPEN_NS: u64 = 60_000_000;
/// Longest time between two attempts to re-open, ns.
pub const REOPEN_NS_MAX: u64 = 1_000_000_000;
/// Longest pause after an epoch could not be opened, ns.
pub const RETRY_NS_MAX: u64 = 100_000_000;

/// Paces one client of one domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    fresh_ns: u64,
    look_ns: Option<u64>,
    stale_ns: Option<u64>,
    reopen_ns: u64,
    failed: Option<Failed>,
}

/// An epoch that could not be opened: tried again seldom, since every try costs the gateway work.
#[derive(Clone, Copy, Debug)]
struct Failed {
    epoch: Token,
    retry_ns: u64,
    pause_ns: u64,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { fresh_ns: 0, look_ns: None, stale_ns: None, reopen_ns: REOPEN_NS, failed: None }
    }

    /// A sample has come.
    pub(crate) fn fresh(&mut self, now_ns: u64) {
        self.fresh_ns = now_ns;
        self.stale_ns = None;
        self.reopen_ns = REOPEN_NS;
    }

    /// Ports have just been opened: their first sample is given time.
    pub(crate) fn opened(&mut self, now_ns: u64) {
        self.fresh_ns = now_ns;
        self.stale_ns = None;
        self.failed = None;
    }

    /// `epoch` could not be opened.
    pub(crate) fn failed(&mut self, now_ns: u64, epoch: Token) {
        let before = self.failed.filter(|failed| failed.epoch == epoch);
        let pause_ns = before.map_or(LOOK_EVERY_NS, |f| (f.pause_ns * 2).min(RETRY_NS_MAX));
        self.failed = Some(Failed { epoch, retry_ns: now_ns.saturating_add(pause_ns), pause_ns });
    }

    /// Whether `epoch` may be tried now; another epoch than the failed one may at once.
    pub(crate) fn may_open(&self, now_ns: u64, epoch: Token) -> bool {
        self.failed.is_none_or(|failed| failed.epoch != epoch || now_ns >= failed.retry_ns)
    }

    /// No sample is waiting: whether to read the announcement now.
    pub(crate) fn wants_look(&mut self, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.fresh_ns) < STALE_NS {
            return false;
        }
        self.due(now_ns, LOOK_EVERY_NS)
    }

    /// Whether `every_ns` has passed since the last look; counts as a look when it has.
    pub(crate) fn due(&mut self, now_ns: u64, every_ns: u64) -> bool {
        if self.look_ns.is_some_and(|last| now_ns.saturating_sub(last) < every_ns) {
            return false;
        }
        self.look_ns = Some(now_ns);
        true
    }

    /// The announcement has not changed: whether to open the same epoch again.
    ///
    /// Counted from the first stale look, not from the last sample: a client that was itself away
    /// for a while must not throw away good ports.
    pub(crate) fn wants_reopen(&mut self, now_ns: u64) -> bool {
        let since = *self.stale_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) < self.reopen_ns {
            return false;
        }
        self.stale_ns = None;
        self.reopen_ns = (self.reopen_ns * 2).min(REOPEN_NS_MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn fresh_samples_need_no_look() {
        let mut pace = Pace::new();
        pace.fresh(1000 * MS);
        assert!(!pace.wants_look(1000 * MS + STALE_NS - 1));
        assert!(pace.wants_look(1000 * MS + STALE_NS));
    }

    #[test]
    fn looks_are_at_most_one_per_5_ms() {
        let mut pace = Pace::new();
        pace.fresh(0);
        let looks =
            (20 * MS..120 * MS).step_by(100_000).filter(|now| pace.wants_look(*now)).count();
        assert_eq!(looks, 20);
    }

    #[test]
    fn a_client_that_was_away_does_not_reopen_at_once() {
        let mut pace = Pace::new();
        pace.fresh(0);
        assert!(pace.wants_look(5_000 * MS));
        assert!(!pace.wants_reopen(5_000 * MS));
        assert!(!pace.wants_reopen(5_059 * MS));
        assert!(pace.wants_reopen(5_060 * MS));
    }

    #[test]
    fn an_epoch_that_fails_is_tried_ever_more_seldom_and_another_one_at_once() {
        let mut pace = Pace::new();
        let (first, second) = (Token::from_number(1), Token::from_number(2));
        let mut tries = Vec::new();
        for now in (0..1_000).map(|ms| ms * MS) {
            if pace.may_open(now, first) {
                pace.failed(now, first);
                tries.push(now / MS);
            }
        }
        assert_eq!(tries[..6], [0, 5, 15, 35, 75, 155]);
        assert_eq!(tries[7] - tries[6], 100);
        assert!(pace.may_open(999 * MS, second));
    }

    #[test]
    fn reopening_backs_off_to_a_second_and_a_sample_resets_it() {
        let mut pace = Pace::new();
        pace.opened(0);
        let mut gaps = Vec::new();
        let mut last = 0;
        for now in (0..6_000).map(|ms| ms * MS) {
            if pace.wants_reopen(now) {
                gaps.push((now - last) / MS);
                last = now;
            }
        }
        assert_eq!(gaps[..5], [60, 121, 241, 481, 961]);
        pace.fresh(6_000 * MS);
        assert!(!pace.wants_reopen(6_020 * MS));
        assert!(pace.wants_reopen(6_080 * MS));
    }
}
