//! One block of the real daemon: a whole set of processes, its axes moving, with an arm's company beside it.
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kadenz_link::paths::RuntimeDir;
use kadenzd::boot::replay::replay_observed;
use nix::unistd::Pid;

use super::arms::{Arm, Company, Scribbler, filtered_process};
use super::block::{Block, missed_by_cause};
use super::evidence::Evidence;
use crate::{Set, SetOptions, Watch, kills};

/// Cycles of motion before a block begins: the start of all processes is over.
const SETTLED_CYCLES: u64 = 1_000;
/// Of the samples a block was asked for, at least this many, missed cycles counted among them, %.
const SAMPLES_PERCENT_MIN: u64 = 90;
/// Between two filters.
const FILTER_EVERY: Duration = Duration::from_millis(50);
/// Between two bursts.
const BURST_EVERY: Duration = Duration::from_millis(500);
/// Guard against waiting for ever; never a measure of anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the block. `number` seeds what is random in it.
///
/// # Errors
/// The set does not run, does not end well, or its recording does not replay.
pub fn block(arm: &Arm, seconds: u64, cpu: usize, number: u64) -> anyhow::Result<Block> {
    let id = std::process::id();
    let out = std::env::temp_dir().join(format!("kadenz-latency-{id}"));
    let _ = fs::remove_dir_all(&out);
    let inputs = out.join("inputs.kdzrec");
    let without = if arm.name == "clients" { Vec::new() } else { vec!["logger".to_owned()] };
    let mut set = Set::start(SetOptions {
        machine: "demo-arm".to_owned(),
        dir: RuntimeDir::at(format!("/dev/shm/kdz-lat-{id}"))?,
        out: out.clone(),
        record: Some(inputs.clone()),
        without,
    })?;
    let mut watch = kills::open_watch(&mut set)?;
    kills::enable(&set)?;
    let file = out.join("fast.csv");
    fs::write(&file, kills::fast_csv())?;
    set.must(&["run", "--detach", &file.to_string_lossy()])?;
    let mut company = Company::of(arm, Some(&set))?;
    let from = pass_cycles(&mut watch, SETTLED_CYCLES, || Ok(()))?;
    let (process, thread) = loop_thread(&set)?;
    let before = Evidence::look(cpu, process, thread)?;
    let cycles = seconds * 1_000;
    let until = match arm.name {
        "hostile" => {
            // A client of a domain that is scribbled over may die of it; the recording is read instead.
            drop(watch);
            let mut scribbler = Scribbler::new(number);
            let mut burst = || scribbler.burst(set.dir());
            pass_time(Duration::from_secs(seconds), BURST_EVERY, &mut burst)?;
            from + cycles
        }
        // The watch is kept for its cycles, and to be one more client as in the other arms.
        "filters" => pass_cycles(&mut watch, cycles, paced(FILTER_EVERY, filtered_process))?,
        "churn" => {
            let hundred_ms = Duration::from_millis(100);
            pass_cycles(&mut watch, cycles, paced(hundred_ms, || company.churn(&set)))?
        }
        _ => pass_cycles(&mut watch, cycles, || Ok(()))?,
    };
    let after = Evidence::look(cpu, process, thread)?;
    company.all_alive()?;
    drop(company);
    let said = set.end_and_tell()?;
    let mut block = recorded(&fs::read(&inputs)?, from, until)?;
    enough(&block, cycles)?;
    block.missed_by_cause = missed_by_cause(&said)?;
    block.cpu_ns = after.cpu_ns.saturating_sub(before.cpu_ns);
    block.steal_ticks = after.steal_ticks.saturating_sub(before.steal_ticks);
    block.interrupts = after.interrupts.since(&before.interrupts);
    fs::remove_dir_all(&out)?;
    Ok(block)
}

/// Calls `act` again and again, `every` so often at most.
fn paced(
    every: Duration,
    mut act: impl FnMut() -> anyhow::Result<()>,
) -> impl FnMut() -> anyhow::Result<()> {
    let mut last = Instant::now();
    move || {
        if last.elapsed() < every {
            return Ok(());
        }
        last = Instant::now();
        act()
    }
}

fn pass_time(
    length: Duration,
    every: Duration,
    act: &mut impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < length {
        let acted = Instant::now();
        act()?;
        std::thread::sleep(every.saturating_sub(acted.elapsed()));
    }
    Ok(())
}

/// Reads until `cycles` more have passed, `act`ing meanwhile; gives the last one.
fn pass_cycles(
    watch: &mut Watch,
    cycles: u64,
    mut act: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    watch.read()?;
    let from = watch.last().map_or(0, |(header, _)| header.cycle);
    let begun = Instant::now();
    let guard = PATIENCE + Duration::from_millis(3 * cycles);
    loop {
        watch.read()?;
        act()?;
        match watch.last() {
            Some((header, _)) if header.cycle >= from + cycles => return Ok(header.cycle),
            _ if begun.elapsed() > guard => bail!("the loop stands"),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Process and thread of a set's loop.
///
/// # Errors
/// It does not run.
pub fn loop_thread(set: &Set) -> anyhow::Result<(i32, i32)> {
    let process = set.pids(&["kadenzd"]).first().copied().map(Pid::as_raw);
    let process = process.context("kadenzd does not run")?;
    for entry in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() == "kadenz-rt" {
            return Ok((process, entry.file_name().to_string_lossy().parse()?));
        }
    }
    bail!("kadenzd has no thread kadenz-rt")
}

/// Whether a block has most of the `wanted` samples: fewer say less than their number promises.
///
/// # Errors
/// It has not: the numbers.
fn enough(block: &Block, wanted: u64) -> anyhow::Result<()> {
    let (samples, missed) = (block.latency_ns.len() as u64, block.missed);
    ensure!(
        100 * (samples + missed) >= SAMPLES_PERCENT_MIN * wanted,
        "a block of {samples} samples and {missed} missed cycles, where {wanted} were asked for: \
         {SAMPLES_PERCENT_MIN} % are needed; run again"
    );
    Ok(())
}

/// Cycles `from .. until` of a recording; what came too close is counted over its whole length.
fn recorded(inputs: &[u8], from: u64, until: u64) -> anyhow::Result<Block> {
    let mut whole = Block::default();
    let (mut block, mut last_wake_ns) = (Block::default(), None);
    let replayed = replay_observed(inputs, |header, _| {
        whole.wake(header.grid_ns, header.wake_ns, header.period_ns, last_wake_ns);
        last_wake_ns = Some(header.wake_ns);
        if (from..until).contains(&header.cycle) {
            block.latency_ns.push(header.wake_ns.saturating_sub(header.grid_ns));
            block.missed += u64::from(header.skipped);
        }
    })?;
    ensure!(replayed.diverged_at.is_none(), "the recorded run does not replay");
    let torn_bytes = replayed.torn_bytes;
    ensure!(torn_bytes == 0, "the recording is torn: {torn_bytes} bytes at its end are no record");
    ensure!(!block.latency_ns.is_empty(), "the recording ends before cycle {from}");
    block.closer_than_half_period = whole.closer_than_half_period;
    Ok(block)
}

/// The CPU that a set started by this process gives its loop: the last it may use.
///
/// # Errors
/// The kernel does not say.
pub fn loop_cpu() -> anyhow::Result<usize> {
    kadenz_host::thread::loop_cpu(kadenz_config::machine::Cpu::Last)
}

/// A place for files of a run that are gone after it.
///
/// # Errors
/// It cannot be made.
pub fn scratch(what: &str) -> anyhow::Result<std::path::PathBuf> {
    let path = std::env::temp_dir().join(format!("kadenz-{what}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(Path::new(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_too_few_samples_is_an_error_and_missed_cycles_count_as_samples() {
        let block = |samples: usize, missed: u64| Block {
            latency_ns: vec![5; samples],
            missed,
            ..Block::default()
        };
        assert!(enough(&block(1_000, 0), 1_000).is_ok());
        assert!(enough(&block(800, 100), 1_000).is_ok());
        let said = enough(&block(800, 99), 1_000).unwrap_err().to_string();
        assert!(
            said.starts_with("a block of 800 samples and 99 missed cycles, where 1000"),
            "{said}"
        );
    }
}
