//! The way from where the axes are to the first row: straight in joint space, all axes together,
//! jerk-limited, at a fifth of every limit; knots only.

use crate::axis::AxisLimits;
use crate::quintic::State;
use crate::spline::KNOT_SPACING_S_MAX;

/// Share of the velocity, of the acceleration and of the jerk limit that an approach may use.
pub const APPROACH_SHARE: f64 = 0.2;
/// Phases last a whole number of these: rounding a phase up only ever eases the motion, and no two
/// knots come too close.
const PHASE_STEP_S: f64 = 1.0e-3;

/// A straight rest-to-rest move of several axes, with knots at every jerk switch and at most
/// [`KNOT_SPACING_S_MAX`] apart, on which quintics reproduce the profile exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct Approach {
    from: Vec<f64>,
    to: Vec<f64>,
    /// Time from the start, and position, velocity, acceleration of the path parameter 0 to 1.
    knots: Vec<(f64, State)>,
}

impl Approach {
    /// The move between two positions (rad or m, one per axis), or nothing when they are equal.
    #[must_use]
    pub fn between(from: &[f64], to: &[f64], limits: &[AxisLimits]) -> Option<Self> {
        let mut per_path = AxisLimits {
            position_min: 0.0,
            position_max: 1.0,
            velocity: f64::INFINITY,
            acceleration: f64::INFINITY,
            jerk: f64::INFINITY,
        };
        for ((from, to), limits) in from.iter().zip(to).zip(limits) {
            let distance = (to - from).abs();
            if distance > 0.0 {
                let share = APPROACH_SHARE / distance;
                per_path.velocity = per_path.velocity.min(limits.velocity * share);
                per_path.acceleration = per_path.acceleration.min(limits.acceleration * share);
                per_path.jerk = per_path.jerk.min(limits.jerk * share);
            }
        }
        if per_path.jerk.is_infinite() && per_path.velocity.is_infinite() {
            return None;
        }
        let profile = Profile::within(&per_path);
        Some(Self { from: from.to_vec(), to: to.to_vec(), knots: profile.knots() })
    }

    /// Number of knots, the first at the start, the last at the target.
    #[must_use]
    pub fn knot_count(&self) -> usize {
        self.knots.len()
    }

    /// Duration in s.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.knots.last().map_or(0.0, |(t_s, _)| *t_s)
    }

    /// Time in s of knot `index`, below [`Self::knot_count`].
    #[must_use]
    pub fn knot_t_s(&self, index: usize) -> f64 {
        self.knots[index].0
    }

    /// State of `axis` at knot `index`, below [`Self::knot_count`]; the ends are exact.
    #[must_use]
    pub fn knot_state(&self, axis: usize, index: usize) -> State {
        let (from, to) = (self.from[axis], self.to[axis]);
        if index + 1 == self.knots.len() {
            return State { p: to, v: 0.0, a: 0.0 };
        }
        let (distance, path) = (to - from, self.knots[index].1);
        State { p: from + distance * path.p, v: distance * path.v, a: distance * path.a }
    }
}

/// How long an approach with these limits would last, in s, without building its knots.
#[must_use]
pub fn duration_s(from: &[f64], to: &[f64], limits: &[AxisLimits]) -> f64 {
    // Cruising the longest axis at its share dominates anything long enough to matter.
    let cruise = |((from, to), l): ((&f64, &f64), &AxisLimits)| {
        let distance = (to - from).abs();
        let share = |limit: f64| distance / (APPROACH_SHARE * limit);
        share(l.velocity) + 4.0 * share(l.acceleration).sqrt() + 8.0 * libm::cbrt(share(l.jerk))
    };
    from.iter().zip(to).zip(limits).map(cruise).fold(0.0, f64::max)
}

/// Seven phases of constant jerk over a path from 0 to 1.
struct Profile {
    /// Duration in s of each of the four jerk phases.
    jerk_s: f64,
    /// Duration in s of each of the two phases of constant acceleration, or 0.
    acceleration_s: f64,
    /// Duration in s of the cruise, or 0.
    cruise_s: f64,
}

impl Profile {
    /// The fastest profile within the limits, its phases rounded up to whole milliseconds.
    fn within(limits: &AxisLimits) -> Self {
        let (v, a, j) = (limits.velocity, limits.acceleration, limits.jerk);
        // Speed reached when the path has no cruise: v²/a + v·a/j = 1, or 2·j·t³ = 1 without a
        // phase of constant acceleration.
        let ratio = a / j;
        let mut top = 0.5 * a * ((ratio * ratio + 4.0 / a).sqrt() - ratio);
        if top < a * ratio {
            let t = libm::cbrt(0.5 / j);
            top = j * t * t;
        }
        let top = top.min(v);
        let (jerk_s, acceleration_s) =
            if top < a * ratio { ((top / j).sqrt(), 0.0) } else { (ratio, top / a - ratio) };
        let cruise_s = 1.0 / top - (2.0 * jerk_s + acceleration_s);
        let whole = |t: f64| {
            // The slack keeps the rounding of a sum from costing a millisecond.
            (t / PHASE_STEP_S - 1.0e-6).ceil().max(0.0) * PHASE_STEP_S
        };
        Self {
            jerk_s: whole(jerk_s).max(PHASE_STEP_S),
            acceleration_s: whole(acceleration_s),
            cruise_s: whole(cruise_s),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 3.5e6")]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn knots(&self) -> Vec<(f64, State)> {
        let (tj, ta, tv) = (self.jerk_s, self.acceleration_s, self.cruise_s);
        let jerk = 1.0 / (tj * (tj + ta) * (2.0 * tj + ta + tv));
        let phases =
            [(tj, jerk), (ta, 0.0), (tj, -jerk), (tv, 0.0), (tj, -jerk), (ta, 0.0), (tj, jerk)];
        let (mut t_s, mut state) = (0.0, State::default());
        let mut knots = vec![(t_s, state)];
        for (duration_s, jerk) in phases.into_iter().filter(|(duration_s, _)| *duration_s > 0.0) {
            let pieces = ((duration_s / KNOT_SPACING_S_MAX - 1e-6).ceil() as usize).max(1);
            let start = state;
            for piece in 1..=pieces {
                let t = duration_s * (piece as f64 / pieces as f64);
                state = State {
                    p: start.p + t * (start.v + t * (0.5 * start.a + t * jerk / 6.0)),
                    v: start.v + t * (start.a + 0.5 * t * jerk),
                    a: start.a + t * jerk,
                };
                knots.push((t_s + t, state));
            }
            t_s += duration_s;
        }
        knots
    }
}
