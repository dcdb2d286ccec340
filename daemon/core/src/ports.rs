//! What the island asks of its shore: a bus, lanes and a stopwatch. No port may block; time is an argument.

use shm_layout::event::Event;
use shm_layout::knot::KnotAxis;
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{
    ANALOGUE_CHANNELS, AXES_MAX, BUSES_MAX, DIGITAL_WORDS, KNOTS_PER_CYCLE, REQUESTS_PER_CYCLE,
    SOURCES_MAX,
};

/// The one reading of time in a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wake {
    /// Grid point this pass stands for: the last one that is not in the future.
    pub grid_index: u64,
    /// When the loop should have woken, CLOCK_MONOTONIC: an earlier point when it woke late by periods.
    pub grid_ns: u64,
    /// When it woke.
    pub wake_ns: u64,
    /// Grid points skipped just before this pass.
    pub skipped: u32,
}

/// What one drive says, in SI units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AxisFeedback {
    /// Measured position, rad or m (32-bit wrap already undone).
    pub position: f64,
    /// Measured velocity, rad/s or m/s.
    pub velocity: f64,
    /// Measured torque or force, N·m or N.
    pub torque: f64,
    /// Statusword (CiA 402 object 6041h).
    pub statusword: u16,
    /// Error code (603Fh).
    pub error_code: u16,
    /// Age in cycles; 0 is fresh.
    pub age_cycles: u32,
}

/// What one bus says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusFeedback {
    /// Frames sent that no answer came to, since start.
    pub frames_lost: u64,
    /// Frames lost in a row.
    pub lost_in_row: u32,
    /// Working counter of the last answer.
    pub wkc_actual: u16,
    /// Working counter that the configuration calls for.
    pub wkc_expected: u16,
}

/// Everything the buses say in one cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feedback {
    /// Per axis.
    pub axes: [AxisFeedback; AXES_MAX],
    /// Per bus.
    pub buses: [BusFeedback; BUSES_MAX],
    /// Digital inputs.
    pub digital_inputs: [u64; DIGITAL_WORDS],
    /// Analogue inputs, V or A.
    pub analogue_inputs: [f64; ANALOGUE_CHANNELS],
}

impl Feedback {
    /// Nothing heard yet.
    pub const EMPTY: Self = Self {
        axes: [AxisFeedback {
            position: 0.0,
            velocity: 0.0,
            torque: 0.0,
            statusword: 0,
            error_code: 0,
            age_cycles: u32::MAX,
        }; AXES_MAX],
        buses: [BusFeedback { frames_lost: 0, lost_in_row: 0, wkc_actual: 0, wkc_expected: 0 };
            BUSES_MAX],
        digital_inputs: [0; DIGITAL_WORDS],
        analogue_inputs: [0.0; ANALOGUE_CHANNELS],
    };
}

/// What we send to one drive, in SI units; the bus driver converts to counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AxisCommand {
    /// Target position (607Ah), rad or m.
    pub position: f64,
    /// Velocity offset (60B1h), rad/s or m/s.
    pub velocity: f64,
    /// Torque offset (60B2h), N·m or N.
    pub torque: f64,
    /// Controlword (6040h).
    pub controlword: u16,
    /// Mode of operation (6060h).
    pub mode: u16,
}

/// Everything we send in one cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Commands {
    /// Per axis.
    pub axes: [AxisCommand; AXES_MAX],
    /// Digital outputs.
    pub digital_outputs: [u64; DIGITAL_WORDS],
    /// Analogue outputs, V or A.
    pub analogue_outputs: [f64; ANALOGUE_CHANNELS],
}

impl Commands {
    /// Torque off everywhere.
    pub const EMPTY: Self = Self {
        axes: [AxisCommand { position: 0.0, velocity: 0.0, torque: 0.0, controlword: 0, mode: 0 };
            AXES_MAX],
        digital_outputs: [0; DIGITAL_WORDS],
        analogue_outputs: [0.0; ANALOGUE_CHANNELS],
    };
}

/// A bus, or several: bounded I/O, never a wait longer than its configured bound.
pub trait Bus {
    /// Takes in what the drives said; what is missing keeps its old value and ages.
    fn receive(&mut self, feedback: &mut Feedback);
    /// Sends commands; tells each axis's target in drive counts, for the record.
    fn send(&mut self, commands: &Commands, target_counts: &mut [i32; AXES_MAX]);
    /// `skipped` grid points have passed without an exchange. Drives on a wire lived through them by
    /// themselves; a plant that is simulated in this process has to be told.
    fn passed_by(&mut self, _skipped: u32) {}
    /// How much longer than its bound the last `receive` waited for an answer, ns; 0 for a bus that never
    /// waits. It measures; nothing of it may flow back into the island.
    fn late_ns(&self) -> u32 {
        0
    }
}

/// What one source's newest batch says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SourceBrief {
    /// Life of the source; 0 when the mailbox is empty.
    pub source_id: u64,
    /// Rises with every batch.
    pub heartbeat: u64,
    /// Path of the batch.
    pub path_id: u64,
    /// Number of its first knot within the path.
    pub first_index: u64,
    /// Story it belongs to.
    pub trace_id: u64,
    /// Knots in it.
    pub knot_count: u16,
    /// Axes per knot.
    pub axis_count: u16,
    /// 1 when its last knot ends the path.
    pub last_is_final: u16,
    /// 1 when the batch names another contract.
    pub foreign: u16,
}

/// One knot as taken from a lane: unchecked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawKnot {
    /// Number within its path.
    pub index: u64,
    /// Path time, s.
    pub tau_s: f64,
    /// Per axis.
    pub axes: [KnotAxis; AXES_MAX],
}

/// What the lanes brought in one cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intake {
    /// Requests in order of arrival; the first `request_count` count.
    pub requests: [Request; REQUESTS_PER_CYCLE],
    /// How many requests.
    pub request_count: usize,
    /// 1 when the daemon is to end.
    pub shutdown: u64,
    /// 1 when the RT thread tried a system call outside its list since the last cycle.
    pub denied_call: u64,
    /// 1 when the host is not the one that was judged: enabling takes an acknowledgement then.
    pub host_changed: u64,
    /// Newest batch of each source slot.
    pub sources: [SourceBrief; SOURCES_MAX],
    /// Knots of the wanted source that were wanted; the first `knot_count` count.
    pub knots: [RawKnot; KNOTS_PER_CYCLE],
    /// How many knots.
    pub knot_count: usize,
}

impl Intake {
    /// Nothing came.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            requests: [Request::zeroed(); REQUESTS_PER_CYCLE],
            request_count: 0,
            shutdown: 0,
            denied_call: 0,
            host_changed: 0,
            sources: [SourceBrief::default(); SOURCES_MAX],
            knots: [RawKnot { index: 0, tau_s: 0.0, axes: [KnotAxis::zeroed(); AXES_MAX] };
                KNOTS_PER_CYCLE],
            knot_count: 0,
        }
    }
}

/// What the island would take from the mailbox of the source it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Mailbox to read knots from; `None` when no source is followed.
    pub slot: Option<usize>,
    /// Path under way; 0 when any new path is welcome.
    pub path_id: u64,
    /// Path that ended or was dropped last: its knots are not wanted again.
    pub past_path_id: u64,
    /// Number of the next knot of that path.
    pub next_index: u64,
    /// How many knots to take in this cycle at most: as many as there is room for, and time
    /// ([`crate::setup::Setup::knots_per_cycle`]).
    pub room: usize,
}

/// The lanes: copies in and out of shared memory that is hostile; never blocks, cannot fail.
pub trait Lanes {
    /// Takes what is new: sources' briefs, wanted knots (at most `KNOTS_PER_CYCLE`) and requests.
    fn take(&mut self, wanted: &Wanted, intake: &mut Intake);
    /// Publishes the record of this cycle and its events.
    fn publish(&mut self, header: &StateHeader, axes: &[AxisState], events: &[Event]);
}

/// The stages of a cycle, in order; the index into `stage_end_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// bus.receive
    Receive = 0,
    /// lanes.take
    Take = 1,
    /// guard.judge
    Judge = 2,
    /// motion.next
    Motion = 3,
    /// control.output
    Control = 4,
    /// limit.enforce
    Limit = 5,
    /// bus.send
    Send = 6,
    /// lanes.publish
    Publish = 7,
}

/// Stamps the end of each stage. It measures; nothing it does may flow back into the island.
pub trait Stopwatch {
    /// A stage has ended.
    fn stage_ended(&mut self, stage: Stage);
}

/// A stopwatch that measures nothing: simulation and replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStopwatch;

impl Stopwatch for NoStopwatch {
    fn stage_ended(&mut self, _stage: Stage) {}
}
