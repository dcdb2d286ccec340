//! The drive's loops: position P, velocity PI with feed-forward, current lag, torque limit. It
//! knows neither the wire nor the state machine.

use crate::setup::DriveSetup;

/// Factors of one inner step, computed when the period changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServoStep {
    position_gain: f64,
    velocity_gain: f64,
    integral_gain_dt: f64,
    feed_forward: f64,
    feed_forward_mix: f64,
    current_mix: f64,
    torque_max: f64,
    speed_max: f64,
}

impl ServoStep {
    pub(crate) fn new(setup: &DriveSetup, dt_s: f64) -> Self {
        Self {
            position_gain: setup.position_gain_per_s,
            velocity_gain: setup.velocity_gain_si,
            integral_gain_dt: setup.velocity_gain_si / setup.velocity_reset_s * dt_s,
            feed_forward: setup.velocity_feed_forward,
            feed_forward_mix: dt_s / (dt_s + setup.feed_forward_lag_s),
            current_mix: dt_s / (dt_s + setup.current_lag_s),
            torque_max: setup.torque_limit_si,
            speed_max: setup.speed_limit_si,
        }
    }
}

/// Loop memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Servo {
    integral_si: f64,
    feed_forward_si: f64,
    torque_command_si: f64,
    torque_si: f64,
    pub(crate) limited: bool,
}

impl Servo {
    /// Loops opened, or just before they close: the integral carries `hold_si`, so that a hanging
    /// load does not drop when the brake opens.
    pub(crate) fn reset(&mut self, hold_si: f64) {
        *self = Self {
            integral_si: hold_si,
            torque_command_si: hold_si,
            torque_si: hold_si,
            ..Self::default()
        };
    }

    /// Torque at the shaft during this step: what the *previous* step computed, behind the current
    /// loop. One step of computing delay is what real drives have.
    #[inline]
    pub(crate) fn torque(&mut self, by: &ServoStep) -> f64 {
        self.torque_si += by.current_mix * (self.torque_command_si - self.torque_si);
        self.torque_si
    }

    /// Torque at the shaft at the end of the last step.
    pub(crate) fn shaft_torque_si(&self) -> f64 {
        self.torque_si
    }

    /// Speed that the position loop asks for.
    #[inline]
    pub(crate) fn follow(&mut self, by: &ServoStep, error_si: f64, rate_si: f64) -> f64 {
        self.feed_forward_si +=
            by.feed_forward_mix * (by.feed_forward * rate_si - self.feed_forward_si);
        by.position_gain * error_si + self.feed_forward_si
    }

    /// Torque command from the velocity loop, for the next step. The integral stands still while
    /// the output is limited in its direction.
    #[inline]
    pub(crate) fn regulate(&mut self, by: &ServoStep, wanted_si: f64, speed_si: f64, offset: f64) {
        let error = within(wanted_si, by.speed_max) - speed_si;
        let free = by.velocity_gain * error + self.integral_si + offset;
        self.torque_command_si = within(free, by.torque_max);
        self.limited = free.abs() > by.torque_max || wanted_si.abs() > by.speed_max;
        if free.abs() <= by.torque_max || free * error < 0.0 {
            let integral = self.integral_si + by.integral_gain_dt * error;
            self.integral_si = within(integral, by.torque_max);
        }
    }
}

/// `value` held inside ±`bound`. Two comparisons: `f64::max` pays for NaN, which a checked setup
/// and integer inputs cannot make.
#[inline]
fn within(value: f64, bound: f64) -> f64 {
    let floored = if value > -bound { value } else { -bound };
    if floored < bound { floored } else { bound }
}
