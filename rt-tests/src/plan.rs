//! What a competent planner streams: random paths from rest to rest inside limits, as knots. Two
//! families: moves of constant-jerk stretches with a knot at every switch, and smooth curves.
use std::f64::consts::{PI, TAU};

use servo_core::motion::admission::Refusal;
use servo_core::motion::{AxisLimits, AxisReference, Knot, Path};
use servo_core::setup::Setup;
use shm_layout::knot::KnotAxis;

use crate::random::Random;

/// Shares of the limits beyond this leave no room for rounding.
const SHARE_MAX: f64 = 0.97;
/// Each time the machine's own admission would refuse a plan, it is made this much softer.
const SOFTER: f64 = 0.8;
/// Knots tried for a wild plan.
const WILD_TRIALS: usize = 1_500;
/// Distance kept to the soft limits, as a share of the travel.
const CLEARANCE_SHARE: f64 = 0.01;

/// A path from rest to rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its id.
    pub path_id: u64,
    /// Path time and all axes of each knot.
    pub knots: Vec<(f64, Vec<KnotAxis>)>,
    /// Whether its last knot ends the path, at rest. One that does not leaves the axes stranded.
    pub ends: bool,
}

/// The state of one axis at one path time.
type At = (f64, f64, f64);

fn knot_axis((position, velocity, acceleration): At, torque: f64) -> KnotAxis {
    KnotAxis { position, velocity, acceleration, torque_feed_forward: torque }
}

impl Plan {
    /// A path of random shape from `start`, using up to `share` of the limits.
    ///
    /// What admission would refuse is softened until it would not: this planner knows its machine.
    #[must_use]
    pub fn random(
        random: &mut Random,
        setup: &Setup,
        start: &[f64],
        share: f64,
        path_id: u64,
    ) -> Self {
        let limits: Vec<AxisLimits> = setup.axes().map(|axis| axis.limits).collect();
        let mut share = share.min(SHARE_MAX);
        loop {
            let knots = match random.below(3) {
                0 => smooth(random, &limits, start, share),
                1 => moves(random, &limits, start, share, true),
                _ => moves(random, &limits, start, share, false),
            };
            let plan = Self { path_id, knots, ends: true };
            if plan.is_admitted(setup, &limits).is_ok() {
                return plan;
            }
            share *= SOFTER;
        }
    }

    /// The worst that admission lets through: every knot is tried against the machine's own admission
    /// and kept however near to a limit it is, at odd path times, in segments from 10 µs to 0.25 s, and
    /// the path breaks off in full motion.
    #[must_use]
    pub fn wild(random: &mut Random, setup: &Setup, start: &[f64], path_id: u64) -> Self {
        let limits: Vec<AxisLimits> = setup.axes().map(|axis| axis.limits).collect();
        let mut path = Box::new(Path::new());
        let mut tau_s = *random.pick(&[0.0, 0.0, -3.0, 1e3, 1e6, 1e9]);
        let mut row: Vec<KnotAxis> = start.iter().map(|p| knot_axis((*p, 0.0, 0.0), 0.0)).collect();
        let present: Vec<_> = row.iter().map(AxisReference::from).collect();
        let mut knots = vec![(tau_s, row.clone())];
        if path.begin(1, &passing(tau_s, &row), &present).is_err() {
            return Self { path_id, knots, ends: false };
        }
        let mut softness = 1.0;
        for _ in 0..WILD_TRIALS {
            let duration_s = random.between(1e-5_f64.ln(), 0.25_f64.ln()).exp();
            let next: Vec<KnotAxis> = row
                .iter()
                .zip(&limits)
                .map(|(from, limit)| wild_step(random, from, limit, duration_s, softness))
                .collect();
            let next_tau_s = tau_s + duration_s;
            if path.admit(&passing(next_tau_s, &next), &limits, setup.stop_path_time_s).is_ok() {
                path.release(next_tau_s);
                (tau_s, row, softness) = (next_tau_s, next, 1.0);
                knots.push((tau_s, row.clone()));
            } else {
                softness *= 0.9;
            }
        }
        Self { path_id, knots, ends: false }
    }

    /// Path time of the last knot, s.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        self.knots.last().map_or(0.0, |knot| knot.0)
    }

    fn is_admitted(&self, setup: &Setup, limits: &[AxisLimits]) -> Result<(), Refusal> {
        let mut path = Box::new(Path::new());
        for (index, (tau_s, axes)) in self.knots.iter().enumerate() {
            let is_final = index + 1 == self.knots.len();
            let knot = Knot { tau_s: *tau_s, trace_id: 0, is_final, axes };
            if index == 0 {
                let present: Vec<_> = axes.iter().map(AxisReference::from).collect();
                path.begin(1, &knot, &present)?;
            } else {
                path.admit(&knot, limits, setup.stop_path_time_s)?;
                path.release(*tau_s);
            }
        }
        Ok(())
    }
}

fn passing(tau_s: f64, axes: &[KnotAxis]) -> Knot<'_> {
    Knot { tau_s, trace_id: 0, is_final: false, axes }
}

/// One stretch of random constant jerk, the harder the nearer `softness` is to 1.
fn wild_step(
    random: &mut Random,
    from: &KnotAxis,
    limit: &AxisLimits,
    duration_s: f64,
    softness: f64,
) -> KnotAxis {
    let at = (from.position, from.velocity, from.acceleration);
    // The acceleration this stretch ends with, which tends to bring the velocity back to zero.
    let pull = -from.velocity / limit.velocity * random.between(0.0, 1.0);
    let wish = (random.between(-1.0, 1.0) * softness + pull).clamp(-1.0, 1.0) * limit.acceleration;
    let jerk = ((wish - from.acceleration) / duration_s).clamp(-limit.jerk, limit.jerk);
    knot_axis(after(at, jerk * random.between(0.9, 1.0), duration_s), 0.0)
}

/// How far an axis may go from `at` in direction `sign` without leaving its limits.
fn room(limit: &AxisLimits, at: f64, sign: f64) -> f64 {
    let clearance = CLEARANCE_SHARE * (limit.position_max - limit.position_min);
    let room = if sign > 0.0 {
        limit.position_max - clearance - at
    } else {
        at - limit.position_min - clearance
    };
    room.max(0.0)
}

/// One axis as stretches of constant jerk that begin at whole milliseconds.
struct Track {
    stretches: Vec<(u64, f64, At)>,
    end_ms: u64,
    end: At,
}

fn after((p, v, a): At, jerk: f64, t: f64) -> At {
    (p + t * (v + t * (a / 2.0 + t * jerk / 6.0)), v + t * (a + t * jerk / 2.0), a + t * jerk)
}

impl Track {
    fn push(&mut self, duration_ms: u64, jerk: f64) {
        if duration_ms > 0 {
            self.stretches.push((self.end_ms, jerk, self.end));
            self.end = after(self.end, jerk, duration_ms as f64 * 1e-3);
            self.end_ms += duration_ms;
        }
    }

    /// From rest to rest: jerk phases of `tj` ms, constant acceleration for `ta`, cruise for `tv`.
    fn push_move(&mut self, [tj, ta, tv]: [u64; 3], jerk: f64) {
        for (duration, sign) in [(tj, 1.0), (ta, 0.0), (tj, -1.0)] {
            self.push(duration, sign * jerk);
        }
        self.end.2 = 0.0;
        self.push(tv, 0.0);
        for (duration, sign) in [(tj, -1.0), (ta, 0.0), (tj, 1.0)] {
            self.push(duration, sign * jerk);
        }
        (self.end.1, self.end.2) = (0.0, 0.0);
    }

    fn at(&self, ms: u64) -> At {
        if ms >= self.end_ms {
            return self.end;
        }
        let place = self.stretches.partition_point(|(start_ms, ..)| *start_ms <= ms);
        match place.checked_sub(1).and_then(|before| self.stretches.get(before)) {
            Some((start_ms, jerk, from)) => after(*from, *jerk, (ms - start_ms) as f64 * 1e-3),
            None => self.end,
        }
    }
}

/// The jerk (with its sign) of a move with these phases, within `share` of the limits and the room.
fn jerk_of(random: &mut Random, limit: &AxisLimits, at: f64, share: f64, phases: [u64; 3]) -> f64 {
    let [tj, ta, tv] = phases.map(|ms| ms as f64 * 1e-3);
    let by_limits = (share * limit.jerk)
        .min(share * limit.acceleration / tj)
        .min(share * limit.velocity / (tj * (tj + ta)));
    let middle = 0.5 * (limit.position_min + limit.position_max);
    let inwards = if at > middle { -1.0 } else { 1.0 };
    let sign = if random.percent(75) { inwards } else { -inwards };
    let travel_per_jerk = tj * (tj + ta) * (2.0 * tj + ta + tv);
    sign * by_limits.min(room(limit, at, sign) / travel_per_jerk)
}

fn moves(
    random: &mut Random,
    limits: &[AxisLimits],
    start: &[f64],
    share: f64,
    together: bool,
) -> Vec<(f64, Vec<KnotAxis>)> {
    let begin = |p: &f64| Track { stretches: Vec::new(), end_ms: 0, end: (*p, 0.0, 0.0) };
    let mut tracks: Vec<Track> = start.iter().map(begin).collect();
    for _ in 0..random.within(1, 4) {
        let shared = phases(random);
        for (track, limit) in tracks.iter_mut().zip(limits) {
            let own = if together { shared } else { phases(random) };
            let jerk = jerk_of(random, limit, track.end.0, share, own);
            track.push_move(own, jerk);
            if !together {
                track.push(random.below(30), 0.0);
            }
        }
    }
    let end_ms = tracks.iter().map(|track| track.end_ms).max().unwrap_or(0) + 1;
    let mut switches: Vec<u64> = tracks
        .iter()
        .flat_map(|track| track.stretches.iter().map(|stretch| stretch.0).chain([track.end_ms]))
        .chain([0, end_ms])
        .collect();
    switches.sort_unstable();
    switches.dedup();
    let longest_ms = random.within(8, 60) as usize;
    let mut times_ms: Vec<u64> = Vec::new();
    for pair in switches.windows(2) {
        times_ms.extend((pair[0]..pair[1]).step_by(longest_ms));
    }
    times_ms.push(end_ms);
    let torque = random.between(-1.0, 1.0);
    let row = |ms: &u64| tracks.iter().map(|track| knot_axis(track.at(*ms), torque)).collect();
    times_ms.iter().map(|ms| (*ms as f64 * 1e-3, row(ms))).collect()
}

fn phases(random: &mut Random) -> [u64; 3] {
    [random.within(3, 90), random.below(150), random.below(400)]
}

/// A curve that leaves and reaches rest softly: A·sin⁴(πt/T)·cos(ωt + φ) around the start.
struct Curve {
    duration_s: f64,
    omega_rad_s: f64,
    phase_rad: f64,
}

impl Curve {
    fn at(&self, t: f64) -> At {
        let slow = PI / self.duration_s;
        let (s, c) = (slow * t).sin_cos();
        let window = s.powi(4);
        let window_1 = 4.0 * s.powi(3) * c * slow;
        let window_2 = (12.0 * s * s * c * c - 4.0 * s.powi(4)) * slow * slow;
        let (sin, cos) = (self.omega_rad_s * t + self.phase_rad).sin_cos();
        let (wave, wave_1, wave_2) =
            (cos, -self.omega_rad_s * sin, -self.omega_rad_s * self.omega_rad_s * cos);
        (
            window * wave,
            window_1 * wave + window * wave_1,
            window_2 * wave + 2.0 * window_1 * wave_1 + window * wave_2,
        )
    }

    /// The largest amplitude within `share` of the limits and the room on both sides.
    fn amplitude(&self, limit: &AxisLimits, at: f64, share: f64) -> f64 {
        const SAMPLES: u32 = 2_000;
        let step_s = self.duration_s / f64::from(SAMPLES);
        let (mut p, mut v, mut a, mut j, mut before) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64, 0.0);
        for sample in 0..=SAMPLES {
            let point = self.at(f64::from(sample) * step_s);
            p = p.max(point.0.abs());
            v = v.max(point.1.abs());
            a = a.max(point.2.abs());
            if sample > 0 {
                j = j.max((point.2 - before).abs() / step_s);
            }
            before = point.2;
        }
        let room = room(limit, at, 1.0).min(room(limit, at, -1.0));
        (share * limit.velocity / v)
            .min(share * limit.acceleration / a)
            .min(share * limit.jerk / j)
            .min(room / p)
    }
}

fn smooth(
    random: &mut Random,
    limits: &[AxisLimits],
    start: &[f64],
    share: f64,
) -> Vec<(f64, Vec<KnotAxis>)> {
    let duration_s = random.within(800, 5_000) as f64 * 1e-3;
    let curves: Vec<(Curve, f64, f64)> = limits
        .iter()
        .zip(start)
        .map(|(limit, at)| {
            let curve = Curve {
                duration_s,
                omega_rad_s: random.between(0.2, 8.0),
                phase_rad: random.between(0.0, TAU),
            };
            let amplitude = curve.amplitude(limit, *at, share);
            (curve, amplitude, *at)
        })
        .collect();
    let step_ms = random.within(4, 25) as f64;
    let count = (duration_s * 1e3 / step_ms).ceil() as usize;
    (0..=count)
        .map(|index| {
            let t = duration_s * index as f64 / count as f64;
            let ends = index == 0 || index == count;
            let row = curves.iter().map(|(curve, amplitude, at)| {
                let (p, v, a) = if ends { (0.0, 0.0, 0.0) } else { curve.at(t) };
                knot_axis((at + amplitude * p, amplitude * v, amplitude * a), 0.0)
            });
            (t, row.collect())
        })
        .collect()
}
