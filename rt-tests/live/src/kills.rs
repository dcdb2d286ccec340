//! Kills in mid-motion: every kind of process, at speed, and what became of the motion and of the process.
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kadenz_link::View;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use shm_layout::code::{Phase, Reason, Role, state_flag};
use shm_layout::state::StateHeader;

use crate::{Set, Watch, binary, ends_with_us};

/// What is killed, in turn: 40 of each client kind and 80 gateways in 200.
const TURN: [&str; 5] = ["planner", "gateway", "monitor", "gateway", "logger"];
/// Gateways, in turn.
const GATEWAYS: [&str; 3] = ["view", "plan", "operate"];
/// Guard against waiting for ever; hosts stall, so it is generous. Never a measure of anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Share of its velocity limit that some axis must have at the instant of a kill.
const SPEED_SHARE_MIN: f64 = 0.5;

/// One kill.
#[derive(Clone, Debug, Serialize)]
pub struct Kill {
    /// What was killed.
    pub kind: String,
    /// Cycle of the newest record just before.
    pub cycle: u64,
    /// Path time then, s.
    pub tau_s: f64,
    /// Largest share of its velocity limit any axis had, 0 ..= 1.
    pub speed_share: f64,
    /// Whether the axes came to rest (they must after a planner's death, and must not after others').
    pub came_to_rest: bool,
    /// Path time between the kill and rest, s; 0 when it went on.
    pub rest_after_s: f64,
    /// Time until the process served again.
    pub back_after_ms: u64,
}

/// Everything one series of kills found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Series {
    /// Kills in order.
    pub kills: Vec<Kill>,
    /// Largest distance from the planned path at rest after a planner's death, rad.
    pub off_path_max: f64,
}

/// A trajectory in which some axis is above half speed about half of the time, for two minutes.
#[must_use]
pub fn fast_csv() -> String {
    let mut csv = "t_s,j1_rad,j2_rad,j3_rad,j4_rad,j5_rad,j6_rad\n".to_owned();
    let (duration_s, step_s, ramp_s, omega) = (120.0, 0.02, 3.0, 3.5);
    let rows = 6000_u32;
    for row in 0..=rows {
        let t_s = f64::from(row) * step_s;
        let u = (t_s / ramp_s).min(1.0).min((duration_s - t_s) / ramp_s).max(0.0);
        // Rises and falls with velocity and acceleration zero at both ends.
        let envelope = u.powi(3) * (10.0 - 15.0 * u + 6.0 * u * u);
        let wave = envelope * (omega * t_s).sin();
        let slow = envelope * (omega * 0.5 * t_s).sin();
        let _ = writeln!(
            csv,
            "{t_s:.2},{:.9},{:.9},{:.9},{:.9},{:.9},{:.9}",
            0.61 * wave,
            0.4 * slow,
            -0.5 * wave,
            0.8 * slow,
            -0.7 * slow,
            0.9 * wave
        );
    }
    csv
}

/// A monitor that is started again after each of its deaths, as a person would.
struct Monitor {
    child: Child,
}

impl Monitor {
    fn start(set: &Set) -> anyhow::Result<Self> {
        let mut command = Command::new(binary("kadenz-monitor")?);
        let mut child = ends_with_us(&mut command)
            .args(["--json", "--runtime-dir"])
            .arg(set.dir().as_path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting kadenz-monitor")?;
        // Its first object says that it is in touch.
        let mut first = [0u8; 1];
        child
            .stdout
            .as_mut()
            .context("the monitor's output")?
            .read_exact(&mut first)
            .context("the monitor ended without a word")?;
        Ok(Self { child })
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Kills `count` processes of a running, enabled set, in turn; reports each on stdout.
///
/// # Errors
/// A promise was not kept, or something did not come back.
pub fn run(set: &Set, watch: &mut Watch, count: usize) -> anyhow::Result<Series> {
    let file = set.out().join("fast.csv");
    fs::write(&file, fast_csv())?;
    let mut monitor = Monitor::start(set)?;
    let mut series = Series::default();
    let mut gateway = GATEWAYS.iter().cycle();
    for (number, kind) in TURN.iter().cycle().take(count).enumerate() {
        at_speed(set, watch, &file)?;
        let name = match *kind {
            "gateway" => format!("gateway {}", gateway.next().context("cycle")?),
            other => other.to_owned(),
        };
        let kill = one(set, watch, &mut monitor, &name, &mut series)
            .with_context(|| format!("kill {number} ({name})\n{}", tail(&set.log())))?;
        println!(
            "{number:3} {:16} cycle {:7} tau {:7.3} s speed {:4.0} %  {}  back after {} ms",
            kill.kind,
            kill.cycle,
            kill.tau_s,
            100.0 * kill.speed_share,
            if kill.came_to_rest {
                format!("at rest on the path after {:.3} s of path", kill.rest_after_s)
            } else {
                "motion went on".to_owned()
            },
            kill.back_after_ms
        );
        series.kills.push(kill);
    }
    Ok(series)
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(30).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Polls until `done`; the guard only ends a wait that would never end.
pub(crate) fn until(
    watch: &mut Watch,
    what: &str,
    mut done: impl FnMut(&mut Watch) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        watch.read()?;
        if done(watch)? {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let seen = watch.last().map(|(header, _)| describe(header));
            bail!("waited {} s for: {what}; the machine: {seen:?}", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn describe(header: &StateHeader) -> String {
    format!(
        "{} ({}), tau {:.3} of {:.3} s, rate {:.3}, knots refused {}",
        Phase::word_of(header.phase),
        Reason::word_of(header.reason),
        header.tau_s,
        header.tau_last_s,
        header.path_rate,
        header.knots_refused
    )
}

/// Sees to it that a path is under way and some axis is above half speed.
fn at_speed(set: &Set, watch: &mut Watch, file: &Path) -> anyhow::Result<()> {
    watch.read()?;
    let idle = watch.last().is_none_or(|(header, _)| header.path_id == 0);
    if idle {
        set.must(&["run", "--detach", &file.to_string_lossy()])?;
    }
    let mut again = None;
    until(watch, "an axis above half speed", |watch| {
        let Some((header, _)) = watch.last() else { return Ok(false) };
        // Near its end the file is run again, from rest.
        if header.path_id == 0 && header.phase == Phase::Standstill.code() {
            let waited = again.get_or_insert_with(Instant::now);
            if waited.elapsed() > Duration::from_secs(1) {
                set.must(&["run", "--detach", &file.to_string_lossy()])?;
                again = None;
            }
        }
        let complete = header.flags & state_flag::PATH_COMPLETE != 0;
        Ok(!complete && header.path_rate >= 1.0 && watch.account().speed_share > SPEED_SHARE_MIN)
    })
}

fn one(
    set: &Set,
    watch: &mut Watch,
    monitor: &mut Monitor,
    name: &str,
    series: &mut Series,
) -> anyhow::Result<Kill> {
    let (header, _) = watch.last().context("no state")?;
    let (cycle, tau_s) = (header.cycle, header.tau_s);
    let mut kill = Kill {
        kind: name.to_owned(),
        cycle,
        tau_s,
        speed_share: watch.account().speed_share,
        came_to_rest: false,
        rest_after_s: 0.0,
        back_after_ms: 0,
    };
    let begun = Instant::now();
    match name.split_once(' ') {
        Some((_, role)) => kill_gateway(set, watch, role)?,
        None if name == "planner" => kill_planner(set, watch, &mut kill, series)?,
        None if name == "logger" => {
            kill_and_await(set, watch, &["kadenz-logger"])?;
        }
        None => {
            monitor.kill()?;
            *monitor = Monitor::start(set)?;
        }
    }
    kill.back_after_ms = u64::try_from(begun.elapsed().as_millis())?;
    if name != "planner" {
        // The motion must not have noticed.
        until(watch, "the motion to go on", |watch| {
            let Some((header, _)) = watch.last() else { return Ok(false) };
            ensure!(
                header.reason == Reason::None.code() || header.path_id == 0,
                "the motion was disturbed: {}",
                describe(header)
            );
            Ok(header.cycle > cycle + 20)
        })?;
    }
    Ok(kill)
}

/// Kills the one process with these words in its command line, waits for its successor.
fn kill_and_await(set: &Set, watch: &mut Watch, words: &[&str]) -> anyhow::Result<Pid> {
    let victim = *set.pids(words).first().with_context(|| format!("{words:?} does not run"))?;
    kill(victim, Signal::SIGKILL).with_context(|| format!("killing {words:?}"))?;
    let mut successor = victim;
    until(watch, &format!("a new {}", words.join(" ")), |_| {
        if let Some(pid) = set.pids(words).iter().find(|pid| **pid != victim) {
            successor = *pid;
        }
        Ok(successor != victim)
    })?;
    Ok(successor)
}

fn kill_gateway(set: &Set, watch: &mut Watch, role: &str) -> anyhow::Result<()> {
    let before = watch.last().map(|(header, _)| (header.knots_accepted, header.cycle));
    let (accepted, cycle) = before.context("no state")?;
    kill_and_await(set, watch, &["kadenz-gateway", role])?;
    match role {
        "view" => until(watch, "records from the new view gateway", |watch| {
            Ok(watch.last().is_some_and(|(header, _)| header.cycle > cycle + 50))
        }),
        "plan" => until(watch, "knots through the new plan gateway", |watch| {
            Ok(watch.last().is_some_and(|(header, _)| {
                header.knots_accepted > accepted + 20
                    || header.flags & state_flag::PATH_COMPLETE != 0
            }))
        }),
        _ => until(watch, "an answer through the new operate gateway", |_| {
            Ok(set.kadenz(&["override", "1"])?.status.success())
        }),
    }
}

fn kill_planner(
    set: &Set,
    watch: &mut Watch,
    kill: &mut Kill,
    series: &mut Series,
) -> anyhow::Result<()> {
    let killed = watch.last().map(|(header, _)| header.source_id);
    kill_and_await(set, watch, &["kadenz-planner"])?;
    until(watch, "rest on the path", |watch| Ok(watch.is_at_rest()))?;
    let (header, axes) = watch.last().context("no state")?;
    ensure!(header.path_id != 0, "the path was dropped: {}", describe(header));
    kill.came_to_rest = true;
    kill.rest_after_s = header.tau_s - kill.tau_s;
    let planned = planned_at(set, header.tau_s)?;
    for (axis, planned) in axes.iter().zip(planned) {
        series.off_path_max = series.off_path_max.max((axis.position_reference - planned).abs());
    }
    // It stays at rest until a person says so, however much the new planner sends.
    let tau_s = header.tau_s;
    until(watch, "the new planner to hold the lease", |watch| {
        Ok(watch.last().is_some_and(|(header, _)| {
            header.flags & state_flag::SOURCE_ALIVE != 0 && Some(header.source_id) != killed
        }))
    })?;
    let (header, _) = watch.last().context("no state")?;
    ensure!(
        header.tau_s.to_bits() == tau_s.to_bits(),
        "it moved without a word: {}",
        describe(header)
    );
    set.must(&["resume"])?;
    until(watch, "motion after resume", |watch| {
        Ok(watch.last().is_some_and(|(header, _)| header.path_rate >= 1.0 || header.path_id == 0))
    })
}

/// Where the program that the planner's journal names stands at path time `tau_s`.
fn planned_at(set: &Set, tau_s: f64) -> anyhow::Result<Vec<f64>> {
    let journal: PathBuf = set.dir().planner_dir().join("journal.json");
    let journal: serde_json::Value = serde_json::from_slice(&fs::read(&journal)?)?;
    let start: Vec<f64> = journal["start_bits"]
        .as_array()
        .context("start_bits")?
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .map(f64::from_bits)
        .collect();
    let csv = journal["csv"].as_str().context("csv")?;
    crate::planned::position(csv, &start, tau_s)
}

/// A view for a watch, once the set serves.
///
/// # Errors
/// It does not start.
pub fn open_watch(set: &mut Set) -> anyhow::Result<Watch> {
    let begun = Instant::now();
    loop {
        match View::open(set.dir().clone(), Role::View, "live-tests", Duration::from_millis(200)) {
            Ok(view) => return Ok(Watch::new(view)),
            Err(_) if set.is_alive() && begun.elapsed() < PATIENCE => {}
            Err(error) => bail!("{error}\n{}", set.log()),
        }
    }
}

/// Enables the machine, waiting for its operate gateway.
///
/// # Errors
/// It is refused.
pub fn enable(set: &Set) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let output = set.kadenz(&["enable"])?;
        if output.status.success() {
            return Ok(());
        }
        if output.status.code() != Some(69) || begun.elapsed() > PATIENCE {
            bail!("enable: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
