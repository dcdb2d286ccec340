//! How fast path time runs: chooses s each period so that the axes stay inside their limits and can
//! always stop on the accepted path; it knows the path only as stretches with bounds.
//!
//! **Why the stop always fits.** The invariant after every period is: `braking` holds bounds under
//! which the stop from the present (s, ṡ) is clean (|ṡ| inside the bound, 0 ≤ s ≤ 1 on the way),
//! ends before the horizon, and crosses only segments that allow these bounds. It holds at rest.
//! Following that stop for a period keeps it: the rest of the same stop crosses a part of the same
//! segments. Anything else is done only when a scan from the state *after* it finds bounds with the
//! same properties. So whether knots come late, too few or never, one safe way is always known, and
//! it never depends on what a source will do.

use super::admission::PATH_RATE_BOUNDS_MAX;
use super::path::Path;
use super::ramp::{Bounds, Rate, Step, advance, level_off_value, to_target};

/// What of a stop must still be free, beyond the stop itself, before path time runs again.
#[derive(Clone, Copy)]
struct Margin {
    /// Share of the stop's length.
    share: f64,
    /// Periods of path time at s = 1.
    periods: f64,
}

const NO_MARGIN: Margin = Margin { share: 0.0, periods: 0.0 };
/// Leaving starvation asks for more than entering it, otherwise a horizon that just suffices makes
/// s rise and fall with every batch of knots.
const RESUME_MARGIN: Margin = Margin { share: 0.1, periods: 2.0 };
/// s may leave [0, 1] by rounding on its way; it is put back before anyone sees it.
const ROUNDING: f64 = 1e-14;
/// A stop is worked out again only after the scan has grown by this factor: with 256 segments at
/// most 48 times, and what it finds stays on the safe side.
const SCAN_GROWTH: f64 = 1.125;

/// What a scan of the path ahead found for one (τ, s, ṡ).
enum Scan {
    /// The stop fits under these bounds, and they hold at least one period ahead.
    Clear(Bounds),
    /// Segments ahead, inside the stop, do not allow the present ṡ or what must follow it.
    Tight(Bounds),
    /// The horizon ends before the stop does.
    Horizon,
}

/// Path time and its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathRate {
    tau_s: f64,
    rate: Rate,
    braking: Bounds,
    starved: bool,
}

impl PathRate {
    /// At rest at path time `tau_s`, waiting until enough path lies ahead.
    #[must_use]
    pub const fn at_rest(tau_s: f64) -> Self {
        Self {
            tau_s,
            rate: Rate { value: 0.0, slope: 0.0 },
            braking: PATH_RATE_BOUNDS_MAX,
            starved: true,
        }
    }

    /// Path time.
    #[must_use]
    pub fn tau_s(&self) -> f64 {
        self.tau_s
    }

    /// s ∈ [0, 1] and ṡ (1/s).
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether path time stands still, exactly.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.rate.value == 0.0 && self.rate.slope == 0.0
    }

    /// Whether path time is held back because too little path lies ahead.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Moves path time on by one period of `dt_s` with s on its way to `target` ∈ [0, 1], and
    /// forgets the knots passed. At rest under target 0, τ does not change at all.
    pub fn next(&mut self, path: &mut Path, target: f64, dt_s: f64) {
        let target = within_unit(target);
        let here = scan(path, self.tau_s, self.rate, dt_s, NO_MARGIN);
        let clear = matches!(here, Scan::Clear(_));
        if let Scan::Clear(bounds) = here {
            self.braking = bounds;
        }
        self.starved = self.starved && !self.may_resume(path, target, dt_s);
        let goal = if self.starved { 0.0 } else { target };
        let step =
            if clear && goal > 0.0 { self.choose(path, goal, dt_s) } else { self.stop(dt_s) };
        self.rate = Rate { value: within_unit(step.rate.value), slope: step.rate.slope };
        self.tau_s += step.integral.max(0.0);
        path.release(self.tau_s);
    }

    /// The fastest of four ways that can still stop after this period.
    fn choose(&mut self, path: &Path, goal: f64, dt_s: f64) -> Step {
        let bounds = self.braking;
        let straight = advance(self.rate, goal, bounds, dt_s);
        let narrowed = match self.after(path, straight, dt_s) {
            Scan::Clear(_) => return straight,
            Scan::Horizon => {
                self.starved = true;
                return self.stop(dt_s);
            }
            Scan::Tight(ahead) => bounds.min(ahead),
        };
        // Tighter segments come into the stop's reach: use their bounds already now, or at least
        // let ṡ fade, before braking in earnest.
        let gentle = advance(self.rate, goal, narrowed, dt_s);
        if matches!(self.after(path, gentle, dt_s), Scan::Clear(_)) {
            return gentle;
        }
        let level = within_unit(level_off_value(self.rate, bounds));
        let fading = advance(self.rate, level, bounds, dt_s);
        if matches!(self.after(path, fading, dt_s), Scan::Clear(_)) {
            return fading;
        }
        self.stop(dt_s)
    }

    /// The next period of the stop that is known to fit.
    fn stop(&self, dt_s: f64) -> Step {
        advance(self.rate, 0.0, self.braking, dt_s)
    }

    fn after(&self, path: &Path, step: Step, dt_s: f64) -> Scan {
        scan(path, self.tau_s + step.integral, step.rate, dt_s, NO_MARGIN)
    }

    /// Whether the path ahead suffices to run at `target` and stop with room to spare.
    fn may_resume(&self, path: &Path, target: f64, dt_s: f64) -> bool {
        let running = Rate { value: target, slope: 0.0 };
        path.is_complete()
            || matches!(scan(path, self.tau_s, running, dt_s, RESUME_MARGIN), Scan::Clear(_))
    }
}

/// Walks the stretches ahead of `tau_s`, bounds narrowing on the way, until a stop from `rate` under
/// the bounds found so far fits into the length seen so far.
fn scan(path: &Path, tau_s: f64, rate: Rate, dt_s: f64, margin: Margin) -> Scan {
    let extra_s = margin.periods * dt_s;
    // The period itself needs bounds too: at s = 1 it crosses dt_s of path time.
    let mut needed_s = dt_s;
    let mut bounds = PATH_RATE_BOUNDS_MAX;
    let mut length_s = 0.0;
    for stretch in path.ahead(tau_s) {
        bounds = bounds.min(stretch.bounds);
        length_s = stretch.end_tau_s - tau_s;
        if length_s >= needed_s {
            let Some(stop_s) = clean_stop_s(rate, bounds) else { return Scan::Tight(bounds) };
            let wanted_s = stop_s * (1.0 + margin.share) + extra_s;
            if wanted_s <= length_s {
                return Scan::Clear(bounds);
            }
            needed_s = wanted_s.max(SCAN_GROWTH * length_s);
        }
    }
    let Some(stop_s) = clean_stop_s(rate, bounds) else { return Scan::Tight(bounds) };
    let fits = stop_s * (1.0 + margin.share) + extra_s <= length_s;
    // After a complete path the pose is held for ever: a stop may end there as well.
    if fits || path.is_complete() { Scan::Clear(bounds) } else { Scan::Horizon }
}

/// Path time that the stop takes; nothing when it would leave its bounds or 0 ≤ s ≤ 1.
fn clean_stop_s(rate: Rate, bounds: Bounds) -> Option<f64> {
    let stop = to_target(rate, 0.0, bounds);
    let clean = rate.slope.abs() <= bounds.slope
        && stop.value_min >= -ROUNDING
        && stop.value_max <= 1.0 + ROUNDING;
    clean.then_some(stop.integral)
}

/// `value` brought into [0, 1]; 0 when it is not a number.
fn within_unit(value: f64) -> f64 {
    if value >= 1.0 {
        1.0
    } else if value > 0.0 {
        value
    } else {
        0.0
    }
}
