//! The machine as a planner sees it: axis names, kinds and limits; no file and no motion.

/// Whether an axis turns or slides; decides the unit of everything about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisKind {
    /// Turns: positions in rad, velocities in rad/s and so on.
    Rotary,
    /// Slides: positions in m, velocities in m/s and so on.
    Linear,
}

impl AxisKind {
    /// The unit of position, which is also the suffix of the axis' column: `rad` or `m`.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rotary => "rad",
            Self::Linear => "m",
        }
    }

    /// The unit in words, for messages.
    #[must_use]
    pub fn unit_in_words(self) -> &'static str {
        match self {
            Self::Rotary => "radians",
            Self::Linear => "metres",
        }
    }
}

/// What the guard allows on one axis, in rad or m and seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AxisLimits {
    /// Lower soft limit in rad or m; negative infinity when there is none.
    pub position_min: f64,
    /// Upper soft limit in rad or m, above `position_min`; infinity when there is none.
    pub position_max: f64,
    /// Largest speed in rad/s or m/s, above 0, finite.
    pub velocity: f64,
    /// Largest acceleration in rad/s² or m/s², above 0, finite.
    pub acceleration: f64,
    /// Largest jerk in rad/s³ or m/s³, above 0, finite.
    pub jerk: f64,
}

/// One axis of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisInfo {
    /// The name used in configuration and in column headers, not empty.
    pub name: String,
    /// Rotary or linear.
    pub kind: AxisKind,
    /// The guard's limits.
    pub limits: AxisLimits,
}

impl AxisInfo {
    /// The header of this axis' column in a trajectory file, such as `j1_rad`.
    #[must_use]
    pub fn column(&self) -> String {
        format!("{}_{}", self.name, self.kind.unit())
    }

    /// What is wrong with the limits, in words, or nothing.
    pub(crate) fn defect(&self) -> Option<String> {
        let l = &self.limits;
        let name = &self.name;
        if name.is_empty() {
            return Some("an axis has no name; give every axis a name".to_owned());
        }
        let within = l.position_min < l.position_max;
        if !within {
            return Some(format!(
                "axis {name}: position_min {} is not below position_max {}",
                l.position_min, l.position_max
            ));
        }
        for (what, value) in
            [("velocity", l.velocity), ("acceleration", l.acceleration), ("jerk", l.jerk)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Some(format!(
                    "axis {name}: {what} limit is {value}; it must be a number above 0"
                ));
            }
        }
        None
    }
}
