//! `cargo demo`: the main job end to end, as a user would do it, with every part a process of its own.
use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use kadenz_link::View;
use kadenz_link::paths::RuntimeDir;
use live_tests::{Ending, Set, SetOptions, Watch, binary, ends_with_us};
use serde_json::json;
use shm_layout::code::{Cause, Phase, Reason, Role, axis_flag};
use shm_layout::health::Health;
use shm_layout::histogram::percentile_ns;

/// Runs the machine of an embedded configuration on a trajectory file.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Options {
    /// Trajectory CSV to run [default: the one shipped for the machine].
    #[arg(long, value_name = "CSV")]
    file: Option<PathBuf>,
    /// Embedded machine: demo-arm (6 rotary axes) or demo-mill (3 linear axes).
    #[arg(long, default_value = "demo-arm")]
    machine: String,
    /// Bus; this version drives the simulated plant only.
    #[arg(long, default_value = "sim", value_parser = ["sim"])]
    bus: String,
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder of the recording and the logs.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where sockets and shared memory live [default: as kadenzd].
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
}

/// What may take this long at most before the demo gives up; hosts stall, so it is generous.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<bool> {
    let ending = Ending::on_signal()?;
    let (name, csv) = trajectory(options)?;
    let out = std::path::absolute(out_folder(options)?)?;
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let dir = RuntimeDir::find(options.runtime_dir.as_deref())?;
    let file = out.join(&name);
    fs::write(&file, csv).with_context(|| file.display().to_string())?;

    println!("Kadenz demo: machine `{}`, file {name}, bus {}.", options.machine, options.bus);
    let mut set = Set::start(SetOptions {
        machine: options.machine.clone(),
        dir: dir.clone(),
        out: out.clone(),
        record: None,
        without: Vec::new(),
    })?;
    let mut watch = Watch::new(open_view(&mut set, &dir, &ending)?);
    say_what_the_host_lacks(&set);
    println!(
        "Processes: kadenzd, three gateways, planner, logger (`kadenz up`), and the monitor. Look on from\n\
         another terminal:  KADENZ_RUNTIME_DIR={} {}",
        dir.as_path().display(),
        binary("kadenz-monitor")?.display()
    );
    let monitor = Monitor::start(&dir, &out)?;

    let outcome = job(&set, &mut watch, &file, &ending);
    if outcome.is_err() || ending.is_asked() {
        // Torque off in order whatever happened: stops on the path first.
        let _ = set.kadenz(&["disable"]);
    }
    let health = watch.view().health()?.copied();
    let account = watch.account().clone();
    drop(watch);
    drop(monitor);
    let said = set.end();
    let completed = outcome? && !ending.is_asked();
    said?;

    let recording = newest_recording(&out)?;
    let health = health.context("no statistics arrived from the loop")?;
    summary(completed, &health, &account, &recording);
    if let Some(path) = &options.json {
        write_json(path, completed, &health, &account, &recording)?;
    }
    Ok(completed && account.jumps.is_empty())
}

fn trajectory(options: &Options) -> anyhow::Result<(String, String)> {
    if let Some(path) = &options.file {
        let csv = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.file_name().context("--file names no file")?;
        return Ok((name.to_string_lossy().into_owned(), csv));
    }
    match options.machine.as_str() {
        "demo-arm" => Ok((
            "iso9283_arm.csv".to_owned(),
            include_str!("../../../../clients/planner/trajectories/iso9283_arm.csv").to_owned(),
        )),
        "demo-mill" => Ok((
            "pocket_contour.csv".to_owned(),
            include_str!("../../../../clients/planner/trajectories/pocket_contour.csv").to_owned(),
        )),
        other => bail!("--machine {other}: there is {}", kadenz_config::DEMO_NAMES.join(" and ")),
    }
}

fn out_folder(options: &Options) -> anyhow::Result<PathBuf> {
    if let Some(out) = &options.out {
        return Ok(out.clone());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = state.or(home).context("neither XDG_STATE_HOME nor HOME is set; give --out DIR")?;
    Ok(base.join("kadenz/demo"))
}

fn open_view(set: &mut Set, dir: &RuntimeDir, ending: &Ending) -> anyhow::Result<View> {
    let begun = Instant::now();
    loop {
        match View::open(dir.clone(), Role::View, "kadenz-demo", Duration::from_millis(200)) {
            Ok(view) => return Ok(view),
            Err(error) if begun.elapsed() > PATIENCE => bail!("{error}\n{}", set.log()),
            Err(_) if !set.is_alive() => bail!("the machine did not start:\n{}", set.log()),
            Err(_) if ending.is_asked() => bail!("interrupted"),
            Err(_) => {}
        }
    }
}

/// Says once, plainly, what this host lacks for real time; kadenzd found it and was exempted from it.
fn say_what_the_host_lacks(set: &Set) {
    let log = set.log();
    let mut lines = log.lines().skip_while(|line| !line.contains("not a real-time host"));
    if lines.next().is_some() {
        println!("This host is not fit for real time; the demo's configuration exempts:");
        for line in lines.take_while(|line| line.contains(": ") && !line.contains("kadenzd]")) {
            println!("  - {}", line.trim().trim_start_matches("kadenzd: ").trim());
        }
    }
}

/// The monitor, as a process with its output in a file.
struct Monitor(Child);

impl Monitor {
    fn start(dir: &RuntimeDir, out: &Path) -> anyhow::Result<Self> {
        let file = fs::File::create(out.join("monitor.txt"))?;
        let mut command = Command::new(binary("kadenz-monitor")?);
        let child = ends_with_us(&mut command)
            .arg("--runtime-dir")
            .arg(dir.as_path())
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file)
            .process_group(0)
            .spawn()
            .context("starting kadenz-monitor")?;
        Ok(Self(child))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Enables, runs the file to its end, disables. `false` when it was interrupted.
fn job(set: &Set, watch: &mut Watch, file: &Path, ending: &Ending) -> anyhow::Result<bool> {
    print!("{}", set.must(&["enable"])?);
    let path = file.to_string_lossy();
    let begun = Instant::now();
    let duration_s;
    loop {
        let output = set.kadenz(&["--json", "run", "--detach", &path])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            let accepted: serde_json::Value = serde_json::from_str(&said).context("run --json")?;
            duration_s = accepted["duration_s"].as_f64().context("run --json: duration_s")?;
            println!("run: accepted in full before anything moves; {duration_s:.2} s of path");
            break;
        }
        // The planner may still be starting; a refused file is refused at once.
        if output.status.code() != Some(69) || begun.elapsed() > PATIENCE {
            let refused: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
            let why = refused["error"].as_str().map_or(said.as_str(), |why| why);
            bail!("{why}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let done = follow(watch, duration_s, ending)?;
    if done {
        print!("{}", set.must(&["disable"])?);
    }
    Ok(done)
}

/// Shows the progress line until the path has ended. `false` when it was interrupted.
fn follow(watch: &mut Watch, duration_s: f64, ending: &Ending) -> anyhow::Result<bool> {
    let live = std::io::stdout().is_terminal();
    let every = if live { Duration::from_millis(200) } else { Duration::from_secs(2) };
    let (mut shown, mut begun, mut heard) = (Instant::now(), false, Instant::now());
    loop {
        if watch.read()? > 0 {
            heard = Instant::now();
        }
        if heard.elapsed() > PATIENCE {
            bail!("no state for {} s", PATIENCE.as_secs());
        }
        let Some((header, _)) = watch.last() else { continue };
        let (path_id, phase, reason) = (header.path_id, header.phase, header.reason);
        begun |= path_id != 0;
        let stopped = phase == Phase::Stopped.code() || phase == Phase::Disabled.code();
        if begun && path_id == 0 && !stopped {
            show(watch, duration_s, live, true)?;
            return Ok(true);
        }
        if stopped {
            bail!("the machine stopped: {}", Reason::word_of(reason));
        }
        if ending.is_asked() {
            println!("\nInterrupted: stopping on the path.");
            return Ok(false);
        }
        if shown.elapsed() >= every {
            shown = Instant::now();
            show(watch, duration_s, live, false)?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn show(watch: &mut Watch, duration_s: f64, live: bool, end: bool) -> anyhow::Result<()> {
    let health = watch.view().health()?.copied();
    let error_max = watch.account().following_error_max;
    let Some((header, axes)) = watch.last() else { return Ok(()) };
    let enabled = axes.iter().filter(|axis| axis.flags & axis_flag::ENABLED != 0).count();
    let timing = health.map_or(String::new(), |health| {
        format!(
            "wake p50/p99/max {:.0}/{:.0}/{:.0} µs | overruns {} | missed own {} host {} other {}",
            percentile_ns(&health.wake_latency, 500) as f64 / 1e3,
            percentile_ns(&health.wake_latency, 990) as f64 / 1e3,
            health.wake_latency_ns_max as f64 / 1e3,
            health.overruns,
            health.missed_by_cause[Cause::Own.code() as usize],
            health.missed_by_cause[Cause::Host.code() as usize],
            health.missed_by_cause[Cause::Kernel.code() as usize]
                + health.missed_by_cause[Cause::Bus.code() as usize]
                + health.missed_by_cause[Cause::Unattributed.code() as usize],
        )
    });
    let place = if end {
        "file 100 %".to_owned()
    } else {
        let percent = 100.0 * header.tau_s / duration_s;
        format!("file {percent:3.0} % at rate {:.2}", header.path_rate)
    };
    let line = format!(
        "{place} | {enabled}/{} axes | following error max {:.2e} | {timing}",
        axes.len(),
        error_max
    );
    if live {
        print!("\r\x1b[2K{line}");
        if end {
            println!();
        }
        std::io::stdout().flush()?;
    } else {
        println!("{line}");
    }
    Ok(())
}

fn newest_recording(out: &Path) -> anyhow::Result<PathBuf> {
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(out)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "mcap") {
            found.push((entry.metadata()?.modified()?, path));
        }
    }
    found.sort();
    let (_, newest) = found.pop().with_context(|| format!("no recording in {}", out.display()))?;
    Ok(newest)
}

fn summary(completed: bool, health: &Health, account: &live_tests::Account, recording: &Path) {
    let us = |permille| percentile_ns(&health.wake_latency, permille) as f64 / 1e3;
    let causes: Vec<String> = Cause::ALL
        .iter()
        .map(|(cause, word, _)| format!("{word} {}", health.missed_by_cause[cause.code() as usize]))
        .collect();
    println!(
        "\n{}: {} cycles; wake-up latency p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs; missed cycles {} ({});",
        if completed { "Completed" } else { "Not completed" },
        health.cycles,
        us(500),
        us(990),
        health.wake_latency_ns_max as f64 / 1e3,
        health.missed_cycles,
        causes.join(", ")
    );
    println!(
        "largest following error {:.3e} (rad or m); jumps {}; RT thread: {} allocations, {} page faults.",
        account.following_error_max,
        account.jumps.len(),
        health.allocations,
        health.minor_faults + health.major_faults
    );
    account.jumps.iter().take(5).for_each(|jump| println!("  jump: {jump}"));
    println!("Recording: {}", recording.display());
}

fn write_json(
    path: &Path,
    completed: bool,
    health: &Health,
    account: &live_tests::Account,
    recording: &Path,
) -> anyhow::Result<()> {
    let wake = |permille| percentile_ns(&health.wake_latency, permille);
    let value = json!({
        "schema_version": 1,
        "completed": completed,
        "cycles": health.cycles,
        "own_missed_cycles": health.missed_by_cause[Cause::Own.code() as usize],
        "missed_cycles": health.missed_cycles,
        "wake_ns": {
            "p50": wake(500), "p90": wake(900), "p99": wake(990), "p999": wake(999),
            "max": health.wake_latency_ns_max,
        },
        "max_following_error": account.following_error_max,
        "jumps": account.jumps.len(),
        "records_lost": account.lost,
        "allocations": health.allocations,
        "page_faults": health.minor_faults + health.major_faults,
        "recording": recording,
    });
    fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())
}
