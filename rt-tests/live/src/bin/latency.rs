//! `cargo latency`: wake-up latency of the real daemon against two floors, in interleaved blocks of one run.
//!
//! The bare loop is the loop's whole body in a process of its own, with no gateway and no client; a
//! block of it stands beside every block of the daemon, so that what the host does hits both.
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use live_tests::latency::arms::{self, ARMS, Arm, Company};
use live_tests::latency::block::{Block, percentiles, pooled};
use live_tests::latency::compare::Pair;
use live_tests::latency::daemon;
use live_tests::latency::fingerprint::fingerprint;
use live_tests::latency::floor::{self, Histogram};
use live_tests::latency::outcome::Measured;
use live_tests::latency::reach::{self, Found};
use live_tests::latency::{rate, svg};
use serde_json::{Value, json};

/// Measures wake-up latency, the way to a client and back, and the highest rate.
#[derive(Parser)]
struct Options {
    /// Seconds of one block.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Pairs of blocks per arm; below 12 the interval is wide.
    #[arg(long, default_value_t = 12)]
    pairs: usize,
    /// What is measured: arms (idle, clients, churn, hostile, load, filters) and sections
    /// (loop-to-client, request-to-loop, rate) [default: all].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    arms: Vec<String>,
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes what is printed at the end to this file.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Draws the histograms into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Runs one block of the bare loop in this process.
    #[arg(long, hide = true)]
    bare: bool,
    /// The machine of that block.
    #[arg(long, hide = true, value_name = "FILE")]
    bare_machine: Option<PathBuf>,
    /// Installs a seccomp filter and ends.
    #[arg(long, hide = true)]
    install_filter: bool,
}

/// What is measured besides the arms.
const SECTIONS: [&str; 3] = ["loop-to-client", "request-to-loop", "rate"];
/// Seconds at each rate: the span that the promise speaks of.
const RATE_SECONDS: u64 = 10;

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.bare {
        floor::bare(options.seconds, options.bare_machine.as_deref()).and_then(|block| {
            println!("{}", serde_json::to_string(&block)?);
            Ok(())
        })
    } else if options.install_filter {
        arms::install_filter()
    } else {
        run(&options)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latency: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.pairs > 0, "--pairs 0: at least one pair makes a comparison");
    let known = || ARMS.iter().map(|arm| arm.name).chain(SECTIONS);
    if let Some(unknown) = options.arms.iter().find(|name| !known().any(|one| one == **name)) {
        bail!("--arms {unknown}: there is {}", known().collect::<Vec<_>>().join(", "));
    }
    let is_wanted =
        |name: &str| options.arms.is_empty() || options.arms.iter().any(|one| one == name);
    let cpu = daemon::loop_cpu()?;
    let wanted: Vec<Arm> = ARMS.into_iter().filter(|arm| is_wanted(arm.name)).collect();
    let (measured, cyclictest) = measure(options, wanted, cpu)?;
    let mut found: Vec<(&str, Found)> = Vec::new();
    if is_wanted(SECTIONS[0]) {
        let rounds = options.pairs.min(6);
        found.push((SECTIONS[0], reach::loop_to_client(rounds, options.seconds, cpu)?));
    }
    if is_wanted(SECTIONS[1]) {
        found.push((SECTIONS[1], reach::request_to_loop()?));
    }
    if is_wanted(SECTIONS[2]) {
        found.push((SECTIONS[2], rate::highest(RATE_SECONDS)?));
    }
    report(options, &measured, &cyclictest, &found)
}

/// All pairs of all arms, interleaved; a pair that cannot be compared is made up for once.
fn measure(
    options: &Options,
    wanted: Vec<Arm>,
    cpu: usize,
) -> anyhow::Result<(Vec<Measured>, Histogram)> {
    let mut measured: Vec<Measured> = wanted.into_iter().map(Measured::new).collect();
    let mut cyclictest = Histogram::default();
    for round in 0..2 * options.pairs {
        let mut is_done = true;
        for one in &mut measured {
            if one.kept().len() >= options.pairs {
                continue;
            }
            is_done = false;
            let pair = pair(&one.arm, options.seconds, cpu, round)?;
            say(round, &one.arm, &pair);
            one.pairs.push(pair);
        }
        if is_done {
            break;
        }
        cyclictest.add(&floor::cyclictest(options.seconds, cpu)?);
    }
    Ok((measured, cyclictest))
}

/// The order within a pair alternates, so that a drift of the host hits both.
fn pair(arm: &Arm, seconds: u64, cpu: usize, round: usize) -> anyhow::Result<Pair> {
    let floor = || -> anyhow::Result<Block> {
        let mut company =
            if arm.beside_both { Company::of(arm, None)? } else { Company::default() };
        let block = floor::bare_block(seconds, None)?;
        company.all_alive()?;
        Ok(block)
    };
    let block = || daemon::block(arm, seconds, cpu, round as u64);
    if round.is_multiple_of(2) {
        let floor = floor()?;
        Ok(Pair { floor, block: block()? })
    } else {
        let block = block()?;
        Ok(Pair { floor: floor()?, block })
    }
}

fn say(round: usize, arm: &Arm, pair: &Pair) {
    let Pair { floor, block } = pair;
    println!(
        "pair {round:2} {:8} p50 {:>6} / floor {:>6} ns   p99 {:>7} / {:>7} ns   stalls {} / {}   steal {} / {}{}",
        arm.name,
        block.percentile(500),
        floor.percentile(500),
        block.percentile(990),
        floor.percentile(990),
        block.stalls(),
        floor.stalls(),
        block.steal_ticks,
        floor.steal_ticks,
        if pair.unequal().is_some() { "   not compared" } else { "" }
    );
}

fn report(
    options: &Options,
    measured: &[Measured],
    cyclictest: &Histogram,
    found: &[(&str, Found)],
) -> anyhow::Result<()> {
    let bare = measured.iter().filter(|one| !one.arm.beside_both).flat_map(|one| &one.pairs);
    let mut value = json!({
        "schema_version": 1,
        "machine": fingerprint(),
        "pairs": options.pairs,
        "block_s": options.seconds,
        "floor_ns": percentiles(pooled(bare.map(|pair| &pair.floor))),
        "cyclictest_ns": cyclictest.percentiles(),
        "arms": {},
    });
    let mut text = format!("machine: {}\n", value["machine"]);
    let mut broken = Vec::new();
    if !measured.is_empty() {
        text += &format!("floor, bare loop of equal body, ns: {}\n", value["floor_ns"]);
        text += &format!("floor, cyclictest -N, ns: {}\n", value["cyclictest_ns"]);
    }
    for one in measured {
        value["arms"][one.arm.name] = one.json();
        text += &one.text();
        broken.extend(one.broken(options.pairs));
        let idle = measured.iter().find(|idle| idle.arm.name == "idle");
        if let Some(idle) = idle.filter(|idle| idle.arm != one.arm && !one.arm.beside_both) {
            for (at, added) in one.added_to(idle) {
                let Some(added) = added else { continue };
                value["arms"][one.arm.name]["added_to_idle"][at] = added.json();
                text += &format!("  times the idle daemon's at {at}: {added}\n");
            }
        }
    }
    for (name, found) in found {
        value[name.replace('-', "_")] = found.json.clone();
        text += &found.text;
        broken.extend(found.broken.iter().cloned());
    }
    value["not_kept"] = Value::from(broken.clone());
    println!("\n{text}");
    let write = |path: &Option<PathBuf>, content: &str| match path {
        Some(path) => fs::write(path, content).with_context(|| path.display().to_string()),
        None => Ok(()),
    };
    write(&options.json, &format!("{value:#}\n"))?;
    write(&options.text, &text)?;
    let panels: Vec<svg::Panel> = measured.iter().map(Measured::panel).collect();
    write(&options.svg, &svg::picture(&panels))?;
    ensure!(broken.is_empty(), "not kept:\n  {}", broken.join("\n  "));
    Ok(())
}
