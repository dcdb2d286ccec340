//! When a silent process counts as hung, and how long to wait before the next start: pure, time is an argument.

/// A gateway says that it lives every 50 ms (its own pace). Four times that is silence.
pub(crate) const SILENCE_NS_MAX: u64 = 200_000_000;
/// A gateway that has not become ready by then hangs in a damaged domain; a fresh one takes 10 ms,
/// on a busy host some hundred.
pub(crate) const START_NS_MAX: u64 = 3_000_000_000;
/// A pass of the supervisor later than this was held up, and so, maybe, was everybody else. Hosts
/// were seen to stand still for 100 ms.
const LATE_NS: u64 = 50_000_000;
/// First pause before a restart.
const PAUSE_NS_MIN: u64 = 10_000_000;
/// Longest pause before a restart.
const PAUSE_NS_MAX: u64 = 250_000_000;
/// A life this long wipes out what came before.
const GOOD_LIFE_NS: u64 = 5_000_000_000;

/// Since when one process is silent, host stalls left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    heard_ns: u64,
}

impl Pulse {
    /// A process that was last heard at `now_ns`.
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { heard_ns: now_ns }
    }

    /// Leaves `span_ns` before `now_ns` out of the count.
    pub(crate) fn excuse(&mut self, span_ns: u64, now_ns: u64) {
        self.heard_ns = self.heard_ns.saturating_add(span_ns).min(now_ns);
    }

    /// Silence that counts, ns.
    pub(crate) fn silent_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.heard_ns)
    }
}

/// The supervisor's own passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnPasses {
    last_ns: u64,
}

impl OwnPasses {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { last_ns: now_ns }
    }

    /// Takes a pass; the time since the one before when that was too long to judge anybody by.
    pub(crate) fn pass(&mut self, now_ns: u64) -> Option<u64> {
        let span_ns = now_ns.saturating_sub(self.last_ns);
        self.last_ns = now_ns;
        (span_ns > LATE_NS).then_some(span_ns)
    }
}

/// The pause before the next start of one process: twice the one before, without an end to starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackOff {
    pause_ns: u64,
}

impl BackOff {
    /// The pause after a life of `life_ns`.
    pub(crate) fn after(&mut self, life_ns: u64) -> u64 {
        self.pause_ns = if life_ns >= GOOD_LIFE_NS {
            PAUSE_NS_MIN
        } else {
            self.pause_ns.saturating_mul(2).clamp(PAUSE_NS_MIN, PAUSE_NS_MAX)
        };
        self.pause_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Passes every 20 ms with one stall; when a process that fell silent at 0 counts as hung.
    fn hung_at(stalls: &[(u64, u64)]) -> u64 {
        let (mut pulse, mut own, mut now_ns) = (Pulse::new(0), OwnPasses::new(0), 0);
        while pulse.silent_ns(now_ns) <= SILENCE_NS_MAX {
            let stall = stalls.iter().find(|(at_ns, _)| *at_ns == now_ns);
            now_ns += stall.map_or(20 * MS, |(_, span_ns)| *span_ns);
            if let Some(span_ns) = own.pass(now_ns) {
                pulse.excuse(span_ns, now_ns);
            }
        }
        now_ns
    }

    #[test]
    fn silence_counts_from_200_ms_on() {
        assert_eq!(hung_at(&[]), 220 * MS);
    }

    #[test]
    fn a_stall_of_the_supervisor_itself_is_not_held_against_anybody() {
        assert_eq!(hung_at(&[(40 * MS, 1_000 * MS)]), 1_220 * MS);
        assert_eq!(hung_at(&[(40 * MS, 100 * MS), (180 * MS, 100 * MS)]), 420 * MS);
    }

    #[test]
    fn pauses_double_to_a_quarter_of_a_second_and_a_good_life_wipes_them_out() {
        let mut back_off = BackOff::default();
        let pauses: Vec<u64> = (0..7).map(|_| back_off.after(0) / MS).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 250, 250]);
        assert_eq!(back_off.after(GOOD_LIFE_NS), 10 * MS);
    }
}
