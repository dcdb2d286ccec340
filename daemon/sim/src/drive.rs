//! One simulated CiA 402 drive: one bus cycle per call. Composes state machine, loops and load;
//! the arithmetic of each lives in its own module.

use crate::load::{Load, LoadStep};
use crate::servo::{Servo, ServoStep};
use crate::setup::{DriveSetup, SUBSTEP_S_MAX, SetupError};
use crate::state::{State, StateMachine};
use crate::wire::{self, Rxpdo, Txpdo, error_code, mode, statusword as sw};

/// Bus periods outside are taken as the nearer bound, so that a call's cost is bounded.
const PERIOD_S: (f64, f64) = (1e-6, 20e-3);
/// A ramp that ended on paper waits this long for the axis, then gives up (torque lost), seconds.
const RAMP_PATIENCE_S: f64 = 0.2;

/// What can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The drive detects a fault of its own; the number appears as 603Fh, 0 as
    /// [`error_code::GENERIC`].
    DriveFault(u16),
    /// The encoder repeats its last position and reports no speed, until [`Drive::heal`].
    StuckEncoder,
    /// The motor gives no torque, until [`Drive::heal`].
    TorqueLoss,
}

/// Factors of one bus cycle, kept until the period changes.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    period_s: f64,
    substeps: u16,
    dt_s: f64,
    servo: ServoStep,
    free: LoadStep,
    braked: LoadStep,
}

impl Rhythm {
    fn new(setup: &DriveSetup, period_s: f64) -> Self {
        // NaN becomes the lower bound.
        let period_s = period_s.max(PERIOD_S.0).min(PERIOD_S.1);
        // The epsilon keeps 8 steps at 1 ms from becoming 9 by rounding.
        let below = wire::round_i16(period_s / SUBSTEP_S_MAX + 0.499_999).max(1);
        let dt_s = period_s / f64::from(below);
        Self {
            period_s,
            substeps: below.unsigned_abs(),
            dt_s,
            servo: ServoStep::new(setup, dt_s),
            free: LoadStep::new(setup, dt_s, false),
            braked: LoadStep::new(setup, dt_s, true),
        }
    }
}

/// A drive, its motor and its load.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    setup: DriveSetup,
    rhythm: Rhythm,
    machine: StateMachine,
    servo: Servo,
    load: Load,
    latched: Rxpdo,
    fresh: bool,
    missed: u16,
    mode_display: i8,
    demand_counts: i64,
    increment_counts: i64,
    ramp_speed_si: f64,
    ramp_over_s: f64,
    outside_window_s: f64,
    following_error_bit: bool,
    stuck_at_counts: Option<i64>,
    torque_lost: bool,
}

impl Drive {
    /// A drive that has just been powered, at rest at its initial position. `seed` drives the
    /// disturbance torque alone.
    ///
    /// # Errors
    /// The first implausible field of `setup`.
    pub fn new(setup: DriveSetup, seed: u64) -> Result<Self, SetupError> {
        setup.check()?;
        let mut drive = Self {
            setup,
            rhythm: Rhythm::new(&setup, 1e-3),
            machine: StateMachine::new(),
            servo: Servo::default(),
            load: Load::new(&setup, seed),
            latched: Rxpdo::default(),
            fresh: false,
            missed: 0,
            mode_display: mode::NONE,
            demand_counts: 0,
            increment_counts: 0,
            ramp_speed_si: 0.0,
            ramp_over_s: 0.0,
            outside_window_s: 0.0,
            following_error_bit: false,
            stuck_at_counts: None,
            torque_lost: false,
        };
        drive.demand_counts = drive.measured_counts();
        Ok(drive)
    }

    /// What it was commissioned with.
    #[must_use]
    pub fn setup(&self) -> &DriveSetup {
        &self.setup
    }

    /// Its CiA 402 state.
    #[must_use]
    pub fn state(&self) -> State {
        self.machine.state()
    }

    /// Where the load really is, rad or m: finer than the encoder and true when that is stuck.
    #[must_use]
    pub fn true_position_si(&self) -> f64 {
        self.load.position_si
    }

    /// How fast the load really moves, rad/s or m/s.
    #[must_use]
    pub fn true_velocity_si(&self) -> f64 {
        self.load.velocity_si
    }

    /// Breaks something, from the next cycle on.
    pub fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::DriveFault(error_code::NONE) => self.machine_fault(error_code::GENERIC),
            Fault::DriveFault(code) => self.machine_fault(code),
            Fault::StuckEncoder => self.stuck_at_counts = Some(self.measured_counts()),
            Fault::TorqueLoss => self.torque_lost = true,
        }
    }

    /// Mends encoder and motor. A fault state still needs its reset.
    pub fn heal(&mut self) {
        self.stuck_at_counts = None;
        self.torque_lost = false;
    }

    /// One bus cycle: runs the elapsed `period_s` (seconds, 1 µs to 20 ms) with what the last
    /// frame brought, samples the inputs, then latches `rx`. `None` is a frame that never came:
    /// the drive extrapolates its target and, past its watchdog, faults.
    pub fn exchange(&mut self, rx: Option<&Rxpdo>, period_s: f64) -> Txpdo {
        if period_s.to_bits() != self.rhythm.period_s.to_bits() {
            self.rhythm = Rhythm::new(&self.setup, period_s);
        }
        self.supervise();
        self.run();
        self.judge_following_error();
        let tx = self.sample();
        match rx {
            Some(rx) => {
                self.latched = *rx;
                self.fresh = true;
                self.missed = 0;
            }
            None => {
                self.fresh = false;
                self.missed = self.missed.saturating_add(1);
            }
        }
        tx
    }

    /// Watchdog, state machine and mode, once per cycle.
    fn supervise(&mut self) {
        if self.missed > self.setup.watchdog_cycles && self.machine.state().needs_process_data() {
            self.machine_fault(error_code::COMMUNICATION);
        }
        if self.latched.mode_of_operation == mode::CYCLIC_SYNC_POSITION {
            self.mode_display = mode::CYCLIC_SYNC_POSITION;
        }
        let before = self.machine.state();
        let at_rest = self.ramp_has_ended();
        let word = self.latched.controlword;
        self.machine.step(&self.setup, word, at_rest, self.rhythm.period_s);
        let now = self.machine.state();
        if now == before {
            return;
        }
        if now == State::OperationEnabled {
            self.servo.reset(-self.setup.load_torque_si);
        } else if now == State::QuickStopActive {
            self.start_ramp();
        } else if now == State::SwitchOnDisabled {
            self.following_error_bit = false;
        }
    }

    fn machine_fault(&mut self, code: u16) {
        let ramping = self.machine.state().is_ramping();
        self.machine.fault(code);
        if !ramping {
            self.start_ramp();
        }
    }

    fn start_ramp(&mut self) {
        self.ramp_speed_si = self.measured_speed_si();
        self.ramp_over_s = 0.0;
    }

    fn ramp_has_ended(&self) -> bool {
        // Two milliseconds' worth of the ramp count as rest.
        let slow = 2e-3 * self.setup.quick_stop_deceleration_si;
        self.ramp_over_s > 0.0
            && (self.measured_speed_si().abs() <= slow || self.ramp_over_s > RAMP_PATIENCE_S)
    }

    /// The elapsed period: loops and load, in inner steps.
    fn run(&mut self) {
        let state = self.machine.state();
        if state.is_ramping() {
            self.run_ramp();
        } else if state == State::OperationEnabled {
            self.run_loops();
        } else {
            self.servo.reset(0.0);
            for _ in 0..self.rhythm.substeps {
                self.load.step(&self.rhythm.braked, 0.0);
            }
            self.hold_demand_at_actual();
        }
    }

    /// CSP: the target is reached at the end of the cycle, on a straight line.
    fn run_loops(&mut self) {
        let from = self.demand_counts;
        let follows = self.mode_display == mode::CYCLIC_SYNC_POSITION;
        self.increment_counts = match (follows, self.fresh) {
            (true, true) => {
                i64::from(self.latched.target_position.wrapping_sub(wire::wrap_i32(from)))
            }
            (true, false) => self.increment_counts,
            (false, _) => 0,
        };
        self.demand_counts = from.wrapping_add(self.increment_counts);
        let rhythm = self.rhythm;
        let units_per_count = 1.0 / self.setup.counts_per_unit;
        let step_counts = self.increment_counts as f64 / f64::from(rhythm.substeps);
        let rate_si = if self.setup.uses_velocity_offset && follows {
            f64::from(self.latched.velocity_offset) * units_per_count
        } else {
            self.increment_counts as f64 / rhythm.period_s * units_per_count
        };
        let offset = self.torque_offset_si();
        // Relative to the start of the cycle: small numbers keep their fraction.
        let mut demand_counts = 0.0;
        for _ in 0..rhythm.substeps {
            let measured_counts = self.measured_counts().wrapping_sub(from) as f64;
            let speed_si = self.measured_speed_si();
            self.turn(&rhythm);
            let error_si = (demand_counts - measured_counts) * units_per_count;
            let wanted_si = self.servo.follow(&rhythm.servo, error_si, rate_si);
            self.servo.regulate(&rhythm.servo, wanted_si, speed_si, offset);
            demand_counts += step_counts;
        }
    }

    /// Quick stop and fault reaction: the speed goes to zero at 6085h, targets are ignored.
    fn run_ramp(&mut self) {
        let rhythm = self.rhythm;
        let step_si = rhythm.dt_s * self.setup.quick_stop_deceleration_si;
        for _ in 0..rhythm.substeps {
            let left_si = (self.ramp_speed_si.abs() - step_si).max(0.0);
            self.ramp_speed_si = left_si.copysign(self.ramp_speed_si);
            let speed_si = self.measured_speed_si();
            self.turn(&rhythm);
            self.servo.regulate(&rhythm.servo, self.ramp_speed_si, speed_si, 0.0);
        }
        if self.ramp_speed_si.abs() <= 0.0 {
            self.ramp_over_s += rhythm.period_s;
        }
        self.hold_demand_at_actual();
    }

    #[inline]
    fn turn(&mut self, rhythm: &Rhythm) {
        let torque_si = self.servo.torque(&rhythm.servo);
        self.load.step(&rhythm.free, if self.torque_lost { 0.0 } else { torque_si });
    }

    fn hold_demand_at_actual(&mut self) {
        self.demand_counts = self.measured_counts();
        self.increment_counts = 0;
    }

    /// 6065h and 6066h: outside the window for the time is a fault.
    fn judge_following_error(&mut self) {
        let window = u64::from(self.setup.following_error_window_counts);
        if self.following_error_counts().unsigned_abs() <= window {
            self.outside_window_s = 0.0;
            return;
        }
        self.outside_window_s += self.rhythm.period_s;
        if self.outside_window_s > self.setup.following_error_time_s {
            self.following_error_bit = true;
            self.outside_window_s = 0.0;
            self.machine_fault(error_code::FOLLOWING_ERROR);
        }
    }

    fn sample(&self) -> Txpdo {
        let torque_si = if self.torque_lost { 0.0 } else { self.servo.shaft_torque_si() };
        let rated_si = self.setup.rated_torque_si.copysign(self.setup.counts_per_unit);
        let speed_counts_s = self.measured_speed_si() * self.setup.counts_per_unit;
        Txpdo {
            statusword: self.statusword(),
            mode_display: self.mode_display,
            position_actual: wire::wrap_i32(self.measured_counts()),
            velocity_actual: wire::round_i32(speed_counts_s),
            torque_actual: wire::round_i16(1e3 * torque_si / rated_si),
            error_code: self.machine.error_code(),
            following_error: wire::saturate_i32(self.following_error_counts()),
        }
    }

    fn statusword(&self) -> u16 {
        let state = self.machine.state();
        let window = u64::from(self.setup.position_window_counts);
        let enabled = state == State::OperationEnabled;
        let arrived = enabled
            && self.increment_counts == 0
            && self.following_error_counts().unsigned_abs() <= window;
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        state.statusword()
            | flag(arrived, sw::TARGET_REACHED)
            | flag(state.has_torque() && self.servo.limited, sw::INTERNAL_LIMIT)
            | flag(enabled && self.mode_display == mode::CYCLIC_SYNC_POSITION, sw::FOLLOWS_COMMAND)
            | flag(self.following_error_bit, sw::FOLLOWING_ERROR)
    }

    fn torque_offset_si(&self) -> f64 {
        if !self.setup.uses_torque_offset {
            return 0.0;
        }
        let rated_si = self.setup.rated_torque_si.copysign(self.setup.counts_per_unit);
        f64::from(self.latched.torque_offset) * 1e-3 * rated_si
    }

    fn following_error_counts(&self) -> i64 {
        self.demand_counts.saturating_sub(self.measured_counts())
    }

    #[inline]
    fn measured_counts(&self) -> i64 {
        match self.stuck_at_counts {
            Some(counts) => counts,
            None => wire::whole_counts(self.load.position_si * self.setup.counts_per_unit),
        }
    }

    /// The speed a drive's observer sees: the true one unless the encoder is stuck.
    #[inline]
    fn measured_speed_si(&self) -> f64 {
        if self.stuck_at_counts.is_some() { 0.0 } else { self.load.velocity_si }
    }
}
