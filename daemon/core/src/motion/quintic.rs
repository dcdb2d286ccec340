//! One axis of one segment: the quintic between two knots and how far it goes on the way; no
//! limits are judged here.
//!
//! Inside, time runs as t ∈ [0, 1] over the segment, and the polynomial is the start's Taylor
//! terms plus c3·t³ + c4·t⁴ + c5·t⁵ made from what those terms miss at the end. Taking the
//! differences first keeps short segments far from the origin exact.

use super::axis::AxisReference;
use shm_layout::knot::KnotAxis;

/// A quintic Hermite segment of one axis over path time.
#[derive(Clone, Copy, Debug)]
pub struct Quintic {
    start: AxisReference,
    end: AxisReference,
    duration_s: f64,
    per_duration: f64,
    c3: f64,
    c4: f64,
    c5: f64,
}

/// The polynomial and its derivatives with respect to path time at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Position, rad or m.
    pub position: f64,
    /// Velocity, rad/s or m/s.
    pub velocity: f64,
    /// Acceleration, rad/s² or m/s².
    pub acceleration: f64,
    /// Jerk, rad/s³ or m/s³.
    pub jerk: f64,
}

impl Point {
    /// The point without its jerk.
    #[must_use]
    pub fn reference(&self) -> AxisReference {
        AxisReference {
            position: self.position,
            velocity: self.velocity,
            acceleration: self.acceleration,
        }
    }
}

/// The largest derivatives anywhere in a segment, tight to 1e-9.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peaks {
    /// max |q'|, rad/s or m/s.
    pub velocity_max_abs: f64,
    /// max |q''|, rad/s² or m/s².
    pub acceleration_max_abs: f64,
    /// max |q'''|, rad/s³ or m/s³.
    pub jerk_max_abs: f64,
    /// Where velocity turns, as t ∈ [0, 1]; 1 where there is no further turn.
    velocity_turns: [f64; 3],
}

/// Lowest and highest position in a segment, rad or m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositionRange {
    /// Lowest position.
    pub min: f64,
    /// Highest position.
    pub max: f64,
}

/// Root accuracy in t. A peak's error is of second order in it, below 1e-13 relative.
const ROOT_ACCURACY: f64 = 1e-8;
/// BOUND: bisection alone reaches `ROOT_ACCURACY` in 27 halvings.
const ROOT_STEPS_MAX: u32 = 28;

/// Where `function` (giving value and derivative) changes sign between `low` and `high`, given its
/// value at `low`: Newton inside a shrinking bracket.
fn crossing(function: impl Fn(f64) -> (f64, f64), low: f64, high: f64, at_low: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    let mut t = 0.5 * (low + high);
    for _ in 0..ROOT_STEPS_MAX {
        let (value, derivative) = function(t);
        if (value < 0.0) == (at_low < 0.0) {
            low = t;
        } else {
            high = t;
        }
        let newton = t - value / derivative;
        let inside = newton > low && newton < high;
        let next = if inside { newton } else { 0.5 * (low + high) };
        let moved = (next - t).abs();
        t = next;
        if moved <= ROOT_ACCURACY {
            break;
        }
    }
    t
}

/// The sign changes of a function between neighbouring `breaks`, one slot per gap; `none` where
/// there is no change. `values` are the function's values at the breaks.
fn crossings<const GAPS: usize>(
    function: impl Fn(f64) -> (f64, f64) + Copy,
    breaks: impl Iterator<Item = (f64, f64)> + Clone,
    none: f64,
) -> [f64; GAPS] {
    let mut found = [none; GAPS];
    let gaps = breaks.clone().zip(breaks.skip(1));
    for (slot, ((low, at_low), (high, at_high))) in found.iter_mut().zip(gaps) {
        if at_low * at_high < 0.0 {
            *slot = crossing(function, low, high, at_low);
        }
    }
    found
}

impl Quintic {
    /// The segment from `start` to `end` over `duration_s` > 0 of path time.
    #[must_use]
    pub fn new(start: AxisReference, end: AxisReference, duration_s: f64) -> Self {
        let h = duration_s;
        let position_missed =
            (end.position - start.position) - h * (start.velocity + 0.5 * h * start.acceleration);
        let velocity_missed = h * ((end.velocity - start.velocity) - h * start.acceleration);
        let acceleration_missed = h * h * (end.acceleration - start.acceleration);
        Self {
            start,
            end,
            duration_s,
            per_duration: 1.0 / h,
            c3: 10.0 * position_missed - 4.0 * velocity_missed + 0.5 * acceleration_missed,
            c4: -15.0 * position_missed + 7.0 * velocity_missed - acceleration_missed,
            c5: 6.0 * position_missed - 3.0 * velocity_missed + 0.5 * acceleration_missed,
        }
    }

    /// The segment between two knots, `duration_s` > 0 of path time apart.
    #[must_use]
    pub fn between(start: &KnotAxis, end: &KnotAxis, duration_s: f64) -> Self {
        Self::new(AxisReference::from(start), AxisReference::from(end), duration_s)
    }

    /// The point `elapsed_s` into the segment; the ends, exactly, at and outside its borders.
    #[must_use]
    pub fn eval(&self, elapsed_s: f64) -> Point {
        let (u, per) = (elapsed_s, self.per_duration);
        let per_cubed = per * per * per;
        let at = |end: AxisReference, jerk: f64| Point {
            position: end.position,
            velocity: end.velocity,
            acceleration: end.acceleration,
            jerk: jerk * per_cubed,
        };
        if u <= 0.0 {
            return at(self.start, self.jerk(0.0));
        }
        if u >= self.duration_s {
            return at(self.end, self.jerk(1.0));
        }
        let t = u * per;
        let (c3, c4, c5) = (self.c3, self.c4, self.c5);
        let start = self.start;
        let added_position = t * t * t * (c3 + t * (c4 + t * c5));
        let added_velocity = t * t * (3.0 * c3 + t * (4.0 * c4 + t * 5.0 * c5)) * per;
        let added_acceleration = t * (6.0 * c3 + t * (12.0 * c4 + t * 20.0 * c5)) * per * per;
        let taylor = u * (start.velocity + 0.5 * u * start.acceleration);
        Point {
            position: start.position + (taylor + added_position),
            velocity: start.velocity + (u * start.acceleration + added_velocity),
            acceleration: start.acceleration + added_acceleration,
            jerk: self.jerk(t) * per_cubed,
        }
    }

    /// The largest velocity, acceleration and jerk of the segment.
    #[must_use]
    pub fn peaks(&self) -> Peaks {
        let (per, c3, c4, c5) = (self.per_duration, self.c3, self.c4, self.c5);
        let largest = |values: [f64; 3]| values.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        let vertex = unit_or_one(-0.2 * c4 / c5);
        let jerk = largest([self.jerk(0.0), self.jerk(vertex), self.jerk(1.0)]);

        let turns = unit_roots(10.0 * c5, 2.0 * c4, c3);
        let (turn_1, turn_2) = (turns.0, turns.1);
        let ends = (self.acceleration(0.0), self.acceleration(1.0));
        let (at_1, at_2) = (self.acceleration(turn_1), self.acceleration(turn_2));
        let acceleration = largest([ends.0, at_1, at_2]).max(ends.1.abs());

        let breaks = [(0.0, ends.0), (turn_1, at_1), (turn_2, at_2), (1.0, ends.1)];
        let slope = |t: f64| (self.acceleration(t), self.jerk(t));
        let velocity_turns: [f64; 3] = crossings(slope, breaks.iter().copied(), 1.0);
        let velocity = velocity_turns
            .iter()
            .fold(self.start.velocity.abs().max(self.end.velocity.abs()), |peak, turn| {
                peak.max(self.velocity(*turn).abs() * per)
            });
        Peaks {
            velocity_max_abs: velocity,
            acceleration_max_abs: acceleration * per * per,
            jerk_max_abs: jerk * per * per * per,
            velocity_turns,
        }
    }

    /// A range that holds every position of the segment, wide by up to half of what the axis could
    /// travel at its peak velocity. Costs nothing; good enough far from the soft limits.
    #[must_use]
    pub fn position_range_bound(&self, peaks: &Peaks) -> PositionRange {
        let middle = 0.5 * (self.start.position + self.end.position);
        let half = 0.5 * self.duration_s * peaks.velocity_max_abs;
        PositionRange { min: middle - half, max: middle + half }
    }

    /// Where the axis turns around inside the segment, as elapsed shares of it in rising order; 1 where
    /// there is no turn. `peaks` must be this segment's own.
    fn stops(&self, peaks: &Peaks) -> [f64; 4] {
        // A gap is skipped where there was no turn (t = 1), so turns stay in rising order.
        let turns = peaks.velocity_turns.iter().copied().filter(|turn| *turn < 1.0);
        let breaks = core::iter::once(0.0)
            .chain(turns)
            .chain(core::iter::once(1.0))
            .map(|t| (t, self.velocity(t)));
        let slope = |t: f64| (self.velocity(t), self.acceleration(t));
        crossings(slope, breaks, 1.0)
    }

    /// Every position at which the axis turns around inside the segment; `peaks` as below.
    pub fn turns(&self, peaks: &Peaks) -> impl Iterator<Item = f64> + '_ {
        let stops = self.stops(peaks).into_iter().filter(|stop| *stop < 1.0);
        stops.map(|stop| self.eval(stop * self.duration_s).position)
    }

    /// The exact range of positions in the segment; `peaks` must be this segment's own.
    #[must_use]
    pub fn position_range(&self, peaks: &Peaks) -> PositionRange {
        let (from, to) = (self.start.position, self.end.position);
        let ends = PositionRange { min: from.min(to), max: from.max(to) };
        self.turns(peaks).fold(ends, |range, position| PositionRange {
            min: range.min.min(position),
            max: range.max.max(position),
        })
    }

    /// q' in units of one segment duration.
    fn velocity(&self, t: f64) -> f64 {
        let h = self.duration_s;
        let curve = 3.0 * self.c3 + t * (4.0 * self.c4 + t * 5.0 * self.c5);
        h * self.start.velocity + t * (h * h * self.start.acceleration + t * curve)
    }

    /// q'' in units of one segment duration.
    fn acceleration(&self, t: f64) -> f64 {
        let h = self.duration_s;
        let curve = 6.0 * self.c3 + t * (12.0 * self.c4 + t * 20.0 * self.c5);
        h * h * self.start.acceleration + t * curve
    }

    /// q''' in units of one segment duration.
    fn jerk(&self, t: f64) -> f64 {
        6.0 * self.c3 + t * (24.0 * self.c4 + t * 60.0 * self.c5)
    }
}

/// `t` when it lies inside (0, 1), otherwise (NaN included) 1, which adds nothing new.
fn unit_or_one(t: f64) -> f64 {
    if t > 0.0 && t < 1.0 { t } else { 1.0 }
}

/// The roots of a·t² + 2·half_b·t + c inside (0, 1) in rising order, 1 where there is none.
fn unit_roots(a: f64, half_b: f64, c: f64) -> (f64, f64) {
    let discriminant = half_b * half_b - a * c;
    if discriminant <= 0.0 {
        // A double root is no sign change: the derivative only touches zero.
        return (1.0, 1.0);
    }
    let sum = -(half_b + libm::sqrt(discriminant).copysign(half_b));
    let (one, two) = (unit_or_one(sum / a), unit_or_one(c / sum));
    (one.min(two), one.max(two))
}
