//! Proofs of the choice of path rate: whatever the source and the operator do, nothing jumps and
//! the axes can always stop on the path.

use super::super::admission::{Knot, Refusal};
use super::super::axis::AxisReference;
use super::super::path::{Path, Stretch};
use super::super::ramp::Rate;
use super::super::rate::PathRate;
use super::std::{self, boxed::Box, vec::Vec};
use super::{DT_S, LIMITS, Plan, Seeded, jump, random_plan};

const AXES: usize = 3;
const STOP_S_MAX: f64 = 10.0;
const KNOTS_PER_PERIOD: usize = 8;

/// A loop with one source: the path, its rate and the references sent last.
struct Rig {
    plan: Plan,
    sent: usize,
    path: Box<Path>,
    rate: PathRate,
    refs: [AxisReference; AXES],
    cycle: u64,
    label: std::string::String,
}

impl Rig {
    fn new(plan: Plan, label: std::string::String) -> Self {
        let mut path = Box::new(Path::new());
        let mut refs = [AxisReference::default(); AXES];
        for (reference, knot) in refs.iter_mut().zip(&plan[0].1) {
            *reference = AxisReference::from(knot);
        }
        let first = Knot { tau_s: plan[0].0, trace_id: 0, is_final: false, axes: &plan[0].1 };
        path.begin(1, &first, &refs).unwrap();
        Self { plan, sent: 1, path, rate: PathRate::at_rest(0.0), refs, cycle: 0, label }
    }

    /// Offers the knots up to path time `until_s`, as many as a period takes.
    fn offer(&mut self, until_s: f64) {
        for _ in 0..KNOTS_PER_PERIOD {
            let Some((tau_s, axes)) = self.plan.get(self.sent) else { return };
            if *tau_s > until_s {
                return;
            }
            let is_final = self.sent + 1 == self.plan.len();
            let knot = Knot { tau_s: *tau_s, trace_id: self.sent as u64, is_final, axes };
            match self.path.admit(&knot, &[LIMITS; AXES], STOP_S_MAX) {
                Ok(()) => self.sent += 1,
                Err(Refusal::Full) => return,
                Err(refusal) => panic!("{}: {refusal:?}", self.label),
            }
        }
    }

    /// One period; no reference may jump, s stays in [0, 1] and τ before the horizon.
    fn run(&mut self, target: f64) {
        let (before, tau_s) = (self.refs, self.rate.tau_s());
        let was_at_rest = self.rate.is_at_rest() && target == 0.0;
        let (was, ahead) = (self.rate.rate(), self.path.ahead(tau_s).collect::<Vec<_>>());
        self.rate.next(&mut self.path, target, DT_S);
        self.path.evaluate(self.rate.tau_s(), self.rate.rate(), &mut self.refs);
        self.cycle += 1;
        let place = std::format!("{} cycle {}", self.label, self.cycle);
        assert_eq!(jump(&before, &self.refs, &LIMITS, DT_S), None, "{place}");
        self.assert_within_bounds(was, &ahead, &place);
        let s = self.rate.rate().value;
        assert!((0.0..=1.0).contains(&s), "{place}: s {s}");
        assert!(self.rate.tau_s() >= tau_s, "{place}: path time runs back");
        if was_at_rest {
            assert_eq!((self.rate.tau_s(), self.refs), (tau_s, before), "{place}: moved at rest");
        }
        let last_s = self.path.last_tau_s().unwrap();
        let inside = self.path.is_complete() || self.rate.tau_s() <= last_s + 1e-12;
        assert!(inside, "{place}: past the horizon");
    }

    /// ṡ keeps to the segment it is on now, and changed by no more than the segments crossed allow.
    fn assert_within_bounds(&self, was: Rate, ahead: &[Stretch], place: &str) {
        let (now, tau_s) = (self.rate.rate(), self.rate.tau_s());
        let passed = ahead.iter().take_while(|stretch| stretch.end_tau_s <= tau_s).count();
        let crossed = &ahead[..(passed + 1).min(ahead.len())];
        let Some(here) = crossed.last() else { return };
        let slope = now.slope.abs();
        assert!(slope <= here.bounds.slope * (1.0 + 1e-9), "{place}: {now:?} on {here:?}");
        let curvature = crossed.iter().fold(0.0_f64, |most, s| most.max(s.bounds.curvature));
        let change = (now.slope - was.slope).abs();
        assert!(change <= curvature * DT_S * (1.0 + 1e-9), "{place}: {was:?} {now:?} {crossed:?}");
    }

    fn is_standing(&self) -> bool {
        self.refs.iter().all(|r| r.velocity == 0.0 && r.acceleration == 0.0)
    }

    fn assert_at_final_pose(&self) {
        let last = &self.plan.last().unwrap().1;
        let pose: Vec<_> = last.iter().map(AxisReference::from).collect();
        assert_eq!(self.refs.as_slice(), pose.as_slice(), "{}", self.label);
    }
}

fn random_target(random: &mut Seeded) -> f64 {
    match random.below(4) {
        0 => 0.0,
        1 => 1.0,
        _ => random.between(0.0, 1.0),
    }
}

fn label(seed: u64) -> std::string::String {
    std::format!("seed {seed}")
}

#[test]
fn a_complete_path_is_followed_at_full_rate_to_its_exact_final_pose() {
    for seed in 0..40 {
        let plan = random_plan(&mut Seeded::new(seed), AXES, 3, (0.8, 0.8));
        let end_s = plan.last().unwrap().0;
        let mut rig = Rig::new(plan, label(seed));
        for _ in 0..((end_s / DT_S) as u64 + 1500) {
            rig.offer(f64::INFINITY);
            rig.run(1.0);
        }
        rig.assert_at_final_pose();
    }
}

#[test]
fn nothing_jumps_under_random_holds_overrides_and_late_knots() {
    for seed in 0..120 {
        let mut random = Seeded::new(seed);
        let shares = if random.chance(50) { (0.8, 0.8) } else { (0.1, 0.95) };
        let plan = random_plan(&mut random, AXES, 4, shares);
        let end_s = plan.last().unwrap().0;
        let mut rig = Rig::new(plan, label(seed));
        let (mut target, mut lead_s, mut changes) = (1.0, 1.0, 0);
        // BOUND: the end, or three minutes of machine time.
        while rig.rate.tau_s() < end_s && rig.cycle < 180_000 {
            if random.below(150) == 0 {
                changes += 1;
                target = if changes < 40 { random_target(&mut random) } else { 1.0 };
            }
            if random.below(100) == 0 {
                lead_s = if changes < 40 { random.between(0.0, 1.5) } else { 3.0 };
            }
            rig.offer(rig.rate.tau_s() + lead_s);
            rig.run(target);
        }
        assert!(rig.rate.tau_s() >= end_s, "seed {seed}: stuck at {}", rig.rate.tau_s());
        rig.run(1.0);
        rig.assert_at_final_pose();
    }
}

#[test]
fn a_source_that_dies_at_any_instant_ends_at_rest_on_the_path_and_may_return() {
    for seed in 0..150 {
        let mut random = Seeded::new(seed);
        let plan = random_plan(&mut random, AXES, 3, (0.8, 0.8));
        let end_s = plan.last().unwrap().0;
        let mut rig = Rig::new(plan, label(seed));
        let dies_s = random.between(0.0, end_s);
        let lead_s = random.between(0.2, 1.0);
        for _ in 0..((end_s / DT_S) as u64 + 8000) {
            rig.offer(dies_s.min(rig.rate.tau_s() + lead_s));
            rig.run(1.0);
        }
        assert!(rig.path.is_complete() || rig.rate.is_at_rest(), "seed {seed}: still moving");
        assert!(rig.is_standing(), "seed {seed}");
        assert!(rig.path.is_complete() || rig.rate.is_starved(), "seed {seed}");
        for _ in 0..((end_s / DT_S) as u64 + 8000) {
            rig.offer(f64::INFINITY);
            rig.run(1.0);
        }
        rig.assert_at_final_pose();
    }
}

#[test]
fn a_hold_stops_path_time_and_a_resume_goes_on() {
    for seed in 0..60 {
        let mut random = Seeded::new(seed);
        let plan = random_plan(&mut random, AXES, 2, (0.8, 0.8));
        let end_s = plan.last().unwrap().0;
        let mut rig = Rig::new(plan, label(seed));
        let hold_s = random.between(0.1, 0.9) * end_s;
        while rig.rate.tau_s() < hold_s {
            rig.offer(f64::INFINITY);
            rig.run(1.0);
        }
        let before_s = rig.rate.tau_s();
        let mut periods = 0;
        while !rig.rate.is_at_rest() {
            rig.run(0.0);
            periods += 1;
            assert!(periods < 3000, "seed {seed}: does not stop");
        }
        assert!(rig.rate.tau_s() - before_s < 0.6, "seed {seed}: {}", rig.rate.tau_s() - before_s);
        for _ in 0..100 {
            rig.run(0.0);
        }
        while rig.rate.tau_s() < end_s {
            rig.run(1.0);
            assert!(rig.cycle < 20_000, "seed {seed}: does not resume");
        }
        rig.run(1.0);
        rig.assert_at_final_pose();
    }
}

#[test]
fn too_short_a_horizon_is_waited_out_at_rest_and_never_dithered_over() {
    let plan = random_plan(&mut Seeded::new(5), AXES, 14, (0.8, 0.8));
    let mut rig = Rig::new(plan, label(5));
    for _ in 0..2000 {
        rig.offer(0.02);
        rig.run(1.0);
        assert!(rig.rate.is_starved() && rig.rate.is_at_rest());
    }
    // A source at half speed, knot by knot: axes run, stop and wait, but never in short spurts.
    let mut turns = 0;
    let mut rising = false;
    for period in 0..6000_u64 {
        rig.offer(0.5 * DT_S * period as f64);
        let s = rig.rate.rate().value;
        rig.run(1.0);
        let change = rig.rate.rate().value - s;
        if change != 0.0 && (change > 0.0) != rising {
            rising = change > 0.0;
            turns += 1;
        }
    }
    assert!(turns <= 20, "{turns} turns");
}

#[test]
fn without_a_path_nothing_happens() {
    let mut path = Box::new(Path::new());
    let mut rate = PathRate::at_rest(0.5);
    for target in [1.0, 0.0, f64::NAN] {
        rate.next(&mut path, target, DT_S);
        assert!(rate.is_at_rest() && rate.tau_s() == 0.5);
    }
}
