//! How much path time a stop on the path needs, from the extrema of one knot interval; the same
//! rule by which the loop admits or refuses that interval.
//!
//! Along a path p = q(τ) passed at rate s an axis has acceleration q''s² + q'ṡ and jerk
//! q'''s³ + 3q''s·ṡ + q's̈. With the largest |q'|, |q''|, |q'''| of an interval as v, a, j, the axis
//! limits A and J hold at any rate up to 1 while |ṡ| ≤ D = min((A − a)/v, ½(J − j)/(3a)) and
//! |s̈| ≤ E = (J − j − 3aD)/v, each the least over the axes.

use crate::axis::AxisLimits;

/// A velocity or acceleration this small leaves the limit on its factor without effect.
const NEGLIGIBLE: f64 = 1.0e-12;

/// Largest magnitudes of one axis on a stretch of path, in rad or m and seconds, at rate 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AxisUse {
    /// Of velocity.
    pub v: f64,
    /// Of acceleration.
    pub a: f64,
    /// Of jerk.
    pub j: f64,
}

/// The stop that an interval allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Path time in s that braking from full rate to rest uses up; infinite without room.
    pub path_time_s: f64,
    /// Index of the axis that leaves least room.
    pub tightest: usize,
}

/// The stop that an interval allows in which each axis uses so much of its limits.
#[must_use]
pub fn stop(axes: &[(AxisUse, AxisLimits)]) -> Stop {
    let (mut slope, mut curvature, mut tightest) = (f64::INFINITY, f64::INFINITY, 0);
    for (axis, (used, limits)) in axes.iter().enumerate() {
        let mut least = f64::INFINITY;
        if used.v > NEGLIGIBLE {
            least = (limits.acceleration - used.a) / used.v;
        }
        if used.a > NEGLIGIBLE {
            least = least.min(0.5 * (limits.jerk - used.j) / (3.0 * used.a));
        }
        if least < slope {
            (slope, tightest) = (least, axis);
        }
    }
    for (axis, (used, limits)) in axes.iter().enumerate().filter(|(_, a)| a.0.v > NEGLIGIBLE) {
        let coupled = if used.a > NEGLIGIBLE { 3.0 * used.a * slope } else { 0.0 };
        let least = (limits.jerk - used.j - coupled) / used.v;
        if least < curvature {
            (curvature, tightest) = (least, axis);
        }
    }
    Stop { path_time_s: path_time_s(slope, curvature), tightest }
}

/// A rise and fall of |ṡ| under both bounds is symmetric, so the mean rate is ½.
fn path_time_s(slope: f64, curvature: f64) -> f64 {
    if !(slope > 0.0 && curvature > 0.0) {
        f64::INFINITY
    } else if slope.is_infinite() && curvature.is_infinite() {
        0.0
    } else if slope * slope <= curvature {
        0.5 * (1.0 / slope + slope / curvature)
    } else {
        1.0 / curvature.sqrt()
    }
}
