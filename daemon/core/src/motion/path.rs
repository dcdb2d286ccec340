//! The accepted knots of one source as a path over τ, and references at (τ, s, ṡ); what may enter
//! is judged in admission, how fast τ runs is decided in rate.
//!
//! A full path is half a megabyte; it is copied only when the whole state is.

use super::admission::{
    Knot, PATH_RATE_BOUNDS_MAX, Refusal, check_at_rest, check_finite, check_joins, check_length,
    judge_segment,
};
use super::axis::{AxisLimits, AxisReference};
use super::quintic::Quintic;
use super::ramp::{Bounds, Rate};
use shm_layout::knot::KnotAxis;
use shm_layout::{AXES_MAX, KNOTS_PER_SOURCE};

const _: () = assert!(KNOTS_PER_SOURCE.is_power_of_two(), "slots are masked");

/// A stretch of path ahead with one set of bounds on its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Path time at its end.
    pub end_tau_s: f64,
    /// What |ṡ| and |s̈| may be on it, at any s ∈ [0, 1].
    pub bounds: Bounds,
}

/// The ring of accepted knots, from the one at or just behind τ to the horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    id: u64,
    axis_count: usize,
    /// Knots are counted from 0 over the path's life; a slot is the count masked.
    first: usize,
    end: usize,
    complete: bool,
    tau_s: [f64; KNOTS_PER_SOURCE],
    /// Bounds of the segment that ends at the knot.
    bounds: [Bounds; KNOTS_PER_SOURCE],
    trace_id: [u64; KNOTS_PER_SOURCE],
    axes: [[KnotAxis; AXES_MAX]; KNOTS_PER_SOURCE],
}

impl Default for Path {
    fn default() -> Self {
        Self::new()
    }
}

const fn slot(count: usize) -> usize {
    count & (KNOTS_PER_SOURCE - 1)
}

fn set<T>(ring: &mut [T], count: usize, value: T) {
    if let Some(place) = ring.get_mut(slot(count)) {
        *place = value;
    }
}

impl Path {
    /// No path: nothing accepted, nothing to follow.
    #[must_use]
    pub const fn new() -> Self {
        const REST: KnotAxis =
            KnotAxis { position: 0.0, velocity: 0.0, acceleration: 0.0, torque_feed_forward: 0.0 };
        Self {
            id: 0,
            axis_count: 0,
            first: 0,
            end: 0,
            complete: false,
            tau_s: [0.0; KNOTS_PER_SOURCE],
            bounds: [Bounds { slope: 0.0, curvature: 0.0 }; KNOTS_PER_SOURCE],
            trace_id: [0; KNOTS_PER_SOURCE],
            axes: [[REST; AXES_MAX]; KNOTS_PER_SOURCE],
        }
    }

    /// Starts a path at rest where the axes stand: `knot` must join `present` within
    /// [`JOIN_TOLERANCE`](super::admission::JOIN_TOLERANCE). What was accepted before is forgotten.
    ///
    /// # Errors
    /// The [`Refusal`] that names what does not fit; the path before stays as it was.
    pub fn begin(
        &mut self,
        path_id: u64,
        knot: &Knot<'_>,
        present: &[AxisReference],
    ) -> Result<(), Refusal> {
        let count = knot.axes.len();
        if count == 0 || count > AXES_MAX || count != present.len() {
            return Err(Refusal::AxisCount { given: count, expected: present.len() });
        }
        check_finite(knot)?;
        check_at_rest(knot.axes)?;
        check_joins(knot.axes, present)?;
        self.id = path_id;
        self.axis_count = count;
        self.first = 0;
        self.end = 0;
        self.push(knot, PATH_RATE_BOUNDS_MAX);
        // It begins where the axes stand, not within a tolerance of it: a step outwards, however small,
        // of an axis outside its soft limits would be stopped by the last stage.
        if let Some(row) = self.axes.get_mut(slot(0)) {
            for (axis, now) in row.iter_mut().zip(present) {
                axis.position = now.position;
            }
        }
        Ok(())
    }

    /// Appends a knot if every axis stays inside its limits on the whole way there at s = 1, and
    /// braking from s = 1 on that way takes at most `stop_s_max` of path time.
    ///
    /// An axis that stands outside its soft limits may move inwards only.
    ///
    /// # Errors
    /// The [`Refusal`] that names the axis, the value and the limit; the path stays as it was.
    pub fn admit(
        &mut self,
        knot: &Knot<'_>,
        limits: &[AxisLimits],
        stop_s_max: f64,
    ) -> Result<(), Refusal> {
        let Some(last) = self.last() else { return Err(Refusal::NoPath) };
        if self.complete {
            return Err(Refusal::AfterFinal);
        }
        if self.len() >= KNOTS_PER_SOURCE {
            return Err(Refusal::Full);
        }
        for given in [knot.axes.len(), limits.len()] {
            if given != self.axis_count {
                return Err(Refusal::AxisCount { given, expected: self.axis_count });
            }
        }
        check_finite(knot)?;
        if knot.is_final {
            check_at_rest(knot.axes)?;
        }
        let duration_s = knot.tau_s - last.tau_s;
        check_length(duration_s)?;
        let bounds = judge_segment(last.axes, knot.axes, limits, duration_s, stop_s_max)?;
        self.push(knot, bounds);
        Ok(())
    }

    /// Writes the reference of every axis at path time `tau_s` when path time runs at `rate`.
    /// Leaves `references` alone when there is no path.
    pub fn evaluate(&self, tau_s: f64, rate: Rate, references: &mut [AxisReference]) {
        let (s, s_slope) = (rate.value, rate.slope);
        let Some((from, to)) = self.around(tau_s) else { return };
        let elapsed_s = tau_s - from.tau_s;
        let duration_s = to.tau_s - from.tau_s;
        for ((reference, start), end) in references.iter_mut().zip(from.axes).zip(to.axes) {
            let point = if duration_s > 0.0 {
                Quintic::between(start, end, duration_s).eval(elapsed_s).reference()
            } else {
                AxisReference::from(end)
            };
            *reference = AxisReference {
                position: point.position,
                velocity: point.velocity * s,
                acceleration: point.acceleration * s * s + point.velocity * s_slope,
            };
        }
    }

    /// Writes the torque feed-forward (N·m or N, planned for s = 1) of every axis at `tau_s`,
    /// linear between knots. Leaves `torques` alone when there is no path.
    pub fn torque_feed_forward(&self, tau_s: f64, torques: &mut [f64]) {
        let Some((from, to)) = self.around(tau_s) else { return };
        let duration_s = to.tau_s - from.tau_s;
        let share = if duration_s > 0.0 { (tau_s - from.tau_s) / duration_s } else { 1.0 };
        for ((torque, start), end) in torques.iter_mut().zip(from.axes).zip(to.axes) {
            // A weighted mean: the difference of two finite numbers need not be finite.
            let share = share.max(0.0);
            *torque = (1.0 - share) * start.torque_feed_forward + share * end.torque_feed_forward;
        }
    }

    /// Forgets the knots that lie behind `tau_s`, save the one that begins its segment.
    pub fn release(&mut self, tau_s: f64) {
        // BOUND: the knots in the ring.
        while self.len() > 1 {
            let next = self.first.wrapping_add(1);
            let passed = self.knot(next).is_some_and(|knot| knot.tau_s <= tau_s);
            if !passed {
                break;
            }
            self.first = next;
        }
    }

    /// What lies ahead of `tau_s`, segment by segment up to the horizon.
    pub fn ahead(&self, tau_s: f64) -> impl Iterator<Item = Stretch> + '_ {
        (1..self.len())
            .filter_map(move |offset| {
                let place = slot(self.first.wrapping_add(offset));
                let end_tau_s = *self.tau_s.get(place)?;
                Some(Stretch { end_tau_s, bounds: *self.bounds.get(place)? })
            })
            .filter(move |stretch| stretch.end_tau_s > tau_s)
    }

    /// Path time from `tau_s` to the last knot; infinite when the path is complete, 0 without one.
    #[must_use]
    pub fn horizon_s(&self, tau_s: f64) -> f64 {
        match self.last_tau_s() {
            Some(_) if self.complete => f64::INFINITY,
            Some(last_s) => (last_s - tau_s).max(0.0),
            None => 0.0,
        }
    }

    /// Path time of the last accepted knot.
    #[must_use]
    pub fn last_tau_s(&self) -> Option<f64> {
        self.last().map(|knot| knot.tau_s)
    }

    /// The trace id of the knot towards which the path leads at `tau_s`.
    #[must_use]
    pub fn trace_id_at(&self, tau_s: f64) -> Option<u64> {
        self.around(tau_s).map(|(_, to)| to.trace_id)
    }

    /// The id given to [`Path::begin`]; 0 before.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the final knot was accepted: the pose after it is held for ever.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many more knots fit now.
    #[must_use]
    pub fn room(&self) -> usize {
        KNOTS_PER_SOURCE.saturating_sub(self.len())
    }

    fn len(&self) -> usize {
        self.end.wrapping_sub(self.first)
    }

    fn knot(&self, count: usize) -> Option<Knot<'_>> {
        let place = slot(count);
        Some(Knot {
            tau_s: *self.tau_s.get(place)?,
            trace_id: *self.trace_id.get(place)?,
            is_final: false,
            axes: self.axes.get(place)?.get(..self.axis_count)?,
        })
    }

    fn last(&self) -> Option<Knot<'_>> {
        if self.len() == 0 { None } else { self.knot(self.end.wrapping_sub(1)) }
    }

    /// The knots that enclose `tau_s`; the last one twice beyond the horizon.
    fn around(&self, tau_s: f64) -> Option<(Knot<'_>, Knot<'_>)> {
        let last = self.last()?;
        let mut from = self.knot(self.first)?;
        for offset in 1..self.len() {
            let to = self.knot(self.first.wrapping_add(offset))?;
            if to.tau_s > tau_s {
                return Some((from, to));
            }
            from = to;
        }
        Some((last, last))
    }

    fn push(&mut self, knot: &Knot<'_>, bounds: Bounds) {
        set(&mut self.tau_s, self.end, knot.tau_s);
        set(&mut self.bounds, self.end, bounds);
        set(&mut self.trace_id, self.end, knot.trace_id);
        if let Some(row) = self.axes.get_mut(slot(self.end)) {
            for (place, axis) in row.iter_mut().zip(knot.axes) {
                *place = *axis;
            }
        }
        self.complete = knot.is_final;
        self.end = self.end.wrapping_add(1);
    }
}
