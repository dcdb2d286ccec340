//! The stop off the path, the last resort: every axis of a group from its reference to standstill,
//! jerk-limited, all in the time of the slowest; it neither follows nor resumes a path.

use super::axis::{AxisLimits, AxisReference};
use super::ramp::{Bounds, Rate, Whole, advance, level_off_value, to_target};
use shm_layout::AXES_MAX;

/// BOUND: most axes need 1 to 5 trials, those that start with an acceleration up to all.
const TRIALS_MAX: u32 = 16;
/// Durations count as equal within this share of a period.
const MATCH_PERIODS: f64 = 0.25;
/// A reversal of velocity this small, relative to the speed at the start, is rounding.
const ROUNDING: f64 = 1e-12;

/// A stop in progress: which axes it moves and how hard each may brake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupStop {
    axis_mask: u64,
    bounds: [Bounds; AXES_MAX],
}

impl Default for GroupStop {
    fn default() -> Self {
        Self::none()
    }
}

fn rate_of(reference: &AxisReference) -> Rate {
    Rate { value: reference.velocity, slope: reference.acceleration }
}

fn is_member(axis_mask: u64, axis: usize) -> bool {
    u32::try_from(axis).is_ok_and(|shift| axis_mask.checked_shr(shift).unwrap_or(0) & 1 == 1)
}

impl GroupStop {
    /// A stop of no axis.
    #[must_use]
    pub const fn none() -> Self {
        Self { axis_mask: 0, bounds: [Bounds { slope: 0.0, curvature: 0.0 }; AXES_MAX] }
    }

    /// Plans the stop of the axes in `axis_mask` (bit per index of `references` and `limits`).
    ///
    /// Time-scaling: an axis that could stop sooner gets its acceleration bound times k and its
    /// jerk bound times k², k ≤ 1, which from zero acceleration makes its stop exactly 1/k as
    /// long. It keeps its full bounds instead when the longer stop would exceed its velocity limit,
    /// leave its soft limits or make it turn back.
    #[must_use]
    pub fn begin(
        axis_mask: u64,
        references: &[AxisReference],
        limits: &[AxisLimits],
        dt_s: f64,
    ) -> Self {
        let mut stop = Self { axis_mask, ..Self::none() };
        let mut slowest_s = 0.0_f64;
        let members = || {
            references
                .iter()
                .zip(limits)
                .enumerate()
                .filter(|(axis, _)| is_member(axis_mask, *axis))
        };
        for (_, (reference, limit)) in members() {
            let whole = to_target(rate_of(reference), 0.0, scaled(limit, 1.0));
            if whole.duration_s.is_finite() {
                slowest_s = slowest_s.max(whole.duration_s);
            }
        }
        for (axis, (reference, limit)) in members() {
            if let Some(bounds) = stop.bounds.get_mut(axis) {
                *bounds = stretch(reference, limit, slowest_s, MATCH_PERIODS * dt_s);
            }
        }
        stop
    }

    /// Moves the references of the stopping axes on by `dt_s`; true once all of them stand still.
    ///
    /// An axis without usable bounds, or whose velocity is not a number, stands still at once: a
    /// stop must stop. (Configuration refuses such limits; the limiting stage follows in any case.)
    pub fn next(&mut self, references: &mut [AxisReference], dt_s: f64) -> bool {
        let mut at_rest = true;
        for (axis, (reference, bounds)) in references.iter_mut().zip(&self.bounds).enumerate() {
            if !is_member(self.axis_mask, axis) {
                continue;
            }
            let from = rate_of(reference);
            let able = bounds.usable() && from.value.is_finite() && from.slope.is_finite();
            if able {
                let step = advance(from, 0.0, *bounds, dt_s);
                reference.position += step.integral;
                reference.velocity = step.rate.value;
                reference.acceleration = step.rate.slope;
            } else {
                reference.velocity = 0.0;
                reference.acceleration = 0.0;
            }
            at_rest &= reference.velocity == 0.0 && reference.acceleration == 0.0;
        }
        at_rest
    }
}

/// An axis' bounds in slow motion: k = 1 is its full ability.
fn scaled(limit: &AxisLimits, k: f64) -> Bounds {
    Bounds { slope: k * limit.acceleration, curvature: k * k * limit.jerk }
}

/// The softest bounds under which the axis stops no later than `duration_s`, within tolerance, and
/// without leaving its limits.
fn stretch(
    reference: &AxisReference,
    limit: &AxisLimits,
    duration_s: f64,
    tolerance_s: f64,
) -> Bounds {
    let from = rate_of(reference);
    let full = scaled(limit, 1.0);
    let quickest = to_target(from, 0.0, full);
    let too_soon = quickest.duration_s > 0.0 && quickest.duration_s + tolerance_s < duration_s;
    if !too_soon {
        return full;
    }
    // Trials between a k too soft (0) and the softest known to do (1). A stop lasts about 1/k, so
    // the trial's own duration tells where to try next.
    let (mut soft, mut hard) = (0.0, 1.0);
    let mut k = quickest.duration_s / duration_s;
    for _ in 0..TRIALS_MAX {
        let bounds = scaled(limit, k);
        let trial = to_target(from, 0.0, bounds);
        let inside = stays_inside(reference, limit, bounds, &trial);
        if inside && (trial.duration_s - duration_s).abs() <= tolerance_s {
            return bounds;
        }
        if inside && trial.duration_s < duration_s {
            hard = k;
        } else {
            soft = k;
        }
        let guess = k * trial.duration_s / duration_s;
        let usable = inside && guess > soft && guess < hard;
        k = if usable { guess } else { 0.5 * (soft + hard) };
    }
    scaled(limit, hard)
}

/// Whether a stop keeps velocity and position inside the limits and does not turn the axis back.
fn stays_inside(
    reference: &AxisReference,
    limit: &AxisLimits,
    bounds: Bounds,
    stop: &Whole,
) -> bool {
    let start = reference.velocity;
    let speed = stop.value_max.max(-stop.value_min);
    let level = level_off_value(rate_of(reference), bounds);
    let turns_back = level * start < -ROUNDING * start * start;
    let end = reference.position + stop.integral;
    speed <= limit.velocity && !turns_back && end >= limit.position_min && end <= limit.position_max
}
