//! The loop's clock: sleeps to grid points of CLOCK_MONOTONIC. The only waiting the RT thread does.
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use servo_core::ports::Wake;

use super::grid::Grid;

/// CLOCK_MONOTONIC in ns (vDSO, no system call).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one reading of time on this thread")]
pub fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    })
}

/// Sleeps until CLOCK_MONOTONIC shows `due_ns`; gives how many system calls that took.
#[expect(clippy::disallowed_methods, reason = "the one wait of this thread")]
pub fn sleep_until(due_ns: u64) -> u64 {
    let due = TimeSpec::new(
        i64::try_from(due_ns / 1_000_000_000).unwrap_or(i64::MAX),
        i64::try_from(due_ns % 1_000_000_000).unwrap_or(0),
    );
    let mut calls = 1;
    // BOUND: each return is either the due time or one signal, and SIGSYS is the only one let through.
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &due)
        == Err(Errno::EINTR)
    {
        calls += 1;
    }
    calls
}

/// Wakes the loop at grid points.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    grid: Grid,
    index: u64,
    skipped: u32,
    passed_over: u64,
    calls: u64,
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Clock {
    /// A clock whose first grid point lies ten periods ahead.
    #[must_use]
    pub fn starting_soon(period_ns: u64) -> Self {
        let origin_ns = now_ns().saturating_add(period_ns.saturating_mul(10));
        Self {
            grid: Grid::new(origin_ns, period_ns),
            index: 0,
            skipped: 0,
            passed_over: 0,
            calls: 0,
        }
    }

    /// Sleeps until the next grid point; gives the one reading of time of the cycle that begins. A wake-up
    /// that is late by whole periods has passed over as many points: they are skipped before the cycle, so
    /// that what it sends is for now.
    pub fn wait(&mut self) -> Wake {
        let grid_ns = self.grid.due_ns(self.index);
        self.calls = self.calls.saturating_add(sleep_until(grid_ns));
        let wake_ns = now_ns();
        self.passed_over = self.grid.passed_over(self.index, wake_ns);
        self.index = self.index.saturating_add(self.passed_over);
        let skipped = narrow(self.passed_over).saturating_add(self.skipped);
        Wake { grid_index: self.index, grid_ns, wake_ns, skipped }
    }

    /// System calls made so far.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// The cycle that woke at `wake` ends now: chooses its successor. Gives how many grid points it cost:
    /// those it woke too late for, and those it ran past.
    pub fn end_cycle(&mut self, wake: &Wake, now_ns: u64) -> u32 {
        let next = self.grid.after(self.index, wake.wake_ns, now_ns);
        let ran_past = next.saturating_sub(self.index).saturating_sub(1);
        self.skipped = narrow(ran_past);
        self.index = next;
        narrow(self.passed_over.saturating_add(ran_past))
    }

    /// When the grid point after that of `wake` is due, ns.
    #[must_use]
    pub const fn next_due_ns(&self, wake: &Wake) -> u64 {
        self.grid.due_ns(wake.grid_index.saturating_add(1))
    }
}
