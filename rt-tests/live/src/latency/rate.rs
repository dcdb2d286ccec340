//! The highest rate at which 32 simulated axes move and no cycle is missed by our own doing.
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;
use kadenz_link::paths::RuntimeDir;
use serde_json::{Value, json};
use shm_layout::code::Cause;
use shm_layout::health::Health;
use shm_layout::histogram::percentile_ns;

use super::daemon::scratch;
use super::reach::Found;
use crate::{Set, SetOptions, Watch, kills};

/// Axes that move.
const AXES: usize = 32;
/// Periods tried, µs: 1 to 20 kHz.
const PERIODS_US: [u64; 8] = [1_000, 500, 250, 125, 100, 80, 62, 50];
/// The rate that is promised, Hz.
const PROMISED_HZ: u64 = 20_000;
/// Evidence settles this long before what was missed has its cause.
const SETTLE: Duration = Duration::from_millis(400);
/// Guard against waiting for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs each rate for `seconds`.
///
/// # Errors
/// A set does not run at all.
pub fn highest(seconds: u64) -> anyhow::Result<Found> {
    let mut text = format!("{AXES} simulated axes, {seconds} s at each rate:\n");
    let (mut steps, mut highest_hz) = (Vec::new(), 0);
    for period_us in PERIODS_US {
        let hz = 1_000_000 / period_us;
        let step = match one(period_us, seconds) {
            Ok(step) => step,
            // What a host cannot run at all ends the ladder, and is told.
            Err(error) => {
                let _ = writeln!(text, "  {hz:6} Hz  did not run: {error:#}");
                steps.push(json!({"period_us": period_us, "did_not_run": format!("{error:#}")}));
                break;
            }
        };
        println!("rate {hz} Hz: {}", step["missed_cycles"]);
        if step["own_missed_cycles"] == 0 {
            highest_hz = hz;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {hz:6} Hz  missed {} of {}  pass p50 {:.1} p99 {:.1} µs  wake-up p50 {:.1} p99 {:.1} µs",
            step["missed_cycles"],
            step["cycles"],
            step["cycle_ns"]["p50"].as_u64().unwrap_or(0) as f64 / 1e3,
            step["cycle_ns"]["p99"].as_u64().unwrap_or(0) as f64 / 1e3,
            step["wake_ns"]["p50"].as_u64().unwrap_or(0) as f64 / 1e3,
            step["wake_ns"]["p99"].as_u64().unwrap_or(0) as f64 / 1e3,
        );
        steps.push(step);
    }
    let _ = writeln!(text, "  highest without an own-missed cycle: {highest_hz} Hz");
    let broken = (highest_hz < PROMISED_HZ)
        .then(|| format!("rate: {highest_hz} Hz with {AXES} axes, {PROMISED_HZ} Hz are promised"))
        .into_iter()
        .collect();
    let json = json!({"axes": AXES, "seconds": seconds, "highest_hz": highest_hz, "steps": steps});
    Ok(Found { json, text, broken })
}

/// One rate: the daemon's own counters over a span in which all axes move.
fn one(period_us: u64, seconds: u64) -> anyhow::Result<Value> {
    let out = scratch("rate")?;
    let file = out.join("machine.toml");
    fs::write(&file, machine(period_us))?;
    let mut set = Set::start(SetOptions {
        machine: file.to_string_lossy().into_owned(),
        dir: RuntimeDir::at(format!("/dev/shm/kdz-lat-{}", std::process::id()))?,
        out: out.clone(),
        record: None,
        without: vec!["logger".to_owned()],
    })?;
    let mut watch = kills::open_watch(&mut set)?;
    kills::enable(&set)?;
    let path = out.join("waves.csv");
    fs::write(&path, waves(seconds + 10))?;
    let begun = Instant::now();
    loop {
        let output = set.kadenz(&["run", "--detach", &path.to_string_lossy()])?;
        if output.status.success() {
            break;
        }
        // 69: the planner is not there yet.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(69) && begun.elapsed() < PATIENCE, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
    while watch.account().speed_share < 0.02 {
        watch.read()?;
        ensure!(begun.elapsed() < PATIENCE, "the axes do not move:\n{}", set.log());
        std::thread::sleep(Duration::from_millis(2));
    }
    let before = health(&mut watch)?;
    let span = Instant::now();
    while span.elapsed() < Duration::from_secs(seconds) {
        watch.read()?;
        std::thread::sleep(Duration::from_millis(2));
    }
    ensure!(watch.account().speed_share > 0.0, "the axes came to rest:\n{}", set.log());
    let settled = Instant::now();
    while settled.elapsed() < SETTLE {
        watch.read()?;
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = health(&mut watch)?;
    let jumps = watch.account().jumps.len();
    drop(watch);
    set.end()?;
    fs::remove_dir_all(&out)?;
    ensure!(jumps == 0, "{jumps} jumps");
    Ok(step_json(period_us, &before, &after))
}

fn step_json(period_us: u64, before: &Health, after: &Health) -> Value {
    let missed: serde_json::Map<String, Value> = Cause::ALL
        .iter()
        .map(|(cause, word, _)| {
            let place = cause.code() as usize;
            let count = |health: &Health| health.missed_by_cause.get(place).copied().unwrap_or(0);
            ((*word).to_owned(), json!(count(after) - count(before)))
        })
        .collect();
    let between = |of: fn(&Health) -> &[u64]| {
        let counts: Vec<u64> = of(after).iter().zip(of(before)).map(|(a, b)| a - b).collect();
        json!({
            "p50": percentile_ns(&counts, 500), "p90": percentile_ns(&counts, 900),
            "p99": percentile_ns(&counts, 990), "p999": percentile_ns(&counts, 999),
            "max": percentile_ns(&counts, 1000),
        })
    };
    json!({
        "period_us": period_us,
        "cycles": after.cycles - before.cycles,
        "own_missed_cycles": missed.get("own"),
        "missed_cycles": missed,
        "cycle_ns": between(|health| &health.cycle_time),
        "wake_ns": between(|health| &health.wake_latency),
    })
}

/// The newest counters, taken after this was called.
fn health(watch: &mut Watch) -> anyhow::Result<Health> {
    let begun = Instant::now();
    let asked_ns = kadenzd::rt::clock::now_ns();
    loop {
        watch.read()?;
        if let Some(health) = watch.view().health()?
            && health.sampled_ns > asked_ns
        {
            return Ok(*health);
        }
        ensure!(begun.elapsed() < PATIENCE, "the view gateway sends no health");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The machine: its gateways' passes lie within the period, however short that is.
fn machine(period_us: u64) -> String {
    let (out_us, lead_us) = (150.min(period_us * 2 / 5), 100.min(period_us / 5));
    let mut text = format!(
        "[machine]\nname = \"axes32\"\nperiod_us = {period_us}\n[host]\nexempt = [\"preempt-rt\", \
         \"isolated-cpu\", \"scheduler\", \"memory-lock\", \"cpu-dma-latency\", \"tmpfs\", \"one-user\", \
         \"gateway-priority\", \"vdso-clock\"]\n[gateways]\nout_offset_us = {out_us}\nin_lead_us = {lead_us}\n\
         [recorder]\nring_s = 1\n[[bus]]\nname = \"sim0\"\nkind = \"sim\"\n[[group]]\nname = \"all\"\n"
    );
    for axis in 0..AXES {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[[axis]]\nname = \"a{axis}\"\nkind = \"rotary\"\nbus = \"sim0\"\ngroup = \"all\"\n\
             counts_per_rad = 1e6\nposition_start_rad = 0.0\n[axis.limits]\nposition_min_rad = -3.0\n\
             position_max_rad = 3.0\nvelocity_rad_s = 3.0\nacceleration_rad_s2 = 15.0\n\
             jerk_rad_s3 = 300.0\n[axis.following_error]\nwindow_rad = 0.05\n[axis.plant]\n\
             inertia_kg_m2 = 1.0\ntorque_limit_n_m = 60.0\n"
        );
    }
    text
}

/// A file in which every axis moves for `seconds`, at rest at both ends.
fn waves(seconds: u64) -> String {
    let names: Vec<String> = (0..AXES).map(|axis| format!("a{axis}_rad")).collect();
    let mut csv = format!("t_s,{}\n", names.join(","));
    let (step_s, ramp_s, omega) = (0.02, 2.0, 2.0);
    let rows = seconds * 50;
    for row in 0..=rows {
        let t_s = row as f64 * step_s;
        let u = (t_s / ramp_s).min(1.0).min((seconds as f64 - t_s) / ramp_s).max(0.0);
        let envelope = u.powi(3) * (10.0 - 15.0 * u + 6.0 * u * u);
        let _ = write!(csv, "{t_s:.2}");
        for axis in 0..AXES {
            let wave = 0.5 * (omega * (1.0 + axis as f64 / 64.0) * t_s).sin();
            let _ = write!(csv, ",{:.9}", envelope * wave);
        }
        csv += "\n";
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadenz_config::Machine;

    #[test]
    fn every_rate_that_is_tried_has_a_machine_that_is_accepted() {
        for period_us in PERIODS_US {
            let machine = Machine::from_toml("rate", &machine(period_us));
            let machine = machine.map_err(|findings| findings.to_string()).unwrap();
            assert_eq!(machine.axes.len(), AXES);
        }
        assert_eq!(1_000_000 / PERIODS_US[PERIODS_US.len() - 1], PROMISED_HZ);
    }

    #[test]
    fn a_rate_with_an_own_miss_says_so() {
        let before = Health::zeroed();
        let mut after = Health { cycles: 5, ..before };
        assert_eq!(step_json(50, &before, &after)["own_missed_cycles"], 0);
        after.missed_by_cause[Cause::Own.code() as usize] = 2;
        assert_eq!(step_json(50, &before, &after)["own_missed_cycles"], 2);
    }
}
