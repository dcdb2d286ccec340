//! The shore: what runs on the RT thread around the island.
//!
//! After the loop has begun, this thread makes these system calls and no other:
//!
//! | call | where | how often |
//! |---|---|---|
//! | `clock_nanosleep` | `clock.rs` | once per cycle |
//!
//! `clock_gettime` is answered by the vDSO and enters no kernel. The simulated bus makes none. A
//! real-process test traces the thread and fails on any other call, and on a missing one.
pub mod bus_sim;
pub mod clock;
pub mod grid;
pub mod lanes;
pub mod recorder;
pub mod stats;

use servo_core::ports::{Bus, Wake};
use servo_core::setup::Setup;
use servo_core::{State, cycle, record};

use clock::{Clock, now_ns};
use lanes::LaneEnds;
use recorder::FlightRecorder;
use stats::{StageTimes, Stats};

use crate::sys::count_rt_allocations;

/// Everything the loop owns.
pub struct Loop<B: Bus> {
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
}

impl<B: Bus> Loop<B> {
    /// Runs until the island says that it has ended. Call it on the prepared RT thread.
    pub fn run(&mut self) {
        let mut clock = Clock::starting_soon(self.setup.period_ns);
        count_rt_allocations(true);
        while !self.state.has_ended() {
            self.pass(&mut clock);
        }
        count_rt_allocations(false);
    }

    fn pass(&mut self, clock: &mut Clock) {
        let wake = clock.wait();
        self.work(&wake);
        let end_ns = now_ns();
        let next_due_ns = clock.next_due_ns(&wake);
        let skipped = clock.end_cycle(&wake, end_ns);
        self.stats.count_pass(&wake, end_ns, next_due_ns, skipped);
    }

    /// Everything a pass does between waking and looking at the clock again.
    #[inline(never)]
    pub fn work(&mut self, wake: &Wake) {
        let mut stages = StageTimes::of(wake.wake_ns);
        cycle(&self.setup, &mut self.state, wake, &mut self.bus, &mut self.lanes, &mut stages);
        self.lanes.stage_end_ns = stages.end_ns;
        if let Some(recorder) = &mut self.recorder {
            let digest = record::digest(&self.setup, &self.state);
            recorder.record(&self.setup, wake, &self.state.feedback, &self.state.intake, digest);
        }
        let drops = self.recorder.as_ref().map_or(0, FlightRecorder::drops);
        self.stats.set_losses(self.lanes.requests_lost(), self.lanes.overtaken(), drops);
    }
}
