//! A path as lines and arcs at constant feed, made smooth by filtering; no machine.
//!
//! The feed along the raw path jumps where one piece meets the next. Four moving averages of equal
//! width turn every jump Δv into a smooth change with acceleration at most ⅔·Δv/width and jerk at
//! most ⅔·Δv/width², and round the corners; it is how many numerical controls do it.

use std::f64::consts::TAU;

/// Sampling of the raw path; all durations are whole multiples.
const STEP_S: f64 = 0.001;

/// A path in N coordinates, sampled every millisecond.
pub struct Path<const N: usize> {
    samples: Vec<[f64; N]>,
}

impl<const N: usize> Path<N> {
    pub fn at(start: [f64; N]) -> Self {
        Self { samples: vec![start] }
    }

    fn end(&self) -> [f64; N] {
        self.samples[self.samples.len() - 1]
    }

    fn append(&mut self, duration_s: f64, point: impl Fn(f64) -> [f64; N]) {
        let steps = steps(duration_s).max(1);
        self.samples.extend((1..=steps).map(|step| point(ratio(step, steps))));
    }

    /// Stands still.
    pub fn dwell(&mut self, duration_s: f64) {
        let here = self.end();
        self.append(duration_s, |_| here);
    }

    /// A straight line in all coordinates.
    pub fn line_in(&mut self, to: [f64; N], duration_s: f64) {
        let from = self.end();
        self.append(duration_s, |u| std::array::from_fn(|i| from[i] + (to[i] - from[i]) * u));
    }

    /// A straight line whose first three coordinates, in m, move at `feed_m_s`.
    pub fn line(&mut self, to: [f64; N], feed_m_s: f64) {
        let from = self.end();
        let square: f64 = (0..3).map(|i| (to[i] - from[i]) * (to[i] - from[i])).sum();
        self.line_in(to, square.sqrt() / feed_m_s);
    }

    /// Turns around `center` in the plane of the unit vectors `along` and `across`, from angle
    /// `from` (rad) by `turn` (rad), while the other coordinates follow `rest` (0 to 1).
    pub fn arc(&mut self, arc: &Arc<N>, duration_s: f64, rest: impl Fn(f64, &mut [f64; N])) {
        self.append(duration_s, |u| {
            let angle = arc.from + arc.turn * u;
            let (s, c) = (libm::sin(angle) * arc.radius_m, libm::cos(angle) * arc.radius_m);
            let mut point =
                std::array::from_fn(|i| arc.center[i] + arc.along[i] * c + arc.across[i] * s);
            rest(u, &mut point);
            point
        });
    }

    /// The smoothed path every `row_ms`, starting and ending at rest.
    pub fn smoothed(mut self, width_s: f64, row_ms: usize) -> Vec<[f64; N]> {
        let width = steps(width_s) + 1;
        // The filter reaches two widths to either side and cuts as much off either end.
        let pad_s = 4.0 * width_s + 2.0 * ratio(row_ms, 1000);
        let mut padded = Self::at(self.samples[0]);
        padded.dwell(pad_s);
        padded.samples.append(&mut self.samples);
        padded.dwell(pad_s);
        let mut samples = padded.samples;
        for _ in 0..4 {
            samples = samples.windows(width).map(mean).collect();
        }
        // The end stands still for long enough that the last whole row is at rest.
        samples.into_iter().step_by(row_ms).collect()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 1e5")]
fn steps(duration_s: f64) -> usize {
    (duration_s / STEP_S).round() as usize
}

#[expect(clippy::cast_precision_loss, reason = "below 1e5")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn mean<const N: usize>(window: &[[f64; N]]) -> [f64; N] {
    let mut sum = [0.0; N];
    for sample in window {
        for (sum, value) in sum.iter_mut().zip(sample) {
            *sum += value;
        }
    }
    let share = ratio(1, window.len());
    sum.map(|sum| sum * share)
}

/// A circular arc in space.
pub struct Arc<const N: usize> {
    pub center: [f64; N],
    pub along: [f64; N],
    pub across: [f64; N],
    pub radius_m: f64,
    pub from: f64,
    pub turn: f64,
}

/// The radius to turn at so that the smoothed circle has `radius_m`: four moving averages shrink a
/// circle passed in `lap_s` by the fourth power of sin(x)/x.
pub fn radius_before_smoothing(radius_m: f64, lap_s: f64, width_s: f64) -> f64 {
    let x = TAU / lap_s * width_s / 2.0;
    let gain = libm::sin(x) / x;
    radius_m / (gain * gain * gain * gain)
}
