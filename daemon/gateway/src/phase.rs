//! When the next pass is due: the loop's own grid plus stated offsets; no lane is read here, and
//! what a lane claims is trusted within bounds only.

use kadenz_handover::Terms;
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

/// A grid point further ahead than this is nonsense: the loop publishes what has been.
const AHEAD_NS_MAX: u64 = 20_000_000;
/// A grid point older than this says nothing about the present grid: the loop stands.
const BEHIND_NS_MAX: u64 = 1_000_000_000;
/// A pass due sooner than this is taken to be under way already.
const SOON_NS: u64 = 2_000;

/// Passes of one kind lie this far apart at least: where periods are shorter, not every cycle has one. The
/// state ring holds many cycles, and at 20 kHz three gateways that wake twice per cycle left the processes
/// they serve no CPU (two CPUs, 32 axes: the planner's own watchdog ended it, 2026-11).
const PASS_EVERY_NS_MIN: u64 = 250_000;

/// One of the two passes of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Copy out what the loop has published.
    Out,
    /// Copy in what clients want, just before the loop wakes.
    In,
}

/// The gateway's copy of the loop's grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    grid_ns: u64,
    /// From one pass to the next of its kind: one period or several.
    every_ns: u64,
    out_ns: u64,
    in_ns: Option<u64>,
}

impl Phase {
    /// A grid through `now_ns` until the loop tells its own. `with_in`: the role has something to
    /// copy in.
    pub(crate) fn new(terms: &Terms, with_in: bool, now_ns: u64) -> Self {
        let period_ns = terms.period_ns.max(1);
        let every_ns = period_ns.saturating_mul(PASS_EVERY_NS_MIN.div_ceil(period_ns).max(1));
        Self {
            grid_ns: now_ns,
            every_ns,
            out_ns: terms.out_offset_ns,
            in_ns: with_in.then(|| every_ns.saturating_sub(terms.in_lead_ns)),
        }
    }

    /// Follows the loop's grid, unless the claim cannot be.
    pub(crate) fn follow(&mut self, grid_ns: u64, now_ns: u64) {
        let plausible = grid_ns <= now_ns.saturating_add(AHEAD_NS_MAX)
            && now_ns <= grid_ns.saturating_add(BEHIND_NS_MAX);
        if plausible {
            self.grid_ns = grid_ns;
        }
    }

    /// The next pass and its time: later than `now_ns`, by the distance of passes and a little at most.
    pub(crate) fn next(&self, now_ns: u64) -> (Pass, u64) {
        let out = (Pass::Out, self.due(self.out_ns, now_ns));
        let inward = self.in_ns.map(|offset_ns| (Pass::In, self.due(offset_ns, now_ns)));
        match inward {
            Some(inward) if inward.1 < out.1 => inward,
            _ => out,
        }
    }

    fn due(&self, offset_ns: u64, now_ns: u64) -> u64 {
        let earliest_ns = now_ns.saturating_add(SOON_NS);
        // Distance from a point of this series to `earliest`, whichever side the grid point is on.
        let base_ns = self.grid_ns.saturating_add(offset_ns);
        let past_ns = if earliest_ns >= base_ns {
            (earliest_ns - base_ns) % self.every_ns
        } else {
            let ahead_ns = (base_ns - earliest_ns) % self.every_ns;
            (self.every_ns - ahead_ns) % self.every_ns
        };
        earliest_ns.saturating_add(self.every_ns - past_ns)
    }
}

/// Sleeps until `time_ns`, CLOCK_MONOTONIC; signals do not cut it short.
pub(crate) fn sleep_until(time_ns: u64) {
    let seconds = i64::try_from(time_ns / 1_000_000_000).unwrap_or(i64::MAX);
    let nanos = i64::try_from(time_ns % 1_000_000_000).unwrap_or(0);
    let time = TimeSpec::new(seconds, nanos);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    // BOUND: the time is absolute, each turn ends at it or by one more signal.
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &time) == Err(Errno::EINTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms {
        axis_count: 1,
        period_ns: 1_000_000,
        out_offset_ns: 150_000,
        in_lead_ns: 50_000,
        gateway_priority_fifo: 0,
        loop_cpu: 0,
        daemon_id: 0,
    };
    const START_NS: u64 = 5_000_000_000;

    #[test]
    fn passes_alternate_at_their_offsets_to_the_loops_grid() {
        let mut phase = Phase::new(&TERMS, true, START_NS);
        phase.follow(START_NS + 10_000, START_NS + 20_000);
        let grid_ns = START_NS + 10_000;
        assert_eq!(phase.next(START_NS + 20_000), (Pass::Out, grid_ns + 150_000));
        assert_eq!(phase.next(grid_ns + 150_000), (Pass::In, grid_ns + 950_000));
        assert_eq!(phase.next(grid_ns + 950_000), (Pass::Out, grid_ns + 1_150_000));
    }

    #[test]
    fn a_view_gateway_passes_once_per_cycle() {
        let phase = Phase::new(&TERMS, false, START_NS);
        assert_eq!(phase.next(START_NS + 150_000), (Pass::Out, START_NS + 1_150_000));
    }

    #[test]
    fn short_periods_are_passed_every_so_many_cycles_and_in_phase() {
        let (period_ns, out_offset_ns, in_lead_ns) = (100_000, 40_000, 20_000);
        let terms = Terms { period_ns, out_offset_ns, in_lead_ns, ..TERMS };
        let mut phase = Phase::new(&terms, true, START_NS);
        phase.follow(START_NS, START_NS);
        assert_eq!(phase.next(START_NS), (Pass::Out, START_NS + 40_000));
        assert_eq!(phase.next(START_NS + 40_000), (Pass::In, START_NS + 280_000));
        assert_eq!(phase.next(START_NS + 280_000), (Pass::Out, START_NS + 340_000));
        // The newest record is told after each pass: the grid moves on, the distance stays.
        phase.follow(START_NS + 300_000, START_NS + 341_000);
        assert_eq!(phase.next(START_NS + 341_000), (Pass::In, START_NS + 580_000));
    }

    #[test]
    fn a_grid_that_cannot_be_is_not_followed() {
        let mut phase = Phase::new(&TERMS, true, START_NS);
        let before = phase.next(START_NS);
        for nonsense_ns in [0, u64::MAX, START_NS + 21_000_000, START_NS - 1_000_000_001] {
            phase.follow(nonsense_ns, START_NS);
            assert_eq!(phase.next(START_NS), before);
        }
    }

    proptest! {
        #[test]
        fn the_next_pass_is_never_past_and_never_far(
            claims in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..8),
            now_ns in 0..u64::MAX / 2,
            with_in in any::<bool>(),
            out_offset_ns in 0..1_000_000u64,
            in_lead_ns in 0..1_000_000u64,
        ) {
            let terms = Terms { out_offset_ns, in_lead_ns, ..TERMS };
            let mut phase = Phase::new(&terms, with_in, now_ns);
            for (grid_ns, at_ns) in claims {
                phase.follow(grid_ns, at_ns);
            }
            let (_, due_ns) = phase.next(now_ns);
            prop_assert!(due_ns > now_ns + SOON_NS);
            prop_assert!(due_ns <= now_ns + SOON_NS + TERMS.period_ns);
        }
    }
}
