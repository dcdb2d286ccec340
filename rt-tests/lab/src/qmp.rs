//! QEMU's own protocol (QMP), as far as saving and loading a machine takes it.
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A save or load of a gigabyte takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to one machine.
pub(crate) struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Connects to the socket `name` in `folder`, as soon as it is there.
    pub(crate) fn connect(folder: &Path, name: &str) -> anyhow::Result<Self> {
        // A socket's address is short (108 bytes, unix(7)) where a folder's may be long.
        let at = File::open(folder).with_context(|| folder.display().to_string())?;
        let address = format!("/proc/self/fd/{}/{name}", at.as_raw_fd());
        let begun = Instant::now();
        let stream = loop {
            match UnixStream::connect(&address) {
                Ok(stream) => break stream,
                Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK_EVERY),
                Err(error) => return Err(error).context("the machine's control socket"),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self { reader: BufReader::new(stream.try_clone()?), writer: stream };
        qmp.line()?;
        qmp.ask("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Has one command carried out; gives what it returns.
    pub(crate) fn ask(&mut self, what: &str, arguments: &Value) -> anyhow::Result<Value> {
        let text = format!("{}\n", json!({"execute": what, "arguments": arguments}));
        self.writer.write_all(text.as_bytes()).with_context(|| what.to_owned())?;
        // BOUND: until its answer; each line before it tells an event of the machine.
        loop {
            let mut said = self.line()?;
            if let Some(answer) = said.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = said.get("error") {
                bail!("QEMU refuses `{what}`: {error}");
            }
        }
    }

    /// Saves the machine to a file, or has it loaded from there: memory at fixed places, so that only what was ever
    /// written is read.
    pub(crate) fn migrate(&mut self, what: &str, file: &Path) -> anyhow::Result<()> {
        let capability = json!({"capabilities": [{"capability": "mapped-ram", "state": true}]});
        self.ask("migrate-set-capabilities", &capability)?;
        self.ask("migrate-set-parameters", &json!({"max-bandwidth": 1_u64 << 40}))?;
        self.ask(what, &json!({"uri": format!("file:{}", file.display())}))?;
        let begun = Instant::now();
        loop {
            let told = self.ask("query-migrate", &json!({}))?;
            match told["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed") => bail!("QEMU: `{what}` of {}: {told}", file.display()),
                _ => ensure!(begun.elapsed() < PATIENCE, "QEMU: `{what}` does not end: {told}"),
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut text = String::new();
        let count = self.reader.read_line(&mut text).context("the machine's control socket")?;
        ensure!(count > 0, "the machine has ended");
        serde_json::from_str(&text).with_context(|| format!("QEMU said {text}"))
    }
}
