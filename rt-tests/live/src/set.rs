//! `kadenz up` as a child, and ways to reach what it supervises.
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kadenz_link::paths::RuntimeDir;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// How a set is started.
#[derive(Clone, Debug)]
pub struct SetOptions {
    /// Embedded machine; or a machine's file, when it ends in `.toml`.
    pub machine: String,
    /// Runtime directory.
    pub dir: RuntimeDir,
    /// Where recordings and logs go.
    pub out: PathBuf,
    /// Saves the inputs of every cycle here.
    pub record: Option<PathBuf>,
    /// Processes left out of the set.
    pub without: Vec<String>,
}

/// A running set. Dropped without [`Set::end`], it is killed.
#[derive(Debug)]
pub struct Set {
    up: Child,
    options: SetOptions,
    ended: bool,
}

/// A program of this build: it lies beside the running one (or one folder up, for tests).
///
/// # Errors
/// It was not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("own path")?;
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not built; `cargo build --workspace --bins` first"))
}

impl Set {
    /// Starts the set. Its output goes to `up.log` in the out folder.
    ///
    /// # Errors
    /// A program is missing, or a folder cannot be made.
    pub fn start(options: SetOptions) -> anyhow::Result<Self> {
        Self::start_program(&binary("kadenz")?, options)
    }

    /// Starts the set by another copy of `kadenz`.
    ///
    /// # Errors
    /// As [`Set::start`].
    pub fn start_program(program: &Path, options: SetOptions) -> anyhow::Result<Self> {
        fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
        let log_path = options.out.join("up.log");
        let log = File::create(&log_path).with_context(|| log_path.display().to_string())?;
        let is_file =
            Path::new(&options.machine).extension().is_some_and(|ending| ending == "toml");
        let mut command = Command::new(program);
        command
            .arg("--runtime-dir")
            .arg(options.dir.as_path())
            .args(["up", if is_file { "--config" } else { "--demo" }, &options.machine])
            .arg("--out")
            .arg(&options.out)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at this terminal is ours: the set is ended in order.
            .process_group(0);
        if let Some(record) = &options.record {
            command.arg("--record").arg(record);
        }
        if !options.without.is_empty() {
            command.arg("--without").arg(options.without.join(","));
        }
        crate::sys::ends_with_us(&mut command);
        let up = with_signals_open(|| command.spawn()).context("starting `kadenz up`")?;
        Ok(Self { up, options, ended: false })
    }

    /// Runtime directory of the set.
    #[must_use]
    pub const fn dir(&self) -> &RuntimeDir {
        &self.options.dir
    }

    /// Folder of recordings and logs.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.options.out
    }

    /// What the set has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.options.out.join("up.log")).unwrap_or_default()
    }

    /// Whether the supervisor still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.up.try_wait(), Ok(None))
    }

    /// Runs `kadenz` with `arguments` and waits for it.
    ///
    /// # Errors
    /// The program is missing.
    pub fn kadenz(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        with_signals_open(|| {
            Command::new(binary("kadenz")?)
                .arg("--runtime-dir")
                .arg(self.options.dir.as_path())
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .context("running `kadenz`")
        })
    }

    /// Runs `kadenz`; an exit code other than 0 is an error with what it said.
    ///
    /// # Errors
    /// As [`Set::kadenz`], and every refusal.
    pub fn must(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.kadenz(arguments)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("kadenz {}: {}\n{said}{error}", arguments.join(" "), output.status);
        }
        Ok(said)
    }

    /// Process ids of the supervised processes whose command line holds all of `words`.
    #[must_use]
    pub fn pids(&self, words: &[&str]) -> Vec<Pid> {
        let own = i32::try_from(self.up.id()).unwrap_or(0);
        children(own)
            .into_iter()
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                words.iter().all(|word| line.contains(word))
            })
            .map(Pid::from_raw)
            .collect()
    }

    /// Kills kadenzd with SIGKILL, at once. With `leaves_all` nobody tidies up behind it: the supervisor is
    /// stopped before and everything else killed after; without, the supervisor brings the set down.
    ///
    /// # Errors
    /// kadenzd does not run, or the supervisor does not end.
    pub fn crash(mut self, leaves_all: bool) -> anyhow::Result<()> {
        self.ended = true;
        let daemon = *self.pids(&["kadenzd"]).first().context("kadenzd does not run")?;
        let up = Pid::from_raw(i32::try_from(self.up.id())?);
        if leaves_all {
            kill(up, Signal::SIGSTOP).context("SIGSTOP to `kadenz up`")?;
        }
        kill(daemon, Signal::SIGKILL).context("SIGKILL to kadenzd")?;
        if leaves_all {
            for pid in self.pids(&[]) {
                let _gone_with_its_daemon = kill(pid, Signal::SIGKILL);
            }
            kill(up, Signal::SIGKILL).context("SIGKILL to `kadenz up`")?;
        }
        let begun = Instant::now();
        while self.is_alive() {
            if begun.elapsed() > Duration::from_secs(60) {
                let _ = self.up.kill();
                bail!("`kadenz up` did not end within 60 s of its daemon's death:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// As [`Set::end`]; gives all that was said, kadenzd's report at the end included.
    ///
    /// # Errors
    /// As [`Set::end`].
    pub fn end_and_tell(self) -> anyhow::Result<String> {
        let path = self.options.out.join("up.log");
        self.end()?;
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Ends the set as Ctrl-C would, and waits for it.
    ///
    /// # Errors
    /// It had to be killed, or ended with an error.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.ended = true;
        let pid = Pid::from_raw(i32::try_from(self.up.id())?);
        kill(pid, Signal::SIGTERM).context("SIGTERM to `kadenz up`")?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.up.try_wait()? {
                if !status.success() {
                    bail!("`kadenz up` ended with {status}:\n{}", self.log());
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.up.kill();
        let _ = self.up.wait();
        bail!("`kadenz up` did not end within 60 s:\n{}", self.log())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if self.ended || !self.is_alive() {
            return;
        }
        // In order first, so that nothing is left behind in shared memory.
        let own = i32::try_from(self.up.id()).unwrap_or(0);
        let _ = kill(Pid::from_raw(own), Signal::SIGTERM);
        let begun = Instant::now();
        while self.is_alive() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = children(own);
        let _ = self.up.kill();
        let _ = self.up.wait();
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Children inherit the signal mask: give them an open one.
fn with_signals_open<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::thread_get_mask();
    let _ = SigSet::empty().thread_set_mask();
    let started = start();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

/// Direct children of a process.
fn children(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned());
            let ppid =
                after_name.and_then(|rest| rest.split_ascii_whitespace().nth(1)?.parse().ok());
            ppid == Some(parent)
        })
        .collect()
}
