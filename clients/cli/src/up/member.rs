//! One process of the set: how it is started, whether it lives, when it is started again. Knows no order among processes.
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::notify::Said;
use super::pulse::{BackOff, Pulse, SILENCE_NS_MAX, START_NS_MAX};
use super::roles::Account;
use crate::sys;

/// Exit codes of command line and configuration: the next start would end the same way.
const HOPELESS: [i32; 2] = [2, 78];

/// What a process is to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// kadenzd: the set begins and ends with it.
    Daemon,
    /// A gateway: says when it is ready and that it lives.
    Gateway,
    /// The logger: ends after kadenzd, to see it end.
    Logger,
    /// Any other client.
    Client,
}

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// What it is to the set.
    pub(crate) duty: Duty,
    /// Its executable.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// The user it runs as; ours when `None`.
    pub(crate) account: Option<Account>,
    /// Its stdout goes to our stderr: ours is for JSON.
    pub(crate) stdout_to_stderr: bool,
}

/// A process that runs.
#[derive(Debug)]
struct Life {
    child: Child,
    since_ns: u64,
    ready: bool,
    pulse: Pulse,
    killed: bool,
}

/// A process of the set, running or not.
#[derive(Debug)]
pub(crate) struct Member {
    /// How it is started.
    pub(crate) spec: Spec,
    /// Starts after the first.
    pub(crate) restarts: u64,
    /// Lives that ended in silence.
    pub(crate) hangs: u64,
    life: Option<Life>,
    due_ns: Option<u64>,
    back_off: BackOff,
    started: bool,
}

/// How a life ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As the kernel tells.
    pub(crate) status: ExitStatus,
    /// In words.
    pub(crate) words: String,
    /// Starting it again makes sense.
    pub(crate) hopeful: bool,
}

impl Member {
    pub(crate) fn new(spec: Spec) -> Self {
        Self {
            spec,
            restarts: 0,
            hangs: 0,
            life: None,
            due_ns: None,
            back_off: BackOff::default(),
            started: false,
        }
    }

    /// Starts it. It gets `notify` as its service manager, a process group of its own (Ctrl-C is for
    /// us), and SIGTERM when we end in whatever way.
    pub(crate) fn start(&mut self, notify: &Path, now_ns: u64) -> io::Result<u32> {
        let Spec { program, args, account, stdout_to_stderr, duty, .. } = &self.spec;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).process_group(0);
        // What a service manager told us is not meant for our children.
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        if *duty == Duty::Gateway {
            command.env("NOTIFY_SOCKET", notify);
            command.env("WATCHDOG_USEC", (SILENCE_NS_MAX / 1000).to_string());
        }
        if *stdout_to_stderr {
            command.stdout(io::stderr());
        }
        if let Some(Account { uid, gid }) = account {
            command.uid(*uid).gid(*gid);
        }
        sys::bind_to_this_thread(&mut command, Signal::SIGTERM);
        self.due_ns = None;
        self.restarts += u64::from(self.started);
        self.started = true;
        let child = command.spawn()?;
        let pid = child.id();
        let pulse = Pulse::new(now_ns);
        self.life = Some(Life { child, since_ns: now_ns, ready: false, pulse, killed: false });
        Ok(pid)
    }

    /// Whether a process of it is alive, or dead and not yet seen so.
    pub(crate) fn runs(&self) -> bool {
        self.life.is_some()
    }

    /// Whether it has said that it does its work.
    pub(crate) fn is_ready(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.ready)
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.life.as_ref().map(|life| life.child.id())
    }

    /// Takes what its process said; true when it has just become ready.
    pub(crate) fn hear(&mut self, said: Said, now_ns: u64) -> bool {
        let Some(life) = &mut self.life else { return false };
        if said.ready || said.alive {
            life.pulse = Pulse::new(now_ns);
        }
        let is_new = said.ready && !life.ready;
        life.ready |= said.ready;
        is_new
    }

    /// Leaves a stall of our own out of its silence.
    pub(crate) fn excuse(&mut self, span_ns: u64, now_ns: u64) {
        if let Some(life) = &mut self.life {
            life.pulse.excuse(span_ns, now_ns);
        }
    }

    /// Kills it when it has been silent for too long; for how long, ms.
    pub(crate) fn judge(&mut self, now_ns: u64) -> Option<u64> {
        let Some(life) = &mut self.life else { return None };
        let limit_ns = if life.ready { SILENCE_NS_MAX } else { START_NS_MAX };
        let silent_ns = life.pulse.silent_ns(now_ns);
        if self.spec.duty != Duty::Gateway || life.killed || silent_ns <= limit_ns {
            return None;
        }
        life.killed = true;
        self.hangs += 1;
        self.signal(Signal::SIGKILL);
        Some(silent_ns / 1_000_000)
    }

    /// Sends a signal, if it runs. Its process cannot have been replaced by a namesake: it is not
    /// waited for before it is seen here.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // Ended meanwhile is as good.
            let _ended = kill(Pid::from_raw(pid), signal);
        }
    }

    /// How its life ended, if it has. Never waits.
    pub(crate) fn reap(&mut self, now_ns: u64) -> Option<Ended> {
        let life = self.life.as_mut()?;
        let status = life.child.try_wait().ok().flatten()?;
        let life_ns = now_ns.saturating_sub(life.since_ns);
        self.life = None;
        let hopeful = !status.code().is_some_and(|code| HOPELESS.contains(&code));
        if hopeful {
            self.due_ns = Some(now_ns.saturating_add(self.back_off.after(life_ns)));
        }
        Some(Ended { status, words: words_of(status), hopeful })
    }

    /// Puts a start that failed off to the next pause.
    pub(crate) fn put_off(&mut self, now_ns: u64) {
        self.due_ns = Some(now_ns.saturating_add(self.back_off.after(0)));
    }

    /// Whether its next start is due.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns.is_some_and(|due_ns| now_ns >= due_ns)
    }
}

fn words_of(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(Ok(signal))) => format!("killed by {signal}"),
        (None, _) => status.to_string(),
    }
}
