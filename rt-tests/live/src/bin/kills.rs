//! Kills planner, monitor, logger and gateways of a running machine at speed, then judges every cycle; or, with
//! `--daemon`, kadenzd itself, and judges what it leaves behind.
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use kadenz_link::paths::RuntimeDir;
use kadenzd::boot::replay::replay_observed;
use live_tests::{Judge, Set, SetOptions, daemon_kills, kills, recordings};
use serde_json::json;
use shm_layout::code::Cause;

/// Kills processes in mid-motion, with real processes and shared memory.
#[derive(Parser)]
struct Options {
    /// How many kills [default: 200; with --daemon 50].
    #[arg(long)]
    kills: Option<usize>,
    /// Kills kadenzd itself, at random instants.
    #[arg(long)]
    daemon: bool,
    /// Seed of these instants.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes every kill and the verdict to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder of recordings and logs.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let run = if options.daemon { run_daemon } else { run };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kills: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_daemon(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.out)?;
    let out = std::path::absolute(&options.out)?;
    let kills = daemon_kills::run(&out, options.kills.unwrap_or(50), options.seed)?;
    let mut back_ms: Vec<u64> = kills.iter().map(|kill| kill.back_after_ms).collect();
    back_ms.sort_unstable();
    let unsaved = kills.iter().map(|kill| kill.unsaved_cycles).max().unwrap_or(0);
    let torn = kills.iter().map(|kill| kill.torn).sum::<usize>();
    println!(
        "{} kills of kadenzd: every ring whole to the last cycle seen, {torn} torn records in all; at most \
         {unsaved} cycles were not yet on disk; a client had the next life's first record after {} ms (median), \
         {} ms at most",
        kills.len(),
        back_ms.get(back_ms.len() / 2).context("no kills")?,
        back_ms.last().context("no kills")?
    );
    if let Some(path) = &options.json {
        let value = json!({"schema_version": 1, "seed": options.seed, "kills": kills});
        fs::write(path, format!("{value:#}\n"))?;
    }
    Ok(())
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
    let series = kills::run(&set, &mut watch, options.kills.unwrap_or(200))?;
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
