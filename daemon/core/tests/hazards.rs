//! One test per fault that the guard must notice, on the bare ports: what it says, how the machine
//! comes to rest, and that no reference jumps on the way. docs/HAZARDS.md names them.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up fails its test")]

use servo_core::limit::is_allowed;
use servo_core::motion::AxisLimits;
use servo_core::ports::{
    Bus, Commands, Feedback, Intake, Lanes, NoStopwatch, RawKnot, SourceBrief, Wake, Wanted,
};
use servo_core::setup::{AxisSetup, BusSetup, Setup};
use servo_core::{State, cycle};
use shm_layout::code::{Phase, Reason, RequestKind, Verdict};
use shm_layout::event::Event;
use shm_layout::request::Request;
use shm_layout::state::{AxisState, NO_AXIS, StateHeader};
use shm_layout::{AXES_MAX, BUSES_MAX, GROUPS_MAX};

const AXES: usize = 2;
const PERIOD_NS: u64 = 1_000_000;
const KNOT_S: f64 = 0.02;
/// Knots of the whole path: 4 s, 2 rad per axis.
const PATH_KNOTS: u64 = 201;
const ENABLE_CYCLES_MAX: u32 = 200;
const WINDOW_RAD: f64 = 0.1;
const WINDOW_CYCLES: u32 = 5;
const LOST_IN_ROW_MAX: u32 = 4;
/// Cycles in which everything asked for here must have come to an end.
const PATIENCE: usize = 8_000;

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
        skips_bridged_max: 4,
        enable_cycles_max: ENABLE_CYCLES_MAX,
    }
}

/// Drives that obey at once and follow exactly, unless told otherwise.
struct Drives {
    statuswords: [u16; AXES],
    positions: [f64; AXES],
    /// Added to what axis 1 measures.
    error_rad: f64,
    silent_axis: Option<usize>,
    lost_in_row: u32,
    refuses_to_enable: bool,
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
            *status = match (*status, command.controlword) {
                (0x08, word) if word & 0x80 == 0 => 0x08,
                (0x23 | 0x27, 0x0f) if !self.refuses_to_enable => 0x27,
                (_, 0x06) => 0x21,
                (0x21, 0x07) => 0x23,
                (state @ (0x21 | 0x23), 0x0f) => state,
                _ => 0x40,
            };
            if *status == 0x27 {
                self.positions[index] = command.position;
            }
        }
    }
}

/// One planner with one path, and one person.
struct Talk {
    asked: Option<RequestKind>,
    /// Knots of the path that are made known.
    knots_told: u64,
    heartbeat: u64,
    header: Option<StateHeader>,
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
        if let Some(kind) = self.asked.take() {
            intake.requests[0] = Request {
                request_id: 1,
                deadline_ns: u64::MAX,
                kind: kind.code(),
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
                intake.knot_count += 1;
            }
        }
    }

    fn publish(&mut self, header: &StateHeader, _axes: &[AxisState], _events: &[Event]) {
        self.header = Some(*header);
    }
}

struct Bench {
    setup: Setup,
    state: Box<State>,
    drives: Drives,
    talk: Talk,
    grid_index: u64,
}

impl Bench {
    fn new() -> Self {
        let drives = Drives {
            statuswords: [0x40; AXES],
            positions: [0.0; AXES],
            error_rad: 0.0,
            silent_axis: None,
            lost_in_row: 0,
            refuses_to_enable: false,
        };
        let talk = Talk { asked: None, knots_told: PATH_KNOTS, heartbeat: 0, header: None };
        let state = Box::new(State::new());
        let mut bench = Self { setup: setup(), state, drives, talk, grid_index: 1 };
        bench.step();
        bench
    }

    /// In the middle of the path, at speed.
    fn moving() -> Self {
        let mut bench = Self::new();
        bench.talk.asked = Some(RequestKind::Enable);
        bench.until("axes move", |bench| bench.state.motion.rate.tau_s() > 1.5);
        assert!(bench.state.motion.references[0].velocity > 0.5);
        bench
    }

    /// One cycle; no reference of an axis that stays enabled may jump in it.
    fn step(&mut self) {
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

    fn cycle(&mut self) {
        let grid_ns = self.grid_index * PERIOD_NS;
        let wake =
            Wake { grid_index: self.grid_index, grid_ns, wake_ns: grid_ns + 1_000, skipped: 0 };
        let Self { setup, state, drives, talk, .. } = self;
        cycle(setup, state, &wake, drives, talk, &mut NoStopwatch);
        self.grid_index += 1;
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            self.step();
            if holds(self) {
                return;
            }
        }
        panic!("not in {PATIENCE} cycles: {what}; {:?}", self.state.guard);
    }

    fn is(&self, phase: Phase) -> bool {
        self.state.guard.phase == phase
    }

    /// The machine stops for `reason`, ends without torque, stays so, and an enable clears it.
    fn ends_without_torque(&mut self, reason: Reason, axis: u32) {
        self.until("a stop stands", |bench| bench.state.guard.stop.is_some());
        assert_eq!(self.state.guard.verdict(), (Verdict::Stop, reason));
        assert_eq!(self.state.guard.reason_axis, axis);
        self.until("torque is off", |bench| bench.is(Phase::Disabled));
        assert!(self.drives.statuswords.iter().all(|status| *status != 0x27));
        (0..100).for_each(|_| self.step());
        assert!(self.is(Phase::Disabled), "nothing but an enable may end this");
        assert_eq!(self.state.guard.verdict(), (Verdict::Stop, reason));
    }

    fn comes_back(&mut self) {
        self.talk.asked = Some(RequestKind::Enable);
        self.until("standstill", |bench| bench.is(Phase::Standstill));
        assert_eq!(self.state.guard.verdict(), (Verdict::Follow, Reason::None));
    }

    /// Whether both axes stand on one point of the path: they were given equal knots.
    fn stands_on_the_path(&self) -> bool {
        let [first, second, ..] = self.state.motion.references;
        first == second && first.velocity == 0.0 && first.acceleration == 0.0
    }
}

#[test]
fn a_path_is_followed_to_its_end_when_nothing_is_wrong() {
    let mut bench = Bench::moving();
    bench.until("the end", |bench| bench.is(Phase::Standstill));
    assert!((bench.state.motion.references[0].position - 2.0).abs() < 1e-9);
    assert_eq!(bench.state.guard.verdict(), (Verdict::Follow, Reason::None));
}

#[test]
fn knots_that_come_too_late_are_waited_for_at_rest_on_the_path_and_called_a_short_horizon() {
    let mut bench = Bench::new();
    bench.talk.knots_told = 60;
    bench.talk.asked = Some(RequestKind::Enable);
    let told = |bench: &Bench| bench.talk.header.unwrap().reason == Reason::HorizonShort.code();
    bench.until("the horizon is short", told);
    bench.until("rest", |bench| bench.state.motion.is_stranded());
    assert!(bench.stands_on_the_path());
    assert_eq!(bench.state.guard.verdict(), (Verdict::Follow, Reason::None), "nobody's fault yet");
    bench.talk.knots_told = PATH_KNOTS;
    bench.until("the end", |bench| bench.is(Phase::Standstill));
}

#[test]
fn a_disable_while_moving_stops_on_the_path_before_torque_goes_off() {
    let mut bench = Bench::moving();
    bench.talk.asked = Some(RequestKind::Disable);
    bench.until("stopping", |bench| bench.is(Phase::Stopping));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.ends_without_torque(Reason::DisableRequest, NO_AXIS);
    bench.comes_back();
}

#[test]
fn a_drive_that_leaves_operation_by_itself_stops_the_others_off_the_path() {
    let mut bench = Bench::moving();
    bench.drives.statuswords[1] = 0x21;
    bench.step();
    assert!(bench.state.motion.stop.is_some() && !bench.state.motion.has_path());
    bench.ends_without_torque(Reason::DriveLeftOperation, 1);
    bench.comes_back();
}

#[test]
fn a_drive_fault_names_its_axis_stays_latched_and_is_reset_by_enable_alone() {
    let mut bench = Bench::moving();
    bench.drives.statuswords[0] = 0x08;
    bench.ends_without_torque(Reason::DriveFault, 0);
    assert_eq!(bench.drives.statuswords[0], 0x08, "the fault is left standing for people to see");
    bench.comes_back();
}

#[test]
fn a_drive_that_does_not_reach_operation_in_time_is_named_and_torque_goes_off() {
    let mut bench = Bench::new();
    bench.drives.refuses_to_enable = true;
    bench.talk.asked = Some(RequestKind::Enable);
    bench.ends_without_torque(Reason::EnableTimeout, 0);
    bench.drives.refuses_to_enable = false;
    bench.comes_back();
}

#[test]
fn a_following_error_outside_its_window_for_its_time_stops_on_the_path() {
    let mut bench = Bench::moving();
    bench.drives.error_rad = 1.5 * WINDOW_RAD;
    (0..WINDOW_CYCLES).for_each(|_| bench.step());
    assert_eq!(bench.state.guard.stop, None, "its time is not over");
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::FollowingError));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.ends_without_torque(Reason::FollowingError, 1);
}

#[test]
fn a_following_error_that_returns_in_time_stops_nothing() {
    let mut bench = Bench::moving();
    for _ in 0..20 {
        bench.drives.error_rad = 1.5 * WINDOW_RAD;
        (0..WINDOW_CYCLES).for_each(|_| bench.step());
        bench.drives.error_rad = 0.0;
        bench.step();
    }
    assert_eq!(bench.state.guard.stop, None);
}

#[test]
fn feedback_older_than_its_bound_stops_on_the_path() {
    let mut bench = Bench::moving();
    bench.drives.silent_axis = Some(0);
    // The axis is still followed, only not seen: it may be one cycle older than its bus may lose.
    (0..=LOST_IN_ROW_MAX).for_each(|_| bench.step());
    assert_eq!(bench.state.guard.stop, None);
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::FeedbackStale));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.drives.silent_axis = None;
    bench.ends_without_torque(Reason::FeedbackStale, 0);
}

#[test]
fn feedback_that_is_no_number_stops_and_reaches_no_command() {
    for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bench = Bench::moving();
        bench.drives.error_rad = nonsense;
        bench.step();
        assert_eq!(bench.state.guard.stop, Some(Reason::FeedbackInvalid));
        for _ in 0..1_000 {
            bench.step();
            let commands = bench.state.commands.axes.iter().take(AXES);
            assert!(commands.into_iter().all(|one| one.position.is_finite()));
        }
        bench.ends_without_torque(Reason::FeedbackInvalid, 1);
    }
}

#[test]
fn a_bus_that_loses_one_frame_too_many_in_a_row_stops_the_machine_on_the_path() {
    let mut bench = Bench::moving();
    for lost in 1..=LOST_IN_ROW_MAX {
        bench.drives.lost_in_row = lost;
        bench.step();
    }
    assert_eq!(bench.state.guard.stop, None, "as many as it may lose");
    bench.drives.lost_in_row = LOST_IN_ROW_MAX + 1;
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::BusLost));
    bench.until("at rest", |bench| bench.state.motion.is_at_rest());
    assert!(bench.stands_on_the_path());
    bench.drives.lost_in_row = 0;
    bench.ends_without_torque(Reason::BusLost, NO_AXIS);
    bench.comes_back();
}

#[test]
fn a_reference_that_would_jump_is_never_sent_and_the_machine_stops_from_what_was_sent_last() {
    let mut bench = Bench::moving();
    // As if motion had gone mad: path time is elsewhere, and the path with it.
    bench.state.motion.rate = servo_core::motion::PathRate::at_rest(2.5);
    bench.step();
    assert_eq!(bench.state.guard.stop, Some(Reason::LimitEnforced));
    assert_ne!(bench.state.motion.enforced_mask, 0);
    bench.ends_without_torque(Reason::LimitEnforced, 0);
    bench.comes_back();
}
