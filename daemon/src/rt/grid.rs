//! The grid of wake-ups: phase is kept, a late cycle skips grid points, it never runs after them.

/// Equally spaced grid points on CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    origin_ns: u64,
    period_ns: u64,
}

impl Grid {
    /// A grid whose point 0 lies at `origin_ns`; `period_ns` must not be 0.
    #[must_use]
    pub const fn new(origin_ns: u64, period_ns: u64) -> Self {
        assert!(period_ns > 0, "the configuration allows no period of 0");
        Self { origin_ns, period_ns }
    }

    /// When grid point `index` is due.
    #[must_use]
    pub const fn due_ns(&self, index: u64) -> u64 {
        self.origin_ns.saturating_add(index.saturating_mul(self.period_ns))
    }

    /// Whole periods that a wake-up for point `index` came too late: points it passed over.
    #[must_use]
    pub const fn passed_over(&self, index: u64, wake_ns: u64) -> u64 {
        wake_ns.saturating_sub(self.due_ns(index)) / self.period_ns
    }

    /// The grid point after a pass of `index` that woke at `wake_ns` and ended at `now_ns`: the first
    /// one at least half a period after the wake-up that is not past (definition of the grid).
    #[must_use]
    pub const fn after(&self, index: u64, wake_ns: u64, now_ns: u64) -> u64 {
        let spaced_ns = wake_ns.saturating_add(self.period_ns / 2);
        let earliest_ns = if spaced_ns > now_ns { spaced_ns } else { now_ns };
        let from_origin_ns = earliest_ns.saturating_sub(self.origin_ns);
        let first = from_origin_ns.div_ceil(self.period_ns);
        let next = index.saturating_add(1);
        if first > next { first } else { next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIOD_NS: u64 = 1_000_000;

    proptest! {
        #[test]
        fn no_two_cycles_are_closer_than_half_a_period_and_phase_is_kept(
            stalls in prop::collection::vec((0u64..3 * PERIOD_NS, 0u64..3 * PERIOD_NS), 1..200),
            origin_ns in 0u64..1 << 50,
        ) {
            let grid = Grid::new(origin_ns, PERIOD_NS);
            let (mut index, mut last_wake_ns) = (0u64, None::<u64>);
            let mut now_ns = origin_ns;
            for (late_ns, busy_ns) in stalls {
                let wake_ns = grid.due_ns(index).max(now_ns) + late_ns;
                if let Some(last) = last_wake_ns {
                    prop_assert!(wake_ns - last >= PERIOD_NS / 2);
                }
                last_wake_ns = Some(wake_ns);
                now_ns = wake_ns + busy_ns;
                let next = grid.after(index, wake_ns, now_ns);
                prop_assert!(next > index);
                prop_assert!(grid.due_ns(next) >= now_ns);
                // No grid point is skipped without need.
                if next > index + 1 {
                    let before = grid.due_ns(next - 1);
                    prop_assert!(before < now_ns || before < wake_ns + PERIOD_NS / 2);
                }
                index = next;
            }
        }
    }
}
