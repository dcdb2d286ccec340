//! What a simulated drive is commissioned with, its plausibility check and tuned defaults. No
//! state lives here.
//!
//! The suffix `_si` marks a quantity whose unit depends on the axis: rad, rad/s, rad/s², N·m, kg·m²
//! for a rotary one; m, m/s, m/s², N, kg for a linear one.

use core::fmt;

/// The longest step of the drive's inner loops, seconds; real drives close them at 8 to 16 kHz.
pub(crate) const SUBSTEP_S_MAX: f64 = 125e-6;

/// One drive, its motor and its load. All fields may be changed after [`DriveSetup::tuned`];
/// [`DriveSetup::check`] says what is not plausible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriveSetup {
    /// Encoder counts per rad or m; negative when counts fall as the axis moves forward.
    /// Resolution is one count.
    pub counts_per_unit: f64,
    /// Motor and load inertia, kg·m² or kg.
    pub inertia_si: f64,
    /// Viscous friction, N·m·s/rad or N·s/m.
    pub viscous_friction_si: f64,
    /// Coulomb friction, N·m or N; at rest it holds up to this.
    pub coulomb_friction_si: f64,
    /// Constant torque on the load, positive pushes forward (gravity on a hanging axis: negative),
    /// N·m or N. The drive is commissioned with it: it is compensated at the moment of enabling.
    pub load_torque_si: f64,
    /// Standard deviation of a seeded disturbance, new at each inner step, N·m or N; 0 is none.
    pub torque_noise_sigma_si: f64,
    /// Holding brake, N·m or N; engaged whenever operation is not enabled; 0 is none.
    pub brake_torque_si: f64,
    /// Peak torque or force of the motor (6072h), N·m or N.
    pub torque_limit_si: f64,
    /// Rated torque (6076h): 1000 on the wire, N·m or N.
    pub rated_torque_si: f64,
    /// No axis moves faster (supply voltage, mechanics), rad/s or m/s.
    pub speed_limit_si: f64,
    /// Position at start, rad or m.
    pub initial_position_si: f64,
    /// Position loop gain Kv, 1/s.
    pub position_gain_per_s: f64,
    /// Velocity loop gain Kp, N·m·s/rad or N·s/m.
    pub velocity_gain_si: f64,
    /// Velocity loop reset time Ti, seconds.
    pub velocity_reset_s: f64,
    /// Current loop time constant, seconds.
    pub current_lag_s: f64,
    /// Velocity feed-forward, 0 to 1.
    pub velocity_feed_forward: f64,
    /// Low-pass of the velocity feed-forward, seconds.
    pub feed_forward_lag_s: f64,
    /// Feed forward the master's 60B1h instead of the drive's own derivative of the target.
    pub uses_velocity_offset: bool,
    /// Add the master's 60B2h to the torque command.
    pub uses_torque_offset: bool,
    /// Deceleration of quick stop and fault reaction (6085h), rad/s² or m/s².
    pub quick_stop_deceleration_si: f64,
    /// Following error window (6065h), counts.
    pub following_error_window_counts: u32,
    /// Following error time out (6066h), seconds.
    pub following_error_time_s: f64,
    /// Position window (6067h), counts.
    pub position_window_counts: u32,
    /// Bus cycles without process data that are bridged by extrapolation; one more trips.
    pub watchdog_cycles: u16,
    /// Self-test after power on (transitions 0 and 1), seconds.
    pub boot_s: f64,
    /// Ready to switch on → Switched on (transition 3), seconds.
    pub power_up_s: f64,
    /// Switched on → Operation enabled with the brake released (transition 4), seconds.
    pub brake_release_s: f64,
}

/// One implausible value of a [`DriveSetup`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetupError {
    /// Field of [`DriveSetup`].
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// Smallest value accepted.
    pub min: f64,
    /// Largest value accepted.
    pub max: f64,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, min, max } = self;
        write!(f, "simulated drive: {field} = {value:?}; choose {min:?} to {max:?}")
    }
}

impl core::error::Error for SetupError {}

impl DriveSetup {
    /// A drive whose loops are stable at bus periods of 250 µs to 2 ms and longer. `inertia_si` in
    /// kg·m² or kg, `torque_limit_si` in N·m or N, `velocity_bandwidth_hz` up to about 300.
    ///
    /// Velocity loop: Kp = ω J, Ti = 8/ω (damping 1.4); position loop Kv = ω/6. At constant speed
    /// v the following error is v (1 − feed-forward) / Kv.
    #[must_use]
    pub fn tuned(
        inertia_si: f64,
        counts_per_unit: f64,
        torque_limit_si: f64,
        velocity_bandwidth_hz: f64,
    ) -> Self {
        let omega_rad_s = core::f64::consts::TAU * velocity_bandwidth_hz;
        let speed_limit_si = (f64::from(1 << 30) / counts_per_unit.abs()).min(1_000.0);
        let counts =
            |si: f64| crate::wire::round_i32(si * counts_per_unit.abs()).max(1).unsigned_abs();
        Self {
            counts_per_unit,
            inertia_si,
            viscous_friction_si: 2e-4 * torque_limit_si,
            coulomb_friction_si: 0.02 * torque_limit_si,
            load_torque_si: 0.0,
            torque_noise_sigma_si: 0.0,
            brake_torque_si: 0.5 * torque_limit_si,
            torque_limit_si,
            rated_torque_si: torque_limit_si / 3.0,
            speed_limit_si,
            initial_position_si: 0.0,
            position_gain_per_s: omega_rad_s / 6.0,
            velocity_gain_si: omega_rad_s * inertia_si,
            velocity_reset_s: 8.0 / omega_rad_s,
            current_lag_s: 100e-6,
            velocity_feed_forward: 0.95,
            feed_forward_lag_s: 500e-6,
            uses_velocity_offset: false,
            uses_torque_offset: true,
            quick_stop_deceleration_si: 0.5 * torque_limit_si / inertia_si,
            following_error_window_counts: counts(0.05),
            following_error_time_s: 0.010,
            position_window_counts: counts(0.0005),
            watchdog_cycles: 10,
            boot_s: 0.005,
            power_up_s: 0.002,
            brake_release_s: 0.004,
        }
    }

    /// Accepts a setup whose arithmetic stays finite and whose inner loops are not bound to
    /// oscillate.
    ///
    /// # Errors
    /// The first field that is not a number inside its range.
    pub fn check(&self) -> Result<(), SetupError> {
        let torque_max = self.torque_limit_si;
        // Above this the discrete velocity loop, with its one step of delay, rings or diverges.
        let velocity_gain_max = 0.5 * self.inertia_si / SUBSTEP_S_MAX;
        let rows = [
            ("counts_per_unit.abs()", self.counts_per_unit.abs(), 1e-3, 1e12),
            ("inertia_si", self.inertia_si, 1e-9, 1e6),
            ("torque_limit_si", self.torque_limit_si, 1e-6, 1e9),
            ("rated_torque_si", self.rated_torque_si, 1e-6, 1e9),
            ("viscous_friction_si", self.viscous_friction_si, 0.0, 1e9),
            ("coulomb_friction_si", self.coulomb_friction_si, 0.0, torque_max),
            ("load_torque_si", self.load_torque_si, -torque_max, torque_max),
            ("torque_noise_sigma_si", self.torque_noise_sigma_si, 0.0, torque_max),
            ("brake_torque_si", self.brake_torque_si, 0.0, 1e9),
            ("speed_limit_si", self.speed_limit_si, 1e-6, 1e6),
            ("initial_position_si", self.initial_position_si, -1e6, 1e6),
            ("position_gain_per_s", self.position_gain_per_s, 1e-3, 4e3),
            ("velocity_gain_si", self.velocity_gain_si, 1e-12, velocity_gain_max),
            ("velocity_reset_s", self.velocity_reset_s, 1e-4, 1e6),
            ("current_lag_s", self.current_lag_s, 0.0, 1.0),
            ("velocity_feed_forward", self.velocity_feed_forward, 0.0, 1.0),
            ("feed_forward_lag_s", self.feed_forward_lag_s, 0.0, 1.0),
            ("quick_stop_deceleration_si", self.quick_stop_deceleration_si, 1e-6, 1e12),
            ("following_error_time_s", self.following_error_time_s, 0.0, 60.0),
            ("boot_s", self.boot_s, 0.0, 60.0),
            ("power_up_s", self.power_up_s, 0.0, 60.0),
            ("brake_release_s", self.brake_release_s, 0.0, 60.0),
        ];
        for (field, value, min, max) in rows {
            // NaN is inside no range.
            if !(min..=max).contains(&value) {
                return Err(SetupError { field, value, min, max });
            }
        }
        Ok(())
    }
}
