//! The numbers of one axis that all of motion speaks in: reference and limits; no behaviour.

use shm_layout::knot::KnotAxis;

/// Where one axis shall be at one instant of real time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AxisReference {
    /// Position, rad or m.
    pub position: f64,
    /// Velocity, rad/s or m/s.
    pub velocity: f64,
    /// Acceleration, rad/s² or m/s².
    pub acceleration: f64,
}

impl AxisReference {
    /// Whether every number is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.position.is_finite() && self.velocity.is_finite() && self.acceleration.is_finite()
    }
}

impl From<&KnotAxis> for AxisReference {
    /// The knot as the reference that it is at s = 1, ṡ = 0.
    fn from(knot: &KnotAxis) -> Self {
        Self { position: knot.position, velocity: knot.velocity, acceleration: knot.acceleration }
    }
}

/// What one axis may do. An axis without soft limits (not homed) has infinite position bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisLimits {
    /// Lowest position, rad or m; −∞ when soft limits are not active.
    pub position_min: f64,
    /// Highest position, rad or m; +∞ when soft limits are not active.
    pub position_max: f64,
    /// Highest speed, rad/s or m/s, above 0.
    pub velocity: f64,
    /// Highest acceleration, rad/s² or m/s², above 0.
    pub acceleration: f64,
    /// Highest jerk, rad/s³ or m/s³, above 0.
    pub jerk: f64,
}
