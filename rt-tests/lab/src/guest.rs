//! The host's end of a running guest: scripts go in, what they print and their exit code come out.
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::command::command;

/// Lines of the console that are told when a guest falls silent.
const CONSOLE_LINES: usize = 10;
/// How often a guest that says nothing is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Begins what stands behind a script's output (`guest/agent.sh`).
const END: &[u8] = b"\x01LAB-END ";

/// What a script came to.
#[derive(Clone, Debug)]
pub struct Output {
    /// What it printed, on either stream.
    pub said: String,
    /// Its exit code; 128 and the signal's number when one ended it.
    pub code: i32,
    /// How long it took, as seen from the host.
    pub took: Duration,
}

/// A guest that runs. Dropped, it is gone: nothing in it outlives its use.
pub struct Guest {
    child: Child,
    input: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    pending: Vec<u8>,
    console: PathBuf,
    patience: Duration,
    scripts: u32,
    /// What must outlive the guest, and goes when it has gone.
    kept: Option<Box<dyn Send>>,
}

impl Guest {
    /// Takes over `child`, whose agent reads `input` and writes `output`. `console` is the file of its other words.
    pub(crate) fn new(
        child: Child,
        input: Box<dyn Write + Send>,
        output: Box<dyn Read + Send>,
        console: PathBuf,
        patience: Duration,
    ) -> Self {
        let (tell, told) = channel();
        thread::spawn(move || forward(output, |bytes| tell.send(bytes).is_ok()));
        Self {
            child,
            input,
            output: told,
            pending: Vec::new(),
            console,
            patience,
            scripts: 0,
            kept: None,
        }
    }

    pub(crate) fn keep(&mut self, kept: impl Send + 'static) {
        self.kept = Some(Box::new(kept));
    }

    /// Waits until the guest is up and its agent listens.
    ///
    /// # Errors
    /// It ends, or does not come within the patience: the console's last words.
    pub fn await_ready(&mut self) -> anyhow::Result<()> {
        let mut nothing = std::io::sink();
        self.read_until("hello", &mut nothing).context("the guest does not come up").map(drop)
    }

    /// Runs a script of bash; gives what it came to, whatever its exit code.
    ///
    /// # Errors
    /// The guest ends, or the script takes longer than the patience.
    pub fn run(&mut self, script: &str) -> anyhow::Result<Output> {
        let (mut said, begun) = (Vec::new(), Instant::now());
        let code = self.run_to(script, &[], &mut said)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok(Output { said, code, took: begun.elapsed() })
    }

    /// As [`Guest::run`]; another exit code than 0 is an error with what was said.
    ///
    /// # Errors
    /// As [`Guest::run`], and the script's failure.
    pub fn must(&mut self, script: &str) -> anyhow::Result<String> {
        let output = self.run(script)?;
        ensure!(output.code == 0, "in the guest, `{script}`: {}\n{}", output.code, output.said);
        Ok(output.said)
    }

    /// Runs a script whose output goes to `sink` as it comes, with `more` behind it on its standard input; gives its
    /// exit code.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn run_to(
        &mut self,
        script: &str,
        more: &[u8],
        sink: &mut dyn Write,
    ) -> anyhow::Result<i32> {
        self.scripts += 1;
        let name = format!("script-{}", self.scripts);
        let head = format!("{name} {} {}\n", script.len(), more.len());
        let sent = [head.as_bytes(), script.as_bytes(), more].concat();
        self.input.write_all(&sent).and_then(|()| self.input.flush()).context("to the guest")?;
        self.read_until(&name, sink)
    }

    /// Lets systemd start user space anew, as a boot does behind the kernel, and waits until it is up.
    ///
    /// # Errors
    /// It does not come back.
    pub fn reboot_userspace(&mut self) -> anyhow::Result<()> {
        self.run("systemctl --no-block soft-reboot").map(drop)?;
        self.await_ready()
    }

    /// Copies what is in a folder to `/host` in the guest.
    ///
    /// # Errors
    /// The folder cannot be read, or the guest ends.
    pub fn put(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut tar = command("tar", &["-cf", "-", "."])?;
        let packed = tar.current_dir(folder).stderr(Stdio::inherit()).output()?;
        ensure!(packed.status.success(), "packing {}: {}", folder.display(), packed.status);
        let mut said = Vec::new();
        let code = self.run_to("tar -C /host -xf -", &packed.stdout, &mut said)?;
        ensure!(code == 0, "unpacking in the guest: {}", String::from_utf8_lossy(&said));
        Ok(())
    }

    fn read_until(&mut self, name: &str, sink: &mut dyn Write) -> anyhow::Result<i32> {
        let begun = Instant::now();
        loop {
            let (printed, ended) = split_at_end(&mut self.pending, name);
            sink.write_all(&printed).and_then(|()| sink.flush()).context("passing output on")?;
            if let Some(code) = ended {
                return Ok(code);
            }
            match self.output.recv_timeout(LOOK_EVERY) {
                Ok(bytes) => self.pending.extend(bytes),
                Err(RecvTimeoutError::Timeout) if self.child.try_wait()?.is_none() => ensure!(
                    begun.elapsed() < self.patience,
                    "no answer within {:?}{}",
                    self.patience,
                    self.console_told()
                ),
                Err(_) => bail!("the guest has ended{}", self.console_told()),
            }
        }
    }

    fn console_told(&self) -> String {
        last_lines(&self.console)
    }

    /// Process id of what runs the guest.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        // Gone already is as good.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a console's file, for a message.
pub(crate) fn last_lines(console: &Path) -> String {
    let bytes = std::fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
    if last.is_empty() { String::new() } else { format!("; its console:\n  {}", last.join("\n  ")) }
}

fn forward(mut from: Box<dyn Read + Send>, mut to: impl FnMut(Vec<u8>) -> bool) {
    let mut buffer = vec![0_u8; 64 * 1024];
    // BOUND: until the guest closes its end, or nobody listens.
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || !to(buffer[..count].to_vec()) {
            return;
        }
    }
}

/// Takes out of `pending` what certainly is output, and the exit code if the end mark of `name` is there.
pub(crate) fn split_at_end(pending: &mut Vec<u8>, name: &str) -> (Vec<u8>, Option<i32>) {
    let mark = [END, name.as_bytes(), b" "].concat();
    let Some(at) = pending.windows(mark.len()).position(|window| window == mark) else {
        // The mark's beginning may have come, its end not yet.
        let begun = |length: &usize| pending.ends_with(&mark[..*length]);
        let kept = (1..mark.len()).rev().find(begun).unwrap_or(0);
        let whole = pending.len() - kept;
        return (pending.drain(..whole).collect(), None);
    };
    let rest = &pending[at + mark.len()..];
    let Some(line_end) = rest.iter().position(|byte| *byte == b'\n') else {
        return (pending.drain(..at).collect(), None);
    };
    let code = String::from_utf8_lossy(&rest[..line_end]).trim().parse().ok();
    let end = at + mark.len() + line_end + 1;
    let printed = pending[..at].to_vec();
    pending.drain(..end);
    (printed, Some(code.unwrap_or(-1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_output_is_told_from_its_end_wherever_the_stream_is_cut() {
        let stream = b"one\x01LAB-EN two\x01LAB-END script-1 37\nnext";
        for cut in 0..stream.len() {
            let (mut pending, mut said, mut code) = (stream[..cut].to_vec(), Vec::new(), None);
            for more in [&b""[..], &stream[cut..]] {
                pending.extend(more);
                let (printed, ended) = split_at_end(&mut pending, "script-1");
                said.extend(printed);
                code = code.or(ended);
                if code.is_some() {
                    break;
                }
            }
            assert_eq!((said.as_slice(), code), (&b"one\x01LAB-EN two"[..], Some(37)), "cut {cut}");
        }
    }

    #[test]
    fn output_is_passed_on_at_once_unless_it_may_begin_the_mark() {
        let mut pending = b"up\n\x01".to_vec();
        assert_eq!(split_at_end(&mut pending, "script-1"), (b"up\n".to_vec(), None));
        pending.extend(b"more");
        assert_eq!(split_at_end(&mut pending, "script-1"), (b"\x01more".to_vec(), None));
    }

    #[test]
    fn the_end_of_another_script_is_output() {
        let mut pending = b"\x01LAB-END script-1 0\n".to_vec();
        let (mut said, ended) = split_at_end(&mut pending, "script-2");
        assert_eq!(ended, None);
        said.extend(pending);
        assert_eq!(said, b"\x01LAB-END script-1 0\n");
    }
}
