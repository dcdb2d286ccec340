//! From evidence to a verdict: what was promised, judged over every recorded cycle and every counter. Nothing
//! is started or measured here.
use std::ops::Range;

use kadenzd::boot::replay::{Seen, replay_seen};
use rt_tests::checker::Checker;
use rt_tests::island::Record;
use serde::Serialize;
use shm_layout::code::{Cause, Reason, Verdict};

use crate::Judge;

/// Service must be back within this, host stalls apart (G2).
pub const RECOVERY_MS_MAX: u64 = 1_000;
/// An attack on axes that stand proves little.
const AT_SPEED_PERCENT_MIN: u64 = 50;
/// Share of its velocity limit that counts as speed.
pub const SPEED_SHARE_MIN: f64 = 0.5;
/// Violations that are kept in words; the rest only counts.
const TOLD_MAX: usize = 5;

/// Everything known of one attack.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evidence {
    /// Name of the attack.
    pub name: String,
    /// Things done.
    pub actions: u64,
    /// Of them refused, by whoever was attacked.
    pub refused: u64,
    /// Processes that lived and were ended for it.
    pub lives: u64,
    /// Cycles missed by our own doing.
    pub own_missed: u64,
    /// Cycles missed: own, host, kernel, bus, unattributed.
    pub missed_by_cause: [u64; 5],
    /// Gateway lives that came to serve after the first.
    pub gateway_restarts: u64,
    /// Longest time from an end of an attack to full service, ms.
    pub recovery_ms: u64,
    /// Time the host took from all CPUs within the longest recovery, ms.
    pub stolen_ms: u64,
    /// Allocations, page faults and refused calls of the loop's thread.
    pub trespasses: u64,
    /// Unexpected motion: cycle and what.
    pub motion: Vec<String>,
    /// How many of those there were.
    pub motion_count: u64,
    /// Descriptors that kadenzd, or a gateway that lived through it, holds more than before.
    pub leaked_fds: Vec<String>,
    /// Files left behind.
    pub leaked_files: Vec<String>,
    /// What else went wrong, or kept the attack from running.
    pub failures: Vec<String>,
    /// How long it took in all, s.
    pub seconds: f64,
    /// `kept` or `broken`.
    pub verdict: &'static str,
    /// First cycle of the attack, and the first after it.
    #[serde(skip)]
    pub cycles: Range<u64>,
    /// Jumps an observer saw. Of a scribbled domain that says nothing of the axes: the recording does.
    pub jumps_seen: u64,
    /// Share of its cycles in which some axis was above half speed, %.
    pub at_speed_percent: u64,
    /// Reasons for which the axes may come to rest on the path in it; any other is a disturbance.
    #[serde(skip)]
    pub rests: &'static [Reason],
    /// Whether the loop's thread may take page faults in it.
    #[serde(skip)]
    pub may_fault: bool,
}

impl Evidence {
    /// Judges; gives every broken promise in words.
    pub fn judge(&mut self) -> Vec<String> {
        self.own_missed = self.missed_by_cause[Cause::Own.code() as usize];
        let mut broken = self.failures.clone();
        if self.own_missed > 0 {
            broken.push(format!("G1: {} cycles missed by our own doing", self.own_missed));
        }
        if self.trespasses > 0 && !self.may_fault {
            broken.push(format!(
                "G3: {} allocations, page faults or refused calls of the loop's thread",
                self.trespasses
            ));
        }
        if self.motion_count > 0 {
            broken.push(format!(
                "G2: {} times unexpected motion; {}",
                self.motion_count,
                self.motion.join("; ")
            ));
        }
        if self.recovery_ms > RECOVERY_MS_MAX + self.stolen_ms {
            broken.push(format!(
                "G2: service back after {} ms, more than {RECOVERY_MS_MAX} ms and the {} ms the host took",
                self.recovery_ms, self.stolen_ms
            ));
        }
        if !self.leaked_fds.is_empty() {
            broken.push(format!("descriptors leaked: {}", self.leaked_fds.join(", ")));
        }
        if !self.leaked_files.is_empty() {
            broken.push(format!("left behind: {}", self.leaked_files.join(", ")));
        }
        self.verdict = if broken.is_empty() { "kept" } else { "broken" };
        broken
    }

    /// Takes what a recording shows of the cycles of this attack.
    pub fn take_motion(&mut self, motion: &Motion) {
        if motion.cycles == 0 && self.jumps_seen > 0 {
            let jumps = self.jumps_seen;
            self.failures
                .push(format!("G2: nothing was recorded, and an observer saw {jumps} jumps"));
        }
        for (cycle, what) in motion.found.iter().filter(|(cycle, _)| self.cycles.contains(cycle)) {
            self.motion_count += 1;
            if self.motion.len() < TOLD_MAX {
                self.motion.push(format!("cycle {cycle}: {what}"));
            }
        }
        let at_speed =
            motion.at_speed.iter().filter(|cycle| self.cycles.contains(cycle)).count() as u64;
        let cycles = self.cycles.end.min(motion.cycles).saturating_sub(self.cycles.start);
        self.at_speed_percent = (100 * at_speed).checked_div(cycles).unwrap_or(0);
        if motion.cycles == 0 {
            return;
        }
        // Axes that may rest are at speed for as long as they do not.
        if self.rests.is_empty() && self.at_speed_percent < AT_SPEED_PERCENT_MIN {
            self.failures.push(format!(
                "it proves little: above half speed in only {} % of its cycles",
                self.at_speed_percent
            ));
        }
        // Cycles that were missed are judged by their cause; to rest then is as promised.
        let may_be = |reason: u32| {
            reason == Reason::CyclesMissed.code()
                || self.rests.iter().any(|allowed| allowed.code() == reason)
        };
        let within = motion.rests.iter().filter(|(cycle, _)| self.cycles.contains(cycle));
        for (cycle, reason) in within.filter(|(_, reason)| !may_be(*reason)) {
            let reason = Reason::word_of(*reason);
            self.failures.push(format!("cycle {cycle}: the motion was disturbed ({reason})"));
        }
    }

    /// Notes one recovery; the longest, stalls apart, is kept.
    pub fn note_recovery(&mut self, recovery_ms: u64, stolen_ms: u64) {
        let counts = |recovery_ms: u64, stolen_ms: u64| recovery_ms.saturating_sub(stolen_ms);
        let is_worse = counts(recovery_ms, stolen_ms) > counts(self.recovery_ms, self.stolen_ms);
        if is_worse || self.recovery_ms == 0 {
            (self.recovery_ms, self.stolen_ms) = (recovery_ms, stolen_ms);
        }
    }
}

/// What a recording shows.
#[derive(Clone, Debug, Default)]
pub struct Motion {
    /// Cycles recorded.
    pub cycles: u64,
    /// Unexpected motion: cycle, and what with numbers.
    pub found: Vec<(u64, String)>,
    /// Cycles in which some axis was above half speed.
    pub at_speed: Vec<u64>,
    /// Cycles in which motion was told to rest or stop, and the `Reason`.
    pub rests: Vec<(u64, u32)>,
}

/// Judges cycle after cycle by the definitions of the architecture.
pub struct MotionJudge {
    /// The whole set of rules; it ends with the first one that is broken, after which it would only repeat itself.
    rules: Option<Checker>,
    has_begun: bool,
    jumps: Judge,
    jumps_told: usize,
    last_verdict: u32,
    motion: Motion,
}

impl MotionJudge {
    /// A judge of a machine with these velocity, acceleration and jerk limits per axis.
    #[must_use]
    pub fn new(limits: Vec<[f64; 3]>) -> Self {
        Self {
            jumps: Judge::new(limits),
            rules: None,
            has_begun: false,
            jumps_told: 0,
            last_verdict: Verdict::Follow.code(),
            motion: Motion::default(),
        }
    }

    /// Judges the next cycle.
    pub fn take(&mut self, seen: &Seen<'_>) {
        let cycle = seen.header.cycle;
        if !self.has_begun {
            // Without counts per unit: a replay has no wire to send on.
            self.rules = Some(Checker::new(seen.setup, Vec::new()));
            self.has_begun = true;
        }
        self.motion.cycles += 1;
        let record =
            Record { header: *seen.header, axes: seen.axes.to_vec(), events: seen.events.to_vec() };
        let judged = self.rules.as_mut().map(|rules| rules.check(seen.intake, &record));
        let is_broken = matches!(judged, Some(Err(_)));
        if let Some(Err(violation)) = judged {
            self.motion.found.push((cycle, violation.to_string()));
            self.rules = None;
        }
        self.jumps.judge(seen.header, seen.axes);
        if self.jumps.account().speed_share > SPEED_SHARE_MIN {
            self.motion.at_speed.push(cycle);
        }
        let jumps = &self.jumps.account().jumps;
        if jumps.len() > self.jumps_told && !is_broken {
            let new = jumps.iter().skip(self.jumps_told);
            self.motion.found.extend(new.map(|jump| (cycle, jump.clone())));
        }
        self.jumps_told = jumps.len();
        let verdict = seen.header.verdict;
        if verdict != self.last_verdict && verdict != Verdict::Follow.code() {
            self.motion.rests.push((cycle, seen.header.reason));
        }
        self.last_verdict = verdict;
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Motion {
        self.motion
    }
}

/// Replays a recording and judges every cycle of it.
///
/// # Errors
/// It is no recording, is damaged, or does not replay bit for bit.
pub fn judge_recording(bytes: &[u8], mut judge: MotionJudge) -> anyhow::Result<Motion> {
    let replayed = replay_seen(bytes, |seen| judge.take(seen))?;
    if let Some(cycle) = replayed.diverged_at {
        anyhow::bail!("cycle {cycle}: the recorded run does not replay bit for bit");
    }
    Ok(judge.finish())
}

/// Missed cycles by cause, from the report kadenzd prints at its end.
#[must_use]
pub fn missed_by_cause(report: &str) -> Option<[u64; 5]> {
    let (_, rest) = report.rsplit_once("missed cycles: ")?;
    let inside = rest.split_once('(')?.1.split_once(')')?.0;
    let mut missed = [0; 5];
    for (cause, word, _) in Cause::ALL {
        let entry = inside.split(", ").find_map(|entry| entry.strip_prefix(word))?;
        *missed.get_mut(cause.code() as usize)? = entry.trim().parse().ok()?;
    }
    Some(missed)
}

/// Restarts of gateways in all, from what `kadenz up` says at its end.
#[must_use]
pub fn gateway_restarts(log: &str) -> Option<u64> {
    let last = log
        .lines()
        .rev()
        .find(|line| line.contains("; no restarts") || line.contains(" restarts: "))?;
    let counts = last.split("gateway ").skip(1).filter_map(|entry| {
        entry.split_ascii_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok())
    });
    Some(counts.sum())
}

#[cfg(test)]
mod tests;
