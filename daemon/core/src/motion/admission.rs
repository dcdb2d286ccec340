//! What may enter a path: the checks of one knot, the reasons to refuse it, and the bounds on ṡ and
//! s̈ that an accepted segment leaves; nothing is stored here.

use super::axis::{AxisLimits, AxisReference};
use super::quintic::{Peaks, Quintic};
use super::ramp::Bounds;
use shm_layout::AXES_MAX;
use shm_layout::knot::KnotAxis;

/// Shortest segment. Below it the rounding of positions shows up as jerk.
pub const SEGMENT_S_MIN: f64 = 1e-5;
/// Longest segment. Limits of a segment hold over all of it, so long ones brake needlessly softly.
pub const SEGMENT_S_MAX: f64 = 0.25;
/// Largest |path time|, 11 days: a float's neighbours are 1.2e-10 s apart there. Farther out one period
/// is rounded to a visibly longer or shorter one, and the steps of an axis jump though its path is smooth.
pub const PATH_TIME_S_MAX: f64 = 1e6;
/// How far the first knot may stand from the present reference, relative to max(1, |p|).
pub const JOIN_TOLERANCE: f64 = 1e-9;
/// What |ṡ| and |s̈| are bounded by where no axis bounds them (all axes stand still).
pub const PATH_RATE_BOUNDS_MAX: Bounds = Bounds { slope: 1e6, curvature: 1e6 };
/// Relative slack of every limit at admission: rounding, not room.
const SLACK: f64 = 1e-9;
/// Slack of soft limits, relative to max(1, |limit|): below that of the last stage, so that nothing
/// that was let in here is stopped there.
const POSITION_SLACK: f64 = 5e-13;

/// One knot as offered to a path.
#[derive(Clone, Copy, Debug)]
pub struct Knot<'a> {
    /// Path time of the knot.
    pub tau_s: f64,
    /// Whatever lets a reader trace a reference back to its origin.
    pub trace_id: u64,
    /// Whether the path ends here, at rest, for good.
    pub is_final: bool,
    /// Every axis of the path, in its order.
    pub axes: &'a [KnotAxis],
}

/// Why a knot was not taken. Nothing has changed when one is returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// No room for another knot now; not a fault, offer it again later.
    Full,
    /// There is no path to append to: begin one first.
    NoPath,
    /// The path is complete: its final knot was accepted before.
    AfterFinal,
    /// The number of axes differs from the path's, or a slice is too short or too long.
    AxisCount {
        /// How many were given.
        given: usize,
        /// How many the path has.
        expected: usize,
    },
    /// A number is not finite.
    NotFinite {
        /// Index of the axis; the axis count when it is the path time itself.
        axis: usize,
    },
    /// The first knot does not stand where the axis is now.
    NotAtReference {
        /// Index of the axis.
        axis: usize,
        /// Position of the knot, rad or m.
        value: f64,
        /// Position of the present reference, rad or m.
        reference: f64,
    },
    /// A first or final knot has a velocity or an acceleration.
    NotAtRest {
        /// Index of the axis.
        axis: usize,
        /// Velocity of the knot, rad/s or m/s.
        velocity: f64,
        /// Acceleration of the knot, rad/s² or m/s².
        acceleration: f64,
    },
    /// The segment is shorter than [`SEGMENT_S_MIN`] or longer than [`SEGMENT_S_MAX`].
    SegmentLength {
        /// Its length in path time.
        value_s: f64,
    },
    /// Path time is beyond ±[`PATH_TIME_S_MAX`].
    PathTime {
        /// Path time of the knot.
        value_s: f64,
    },
    /// Somewhere in the segment the position leaves the soft limits.
    Position {
        /// Index of the axis.
        axis: usize,
        /// The extreme position, rad or m.
        value: f64,
        /// The limit it crosses, rad or m.
        limit: f64,
    },
    /// Somewhere in the segment |q'| is above the limit.
    Velocity {
        /// Index of the axis.
        axis: usize,
        /// The peak, rad/s or m/s.
        value: f64,
        /// The limit, rad/s or m/s.
        limit: f64,
    },
    /// Somewhere in the segment |q''| is above the limit.
    Acceleration {
        /// Index of the axis.
        axis: usize,
        /// The peak, rad/s² or m/s².
        value: f64,
        /// The limit, rad/s² or m/s².
        limit: f64,
    },
    /// Somewhere in the segment |q'''| is above the limit.
    Jerk {
        /// Index of the axis.
        axis: usize,
        /// The peak, rad/s³ or m/s³.
        value: f64,
        /// The limit, rad/s³ or m/s³.
        limit: f64,
    },
    /// The segment uses so much of the limits that braking on it from s = 1 takes too long.
    NoBrakingRoom {
        /// Index of the axis that leaves the least room.
        axis: usize,
        /// Path time that the stop would take; infinite when there is no room at all.
        stop_s: f64,
        /// Path time that it may take.
        limit_s: f64,
    },
}

/// Path time and every axis are numbers, and path time is one that a period can be added to.
pub(super) fn check_finite(knot: &Knot<'_>) -> Result<(), Refusal> {
    if !knot.tau_s.is_finite() {
        return Err(Refusal::NotFinite { axis: knot.axes.len() });
    }
    if knot.tau_s.abs() > PATH_TIME_S_MAX {
        return Err(Refusal::PathTime { value_s: knot.tau_s });
    }
    let finite = |axis: &KnotAxis| {
        AxisReference::from(axis).is_finite() && axis.torque_feed_forward.is_finite()
    };
    match knot.axes.iter().position(|axis| !finite(axis)) {
        Some(axis) => Err(Refusal::NotFinite { axis }),
        None => Ok(()),
    }
}

/// Every axis stands still at the knot, exactly.
pub(super) fn check_at_rest(axes: &[KnotAxis]) -> Result<(), Refusal> {
    for (axis, knot) in axes.iter().enumerate() {
        if knot.velocity != 0.0 || knot.acceleration != 0.0 {
            let (velocity, acceleration) = (knot.velocity, knot.acceleration);
            return Err(Refusal::NotAtRest { axis, velocity, acceleration });
        }
    }
    Ok(())
}

/// Every axis of the knot stands where its reference is.
pub(super) fn check_joins(axes: &[KnotAxis], present: &[AxisReference]) -> Result<(), Refusal> {
    for (axis, (given, now)) in axes.iter().zip(present).enumerate() {
        let tolerance = JOIN_TOLERANCE * now.position.abs().max(1.0);
        let joins = (given.position - now.position).abs() <= tolerance;
        if !joins {
            let (value, reference) = (given.position, now.position);
            return Err(Refusal::NotAtReference { axis, value, reference });
        }
    }
    Ok(())
}

/// Path time rises, by not too little and not too much.
pub(super) fn check_length(value_s: f64) -> Result<(), Refusal> {
    let fits = (SEGMENT_S_MIN..=SEGMENT_S_MAX).contains(&value_s);
    if fits { Ok(()) } else { Err(Refusal::SegmentLength { value_s }) }
}

/// The bounds that the segment leaves for ṡ and s̈ at any s ∈ [0, 1], if it stays inside the limits
/// and a stop from s = 1 under those bounds takes no more than `stop_s_max` of path time.
pub(super) fn judge_segment(
    starts: &[KnotAxis],
    ends: &[KnotAxis],
    limits: &[AxisLimits],
    duration_s: f64,
    stop_s_max: f64,
) -> Result<Bounds, Refusal> {
    let mut peaks = [Peaks::default(); AXES_MAX];
    let mut bounds = PATH_RATE_BOUNDS_MAX;
    let mut tightest = 0;
    let segment = starts.iter().zip(ends).zip(limits).zip(peaks.iter_mut());
    for (axis, (((start, end), limit), peak)) in segment.enumerate() {
        let quintic = Quintic::between(start, end, duration_s);
        *peak = quintic.peaks();
        check_peaks(axis, peak, limit)?;
        check_positions(axis, &quintic, peak, limit, start.position)?;
        let slope = rate_slope_max(peak, limit);
        if slope < bounds.slope {
            (bounds.slope, tightest) = (slope, axis);
        }
    }
    // The curvature left depends on the slope that the tightest axis leaves to all of them.
    for (axis, (peak, limit)) in peaks.iter().zip(limits).enumerate() {
        let curvature = rate_curvature_max(peak, limit, bounds.slope);
        if curvature < bounds.curvature {
            (bounds.curvature, tightest) = (curvature, axis);
        }
    }
    let stop_s = stop_path_time_s(bounds);
    let room = stop_s <= stop_s_max;
    let refusal = Refusal::NoBrakingRoom { axis: tightest, stop_s, limit_s: stop_s_max };
    if room { Ok(bounds) } else { Err(refusal) }
}

/// max |ṡ| with |q''|·s² + |q'|·|ṡ| ≤ A, and 3·|q''|·s·|ṡ| within half of the jerk left over.
fn rate_slope_max(peak: &Peaks, limit: &AxisLimits) -> f64 {
    let (acceleration, jerk) = (peak.acceleration_max_abs, peak.jerk_max_abs);
    let by_acceleration = (limit.acceleration - acceleration) / peak.velocity_max_abs;
    let by_jerk = 0.5 * (limit.jerk - jerk) / (3.0 * acceleration);
    // An axis that does not move divides by zero; infinity and NaN (0/0) both lose against the cap.
    PATH_RATE_BOUNDS_MAX.slope.min(by_acceleration).min(by_jerk).max(0.0)
}

/// max |s̈| with |q'''|·s³ + 3·|q''|·s·|ṡ| + |q'|·|s̈| ≤ J while |ṡ| ≤ `slope`.
fn rate_curvature_max(peak: &Peaks, limit: &AxisLimits, slope: f64) -> f64 {
    let left = limit.jerk - peak.jerk_max_abs - 3.0 * peak.acceleration_max_abs * slope;
    PATH_RATE_BOUNDS_MAX.curvature.min(left / peak.velocity_max_abs).max(0.0)
}

/// Path time of the jerk-limited stop from s = 1: the profile is symmetric, so its mean is 1/2.
fn stop_path_time_s(bounds: Bounds) -> f64 {
    let (slope, curvature) = (bounds.slope, bounds.curvature);
    let reaches_slope = slope * slope <= curvature;
    let duration_s =
        if reaches_slope { 1.0 / slope + slope / curvature } else { 2.0 / libm::sqrt(curvature) };
    // No room at all may end in 0/0: it is infinitely long as well.
    if duration_s.is_nan() { f64::INFINITY } else { 0.5 * duration_s }
}

fn check_peaks(axis: usize, peak: &Peaks, limit: &AxisLimits) -> Result<(), Refusal> {
    let within = |value: f64, limit: f64| value <= limit * (1.0 + SLACK);
    let (value, bound) = (peak.velocity_max_abs, limit.velocity);
    if !within(value, bound) {
        return Err(Refusal::Velocity { axis, value, limit: bound });
    }
    let (value, bound) = (peak.acceleration_max_abs, limit.acceleration);
    if !within(value, bound) {
        return Err(Refusal::Acceleration { axis, value, limit: bound });
    }
    let (value, bound) = (peak.jerk_max_abs, limit.jerk);
    if !within(value, bound) {
        return Err(Refusal::Jerk { axis, value, limit: bound });
    }
    Ok(())
}

/// No position of the segment is outside the soft limits; from a start outside them the axis moves
/// inwards all the way, as the last stage demands: it turns nowhere outside.
fn check_positions(
    axis: usize,
    quintic: &Quintic,
    peaks: &Peaks,
    limit: &AxisLimits,
    start: f64,
) -> Result<(), Refusal> {
    let slack = |bound: f64| POSITION_SLACK * bound.abs().max(1.0);
    let lowest = (limit.position_min - slack(limit.position_min)).min(start);
    let highest = (limit.position_max + slack(limit.position_max)).max(start);
    if start < limit.position_min || start > limit.position_max {
        let outside = |p: &f64| {
            *p < limit.position_min - slack(limit.position_min)
                || *p > limit.position_max + slack(limit.position_max)
        };
        if let Some(value) = quintic.turns(peaks).find(outside) {
            let limit =
                if value > limit.position_max { limit.position_max } else { limit.position_min };
            return Err(Refusal::Position { axis, value, limit });
        }
    }
    let bound = quintic.position_range_bound(peaks);
    if bound.min >= lowest && bound.max <= highest {
        return Ok(());
    }
    let range = quintic.position_range(peaks);
    let (above, below) = (range.min >= lowest, range.max <= highest);
    if !above {
        return Err(Refusal::Position { axis, value: range.min, limit: limit.position_min });
    }
    if !below {
        return Err(Refusal::Position { axis, value: range.max, limit: limit.position_max });
    }
    Ok(())
}
