//! The jerk-limited generator: one value brought to a target with slope zero, in closed form; it
//! knows neither paths nor axes.
//!
//! The profile has three phases of constant curvature: towards the peak slope, along the slope
//! bound, back to slope zero. It is planned anew at every call from the present state alone, so a
//! target or a bound may change at any instant. Switches fall inside a period where they belong:
//! a generator that switches only at period borders gave 2.1 times the jerk in its last period.

/// A value and its time derivative: path rate s with ṡ, or an axis' velocity with acceleration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// The value itself (s, dimensionless; or a velocity in rad/s or m/s).
    pub value: f64,
    /// Its derivative per second.
    pub slope: f64,
}

/// How fast a [`Rate`] may change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Largest |slope|, value units per second, above 0.
    pub slope: f64,
    /// Largest |d slope / dt|, value units per second squared, above 0.
    pub curvature: f64,
}

impl Bounds {
    /// Whether anything can be moved under these bounds (both finite and above zero).
    #[must_use]
    pub fn usable(&self) -> bool {
        self.slope > 0.0
            && self.curvature > 0.0
            && self.slope.is_finite()
            && self.curvature.is_finite()
    }

    /// The tighter of the two, bound by bound.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { slope: self.slope.min(other.slope), curvature: self.curvature.min(other.curvature) }
    }
}

/// What one call of [`advance`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// State at the end.
    pub rate: Rate,
    /// ∫ value dt over the step, exact.
    pub integral: f64,
}

/// A whole profile up to its end at (target, 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whole {
    /// Time until the target is reached; infinite when it never is.
    pub duration_s: f64,
    /// ∫ value dt over that time; infinite when the target is never reached.
    pub integral: f64,
    /// Lowest value on the way, both ends included.
    pub value_min: f64,
    /// Highest value on the way, both ends included.
    pub value_max: f64,
}

/// A distance from the landing curve that is only rounding, relative to the values involved.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

#[derive(Clone, Copy)]
struct Phase {
    curvature: f64,
    duration_s: f64,
    slope_end: f64,
}

/// Where the value would end if the slope went to zero at once; `bounds` must be usable.
#[must_use]
pub fn level_off_value(from: Rate, bounds: Bounds) -> f64 {
    from.value + 0.5 * from.slope * from.slope.abs() / bounds.curvature
}

/// The three phases of the time-optimal profile.
fn plan(from: Rate, target: f64, bounds: Bounds) -> [Phase; 3] {
    let (slope_max, curvature) = (bounds.slope, bounds.curvature);
    let level = level_off_value(from, bounds);
    let gap = target - level;
    let swing = (level - from.value).abs();
    if gap.abs() <= ROUNDING * (from.value.abs() + target.abs() + swing) {
        // On the landing curve: only the last phase is left.
        let none = Phase { curvature: 0.0, duration_s: 0.0, slope_end: from.slope };
        let last = Phase {
            curvature: -curvature * from.slope.signum(),
            duration_s: from.slope.abs() / curvature,
            slope_end: 0.0,
        };
        return [none, none, last];
    }
    // Mirrored so that the profile's peak slope is not negative.
    let side = gap.signum();
    let slope = side * from.slope;
    let rise = side * (target - from.value);
    let (first_curvature, peak) = if slope > slope_max {
        (-curvature, slope_max)
    } else {
        let free = libm::sqrt((curvature * rise + 0.5 * slope * slope).max(0.0));
        (curvature, free.min(slope_max).max(slope))
    };
    // Rise left over for the middle phase: all of it less what the two slope changes give.
    let turns =
        if slope > slope_max { slope * slope } else { 2.0 * slope_max * slope_max - slope * slope };
    let plateau = if peak >= slope_max { rise - 0.5 * turns / curvature } else { 0.0 };
    [
        Phase {
            curvature: side * first_curvature,
            duration_s: (peak - slope).abs() / curvature,
            slope_end: side * peak,
        },
        Phase { curvature: 0.0, duration_s: plateau.max(0.0) / slope_max, slope_end: side * peak },
        Phase { curvature: -side * curvature, duration_s: peak / curvature, slope_end: 0.0 },
    ]
}

/// The state `duration_s` into a phase, and the integral on the way there.
fn follow(from: Rate, phase: Phase, duration_s: f64) -> Step {
    let (t, c) = (duration_s, phase.curvature);
    let slope = from.slope + c * t;
    // Never past the phase's own end, not even by rounding: bounds hold exactly.
    let slope = if c > 0.0 { slope.min(phase.slope_end) } else { slope.max(phase.slope_end) };
    Step {
        rate: Rate { value: from.value + t * (from.slope + 0.5 * c * t), slope },
        integral: t * (from.value + t * (0.5 * from.slope + c * t / 6.0)),
    }
}

/// Moves `from` towards (`target`, slope 0) for `dt_s` in minimum time and stays there once there.
///
/// A slope beyond its bound is first brought back at the curvature bound. Without usable bounds,
/// or when an input is not a number, nothing changes.
#[must_use]
pub fn advance(from: Rate, target: f64, bounds: Bounds, dt_s: f64) -> Step {
    let unchanged = Step { rate: from, integral: finite_or_zero(from.value * dt_s) };
    let moving = dt_s > 0.0 && bounds.usable();
    if !moving {
        return unchanged;
    }
    let mut now = Step { rate: from, integral: 0.0 };
    let mut left_s = dt_s;
    let mut landed = true;
    for phase in plan(from, target, bounds) {
        let inside = phase.duration_s <= left_s;
        let passed_s = if inside { phase.duration_s } else { left_s };
        let step = follow(now.rate, phase, passed_s);
        now.integral += step.integral;
        now.rate = step.rate;
        if !inside {
            landed = false;
            break;
        }
        now.rate.slope = phase.slope_end;
        left_s -= passed_s;
    }
    if landed {
        now.rate = Rate { value: target, slope: 0.0 };
        now.integral += target * left_s;
    }
    let finite =
        now.rate.value.is_finite() && now.rate.slope.is_finite() && now.integral.is_finite();
    if finite { now } else { unchanged }
}

/// The whole way from `from` to (`target`, slope 0).
#[must_use]
pub fn to_target(from: Rate, target: f64, bounds: Bounds) -> Whole {
    let never = Whole {
        duration_s: f64::INFINITY,
        integral: f64::INFINITY,
        value_min: f64::NEG_INFINITY,
        value_max: f64::INFINITY,
    };
    if !bounds.usable() {
        return never;
    }
    let mut now = from;
    let mut duration_s = 0.0;
    let mut integral = 0.0;
    for phase in plan(from, target, bounds) {
        let step = follow(now, phase, phase.duration_s);
        now = Rate { value: step.rate.value, slope: phase.slope_end };
        duration_s += phase.duration_s;
        integral += step.integral;
    }
    // The value turns on its way only where the first slope change crosses zero: at `level`.
    let level = level_off_value(from, bounds);
    let turns = (target - level) * from.slope < 0.0;
    let turn = if turns { level } else { target };
    let whole = Whole {
        duration_s,
        integral,
        value_min: from.value.min(target).min(turn),
        value_max: from.value.max(target).max(turn),
    };
    let finite = duration_s.is_finite() && integral.is_finite() && turn.is_finite();
    if finite { whole } else { never }
}

fn finite_or_zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}
