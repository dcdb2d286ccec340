//! The two floors: a standard latency test, and the loop's whole body in a process of its own.
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kadenz_config::{Machine, demo};
use kadenz_lanes::{BroadcastReader, Read};
use kadenzd::boot::host;
use kadenzd::rt::stats::PassNote;
use nix::unistd::{getpid, gettid};
use serde_json::{Value, json};
use shm_layout::code::Phase;

use super::block::Block;
use super::evidence::Evidence;
use crate::body::Body;
use crate::feeder::Feeder;

/// Cycles of motion before a block begins.
const SETTLED_CYCLES: u64 = 500;
/// Between two horizons, and two looks at the notes: a fraction of what both hold.
const FEED_EVERY: Duration = Duration::from_millis(5);
/// Guard against waiting for ever; never a measure of anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Upper end of cyclictest's histogram, ns.
const HISTOGRAM_NS: u64 = 200_000;

/// Runs one block of the bare loop in this process: the daemon's loop, clock and thread, the axes of `machine`
/// (demo-arm when `None`) moving, and no gateway, no client and nobody who looks on.
///
/// # Errors
/// The host lacks what the loop needs, or the axes do not move.
pub fn bare(seconds: u64, machine: Option<&Path>) -> anyhow::Result<Block> {
    let machine = match machine {
        Some(file) => Machine::load(file)?,
        None => Machine::from_toml("demo-arm", demo("demo-arm").context("embedded machine")?)?,
    };
    let ready = host::prepare(&machine, Path::new("/dev/shm"))?;
    let cpu = ready.cpu;
    let body = Body::new(&machine)?;
    let (wish, period_ns) = (body.wish(), body.servo.setup.period_ns);
    let (mut servo, mut feeder, mut notes) = body.split();
    let (tell, told) = mpsc::channel();
    let running = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let fit = host::become_rt_thread(&machine, &ready).map(|_lacks| gettid().as_raw());
        let is_fit = fit.is_ok();
        if tell.send(fit).is_ok() && is_fit {
            servo.run();
        }
    })?;
    let thread = told.recv().context("the bare loop's thread ended at once")??;
    let measured = measure(seconds, period_ns, (cpu, thread), &mut feeder, &mut notes);
    wish.shut_down();
    let begun = Instant::now();
    // Torque goes off in a few cycles; a feeder that falls silent is no reason to stop sooner.
    while !running.is_finished() && begun.elapsed() < PATIENCE {
        std::thread::sleep(FEED_EVERY);
    }
    measured
}

fn measure(
    seconds: u64,
    period_ns: u64,
    (cpu, thread): (usize, i32),
    feeder: &mut Feeder,
    notes: &mut BroadcastReader<'static>,
) -> anyhow::Result<Block> {
    let begun = Instant::now();
    let mut moving_since = None;
    loop {
        let now = feeder.newest().copied();
        match now {
            Some(now) if now.phase == Phase::Moving.code() => {
                let since = *moving_since.get_or_insert(now.cycle);
                if now.cycle >= since + SETTLED_CYCLES {
                    break;
                }
            }
            Some(now) if now.phase == Phase::Disabled.code() => feeder.enable(),
            _ => {}
        }
        ensure!(begun.elapsed() < PATIENCE, "the bare loop's axes do not move: {now:?}");
        feeder.feed();
        std::thread::sleep(FEED_EVERY);
    }
    let process = getpid().as_raw();
    while next_note(notes)?.is_some() {}
    let before = Evidence::look(cpu, process, thread)?;
    let cycles = seconds * 1_000_000_000 / period_ns;
    let (mut block, mut last) = (Block::default(), None::<PassNote>);
    while (block.latency_ns.len() as u64) < cycles {
        feeder.feed();
        while let Some(note) = next_note(notes)? {
            block.wake(note.grid_ns, note.wake_ns, period_ns, last.map(|last| last.wake_ns));
            block.missed += u64::from(note.skipped);
            if note.cycle_time_ns > note.wake_ns.saturating_sub(note.grid_ns) {
                block.missed_long += u64::from(note.skipped);
            }
            last = Some(note);
        }
        std::thread::sleep(FEED_EVERY);
    }
    let after = Evidence::look(cpu, process, thread)?;
    block.cpu_ns = after.cpu_ns.saturating_sub(before.cpu_ns);
    block.steal_ticks = after.steal_ticks.saturating_sub(before.steal_ticks);
    block.interrupts = after.interrupts.since(&before.interrupts);
    Ok(block)
}

fn next_note(notes: &mut BroadcastReader<'static>) -> anyhow::Result<Option<PassNote>> {
    let mut words = [0_u64; PassNote::WORDS];
    match notes.read_next(&mut words) {
        Read::Record { words: PassNote::WORDS, .. } => Ok(Some(PassNote::from_words(&words))),
        Read::Empty => Ok(None),
        Read::Record { words, .. } => bail!("a note of a pass has {words} words"),
        Read::Lost { .. } => bail!(
            "the host kept this process from looking for a second: the block is not whole; run again"
        ),
    }
}

/// One block of the bare loop with `machine` (demo-arm when `None`), in a process of its own.
///
/// # Errors
/// It does not run, or says nothing that is a block.
pub fn bare_block(seconds: u64, machine: Option<&Path>) -> anyhow::Result<Block> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--bare", "--seconds", &seconds.to_string()]);
    if let Some(file) = machine {
        command.arg("--bare-machine").arg(file);
    }
    let output = command.output().context("starting the bare loop")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("what the bare loop said")
}

/// cyclictest's histogram: latency in ns, how often; what lay above its end stands there.
#[derive(Clone, Debug, Default)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// Takes in another block.
    pub fn add(&mut self, other: &Self) {
        for (ns, count) in &other.0 {
            *self.0.entry(*ns).or_default() += count;
        }
    }

    /// Its percentiles, ns; `max` is 200 µs when something lay above.
    #[must_use]
    pub fn percentiles(&self) -> Value {
        let total: u64 = self.0.values().sum();
        let at = |permille: u64| {
            let mut seen = 0;
            let found = self.0.iter().find(|(_, count)| {
                seen += **count;
                seen * 1000 > total * permille
            });
            found.or(self.0.last_key_value()).map_or(0, |(ns, _)| *ns)
        };
        json!({"p50": at(500), "p90": at(900), "p99": at(990), "p999": at(999), "max": at(1000)})
    }

    fn parse(said: &str) -> anyhow::Result<Self> {
        let mut counts = BTreeMap::new();
        for line in said.lines() {
            if let Some(above) = line.strip_prefix("# Histogram Overflows:") {
                let above = above.split_ascii_whitespace().next().and_then(|one| one.parse().ok());
                counts.insert(HISTOGRAM_NS, above.context("cyclictest's overflows")?);
            } else if let Some((ns, count)) = line.split_once(char::is_whitespace)
                && let (Ok(ns), Ok(count)) = (ns.parse(), count.trim().parse::<u64>())
                && count > 0
            {
                counts.insert(ns, count);
            }
        }
        ensure!(counts.values().sum::<u64>() > 0, "cyclictest printed no histogram:\n{said}");
        Ok(Self(counts))
    }
}

/// cyclictest on the loop's CPU at its priority and period, 1 ns resolution.
///
/// # Errors
/// It is not installed, or fails.
pub fn cyclictest(seconds: u64, cpu: usize) -> anyhow::Result<Histogram> {
    let output = Command::new("cyclictest")
        .args(["-m", "-t1", "-p80", "-i1000", "-N", "-q"])
        .arg(format!("-a{cpu}"))
        .arg(format!("-D{seconds}"))
        .arg(format!("-h{HISTOGRAM_NS}"))
        .output()
        .context("cyclictest is one of the two floors; install the package `rt-tests`")?;
    ensure!(output.status.success(), "cyclictest: {}", String::from_utf8_lossy(&output.stderr));
    Histogram::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyclictests_histogram_is_read_with_what_lay_above_its_end() {
        let said = "# Histogram\n004000 000060\n005000 000039\n006000 000000\n\
                    # Total: 000099\n# Histogram Overflows: 00001\n";
        let found = Histogram::parse(said).unwrap().percentiles();
        assert_eq!((&found["p50"], &found["p90"]), (&json!(4000), &json!(5000)));
        assert_eq!((&found["p99"], &found["max"]), (&json!(200_000), &json!(200_000)));
        assert!(Histogram::parse("# Histogram\n# Histogram Overflows: 0\n").is_err());
    }
}
