//! The set of processes as one state machine: in what order they start, who is started again, in what
//! order they end. A pass never waits for a child; time and what was said are arguments.
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use super::member::{Duty, Member, Spec};
use super::notify::Said;
use super::pulse::OwnPasses;

const MS: u64 = 1_000_000;
/// kadenzd maps and locks its memory before it accepts; a host that swaps needs a while.
const ACCEPT_NS_MAX: u64 = 30_000 * MS;
/// A stop on the path from full speed, and torque off, take less.
const DAEMON_END_NS_MAX: u64 = 10_000 * MS;
/// Gateways end by themselves when kadenzd has ended, after their last pass.
const GATEWAYS_END_NS_MAX: u64 = 300 * MS;
/// Finishing a recording is a write of some MB.
const LOGGER_END_NS_MAX: u64 = 5_000 * MS;
/// Everybody else only has sockets to close.
const REST_END_NS_MAX: u64 = 2_000 * MS;
/// Who really wants everything killed, and axes left to their drives, asks later than this.
const ECHO_NS_MAX: u64 = 500 * MS;
/// From this restart on only every power of two is told.
const RESTARTS_TOLD_EACH: u64 = 4;

/// Where the set stands; stages only rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// kadenzd has been started and does not accept yet.
    Daemon,
    /// Gateways have been started, not all are ready.
    Gateways,
    /// Everything has been started.
    Serving,
    /// kadenzd has been asked to end, or has ended.
    DaemonEnds,
    /// kadenzd has ended, gateways carry out the last of it.
    GatewaysEnd,
    /// The logger finishes its file.
    LoggerEnds,
    /// Everybody else ends.
    RestEnds,
    /// No process is left.
    Done,
}

/// The processes and what is known of them.
pub(crate) struct Set {
    members: Vec<Member>,
    stage: Stage,
    since_ns: u64,
    notify: PathBuf,
    own: OwnPasses,
    /// Whether kadenzd accepts gateways.
    accepts: Box<dyn Fn() -> bool>,
    say: Box<dyn FnMut(&str)>,
    /// When somebody last asked for the end.
    asked_ns: Option<u64>,
    killing: bool,
    failed: bool,
    daemon_end: Option<ExitStatus>,
}

/// What a set came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// kadenzd's end.
    pub(crate) daemon_end: Option<ExitStatus>,
    /// The set could not do its work.
    pub(crate) failed: bool,
    /// Name, restarts, and lives that ended in silence.
    pub(crate) members: Vec<(&'static str, u64, u64)>,
}

impl Set {
    /// A set of `specs`, kadenzd's first, whose kadenzd is started at once.
    pub(crate) fn start(
        specs: Vec<Spec>,
        notify: PathBuf,
        now_ns: u64,
        accepts: impl Fn() -> bool + 'static,
        say: impl FnMut(&str) + 'static,
    ) -> Self {
        let mut set = Self {
            members: specs.into_iter().map(Member::new).collect(),
            stage: Stage::Daemon,
            since_ns: now_ns,
            notify,
            own: OwnPasses::new(now_ns),
            accepts: Box::new(accepts),
            say: Box::new(say),
            asked_ns: None,
            killing: false,
            failed: false,
            daemon_end: None,
        };
        set.start_all(&[Duty::Daemon], now_ns);
        set
    }

    /// Where the set stands.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// What the set came to so far.
    pub(crate) fn summary(&self) -> Summary {
        let row = |m: &Member| (m.spec.name, m.restarts, m.hangs);
        Summary {
            daemon_end: self.daemon_end,
            failed: self.failed,
            members: self.members.iter().map(row).collect(),
        }
    }

    /// Somebody asks the set to end; asked again, it is killed. A key that bounces or repeats asks once.
    pub(crate) fn end(&mut self, why: &str, now_ns: u64) {
        let is_echo = self.asked_ns.is_some_and(|asked_ns| now_ns < asked_ns + ECHO_NS_MAX);
        let is_first = self.asked_ns.replace(now_ns).is_none();
        if self.killing || is_echo {
            return;
        }
        if is_first {
            (self.say)(&format!("{why}: stopping on the path, then ending; again to kill"));
            self.begin_end(now_ns);
        } else {
            (self.say)(&format!("{why} again: killing everything"));
            self.killing = true;
            self.signal(
                &[Duty::Daemon, Duty::Gateway, Duty::Logger, Duty::Client],
                Signal::SIGKILL,
            );
            self.begin_end(now_ns);
        }
    }

    /// One pass: takes what was said, looks who has ended, acts.
    pub(crate) fn pass(&mut self, heard: &[(i32, Said)], now_ns: u64) {
        if let Some(span_ns) = self.own.pass(now_ns) {
            self.members.iter_mut().for_each(|member| member.excuse(span_ns, now_ns));
        }
        self.hear(heard, now_ns);
        self.reap(now_ns);
        self.advance(now_ns);
        // While kadenzd lives, its gateways are needed: the recording shall show the end.
        let daemon_lives = self.any_runs(Duty::Daemon);
        if !self.killing && daemon_lives && self.stage != Stage::Daemon {
            self.judge(now_ns);
            self.start_due(now_ns);
        }
    }

    fn hear(&mut self, heard: &[(i32, Said)], now_ns: u64) {
        let by_pid: HashMap<i64, usize> = (0..self.members.len())
            .filter_map(|index| Some((i64::from(self.members[index].pid()?), index)))
            .collect();
        for (pid, said) in heard {
            // Others may speak to the socket; only children count.
            let Some(index) = by_pid.get(&i64::from(*pid)) else { continue };
            if self.members[*index].hear(*said, now_ns) {
                let name = self.members[*index].spec.name;
                (self.say)(&format!("{name}: ready"));
            }
        }
    }

    fn reap(&mut self, now_ns: u64) {
        for index in 0..self.members.len() {
            let Some(ended) = self.members[index].reap(now_ns) else { continue };
            let Spec { name, duty, .. } = self.members[index].spec;
            let words = &ended.words;
            if duty == Duty::Daemon {
                (self.say)(&format!("{name}: ended, {words}"));
                self.failed |= !ended.status.success();
                self.daemon_end = Some(ended.status);
                self.begin_end(now_ns);
            } else if self.stage >= Stage::DaemonEnds {
                (self.say)(&format!("{name}: ended, {words}"));
            } else if !ended.hopeful {
                (self.say)(&format!("{name}: ended, {words}, and would again: see its message"));
                if duty == Duty::Gateway {
                    self.failed = true;
                    self.begin_end(now_ns);
                }
            } else {
                let count = self.members[index].restarts + 1;
                if count <= RESTARTS_TOLD_EACH || count.is_power_of_two() {
                    (self.say)(&format!("{name}: ended, {words}; restart {count}"));
                }
            }
        }
    }

    fn advance(&mut self, now_ns: u64) {
        let waited_ns = now_ns.saturating_sub(self.since_ns);
        match self.stage {
            Stage::Daemon => self.await_daemon(waited_ns, now_ns),
            Stage::Gateways => {
                if self.of(Duty::Gateway).all(Member::is_ready) {
                    self.start_all(&[Duty::Logger, Duty::Client], now_ns);
                    self.enter(Stage::Serving, now_ns);
                    (self.say)("the machine is up; `kadenz enable` switches it on, Ctrl-C ends it");
                }
            }
            Stage::Serving | Stage::Done => {}
            Stage::DaemonEnds => {
                let out_of_time = waited_ns > DAEMON_END_NS_MAX;
                self.leave_when_gone(Duty::Daemon, out_of_time, Stage::GatewaysEnd, now_ns);
            }
            Stage::GatewaysEnd => {
                if !self.any_runs(Duty::Gateway) || waited_ns > GATEWAYS_END_NS_MAX {
                    self.signal(&[Duty::Logger], Signal::SIGTERM);
                    self.enter(Stage::LoggerEnds, now_ns);
                }
            }
            Stage::LoggerEnds => {
                let out_of_time = waited_ns > LOGGER_END_NS_MAX;
                self.leave_when_gone(Duty::Logger, out_of_time, Stage::RestEnds, now_ns);
                if self.stage == Stage::RestEnds {
                    self.signal(&[Duty::Client, Duty::Gateway], Signal::SIGTERM);
                }
            }
            Stage::RestEnds => {
                if !self.members.iter().any(Member::runs) {
                    self.enter(Stage::Done, now_ns);
                } else if waited_ns > REST_END_NS_MAX && !self.killing {
                    self.kill(&[Duty::Client, Duty::Gateway]);
                    self.since_ns = now_ns;
                }
            }
        }
    }

    fn await_daemon(&mut self, waited_ns: u64, now_ns: u64) {
        let runs = self.any_runs(Duty::Daemon);
        if runs && (self.accepts)() {
            self.start_all(&[Duty::Gateway], now_ns);
            self.enter(Stage::Gateways, now_ns);
        } else if waited_ns > ACCEPT_NS_MAX || !runs {
            (self.say)("kadenzd does not accept gateways; see its messages");
            self.failed = true;
            self.begin_end(now_ns);
        }
    }

    /// Goes on to `next` once no process of `duty` runs; those that take too long are killed.
    fn leave_when_gone(&mut self, duty: Duty, out_of_time: bool, next: Stage, now_ns: u64) {
        if !self.any_runs(duty) {
            self.enter(next, now_ns);
        } else if out_of_time && !self.killing {
            self.failed = true;
            self.kill(&[duty]);
            // Its end is seen in a later pass; until then it is not killed again.
            self.since_ns = now_ns;
        }
    }

    fn judge(&mut self, now_ns: u64) {
        for index in 0..self.members.len() {
            if let Some(silent_ms) = self.members[index].judge(now_ns) {
                let name = self.members[index].spec.name;
                (self.say)(&format!("{name}: silent for {silent_ms} ms, killed"));
            }
        }
    }

    fn start_due(&mut self, now_ns: u64) {
        for index in 0..self.members.len() {
            if self.members[index].is_due(now_ns) {
                self.start_one(index, now_ns);
            }
        }
    }

    fn start_all(&mut self, duties: &[Duty], now_ns: u64) {
        for index in 0..self.members.len() {
            if duties.contains(&self.members[index].spec.duty) {
                self.start_one(index, now_ns);
            }
        }
    }

    fn start_one(&mut self, index: usize, now_ns: u64) {
        let member = &mut self.members[index];
        let (name, program) = (member.spec.name, member.spec.program.display().to_string());
        match member.start(&self.notify, now_ns) {
            Ok(pid) if member.restarts <= RESTARTS_TOLD_EACH => {
                (self.say)(&format!("{name}: started, pid {pid}"));
            }
            Ok(_) => {}
            Err(error) => {
                member.put_off(now_ns);
                (self.say)(&format!("{name}: {program}: {error}"));
            }
        }
    }

    fn begin_end(&mut self, now_ns: u64) {
        if self.stage < Stage::DaemonEnds {
            self.signal(&[Duty::Daemon], Signal::SIGTERM);
            self.enter(Stage::DaemonEnds, now_ns);
        }
    }

    fn enter(&mut self, stage: Stage, now_ns: u64) {
        (self.stage, self.since_ns) = (stage, now_ns);
    }

    fn kill(&mut self, duties: &[Duty]) {
        let late: Vec<&str> = self
            .members
            .iter()
            .filter(|member| member.runs() && duties.contains(&member.spec.duty))
            .map(|member| member.spec.name)
            .collect();
        (self.say)(&format!("{}: too slow to end, killed", late.join(", ")));
        self.signal(duties, Signal::SIGKILL);
    }

    fn signal(&self, duties: &[Duty], signal: Signal) {
        let meant = self.members.iter().filter(|member| duties.contains(&member.spec.duty));
        meant.for_each(|member| member.signal(signal));
    }

    fn of(&self, duty: Duty) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.spec.duty == duty)
    }

    fn any_runs(&self, duty: Duty) -> bool {
        self.of(duty).any(Member::runs)
    }
}

#[cfg(test)]
mod tests;
