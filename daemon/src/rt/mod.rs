//! The shore: what runs on the RT thread around the island.
//!
//! After the loop has begun, this thread makes these system calls and no other:
//!
//! | call | where | how often |
//! |---|---|---|
//! | `clock_nanosleep` | `clock.rs` | once per cycle |
//! | `clock_gettime` | `clock.rs` | never, unless the clock source has no vDSO, or loses it as it runs |
//! | `rt_sigreturn` | the kernel's way back from a denied call | never, unless a call was denied |
//!
//! The kernel enforces it: a filter on this thread alone denies every other call (`boot/restriction.rs`).
//! A denied call is not made, its number is kept, and the machine comes to rest on its path
//! (`denied-call`). The vDSO answers `clock_gettime` without the kernel; a machine where it does not must
//! exempt `vdso-clock`, and one where it ceases to must not lose its sense of time. The simulated bus makes none.
//! Real-process tests trace the thread and fail on any other call and on a missing one; taking an entry
//! off the list breaks the loop, which is tested as well.
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]

pub mod bus_sim;
pub mod clock;
pub mod grid;
pub mod lanes;
pub mod recorder;
pub mod stats;

use servo_core::ports::{Bus, Wake};
use servo_core::setup::Setup;
use servo_core::{State, cycle};

use clock::{Clock, now_ns};
use lanes::{LaneEnds, OwnCounts};
use recorder::FlightRecorder;
use stats::{PassNote, StageClock, StageTimes, Stats};

use crate::sys::{self, gate_rt_allocations};

/// The calls that the table above lists, for the filter.
pub const LISTED_CALLS: [(&str, i64); 3] = [
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("rt_sigreturn", libc::SYS_rt_sigreturn),
];

/// Everything the loop owns.
pub struct Loop<B: Bus, S: StageClock = StageTimes> {
    /// The machine.
    pub setup: Setup,
    /// All the island remembers.
    pub state: Box<State>,
    /// The buses.
    pub bus: B,
    /// The lanes.
    pub lanes: LaneEnds,
    /// What is counted.
    pub stats: Stats,
    /// What is recorded.
    pub recorder: Option<FlightRecorder>,
    /// What times its stages.
    pub stopwatch: S,
}

impl<B: Bus, S: StageClock> Loop<B, S> {
    /// Runs until the island says that it has ended. Call it on the prepared RT thread.
    pub fn run(&mut self) {
        let mut clock = Clock::starting_soon(self.setup.period_ns);
        self.lanes.counts.denied_calls = sys::denied_calls();
        gate_rt_allocations(true);
        while !self.state.has_ended() {
            self.pass(&mut clock);
        }
        gate_rt_allocations(false);
    }

    fn pass(&mut self, clock: &mut Clock) {
        let wake = clock.wait();
        let denied = sys::denied_calls();
        self.stats.set_calls(clock.calls(), denied);
        let before = self.lanes.counts.denied_calls;
        self.lanes.was_denied = denied != before;
        self.lanes.counts = OwnCounts {
            system_calls: clock.calls(),
            denied_calls: denied,
            allocations: u32::try_from(sys::rt_allocations()).unwrap_or(u32::MAX),
            overruns: self.stats.overruns(),
        };
        let cycle = self.state.cycle;
        self.work(&wake);
        let end_ns = now_ns();
        let next_due_ns = clock.next_due_ns(&wake);
        let note = PassNote {
            cycle,
            grid_ns: wake.grid_ns,
            wake_ns: wake.wake_ns,
            cycle_time_ns: end_ns.saturating_sub(wake.wake_ns),
            skipped: clock.end_cycle(&wake, end_ns),
            bus_late_ns: self.bus.late_ns(),
            stage_end_ns: self.lanes.stage_end_ns,
        };
        self.stats.count_pass(&note, next_due_ns);
    }

    /// Everything a pass does between waking and looking at the clock again.
    #[inline(never)]
    pub fn work(&mut self, wake: &Wake) {
        self.stopwatch.begin(wake.wake_ns);
        self.bus.passed_by(wake.skipped);
        let (state, bus, lanes) = (&mut self.state, &mut self.bus, &mut self.lanes);
        cycle(&self.setup, state, wake, bus, lanes, &mut self.stopwatch);
        self.lanes.stage_end_ns = self.stopwatch.ends_ns();
        if let Some(recorder) = &mut self.recorder {
            recorder.record(&self.setup, &self.state, wake, self.lanes.stage_end_ns);
        }
        let drops = self.recorder.as_ref().map_or(0, FlightRecorder::drops);
        self.stats.set_losses(self.lanes.requests_lost(), self.lanes.overtaken(), drops);
    }
}

/// Shows under clippy that the bans bite here: an expectation that nothing meets is an error.
#[cfg(all(clippy, not(test)))]
const _: fn() = {
    #[expect(clippy::disallowed_macros, reason = "planted: clippy.toml bans it here")]
    fn logs() {
        log::info!("from the loop");
    }
    #[expect(clippy::disallowed_methods, reason = "planted: clippy.toml bans it here")]
    fn allocates() -> impl Sized {
        1.to_string()
    }
    #[expect(clippy::disallowed_types, reason = "planted: clippy.toml bans it here")]
    fn locks() -> impl Sized {
        std::sync::Mutex::new(())
    }
    fn planted() {
        logs();
        let _ = (allocates(), locks());
    }
    planted
};
