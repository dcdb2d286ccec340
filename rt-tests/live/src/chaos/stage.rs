//! A running machine with axes at speed, and what a person and a rig do with it between attacks.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kadenz_link::Operate;
use kadenz_link::clock::now_ns;
use kadenz_link::paths::{RuntimeDir, Token};
use nix::unistd::Pid;
use shm_layout::code::{Phase, RequestKind, Role, state_flag};

use super::epochs::Epochs;
use super::ground::Ground;
use super::leaks::{self, Descriptors};
use super::sight::{Observer, Sight, Stolen, wait_for};
use super::verdict::{
    Evidence, Motion, MotionJudge, SPEED_SHARE_MIN, gateway_restarts, judge_recording,
    missed_by_cause,
};
use crate::{Set, SetOptions, binary};

/// Guard against waiting for ever; never a measure of anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Until missed cycles have been given a cause, and connections that were cut off are gone.
const SETTLE: Duration = Duration::from_secs(5);
/// Longest that a record, or a batch of knots, is under way, ns.
const UNDER_WAY_NS: u64 = 10_000_000;
/// Looks at open descriptors, 15 ms apart: longer than a canary's visit.
const LOOKS: usize = 10;

/// A trajectory in which, between its ends, some axis is always above half speed: two axes a quarter turn apart.
#[must_use]
pub fn steady_csv(duration_s: f64) -> String {
    let mut csv = "t_s,j1_rad,j2_rad,j3_rad,j4_rad,j5_rad,j6_rad\n".to_owned();
    let (step_s, ramp_s, omega) = (0.02, 1.5, 3.5);
    let mut row = 0_u32;
    loop {
        let t_s = f64::from(row) * step_s;
        if t_s > duration_s {
            return csv;
        }
        let u = (t_s / ramp_s).min(1.0).min((duration_s - t_s) / ramp_s).max(0.0);
        // Rises and falls with velocity and acceleration zero at both ends.
        let envelope = u.powi(3) * (10.0 - 15.0 * u + 6.0 * u * u);
        let (sine, cosine) = (omega * t_s).sin_cos();
        let slow = envelope * (omega * 0.5 * t_s).sin();
        // Writing to a String cannot fail.
        let _ = writeln!(
            csv,
            "{t_s:.2},{:.9},{:.9},{:.9},{:.9},{:.9},{:.9}",
            0.65 * envelope * sine,
            0.4 * slow,
            -0.5 * envelope * sine,
            0.8 * slow,
            -0.7 * slow,
            0.98 * envelope * cosine
        );
        row += 1;
    }
}

/// How a stage differs from the ordinary one.
#[derive(Clone, Debug, Default)]
pub struct Scenery {
    /// Another copy of `kadenz`.
    pub program: Option<PathBuf>,
    /// A machine file instead of the embedded arm.
    pub machine: Option<PathBuf>,
    /// Folder of the recordings, when it is not the stage's own.
    pub recordings: Option<PathBuf>,
    /// Processes left out of the set.
    pub without: Vec<String>,
}

/// Counters of the machine at one instant.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    sight: Sight,
    jumps: u64,
    descriptors: Descriptors,
    restarts: u64,
}

/// The running machine.
pub struct Stage {
    /// The set.
    pub set: Set,
    /// Who looks at it.
    pub observer: Observer,
    epochs: Epochs,
    file: PathBuf,
    inputs: PathBuf,
    before: BTreeSet<String>,
}

/// How a stage ended.
pub struct Curtain {
    /// Missed cycles by cause, by kadenzd's own report.
    pub missed_by_cause: [u64; 5],
    /// Restarts of gateways, by `kadenz up`'s own report.
    pub gateway_restarts: u64,
    /// What its recording shows.
    pub motion: Motion,
    /// Files left behind.
    pub leaked_files: Vec<String>,
}

impl Stage {
    /// Starts a machine in the runtime directory called `name` and enables it.
    ///
    /// # Errors
    /// It does not start, in words.
    pub fn start(ground: &Ground, name: &str, scenery: &Scenery) -> anyhow::Result<Self> {
        let out = ground.out.join(name);
        fs::create_dir_all(&out)?;
        let before = leaks::shared_memory();
        let dir = runtime_dir(name)?;
        let recordings = scenery.recordings.clone().unwrap_or_else(|| out.clone());
        let inputs = recordings.join("inputs.kdzrec");
        let machine = scenery.machine.as_ref().map(|file| file.display().to_string());
        let program = scenery.program.clone().map_or_else(|| binary("kadenz"), Ok)?;
        let options = SetOptions {
            machine: machine.unwrap_or_else(|| "demo-arm".to_owned()),
            dir: dir.clone(),
            out: recordings,
            record: Some(inputs.clone()),
            without: scenery.without.clone(),
        };
        let set = Set::start_program(&program, options)?;
        let file = out.join("steady.csv");
        fs::write(&file, steady_csv(if ground.brief { 90.0 } else { 240.0 }))?;
        let observer = Observer::start(&dir)?;
        let mut stage = Self { set, observer, epochs: Epochs::watch(&dir)?, file, inputs, before };
        stage.until("the first record", |sight| Ok(sight.cycle > 0))?;
        crate::kills::enable(&stage.set)?;
        Ok(stage)
    }

    /// The runtime directory.
    #[must_use]
    pub const fn dir(&self) -> &RuntimeDir {
        self.set.dir()
    }

    /// The announced epoch of `role`, once there is one.
    ///
    /// # Errors
    /// None is announced for a minute.
    pub fn epoch(&self, role: Role) -> anyhow::Result<Token> {
        wait_for(PATIENCE, || self.dir().read_epoch(role).ok().flatten())
            .with_context(|| format!("no epoch of role {} was announced", role.word()))
    }

    /// The process of the set with these words in its command line, once it runs.
    ///
    /// # Errors
    /// It does not run for a minute.
    pub fn process(&self, words: &[&str]) -> anyhow::Result<Pid> {
        wait_for(PATIENCE, || self.set.pids(words).first().copied())
            .with_context(|| format!("{words:?} does not run\n{}", self.last_words()))
    }

    /// Waits until `done` with a sight from after this call.
    ///
    /// # Errors
    /// What `done` says; or it takes a minute, with what was seen last.
    pub fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Sight) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Sight> {
        let begun_ns = now_ns();
        let begun = Instant::now();
        loop {
            if let Some(sight) = self.observer.since(begun_ns)
                && done(&sight)?
            {
                return Ok(sight);
            }
            if !self.set.is_alive() {
                bail!("waiting for {what}: the set has ended\n{}", self.last_words());
            }
            if begun.elapsed() > PATIENCE {
                let seen = self.observer.newest().map(|sight| sight.in_words());
                bail!("waited a minute for {what}; seen last: {seen:?}\n{}", self.last_words());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// As a person would: clears what stopped the machine, starts or resumes the path, waits until an axis is
    /// above half speed.
    ///
    /// # Errors
    /// It does not get there.
    pub fn speed_up(&mut self) -> anyhow::Result<Sight> {
        let begun = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let sight = self.until("a look at the machine", |_| Ok(true))?;
            let complete = sight.flags & state_flag::PATH_COMPLETE != 0;
            if !complete && sight.path_rate >= 1.0 && sight.speed_share > SPEED_SHARE_MIN {
                return Ok(sight);
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "not at speed after a minute: {}",
                sight.in_words()
            );
            // What was asked needs a moment to show.
            if asked.is_none_or(|asked| asked.elapsed() > Duration::from_millis(500)) {
                asked = self.ask_for_motion(&sight)?.then(Instant::now);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask_for_motion(&self, sight: &Sight) -> anyhow::Result<bool> {
        let at_rest = sight.flags & state_flag::AT_REST != 0;
        let arguments: &[&str] = match Phase::try_from(sight.phase) {
            Ok(Phase::Disabled | Phase::Stopped) => &["enable"],
            Ok(Phase::Moving | Phase::Standstill) if sight.reason != 0 && at_rest => &["resume"],
            Ok(Phase::Standstill) if sight.path_id == 0 => {
                &["run", "--detach", &self.file.to_string_lossy()]
            }
            _ => return Ok(false),
        };
        // Refused for now is asked again: the planner may not be back yet.
        Ok(self.set.kadenz(arguments)?.status.success())
    }

    /// Waits until every role serves: fresh records, an answer of the loop, a source that is heard. Gives how
    /// long that took and how much of it the host had taken away, both in ms.
    ///
    /// # Errors
    /// It takes a minute.
    pub fn recover(&mut self) -> anyhow::Result<(u64, u64)> {
        let (begun, stolen) = (Instant::now(), Stolen::now());
        // What was under way when the attack ended is no sign of life.
        let since_ns = now_ns() + UNDER_WAY_NS;
        let answers = |stage: &Self| {
            let deadline = Duration::from_millis(200);
            let mut operate = Operate::connect(stage.dir()).ok()?;
            operate.request(RequestKind::Override, 1.0, deadline).ok()
        };
        let lost = |what: &str, stage: &Self| {
            let seen = stage.observer.newest().map(|sight| sight.in_words());
            format!("{what} not back within a minute; seen last: {seen:?}\n{}", stage.last_words())
        };
        wait_for(PATIENCE, || answers(self)).with_context(|| lost("role operate is", self))?;
        let is_heard = |sight: &Sight| sight.has_source() && sight.heard_ns > since_ns;
        wait_for(PATIENCE, || self.observer.since(since_ns).filter(is_heard))
            .with_context(|| lost("roles view and plan are", self))?;
        let took_ms = u64::try_from(begun.elapsed().as_millis())?;
        Ok((took_ms, stolen.since_ms()))
    }

    /// The processes that serve; clients of the set open and close files as they please.
    fn servers(&self) -> Vec<Pid> {
        let mut pids = self.set.pids(&["kadenzd"]);
        pids.extend(self.set.pids(&["kadenz-gateway"]));
        pids
    }

    /// What the servers have open when they do nothing else: the least of several looks, since a gateway's canary
    /// joins its domain for a moment ten times a second.
    fn descriptors(&self) -> Descriptors {
        let servers = self.servers();
        let mut least = leaks::descriptors(&servers);
        for _ in 0..LOOKS {
            thread::sleep(Duration::from_millis(15));
            for (pid, now) in leaks::descriptors(&servers) {
                if least.get(&pid).is_some_and(|then| now.len() < then.len()) {
                    least.insert(pid, now);
                }
            }
        }
        least
    }

    /// Counters now, once every missed cycle has a cause.
    ///
    /// # Errors
    /// There are none.
    pub fn tally(&mut self) -> anyhow::Result<Tally> {
        let settled = wait_for(SETTLE, || {
            let sight = self.observer.since(now_ns() - 300_000_000)?;
            (sight.missed_by_cause.iter().sum::<u64>() == sight.missed).then_some(sight)
        });
        let sight = match settled {
            Some(sight) => sight,
            None => self.until("counters of the loop", |_| Ok(true))?,
        };
        Ok(Tally {
            sight,
            jumps: self.observer.jumps(),
            descriptors: self.descriptors(),
            restarts: self.epochs.changes(),
        })
    }

    /// Writes into `evidence` what has changed since `before`.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub fn settle(&mut self, before: &Tally, evidence: &mut Evidence) -> anyhow::Result<()> {
        // Cut-off connections are let go within a second or two; canaries come and go meanwhile.
        let leaked = |stage: &Self| {
            leaks::more_descriptors(&before.descriptors, &leaks::descriptors(&stage.servers()))
        };
        let none = wait_for(SETTLE, || leaked(self).is_empty().then_some(()));
        evidence.leaked_fds = none.map_or_else(|| leaked(self), |()| Vec::new());
        // Late wake-ups of the attack's last moment are judged within 100 ms.
        let from = self.until("a look at the machine", |_| Ok(true))?.cycle;
        self.until("200 more cycles", |sight| Ok(sight.cycle > from + 200))?;
        let after = self.tally()?;
        for (slot, (now, then)) in evidence
            .missed_by_cause
            .iter_mut()
            .zip(after.sight.missed_by_cause.iter().zip(before.sight.missed_by_cause))
        {
            *slot = now - then;
        }
        evidence.trespasses = after.sight.trespasses - before.sight.trespasses;
        evidence.refused += after.sight.refused.saturating_sub(before.sight.refused);
        evidence.gateway_restarts = after.restarts - before.restarts;
        evidence.jumps_seen = after.jumps - before.jumps;
        evidence.cycles = before.sight.cycle..after.sight.cycle;
        Ok(())
    }

    /// Ends the machine in order and judges its recording, unless there is none to be had.
    ///
    /// # Errors
    /// It does not end in order, or leaves no report or recording.
    pub fn end(self, recorded: bool) -> anyhow::Result<Curtain> {
        let Self { set, observer, epochs, inputs, before, .. } = self;
        let dir = set.dir().clone();
        set.must(&["disable"])?;
        drop(observer);
        drop(epochs);
        let said = set.end_and_tell()?;
        let motion = if recorded { judge_arm(&inputs)? } else { Motion::default() };
        Ok(Curtain {
            missed_by_cause: missed_by_cause(&said)
                .context("kadenzd's report names no missed cycles by cause")?,
            gateway_restarts: gateway_restarts(&said)
                .context("`kadenz up` does not say how often it restarted what")?,
            motion,
            leaked_files: leaks::left_since(&before, dir.as_path()),
        })
    }

    /// The recording of inputs.
    #[must_use]
    pub const fn inputs(&self) -> &PathBuf {
        &self.inputs
    }

    /// The end of the set's log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = self.set.log();
        let lines: Vec<&str> = log.lines().rev().take(25).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The runtime directory of a stage. Short: an epoch's names must fit a socket.
///
/// # Errors
/// Never.
pub fn runtime_dir(name: &str) -> anyhow::Result<RuntimeDir> {
    Ok(RuntimeDir::at(format!("{}/kdz{}-{name}", leaks::SHM_DIR, std::process::id()))?)
}

/// Judges the recording at `path` of a machine with the axes of the embedded arm.
///
/// # Errors
/// It cannot be read or does not replay.
pub fn judge_arm(path: &std::path::Path) -> anyhow::Result<Motion> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let judge = MotionJudge::new(crate::arm_limits()?);
    judge_recording(&bytes, judge).with_context(|| path.display().to_string())
}
