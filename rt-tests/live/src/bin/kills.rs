//! Kills planner, monitor, logger and gateways of a running machine at speed, then judges every cycle.
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use kadenz_link::paths::RuntimeDir;
use kadenzd::boot::replay::replay_observed;
use live_tests::{Judge, Set, SetOptions, kills, recordings};
use serde_json::json;
use shm_layout::code::Cause;

/// Kills processes in mid-motion, with real processes and shared memory.
#[derive(Parser)]
struct Options {
    /// How many kills.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Writes every kill and the verdict to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder of recordings and logs.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kills: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.out)?;
    let out = std::path::absolute(&options.out)?;
    let inputs = out.join("inputs.kdzrec");
    let mut set = Set::start(SetOptions {
        machine: "demo-arm".to_owned(),
        dir: RuntimeDir::at(format!("/dev/shm/kdz-kills-{}", std::process::id()))?,
        out: out.clone(),
        record: Some(inputs.clone()),
        without: Vec::new(),
    })?;
    let mut watch = kills::open_watch(&mut set)?;
    kills::enable(&set)?;
    let series = kills::run(&set, &mut watch, options.kills)?;
    set.must(&["disable"])?;
    let health = *watch.view().health()?.context("no statistics")?;
    drop(watch);
    set.end()?;

    let limits = live_tests::arm_limits()?;
    let mut judge = Judge::new(limits);
    let replayed = replay_observed(&fs::read(&inputs)?, |header, axes| judge.judge(header, axes))?;
    let account = judge.account();
    let recorded = recordings::read_all(&out)?;
    let own = health.missed_by_cause[Cause::Own.code() as usize];
    println!(
        "{} kills; {} cycles, all replayed bit for bit: {}; jumps {}; off the path at rest at most {:.2e} rad; \
         missed cycles by cause {:?} (own, host, kernel, bus, unattributed); {} recordings hold {} cycles",
        series.kills.len(),
        replayed.cycles,
        replayed.diverged_at.is_none(),
        account.jumps.len(),
        series.off_path_max,
        health.missed_by_cause,
        recorded.files,
        recorded.states,
    );
    if let Some(path) = &options.json {
        let value = json!({
            "schema_version": 1,
            "series": series,
            "cycles": replayed.cycles,
            "diverged_at": replayed.diverged_at,
            "jumps": account.jumps,
            "own_missed_cycles": own,
            "missed_by_cause": health.missed_by_cause,
            "recordings": recorded.files,
            "recorded_cycles": recorded.states,
            "allocations": health.allocations,
            "page_faults": health.minor_faults + health.major_faults,
        });
        fs::write(path, format!("{value:#}\n"))?;
    }
    ensure!(replayed.diverged_at.is_none(), "replay diverged at {:?}", replayed.diverged_at);
    ensure!(replayed.cycles > 0 && replayed.torn_bytes == 0, "the recording is torn");
    ensure!(account.jumps.is_empty(), "{} jumps: {:?}", account.jumps.len(), account.jumps.first());
    ensure!(series.off_path_max < 1e-6, "off the path by {:e}", series.off_path_max);
    ensure!(recorded.states > 0, "nothing was recorded");
    ensure!(own == 0, "{own} cycles missed by our own doing");
    Ok(())
}
