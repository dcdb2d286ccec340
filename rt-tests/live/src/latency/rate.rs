//! The highest rate at which 32 simulated axes move and no cycle is missed by our own doing.
//!
//! A bare loop of equal body runs as long beside each rate. A virtual CPU that is taken away inside a pass for
//! less than a tick of the host's steal leaves no evidence and is called our own; the bare loop, which is nobody's
//! server, shows how often that happens. Only what exceeds its long passes counts against a rate.
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use kadenz_link::paths::RuntimeDir;
use serde_json::{Value, json};
use shm_layout::code::Cause;
use shm_layout::health::Health;
use shm_layout::histogram::percentile_ns;

use super::block::percentiles;
use super::daemon::scratch;
use super::floor;
use super::reach::Found;
use crate::{Set, SetOptions, Watch, kills};

/// Axes that move.
const AXES: usize = 32;
/// Periods tried, µs: 1 to 20 kHz.
const PERIODS_US: [u64; 8] = [1_000, 500, 250, 125, 100, 80, 62, 50];
/// The rate that is promised, Hz.
const PROMISED_HZ: u64 = 20_000;
/// Of the cycles that are due in a span, at least this many must be accounted for, run or missed, %.
const ACCOUNTED_PERCENT_MIN: u64 = 99;
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
    let mut steps = Vec::new();
    for period_us in PERIODS_US {
        let hz = 1_000_000 / period_us;
        let step = match beside_floor(period_us, seconds) {
            Ok(step) => step,
            // What a host cannot run at all ends the ladder, and is told.
            Err(error) => {
                let _ = writeln!(text, "  {hz:6} Hz  did not run: {error:#}");
                steps.push(json!({"period_us": period_us, "did_not_run": format!("{error:#}")}));
                break;
            }
        };
        println!("rate {hz} Hz: {}, floor {}", step["missed_cycles"], step["floor"]);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {hz:6} Hz  missed {} of {}, floor {} ({} in long passes)  pass p50 {:.1} p99 {:.1} µs  wake-up p50 {:.1} p99 {:.1} µs",
            step["missed_cycles"],
            step["cycles"],
            step["floor"]["missed"],
            step["floor"]["missed_long"],
            step["cycle_ns"]["p50"].as_u64().unwrap_or(0) as f64 / 1e3,
            step["cycle_ns"]["p99"].as_u64().unwrap_or(0) as f64 / 1e3,
            step["wake_ns"]["p50"].as_u64().unwrap_or(0) as f64 / 1e3,
            step["wake_ns"]["p99"].as_u64().unwrap_or(0) as f64 / 1e3,
        );
        steps.push(step);
    }
    let (clean_to_hz, highest_hz) = (clean_to(&steps), highest_of(&steps));
    let _ = writeln!(
        text,
        "  every rate up to {clean_to_hz} Hz, and at most {highest_hz} Hz, without an own-missed cycle beyond the floor's"
    );
    let broken = (highest_hz < PROMISED_HZ)
        .then(|| format!("rate: {highest_hz} Hz with {AXES} axes, {PROMISED_HZ} Hz are promised"))
        .into_iter()
        .collect();
    let json = json!({
        "axes": AXES, "seconds": seconds, "clean_to_hz": clean_to_hz, "highest_hz": highest_hz, "steps": steps,
    });
    Ok(Found { json, text, broken })
}

/// Whether a rate keeps the promise: no more cycles missed by our own doing than the floor missed in long passes.
fn is_kept(step: &Value) -> bool {
    let long = step["floor"]["missed_long"].as_u64().unwrap_or(0);
    step["own_missed_cycles"].as_u64().is_some_and(|own| own <= long)
}

fn hz_of(step: Option<&Value>) -> u64 {
    step.and_then(|step| step["period_us"].as_u64()).map_or(0, |us| 1_000_000 / us)
}

/// The last rate before the first that does not keep the promise, Hz; 0 when that is the first.
fn clean_to(steps: &[Value]) -> u64 {
    hz_of(steps.iter().take_while(|step| is_kept(step)).last())
}

/// The highest rate that keeps the promise, Hz; 0 without one.
fn highest_of(steps: &[Value]) -> u64 {
    hz_of(steps.iter().rfind(|step| is_kept(step)))
}

/// One rate: a bare loop of equal body, then the daemon.
fn beside_floor(period_us: u64, seconds: u64) -> anyhow::Result<Value> {
    let out = scratch("rate")?;
    let file = out.join("machine.toml");
    fs::write(&file, machine(period_us))?;
    let floor = floor::bare_block(seconds, Some(&file))?;
    let mut step = one(period_us, seconds, &out)?;
    step["floor"] = json!({
        "cycles": floor.latency_ns.len(),
        "missed": floor.missed,
        "missed_long": floor.missed_long,
        "wake_ns": percentiles(floor.latency_ns.iter().copied()),
    });
    fs::remove_dir_all(&out)?;
    Ok(step)
}

/// The daemon's own counters over a span in which all axes of the machine in `out` move.
fn one(period_us: u64, seconds: u64, out: &Path) -> anyhow::Result<Value> {
    let mut set = Set::start(SetOptions {
        machine: out.join("machine.toml").to_string_lossy().into_owned(),
        dir: RuntimeDir::at(format!("/dev/shm/kdz-lat-{}", std::process::id()))?,
        out: out.to_owned(),
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
    let end = health(&mut watch)?;
    let settled = Instant::now();
    while settled.elapsed() < SETTLE {
        watch.read()?;
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = health(&mut watch)?;
    let jumps = watch.account().jumps.len();
    drop(watch);
    set.end()?;
    ensure!(jumps == 0, "{jumps} jumps");
    accounted(period_us, &before, &after)?;
    all_have_causes(&end, &after)?;
    Ok(step_json(period_us, &before, &after))
}

/// Whether what the daemon counted between two looks accounts for every cycle that was due meanwhile: otherwise this
/// rig has measured something else than it says.
///
/// # Errors
/// Cycles run and missed are fewer than were due: the numbers.
fn accounted(period_us: u64, before: &Health, after: &Health) -> anyhow::Result<()> {
    let due = (after.sampled_ns - before.sampled_ns) / (period_us * 1_000);
    let run = after.cycles - before.cycles;
    let missed = after.missed_cycles - before.missed_cycles;
    ensure!(
        100 * (run + missed) >= ACCOUNTED_PERCENT_MIN * due,
        "{run} cycles run and {missed} missed of {due} that were due: {ACCOUNTED_PERCENT_MIN} % are needed"
    );
    Ok(())
}

/// Whether every cycle that was missed until `end` has its cause in `settled`, looked at [`SETTLE`] later, and no
/// cycle that was not missed has one.
///
/// # Errors
/// Too few or too many causes: the numbers.
fn all_have_causes(end: &Health, settled: &Health) -> anyhow::Result<()> {
    let causes: u64 = settled.missed_by_cause.iter().sum();
    let (least, most) = (end.missed_cycles, settled.missed_cycles);
    ensure!(
        (least..=most).contains(&causes),
        "{least} to {most} cycles missed, and causes of {causes}: they must add up"
    );
    Ok(())
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

    #[test]
    fn a_rate_is_judged_by_itself_and_the_first_that_fails_is_told() {
        let step =
            |period_us: u64, own: u64| json!({"period_us": period_us, "own_missed_cycles": own});
        let clean = [step(1_000, 0), step(500, 0)];
        assert_eq!((clean_to(&clean), highest_of(&clean)), (2_000, 2_000));
        let gap = [step(1_000, 0), step(500, 1), step(250, 0)];
        assert_eq!((clean_to(&gap), highest_of(&gap)), (1_000, 4_000));
        let end = [step(1_000, 0), step(500, 3)];
        assert_eq!((clean_to(&end), highest_of(&end)), (1_000, 1_000));
        let noisy = |own: u64, long: u64| json!({"period_us": 500, "own_missed_cycles": own, "floor": {"missed_long": long}});
        assert_eq!(highest_of(&[noisy(2, 2)]), 2_000, "a host that takes the CPU from both alike");
        assert_eq!(highest_of(&[noisy(3, 2)]), 0);
        let stopped = [step(1_000, 0), json!({"period_us": 500, "did_not_run": "why"})];
        assert_eq!(highest_of(&stopped), 1_000);
    }

    #[test]
    fn a_rate_counts_only_when_the_cycles_that_were_due_are_accounted_for() {
        let before = Health::zeroed();
        let run = |cycles: u64, missed: u64| {
            let after = Health { sampled_ns: 50_000_000, cycles, missed_cycles: missed, ..before };
            accounted(50, &before, &after).map_err(|error| error.to_string())
        };
        assert_eq!(run(1_000, 0), Ok(()));
        assert_eq!(run(900, 90), Ok(()));
        assert!(run(989, 0).unwrap_err().contains("989 cycles run and 0 missed of 1000"));
    }

    #[test]
    fn causes_that_do_not_add_up_to_the_missed_cycles_are_a_failure_of_the_rig() {
        let health = |missed_cycles: u64, host: u64, own: u64| {
            let mut health = Health { missed_cycles, ..Health::zeroed() };
            health.missed_by_cause[Cause::Host.code() as usize] = host;
            health.missed_by_cause[Cause::Own.code() as usize] = own;
            health
        };
        let end = health(50, 0, 0);
        assert!(all_have_causes(&end, &health(50, 48, 2)).is_ok());
        // One that was missed after the end may still wait for its cause.
        assert!(all_have_causes(&end, &health(51, 48, 2)).is_ok());
        for broken in [health(50, 48, 1), health(51, 49, 0), health(50, 49, 2)] {
            assert!(all_have_causes(&end, &broken).is_err());
        }
    }
}
