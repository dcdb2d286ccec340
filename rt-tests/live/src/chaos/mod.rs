//! Hostile and dying clients against a real machine at speed: the order of a run, from the table to the verdict.
//!
//! Each attack draws what it does from the seed and its own name. After each, the counters of the loop, every
//! recorded cycle, descriptors and files are judged; see `verdict`.

pub mod ground;
mod leaks;
pub mod sight;
mod verdict;
mod epochs;
mod stage;
mod crowd;
mod table;
pub mod client;
mod reach;
mod lives;
mod floods;
mod strangers;
mod domains;
mod gateways;
mod daemons;
mod roles;
mod full;
mod host;

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use rt_tests::random::Random;
use serde_json::{Value, json};

pub use ground::Ground;
use stage::{Curtain, Scenery, Stage};
use table::Run;
pub use table::{ATTACKS, Attack};
pub use verdict::Evidence;
use verdict::Motion;

/// What an attack draws from and writes down.
pub struct Hand<'a> {
    /// Where it takes place.
    pub ground: &'a Ground,
    /// Its own random numbers.
    pub random: Random,
    /// What is known of it.
    pub evidence: Evidence,
    /// Cycles judged, and restarts of gateways, on machines of its own.
    cycles: u64,
    gateway_restarts: u64,
}

impl<'a> Hand<'a> {
    fn new(ground: &'a Ground, attack: &Attack) -> Self {
        let evidence = Evidence {
            name: attack.name.into(),
            rests: attack.rests,
            may_fault: attack.may_fault,
            ..Evidence::default()
        };
        let random = Random::stream(ground.seed, attack.name);
        Self { ground, random, evidence, cycles: 0, gateway_restarts: 0 }
    }

    /// Counts `count` things done, of which `refused` were refused.
    pub fn did(&mut self, count: u64, refused: u64) {
        self.evidence.actions += count;
        self.evidence.refused += refused;
    }

    /// Waits until everything serves again, and notes how long that took.
    ///
    /// # Errors
    /// It does not come back.
    pub fn recover(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let (took_ms, stolen_ms) = stage.recover()?;
        self.evidence.note_recovery(took_ms, stolen_ms);
        Ok(())
    }

    /// Notes that something was not as promised.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.evidence.failures.push(what.into());
    }

    /// Takes a whole life of a daemon into the evidence.
    pub fn take_life(&mut self, motion: &Motion, missed_by_cause: [u64; 5]) {
        self.cycles += motion.cycles;
        self.evidence.cycles = 0..u64::MAX;
        self.evidence.take_motion(motion);
        for (sum, missed) in self.evidence.missed_by_cause.iter_mut().zip(missed_by_cause) {
            *sum += missed;
        }
    }

    /// Takes the end of a machine that was this attack's own into the evidence.
    pub fn take_curtain(&mut self, curtain: Curtain) {
        self.gateway_restarts += curtain.gateway_restarts;
        self.evidence.leaked_files.extend(curtain.leaked_files);
        self.evidence.missed_by_cause = [0; 5];
        self.take_life(&curtain.motion, curtain.missed_by_cause);
    }
}

/// What a whole run found.
pub struct Outcome {
    /// One per attack, in order.
    pub evidence: Vec<Evidence>,
    /// Broken promises, in words.
    pub broken: Vec<String>,
    /// Restarts of gateways in all.
    pub gateway_restarts: u64,
    /// Cycles judged.
    pub cycles: u64,
    seed: u64,
    took_s: f64,
}

impl Outcome {
    /// The outcome for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let sum = |of: fn(&Evidence) -> u64| self.evidence.iter().map(of).sum::<u64>();
        json!({
            "schema_version": 1,
            "seed": self.seed,
            "seconds": self.took_s,
            "cycles": self.cycles,
            "lives": sum(|one| one.lives),
            "actions": sum(|one| one.actions),
            "refused": sum(|one| one.refused),
            "own_missed_cycles": sum(|one| one.own_missed),
            "unexpected_motion": sum(|one| one.motion_count),
            "leaked_files": sum(|one| one.leaked_files.len() as u64),
            "leaked_fds": sum(|one| one.leaked_fds.len() as u64),
            "gateway_restarts": self.gateway_restarts,
            "recovery_ms_max": self.evidence.iter().map(|one| one.recovery_ms).max().unwrap_or(0),
            "attacks": self.evidence,
            "broken": self.broken,
        })
    }
}

/// Carries out `attacks`, in their order; prints a line for each.
///
/// # Errors
/// The rig itself fails; broken promises are in the outcome.
pub fn run(ground: &Ground, attacks: &[&Attack]) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    fs::create_dir_all(&ground.out)?;
    let mut outcome = Outcome {
        evidence: Vec::new(),
        broken: Vec::new(),
        gateway_restarts: 0,
        cycles: 0,
        seed: ground.seed,
        took_s: 0.0,
    };
    let is_shared = |attack: &&&Attack| matches!(attack.run, Run::Shared(_));
    let shared: Vec<&Attack> = attacks.iter().filter(is_shared).copied().collect();
    let mut number = 0;
    let mut rest = shared.as_slice();
    while !rest.is_empty() {
        number += 1;
        let done = act(ground, &format!("s{number}"), rest, &mut outcome);
        rest = rest.get(done..).unwrap_or_default();
    }
    for attack in attacks.iter().filter(|attack| !is_shared(attack)) {
        let mut hand = Hand::new(ground, attack);
        let begun = Instant::now();
        if let Run::Alone(run) = attack.run
            && may_run(&mut hand, attack)
            && let Err(error) = run(&mut hand)
        {
            hand.fail(format!("{error:#}"));
        }
        hand.evidence.seconds = begun.elapsed().as_secs_f64();
        outcome.gateway_restarts += hand.gateway_restarts;
        outcome.cycles += hand.cycles;
        conclude(hand.evidence, &mut outcome);
    }
    outcome.took_s = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

fn may_run(hand: &mut Hand<'_>, attack: &Attack) -> bool {
    let may = hand.ground.is_root || !attack.needs_root;
    if !may {
        hand.fail(format!(
            "not runnable: it changes mounts, users or clocks and we are not root; run as root, or \
             leave it out: --without {}",
            attack.name
        ));
    }
    may
}

/// One machine and the attacks on it, until one of them breaks it or all are done; gives how many were carried out.
fn act(ground: &Ground, name: &str, attacks: &[&Attack], outcome: &mut Outcome) -> usize {
    let mut done: Vec<Evidence> = Vec::new();
    let mut stage = match Stage::start(ground, name, &Scenery::default()) {
        Ok(stage) => stage,
        Err(error) => {
            // Nothing can be said of any of them.
            let mut why = format!("the machine does not start: {error:#}");
            for attack in attacks {
                let mut hand = Hand::new(ground, attack);
                hand.fail(std::mem::replace(&mut why, "as above".to_owned()));
                conclude(hand.evidence, outcome);
            }
            return attacks.len();
        }
    };
    let mut broke = None;
    for attack in attacks {
        let mut hand = Hand::new(ground, attack);
        if may_run(&mut hand, attack)
            && let Err(error) = one(&mut stage, attack, &mut hand)
        {
            hand.fail(format!("{error:#}"));
            broke = Some(());
        }
        done.push(hand.evidence);
        if broke.is_some() {
            break;
        }
    }
    let count = done.len();
    let inputs = stage.inputs().clone();
    match stage.end(true) {
        Ok(curtain) => draw(curtain, &mut done, outcome),
        Err(error) => {
            // What was recorded up to then still counts.
            let motion = stage::judge_arm(&inputs);
            if let Some(last) = done.last_mut() {
                last.failures.push(format!("the machine did not end in order: {error:#}"));
            }
            for evidence in &mut done {
                match &motion {
                    Ok(motion) => evidence.take_motion(motion),
                    Err(error) => evidence.failures.push(format!("not judged: {error:#}")),
                }
            }
        }
    }
    for evidence in done {
        conclude(evidence, outcome);
    }
    count
}

/// One attack on a machine at speed, and what it cost.
fn one(stage: &mut Stage, attack: &Attack, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let Run::Shared(run) = attack.run else { return Ok(()) };
    let begun = Instant::now();
    stage.speed_up()?;
    let before = stage.tally()?;
    run(stage, hand)?;
    hand.recover(stage)?;
    stage.settle(&before, &mut hand.evidence)?;
    hand.evidence.seconds = begun.elapsed().as_secs_f64();
    Ok(())
}

/// What the end of a machine shows of each attack on it.
fn draw(curtain: Curtain, done: &mut [Evidence], outcome: &mut Outcome) {
    outcome.gateway_restarts += curtain.gateway_restarts;
    outcome.cycles += curtain.motion.cycles;
    for evidence in &mut *done {
        evidence.take_motion(&curtain.motion);
        if evidence.cycles.end > curtain.motion.cycles {
            evidence.failures.push("the recording of inputs ends before the attack".to_owned());
        }
    }
    let judged: BTreeSet<u64> = done
        .iter()
        .flat_map(|one| curtain.motion.found.iter().filter(|(cycle, _)| one.cycles.contains(cycle)))
        .map(|(cycle, _)| *cycle)
        .collect();
    let own: u64 = done.iter().map(|one| one.missed_by_cause[0]).sum();
    if let Some(last) = done.last_mut() {
        last.leaked_files = curtain.leaked_files;
        // Between two attacks, at start and at the end nothing may happen either.
        for (cycle, what) in
            curtain.motion.found.iter().filter(|(cycle, _)| !judged.contains(cycle))
        {
            last.motion_count += 1;
            last.motion.push(format!("cycle {cycle}, outside the attacks: {what}"));
        }
        last.missed_by_cause[0] += curtain.missed_by_cause[0].saturating_sub(own);
    }
}

fn conclude(mut evidence: Evidence, outcome: &mut Outcome) {
    let broken = evidence.judge();
    println!(
        "{:15} {:7} actions {:7} refused {:4} lives  missed {:?}  restarts {:3}  back in {:4} ms  speed {:3} %  {:5.1} s  {}",
        evidence.name,
        evidence.actions,
        evidence.refused,
        evidence.lives,
        evidence.missed_by_cause,
        evidence.gateway_restarts,
        evidence.recovery_ms,
        evidence.at_speed_percent,
        evidence.seconds,
        evidence.verdict
    );
    for words in broken {
        println!("{:15} {words}", "");
        outcome.broken.push(format!("{}: {words}", evidence.name));
    }
    outcome.evidence.push(evidence);
}
