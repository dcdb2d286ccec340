//! A machine of two axes on the bare ports: drives, one planner, one person. No test lives here.
use servo_core::limit::is_allowed;
use servo_core::motion::AxisLimits;
use servo_core::ports::{
    Bus, Commands, Feedback, Intake, Lanes, NoStopwatch, RawKnot, SourceBrief, Wake, Wanted,
};
use servo_core::setup::{AxisSetup, BusSetup, Setup};
use servo_core::{State, cycle};
use shm_layout::code::{EventKind, Phase, Reason, RequestKind, Verdict};
use shm_layout::event::Event;
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{AXES_MAX, BUSES_MAX, GROUPS_MAX};

pub const AXES: usize = 2;
pub const PERIOD_NS: u64 = 1_000_000;
pub const KNOT_S: f64 = 0.02;
/// Knots of the whole path: 4 s, 2 rad per axis.
pub const PATH_KNOTS: u64 = 201;
pub const ENABLE_CYCLES_MAX: u32 = 200;
pub const WINDOW_RAD: f64 = 0.1;
pub const WINDOW_CYCLES: u32 = 5;
pub const LOST_IN_ROW_MAX: u32 = 4;
/// Cycles in which everything asked for here must have come to an end.
pub const PATIENCE: usize = 8_000;

fn setup() -> Setup {
    let limits = AxisLimits {
        position_min: -3.0,
        position_max: 3.0,
        velocity: 3.0,
        acceleration: 20.0,
        jerk: 500.0,
    };
    let axis = AxisSetup {
        limits,
        effort_max: 50.0,
        following_error_window: WINDOW_RAD,
        following_error_cycles: WINDOW_CYCLES,
        bus_index: 0,
        group_index: 0,
        divisor: 1,
    };
    let mut group_masks = [0; GROUPS_MAX];
    group_masks[0] = (1 << AXES) - 1;
    Setup {
        period_ns: PERIOD_NS,
        daemon_id: 1,
        config_hash: [0; 32],
        axis_count: AXES,
        bus_count: 1,
        group_count: 1,
        axes: [axis; AXES_MAX],
        buses: [BusSetup { kind: 1, lost_in_row_max: LOST_IN_ROW_MAX }; BUSES_MAX],
        group_masks,
        lease_ns: 50_000_000,
        stop_path_time_s: 0.5,
        skips_followed_max: 4,
        skips_bridged_max: 10,
        missed_per_s_max: None,
        enable_cycles_max: ENABLE_CYCLES_MAX,
    }
}

/// Drives that obey at once and follow exactly, unless told otherwise: what a frame brings is latched
/// with it and reached at the next one, where it is measured.
pub struct Drives {
    pub statuswords: [u16; AXES],
    pub positions: [f64; AXES],
    pub targets: [f64; AXES],
    /// Added to what axis 1 measures.
    pub error_rad: f64,
    pub silent_axis: Option<usize>,
    pub lost_in_row: u32,
    pub refuses_to_enable: bool,
}

impl Bus for Drives {
    fn receive(&mut self, feedback: &mut Feedback) {
        feedback.buses[0].lost_in_row = self.lost_in_row;
        for (index, axis) in feedback.axes.iter_mut().take(AXES).enumerate() {
            if self.silent_axis == Some(index) || self.lost_in_row > 0 {
                axis.age_cycles = axis.age_cycles.saturating_add(1);
                continue;
            }
            axis.position = self.positions[index] + if index == 1 { self.error_rad } else { 0.0 };
            axis.statusword = self.statuswords[index];
            axis.age_cycles = 0;
        }
    }

    fn send(&mut self, commands: &Commands, _target_counts: &mut [i32; AXES_MAX]) {
        for (index, command) in commands.axes.iter().take(AXES).enumerate() {
            let status = &mut self.statuswords[index];
            let was_enabled = *status == 0x27;
            *status = match (*status, command.controlword) {
                (0x08, word) if word & 0x80 == 0 => 0x08,
                (0x23 | 0x27, 0x0f) if !self.refuses_to_enable => 0x27,
                (_, 0x06) => 0x21,
                (0x21, 0x07) => 0x23,
                (state @ (0x21 | 0x23), 0x0f) => state,
                _ => 0x40,
            };
            if was_enabled && *status == 0x27 {
                self.positions[index] = self.targets[index];
            }
            self.targets[index] = command.position;
        }
    }
}

/// One planner with one path, and one person.
pub struct Talk {
    pub asked: Option<RequestKind>,
    /// Argument of what is asked.
    pub value: f64,
    /// Outcome code of the last answer.
    pub answered: Option<u32>,
    pub host_changed: bool,
    /// Torque that every knot asks to feed forward, N·m.
    pub torque: f64,
    /// Kinds of all events so far, with the axis.
    pub events: Vec<(u32, u32)>,
    /// Knots of the path that are made known.
    pub knots_told: u64,
    pub heartbeat: u64,
    pub header: Option<StateHeader>,
}

fn knot(index: u64) -> RawKnot {
    let mut raw = Intake::empty().knots[0];
    let duration_s = (PATH_KNOTS - 1) as f64 * KNOT_S;
    let s = index as f64 / (PATH_KNOTS - 1) as f64;
    let position = s.powi(3) * (10.0 - 15.0 * s + 6.0 * s * s);
    let velocity = 30.0 * s * s * (1.0 - s).powi(2) / duration_s;
    let acceleration = 60.0 * s * (1.0 - s) * (1.0 - 2.0 * s) / duration_s.powi(2);
    (raw.index, raw.tau_s) = (index, index as f64 * KNOT_S);
    for axis in raw.axes.iter_mut().take(AXES) {
        axis.position = 2.0 * position;
        axis.velocity = 2.0 * velocity;
        axis.acceleration = 2.0 * acceleration;
    }
    raw
}

impl Lanes for Talk {
    fn take(&mut self, wanted: &Wanted, intake: &mut Intake) {
        self.heartbeat += 1;
        *intake = Intake::empty();
        intake.host_changed = u64::from(self.host_changed);
        if let Some(kind) = self.asked.take() {
            intake.requests[0] = Request {
                request_id: 1,
                deadline_ns: u64::MAX,
                kind: kind.code(),
                value: self.value,
                ..Request::zeroed()
            };
            intake.request_count = 1;
        }
        intake.sources[0] = SourceBrief {
            source_id: 7,
            heartbeat: self.heartbeat,
            path_id: 1,
            first_index: 0,
            trace_id: 0,
            knot_count: u16::try_from(self.knots_told).unwrap(),
            axis_count: u16::try_from(AXES).unwrap(),
            last_is_final: u16::from(self.knots_told == PATH_KNOTS),
            foreign: 0,
        };
        if wanted.slot == Some(0) && wanted.past_path_id != 1 {
            let room = wanted.room.min(intake.knots.len());
            for index in (wanted.next_index..self.knots_told).take(room) {
                intake.knots[intake.knot_count] = knot(index);
                for axis in &mut intake.knots[intake.knot_count].axes {
                    axis.torque_feed_forward = self.torque;
                }
                intake.knot_count += 1;
            }
        }
    }

    fn publish(&mut self, header: &StateHeader, _axes: &[AxisState], events: &[Event]) {
        self.header = Some(*header);
        let answers = events.iter().filter(|one| one.kind == EventKind::RequestAnswered.code());
        self.answered = answers.map(|answer| answer.code).next_back().or(self.answered);
        self.events.extend(events.iter().map(|event| (event.kind, event.axis)));
    }
}

pub struct Bench {
    pub setup: Setup,
    pub state: Box<State>,
    pub drives: Drives,
    pub talk: Talk,
    pub grid_index: u64,
}

impl Bench {
    pub fn new() -> Self {
        let mut bench = Self::before_the_first_cycle();
        bench.step();
        bench
    }

    pub fn before_the_first_cycle() -> Self {
        let drives = Drives {
            statuswords: [0x40; AXES],
            positions: [0.0; AXES],
            targets: [0.0; AXES],
            error_rad: 0.0,
            silent_axis: None,
            lost_in_row: 0,
            refuses_to_enable: false,
        };
        let talk = Talk {
            asked: None,
            value: 0.0,
            answered: None,
            host_changed: false,
            torque: 0.0,
            events: Vec::new(),
            knots_told: PATH_KNOTS,
            heartbeat: 0,
            header: None,
        };
        let state = Box::new(State::new());
        Self { setup: setup(), state, drives, talk, grid_index: 1 }
    }

    /// In the middle of the path, at speed.
    pub fn moving() -> Self {
        let mut bench = Self::new();
        bench.talk.asked = Some(RequestKind::Enable);
        bench.until("axes move", |bench| bench.state.motion.rate.tau_s() > 1.5);
        assert!(bench.state.motion.references[0].velocity > 0.5);
        bench
    }

    /// One cycle; no reference of an axis that stays enabled may jump in it.
    pub fn step(&mut self) {
        let before = self.state.motion.references;
        self.cycle();
        for (axis, old) in before.iter().enumerate().take(AXES) {
            let new = &self.state.motion.references[axis];
            let limits = &self.setup.axes[axis].limits;
            let enabled = self.drives.statuswords[axis] == 0x27;
            assert!(
                !enabled || is_allowed(new, old, limits, self.setup.period_s()),
                "axis {axis} jumps in cycle {}: {old:?} {new:?}",
                self.state.cycle
            );
        }
    }

    pub fn cycle(&mut self) {
        let grid_ns = self.grid_index * PERIOD_NS;
        let wake =
            Wake { grid_index: self.grid_index, grid_ns, wake_ns: grid_ns + 1_000, skipped: 0 };
        let Self { setup, state, drives, talk, .. } = self;
        cycle(setup, state, &wake, drives, talk, &mut NoStopwatch);
        self.grid_index += 1;
    }

    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            self.step();
            if holds(self) {
                return;
            }
        }
        panic!("not in {PATIENCE} cycles: {what}; {:?}", self.state.guard);
    }

    pub fn is(&self, phase: Phase) -> bool {
        self.state.guard.phase == phase
    }

    /// The machine stops for `reason`, ends without torque, stays so, and an enable clears it.
    pub fn ends_without_torque(&mut self, reason: Reason, axis: u32) {
        self.until("a stop stands", |bench| bench.state.guard.stop.is_some());
        assert_eq!(self.state.guard.verdict(), (Verdict::Stop, reason));
        assert_eq!(self.state.guard.reason_axis, axis);
        self.until("torque is off", |bench| bench.is(Phase::Disabled));
        assert!(self.drives.statuswords.iter().all(|status| *status != 0x27));
        (0..100).for_each(|_| self.step());
        assert!(self.is(Phase::Disabled), "nothing but an enable may end this");
        assert_eq!(self.state.guard.verdict(), (Verdict::Stop, reason));
    }

    pub fn comes_back(&mut self) {
        self.talk.asked = Some(RequestKind::Enable);
        self.until("standstill", |bench| bench.is(Phase::Standstill));
        assert_eq!(self.state.guard.verdict(), (Verdict::Follow, Reason::None));
    }

    /// Whether both axes stand on one point of the path: they were given equal knots.
    pub fn stands_on_the_path(&self) -> bool {
        let [first, second, ..] = self.state.motion.references;
        first == second && first.velocity == 0.0 && first.acceleration == 0.0
    }
}
