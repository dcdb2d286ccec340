//! The promised path, kept from the knots that the lanes brought and the island counted as accepted,
//! and evaluated by another arithmetic than the island's: Bernstein points instead of monomials.
use std::collections::VecDeque;

use servo_core::ports::{Intake, RawKnot};
use shm_layout::code::{EventKind, state_flag};
use shm_layout::knot::KnotAxis;

use super::{Pair, Violation, demand, has, is_enabled};
use crate::island::Record;
use crate::summary::Summary;

/// Furthest that a reference may be off the promised path, relative to max(1, |p|).
const OFF_PATH_MAX: f64 = 1e-6;
/// Relative slack of path time and of joins.
const SLACK: f64 = 1e-9;

/// One accepted knot: its path, its number, its content.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Path it was accepted for.
    pub path_id: u64,
    /// The knot as the lane brought it.
    pub knot: RawKnot,
}

/// The path under way.
#[derive(Default)]
pub struct Followed {
    knots: VecDeque<RawKnot>,
    accepted: Vec<Accepted>,
    axis_count: usize,
}

/// Position, velocity and acceleration of the quintic between two knots `h` seconds apart, at `u`.
fn between(from: &KnotAxis, to: &KnotAxis, h: f64, u: f64) -> (f64, f64, f64) {
    let (v0, v1) = (h * from.velocity / 5.0, h * to.velocity / 5.0);
    let (a0, a1) = (h * h * from.acceleration / 20.0, h * h * to.acceleration / 20.0);
    // Relative to the start, so that large positions keep their digits.
    let end = to.position - from.position;
    let points = [0.0, v0, 2.0 * v0 + a0, end - 2.0 * v1 + a1, end - v1, end];
    let mut layer = points.to_vec();
    let (mut velocity, mut acceleration) = (0.0, 0.0);
    while layer.len() > 1 {
        if layer.len() == 3 {
            acceleration = 20.0 * (layer[2] - 2.0 * layer[1] + layer[0]) / (h * h);
        }
        if layer.len() == 2 {
            velocity = 5.0 * (layer[1] - layer[0]) / h;
        }
        layer = layer.windows(2).map(|pair| pair[0] + u * (pair[1] - pair[0])).collect();
    }
    (from.position + layer[0], velocity, acceleration)
}

impl Followed {
    pub(super) fn promised(&self, tau_s: f64) -> Option<Vec<f64>> {
        (0..self.axis_count).map(|axis| Some(self.at(axis, tau_s)?.0)).collect()
    }

    pub(super) fn accepted_last(&self) -> &[Accepted] {
        &self.accepted
    }

    /// Position, velocity and acceleration of `axis` at `tau_s`.
    fn at(&self, axis: usize, tau_s: f64) -> Option<(f64, f64, f64)> {
        let next = self.knots.partition_point(|knot| knot.tau_s <= tau_s);
        let from = self.knots.get(next.checked_sub(1)?)?;
        let start = from.axes.get(axis)?;
        let Some(to) = self.knots.get(next) else {
            return Some((start.position, start.velocity, start.acceleration));
        };
        let h = to.tau_s - from.tau_s;
        Some(between(start, to.axes.get(axis)?, h, (tau_s - from.tau_s) / h))
    }

    pub(super) fn check(
        &mut self,
        pair: &Pair<'_>,
        intake: &Intake,
        summary: &mut Summary,
    ) -> Result<(), Violation> {
        self.axis_count = pair.setup.axis_count;
        let happened = |kind: EventKind| pair.now.events.iter().any(|e| e.kind == kind.code());
        let begun = happened(EventKind::PathBegun);
        self.take(pair, intake, begun)?;
        let now = &pair.now.header;
        if has(now.flags, state_flag::PATH_LOADED) {
            if !begun && now.path_id == pair.before.header.path_id {
                check_path_time(pair)?;
            }
            self.check_on_path(pair.now, now.tau_s, now.path_rate, summary)?;
            while self.knots.get(1).is_some_and(|second| second.tau_s <= now.tau_s) {
                self.knots.pop_front();
            }
        } else if happened(EventKind::PathEnded) {
            let complete = self.knots.back().map(|last| last.tau_s);
            let end_s = complete.ok_or_else(|| Violation {
                axis: None,
                what: "a path ended that never began".to_owned(),
            })?;
            self.check_on_path(pair.now, end_s, 0.0, summary)?;
            self.knots.clear();
        } else {
            self.knots.clear();
        }
        Ok(())
    }

    /// Notes the knots that were accepted in this cycle.
    fn take(&mut self, pair: &Pair<'_>, intake: &Intake, begun: bool) -> Result<(), Violation> {
        let (before, now) = (&pair.before.header, &pair.now.header);
        let count = (now.knots_accepted - before.knots_accepted) as usize;
        demand(count <= intake.knot_count, None, || format!("{count} knots accepted, fewer came"))?;
        self.accepted.clear();
        if count == 0 {
            return demand(!begun, None, || "a path began without a knot".to_owned());
        }
        demand(has(now.flags, state_flag::SOURCE_ALIVE), None, || {
            format!("{count} knots accepted of a source unheard for {} ns", now.source_age_ns)
        })?;
        // A hostile gateway may let two mailboxes claim one source: either may be the one followed.
        let is_followed = |path_id: u64| path_id != 0 && [0, path_id].contains(&now.path_id);
        let mut claims = intake.sources.iter().filter(|brief| brief.source_id == now.source_id);
        let holder = claims.find(|brief| is_followed(brief.path_id));
        demand(holder.is_some(), None, || {
            let sources = intake.sources.map(|brief| (brief.source_id, brief.path_id));
            format!(
                "knots accepted for path {} of source {}, the mailboxes hold (source, path) {sources:?}",
                now.path_id, now.source_id
            )
        })?;
        let path_id = holder.map_or(0, |brief| brief.path_id);
        for (place, knot) in intake.knots.iter().take(count).enumerate() {
            let mut followed = *knot;
            if begun && place == 0 {
                self.knots.clear();
                self.check_join(pair, knot)?;
                // It begins where the references stood, to the bit.
                for ((_, was, _), start) in pair.axes().zip(&mut followed.axes) {
                    start.position = was.position_reference;
                }
            }
            self.knots.push_back(followed);
            self.accepted.push(Accepted { path_id, knot: *knot });
        }
        Ok(())
    }

    /// A path begins at rest where the references stood.
    fn check_join(&self, pair: &Pair<'_>, knot: &RawKnot) -> Result<(), Violation> {
        for ((index, was, _), start) in pair.axes().zip(&knot.axes) {
            let apart = (start.position - was.position_reference).abs();
            let joins = apart <= SLACK * was.position_reference.abs().max(1.0)
                && start.velocity == 0.0
                && start.acceleration == 0.0;
            demand(joins, Some(index), || format!("a path begins {apart:e} off its reference"))?;
        }
        Ok(())
    }

    fn check_on_path(
        &self,
        now: &Record,
        tau_s: f64,
        rate: f64,
        summary: &mut Summary,
    ) -> Result<(), Violation> {
        for (index, axis) in now.axes.iter().enumerate().filter(|(_, axis)| is_enabled(axis)) {
            let Some((p, v, _)) = self.at(index, tau_s) else {
                let what = format!("no accepted knot before path time {tau_s}");
                return Err(Violation { axis: Some(index), what });
            };
            let off = (axis.position_reference - p).abs() / p.abs().max(1.0);
            summary.off_path_max = summary.off_path_max.max(off);
            demand(off <= OFF_PATH_MAX, Some(index), || {
                format!("{} is off the path, {p} at {tau_s} s", axis.position_reference)
            })?;
            let (v, given) = (v * rate, axis.velocity_reference);
            demand((given - v).abs() <= OFF_PATH_MAX * v.abs().max(1.0), Some(index), || {
                format!("velocity {given} is not {v}, the path's at {tau_s} s and rate {rate}")
            })?;
        }
        Ok(())
    }
}

/// Path time runs forwards, at most as fast as time.
fn check_path_time(pair: &Pair<'_>) -> Result<(), Violation> {
    let (before, now) = (&pair.before.header, &pair.now.header);
    let step_s = now.tau_s - before.tau_s;
    let rounding = 4.0 * f64::EPSILON * now.tau_s.abs();
    let runs = step_s >= 0.0 && step_s <= pair.passed_s() * (1.0 + SLACK) + rounding;
    demand(runs, None, || format!("path time steps by {step_s:e} s in one period"))
}
