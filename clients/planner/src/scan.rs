//! One pass over all knot intervals of a spline: extrema, room to brake, violations of limits.

use crate::axis::{AxisInfo, AxisLimits};
use crate::braking::{AxisUse, stop};
use crate::check::CheckOptions;
use crate::quintic::{Peak, Quintic};
use crate::spline::Spline;

/// Violations beyond this many are counted, not kept.
pub const VIOLATIONS_KEPT: usize = 1_000;
/// A value above its limit by this share, or by this much for positions, is at its limit: sums of
/// rounding reach that far.
pub(crate) const ROUNDING: f64 = 1.0e-9;

/// The quantity that exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Position below the lower soft limit.
    PositionMin,
    /// Position above the upper soft limit.
    PositionMax,
    /// Speed above headroom times its limit.
    Velocity,
    /// Acceleration above headroom times its limit.
    Acceleration,
    /// Jerk above headroom times its limit.
    Jerk,
    /// Braking on the path takes too much path time.
    StopPathTime,
}

/// One run of neighbouring segments in which one axis breaks one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// What is exceeded.
    pub quantity: Quantity,
    /// The axis.
    pub axis: String,
    /// Its unit of position, `rad` or `m`.
    pub unit: &'static str,
    /// First segment of the run, counted from 0.
    pub segment_first: usize,
    /// Last segment of the run.
    pub segment_last: usize,
    /// Segment with the worst value.
    pub segment: usize,
    /// Line of the row at which that segment starts.
    pub line: u32,
    /// Line of the row at which the run starts.
    pub line_first: u32,
    /// Line of the row at which the run ends.
    pub line_last: u32,
    /// Time of the worst value as the file counts it, in s.
    pub t_s: f64,
    /// The worst value, with its sign, in SI units.
    pub value: f64,
    /// The limit that it breaks, headroom included, in SI units.
    pub limit: f64,
}

/// Number of [`Quantity`]s.
const QUANTITIES: usize = 6;

/// What one pass found.
pub(crate) struct Scan<'a> {
    /// Largest magnitudes per axis column.
    pub(crate) used: Vec<AxisUse>,
    /// Path time in s of the stop that needs most.
    pub(crate) stop_path_time_s: f64,
    /// Violations, with places when they were asked for.
    pub(crate) runs: Runs<'a>,
}

/// One knot interval of one axis.
struct Interval {
    column: usize,
    segment: usize,
    from_s: f64,
    to_s: f64,
    quintic: Quintic,
}

impl Interval {
    fn t_s(&self, peak: Peak) -> f64 {
        self.from_s + (self.to_s - self.from_s) * peak.u
    }
}

impl<'a> Scan<'a> {
    /// Judges positions and keeps violations only when `place` gives the rows' lines and the speed.
    pub(crate) fn run(
        spline: &Spline,
        axes: &'a [&'a AxisInfo],
        options: &CheckOptions,
        place: Option<(&'a [u32], f64)>,
    ) -> Self {
        let mut stop_path_time_s = 0.0_f64;
        let mut used = vec![AxisUse::default(); axes.len()];
        let mut here: Vec<_> = axes.iter().map(|a| (AxisUse::default(), a.limits)).collect();
        let mut runs = Runs {
            axes,
            place,
            kept: Vec::new(),
            count: 0,
            open: vec![None; axes.len() * QUANTITIES],
        };
        for segment in 0..spline.segments() {
            for piece in 0..spline.pieces(segment) {
                let from_s = spline.knot_t_s(segment, piece);
                let to_s = spline.knot_t_s(segment, piece + 1);
                for (column, (here, total)) in here.iter_mut().zip(&mut used).enumerate() {
                    let start = spline.knot_state(column, segment, piece);
                    let end = spline.knot_state(column, segment, piece + 1);
                    let quintic = Quintic::hermite(to_s - from_s, start, end);
                    let interval = Interval { column, segment, from_s, to_s, quintic };
                    here.0 = runs.judge_motion(&interval, &here.1, options.headroom);
                    total.v = total.v.max(here.0.v);
                    total.a = total.a.max(here.0.a);
                    total.j = total.j.max(here.0.j);
                    if place.is_some() {
                        runs.judge_position(&interval, &here.1);
                    }
                }
                let stop = stop(&here);
                stop_path_time_s = stop_path_time_s.max(stop.path_time_s);
                if stop.path_time_s > options.stop_path_time_s {
                    let at = (stop.tightest, segment, from_s);
                    runs.add(
                        Quantity::StopPathTime,
                        at,
                        stop.path_time_s,
                        options.stop_path_time_s,
                    );
                }
            }
        }
        Self { used, stop_path_time_s, runs }
    }
}

/// Violations, neighbouring segments of one axis and quantity joined into one.
pub(crate) struct Runs<'a> {
    axes: &'a [&'a AxisInfo],
    place: Option<(&'a [u32], f64)>,
    kept: Vec<Violation>,
    count: usize,
    /// Per axis and quantity: the last segment added, and where it stands in `kept`.
    open: Vec<Option<(usize, usize)>>,
}

impl Runs<'_> {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The violations in the order of the file, and how many there are in all.
    pub(crate) fn finish(mut self) -> (Vec<Violation>, usize) {
        self.kept.sort_by_key(|v| (v.segment_first, v.quantity));
        (self.kept, self.count)
    }

    fn judge_motion(&mut self, on: &Interval, limits: &AxisLimits, headroom: f64) -> AxisUse {
        let peak = on.quintic.extrema();
        let pairs = [
            (Quantity::Velocity, peak.v, limits.velocity),
            (Quantity::Acceleration, peak.a, limits.acceleration),
            (Quantity::Jerk, peak.j, limits.jerk),
        ];
        for (quantity, peak, limit) in pairs {
            if peak.value.abs() > headroom * limit * (1.0 + ROUNDING) {
                let at = (on.column, on.segment, on.t_s(peak));
                self.add(quantity, at, peak.value, headroom * limit);
            }
        }
        AxisUse { v: peak.v.value.abs(), a: peak.a.value.abs(), j: peak.j.value.abs() }
    }

    fn judge_position(&mut self, on: &Interval, limits: &AxisLimits) {
        let (min, max) = (limits.position_min, limits.position_max);
        if on.quintic.surely_within(min, max) {
            return;
        }
        let (low, high) = on.quintic.position_range();
        if low.value < min - ROUNDING {
            self.add(Quantity::PositionMin, (on.column, on.segment, on.t_s(low)), low.value, min);
        }
        if high.value > max + ROUNDING {
            self.add(Quantity::PositionMax, (on.column, on.segment, on.t_s(high)), high.value, max);
        }
    }

    /// Adds what happened in column, segment and at path time `at`.
    fn add(&mut self, quantity: Quantity, at: (usize, usize, f64), value: f64, limit: f64) {
        let (column, segment, path_s) = at;
        // A stop concerns all axes together: one run, named after the axis at its worst place.
        let run_of = if quantity == Quantity::StopPathTime { 0 } else { column };
        let open = &mut self.open[run_of * QUANTITIES + quantity as usize];
        let place = self.place.map(|(lines, speed)| {
            (lines[segment], lines[(segment + 1).min(lines.len() - 1)], path_s * speed)
        });
        let (line, line_last, t_s) = place.unwrap_or((0, 0, path_s));
        if let Some((last, index)) = open.as_mut().filter(|(last, _)| segment <= *last + 1) {
            *last = segment;
            if let Some(run) = self.kept.get_mut(*index) {
                (run.segment_last, run.line_last) = (segment, line_last);
                let excess = |value: f64| match quantity {
                    Quantity::PositionMin | Quantity::PositionMax => (value - limit).abs(),
                    _ => value.abs(),
                };
                if excess(value) > excess(run.value) {
                    (run.segment, run.line, run.t_s, run.value) = (segment, line, t_s, value);
                    run.axis.clone_from(&self.axes[column].name);
                }
            }
            return;
        }
        self.count += 1;
        *open = Some((segment, usize::MAX));
        if place.is_none() || self.kept.len() >= VIOLATIONS_KEPT {
            return;
        }
        *open = Some((segment, self.kept.len()));
        let axis = self.axes[column];
        self.kept.push(Violation {
            quantity,
            axis: axis.name.clone(),
            unit: axis.kind.unit(),
            segment_first: segment,
            segment_last: segment,
            segment,
            line,
            line_first: line,
            line_last,
            t_s,
            value,
            limit,
        });
    }
}
