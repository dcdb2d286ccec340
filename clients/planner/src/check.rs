//! Judges a spline against the machine's limits by its exact extrema, and finds the speed at which
//! it would pass; words are in report.rs.

use crate::axis::AxisInfo;
use crate::scan::{ROUNDING, Scan, Violation};
use crate::spline::Spline;

/// The slowest speed factor that is supported.
pub const SPEED_MIN: f64 = 0.01;
/// The fastest speed factor that is supported.
pub const SPEED_MAX: f64 = 4.0;

/// What a trajectory is checked against, besides the axes' limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckOptions {
    /// Share of the velocity, acceleration and jerk limits that a plan may use, above 0, below 1.
    pub headroom: f64,
    /// Path time in s within which braking on the path must come to rest, 0.01 to 10; the loop
    /// refuses knots by the same rule, with half its horizon, so take it from there.
    pub stop_path_time_s: f64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { headroom: 0.8, stop_path_time_s: 0.5 }
    }
}

/// Largest magnitudes of one axis over the whole trajectory, as shares of the full limits.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisPeaks {
    /// The axis.
    pub axis: String,
    /// Velocity, 1 at the limit.
    pub velocity_share: f64,
    /// Acceleration, 1 at the limit.
    pub acceleration_share: f64,
    /// Jerk, 1 at the limit.
    pub jerk_share: f64,
}

/// The judgement of one trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// The file's name as the user gave it.
    pub file: String,
    /// Violations in the order of the file, at most 1,000 (`scan::VIOLATIONS_KEPT`).
    pub violations: Vec<Violation>,
    /// All of them.
    pub violation_count: usize,
    /// How much of its limits each axis uses.
    pub peaks: Vec<AxisPeaks>,
    /// Path time in s that the longest stop on the path needs.
    pub stop_path_time_s: f64,
    /// Rows in the file.
    pub row_count: usize,
    /// The speed factor that was judged.
    pub speed: f64,
    /// Headroom that was applied.
    pub headroom: f64,
    /// The smallest uniform stretch of time that cures all but position violations; 1 when none is
    /// needed; `None` when no supported speed does.
    pub stretch: Option<f64>,
    /// The largest speed factor, rounded down to three digits, that passes but for positions.
    pub speed_remedy: Option<f64>,
}

impl CheckReport {
    /// True when the trajectory may run.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.violation_count == 0
    }
}

/// Judges `spline`, whose columns belong to `axes` and whose rows stand on `lines` of `file`.
/// `speed` is the factor at which the spline's times were already divided.
#[must_use]
pub fn check(
    file: &str,
    spline: &Spline,
    lines: &[u32],
    axes: &[&AxisInfo],
    speed: f64,
    options: &CheckOptions,
) -> CheckReport {
    let scan = Scan::run(spline, axes, options, Some((lines, speed)));
    let shares = |k: usize| {
        let (used, l) = (&scan.used[k], &axes[k].limits);
        (used.v / l.velocity, used.a / l.acceleration, used.j / l.jerk)
    };
    let peaks: Vec<AxisPeaks> = (0..axes.len())
        .map(|k| {
            let (velocity_share, acceleration_share, jerk_share) = shares(k);
            let axis = axes[k].name.clone();
            AxisPeaks { axis, velocity_share, acceleration_share, jerk_share }
        })
        .collect();
    let stretch = smallest_stretch(spline, axes, options, &scan, &peaks, speed);
    let speed_remedy = stretch.and_then(|k| {
        if k > 1.0 { typed_remedy(spline, axes, options, speed, k) } else { Some(speed) }
    });
    let (violations, violation_count) = scan.runs.finish();
    CheckReport {
        file: file.to_owned(),
        violations,
        violation_count,
        peaks,
        stop_path_time_s: scan.stop_path_time_s,
        row_count: lines.len(),
        speed,
        headroom: options.headroom,
        stretch,
        speed_remedy,
    }
}

/// Velocity falls with the stretch, acceleration with its square, jerk with its cube: closed form.
/// Stopping improves too, but has none: the smallest stretch is bracketed and halved.
fn smallest_stretch(
    spline: &Spline,
    axes: &[&AxisInfo],
    options: &CheckOptions,
    scan: &Scan,
    peaks: &[AxisPeaks],
    speed: f64,
) -> Option<f64> {
    let closed_form = peaks.iter().fold(1.0_f64, |k, peak| {
        let over = |share: f64| {
            let ratio = share / options.headroom;
            if ratio > 1.0 + ROUNDING { ratio } else { 1.0 }
        };
        k.max(over(peak.velocity_share))
            .max(over(peak.acceleration_share).sqrt())
            .max(libm::cbrt(over(peak.jerk_share)))
    });
    let stretch_max = speed / SPEED_MIN;
    if closed_form > stretch_max {
        return None;
    }
    let stops = |k: f64| {
        let slower = spline.stretched(k);
        Scan::run(&slower, axes, options, None).stop_path_time_s <= options.stop_path_time_s
    };
    let stops_now = scan.stop_path_time_s <= options.stop_path_time_s;
    if stops_now || (closed_form > 1.0 && stops(closed_form)) {
        return Some(closed_form);
    }
    let (mut low, mut high) = (closed_form, (closed_form * 1.1).min(stretch_max));
    while !stops(high) {
        if high >= stretch_max {
            return None;
        }
        (low, high) = (high, (high * high / closed_form).min(stretch_max));
    }
    // BOUND: sixteen halvings of a ratio below 400 leave less than the remedy is rounded by.
    for _ in 0..16 {
        let middle = 0.5 * (low + high);
        if stops(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// The speed to type for a stretch, proved by judging it; a digit lower where rounding decides.
fn typed_remedy(
    spline: &Spline,
    axes: &[&AxisInfo],
    options: &CheckOptions,
    speed: f64,
    stretch: f64,
) -> Option<f64> {
    let mut remedy = three_digits_down(speed / stretch);
    // BOUND: rounding never takes more than a digit or two.
    for _ in 0..8 {
        let slower = spline.stretched(speed / remedy);
        if Scan::run(&slower, axes, options, None).runs.count() == 0 {
            break;
        }
        remedy = three_digits_down(remedy * (1.0 - 1.0e-3));
    }
    (remedy >= SPEED_MIN).then_some(remedy)
}

/// `speed` rounded down to three digits, so that a typed remedy still passes.
fn three_digits_down(speed: f64) -> f64 {
    let unit = libm::pow(10.0, libm::floor(libm::log10(speed)) - 2.0);
    // Dividing by a whole number keeps 0.73 from becoming 0.7300000000000001.
    let per_one = libm::round(1.0 / unit).max(1.0);
    (speed * per_one * (1.0 - ROUNDING)).floor() / per_one
}
