//! `simulate`: long seeded simulations of the whole island, with a summary per seed.
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use kadenzd::boot::replay::replay_bytes;
use rt_tests::cli::simulate;
use rt_tests::machines;
use rt_tests::simulation::Company;
use serde_json::{Value, json};

/// Simulates the whole island, seeded, in virtual time; non-zero exit on a broken promise.
#[derive(Parser)]
struct Options {
    /// First seed; seed % 3 decides the company: honest, wrong, hostile.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Cycles per seed.
    #[arg(long, default_value_t = 1_000_000)]
    cycles: u64,
    /// demo-arm, demo-mill or axes64; without it they come in turn.
    #[arg(long)]
    machine: Option<String>,
    /// Writes the summaries here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Megabytes of recording that are also replayed as a file at the end of each run.
    #[arg(long, default_value_t = 64)]
    recording_mb: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut runs = Vec::new();
    let mut failures = 0;
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        match run(&options, seed) {
            Ok(summary) => runs.push(summary),
            Err(error) => {
                failures += 1;
                eprintln!("FAILED: {error:#}");
                runs.push(json!({"seed": seed, "failed": format!("{error:#}")}));
            }
        }
    }
    if let Some(path) = &options.json {
        let text = json!({"passed": failures == 0, "failures": failures, "runs": runs});
        if let Err(error) = std::fs::write(path, format!("{text:#}\n")) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options, seed: u64) -> anyhow::Result<Value> {
    let in_turn = machines::NAMES[(seed / 3 % machines::NAMES.len() as u64) as usize];
    let machine = options.machine.as_deref().unwrap_or(in_turn);
    let begun = Instant::now();
    let finished = simulate(machine, seed, options.cycles, options.recording_mb << 20)?;
    let (summary, recording) = (finished.simulation.summary(), &finished.simulation.recording);
    let replayed = replay_bytes(recording.file()).context("replaying the file")?;
    ensure!(
        replayed.diverged_at.is_none() && replayed.torn_bytes == 0,
        "seed {seed}: the file diverges at cycle {:?}",
        replayed.diverged_at
    );
    let seconds = begun.elapsed().as_secs_f64();
    let fingerprint = format!("{:016x}", recording.fingerprint);
    println!(
        "seed {seed}: {machine}, {:?}, {seconds:.0} s, fingerprint {fingerprint}, {} cycles replayed from a file\n{summary}",
        Company::of_seed(seed),
        replayed.cycles
    );
    Ok(json!({
        "seed": seed,
        "machine": machine,
        "company": format!("{:?}", Company::of_seed(seed)),
        "fingerprint": fingerprint,
        "summary": summary.json(),
    }))
}
