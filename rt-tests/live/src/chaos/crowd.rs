//! Processes that an attack starts and ends.
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use kadenz_link::paths::RuntimeDir;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::Hand;
use super::sight::wait_for;
use crate::{binary, ends_with_us};

/// Longest that a client which ends by itself may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client that ended by itself says it did.
#[derive(Clone, Debug, Default, serde::Serialize, Deserialize)]
pub struct Deed {
    /// Things done.
    pub did: u64,
    /// Of them refused.
    pub refused: u64,
    /// What should have been refused and was not, or other remarks that are failures.
    pub failures: Vec<String>,
}

/// A process of the crowd; killed when dropped.
pub struct Client {
    child: Child,
}

impl Client {
    /// Starts this program as a client of `kind` of the machine in `dir`, as user `uid` if given.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        dir: &RuntimeDir,
        kind: &str,
        arguments: &[String],
        uid: Option<u32>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["client", kind, "--runtime-dir"]).arg(dir.as_path()).args(arguments);
        if let Some(uid) = uid {
            use std::os::unix::process::CommandExt;
            command.uid(uid).gid(uid);
        }
        Self::spawn(&mut command)
    }

    /// Starts another program of this build.
    ///
    /// # Errors
    /// It does not start.
    pub fn program(name: &str, arguments: &[&str], dir: &RuntimeDir) -> anyhow::Result<Self> {
        let mut command = Command::new(binary(name)?);
        command.args(arguments).arg("--runtime-dir").arg(dir.as_path());
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let child = ends_with_us(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Sends it a signal; gone is as good.
    pub fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and waits until it is gone.
    pub fn kill(mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// Waits for its end; gives what it says it did, or nothing when it died without a word.
    ///
    /// # Errors
    /// It does not end for a minute.
    pub fn deed(mut self) -> anyhow::Result<Option<Deed>> {
        wait_for(PATIENCE, || self.has_ended().then_some(())).context("a client does not end")?;
        let mut said = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            use std::io::Read;
            stdout.read_to_string(&mut said)?;
        }
        Ok(said.lines().last().and_then(|line| serde_json::from_str(line).ok()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Waits for all of `clients` and takes down what they did; a client that was to end by itself and died without a
/// word counts only as a life.
///
/// # Errors
/// One does not end.
pub fn gather(hand: &mut Hand<'_>, clients: Vec<Client>) -> anyhow::Result<()> {
    for client in clients {
        hand.evidence.lives += 1;
        if let Some(deed) = client.deed()? {
            hand.did(deed.did, deed.refused);
            hand.evidence.failures.extend(deed.failures);
        }
    }
    Ok(())
}

/// Lets `ms` milliseconds pass: how long something is done, never a measure of anything.
pub fn pass_ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
