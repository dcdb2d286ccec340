//! How far it is to the loop and back: the age of a record in a client's hands, and how soon a request acts.
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kadenz_link::View;
use kadenz_link::operate::Operate;
use kadenz_link::paths::RuntimeDir;
use kadenzd::rt::clock::now_ns;
use serde_json::{Value, json};
use shm_layout::code::{RequestKind, Role};

use super::block::{percentile_of, percentiles};
use super::compare::{Ratio, SplitMix, bootstrap};
use super::daemon::scratch;
use super::raw;
use crate::{Set, SetOptions, Watch, kills};

/// What a client may be behind the stated phase, in times what bare iceoryx2 takes in the gateway's place.
const RAW_TIMES_MAX: f64 = 2.0;
/// Round trips of a ping-pong.
const ROUND_TRIPS: usize = 20_000;
/// Requests of one run.
const REQUESTS: usize = 400;
/// Period of the demo's loop.
const PERIOD_NS: u64 = 1_000_000;
/// Guard against waiting for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found, and which promise was not kept.
pub struct Found {
    /// For programs.
    pub json: Value,
    /// For people.
    pub text: String,
    /// Promises not kept, in words.
    pub broken: Vec<String>,
}

fn start() -> anyhow::Result<(Set, Watch)> {
    let id = std::process::id();
    let mut set = Set::start(SetOptions {
        machine: "demo-arm".to_owned(),
        dir: RuntimeDir::at(format!("/dev/shm/kdz-lat-{id}"))?,
        out: scratch("reach")?,
        record: None,
        without: vec!["logger".to_owned()],
    })?;
    let watch = kills::open_watch(&mut set)?;
    kills::enable(&set)?;
    Ok((set, watch))
}

fn end(set: Set) -> anyhow::Result<()> {
    let out = set.out().to_owned();
    set.end()?;
    std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())
}

/// From the loop to a client that spins, in rounds beside bare iceoryx2 in the gateway's place.
///
/// # Errors
/// The set does not run.
pub fn loop_to_client(rounds: usize, seconds: u64, loop_cpu: usize) -> anyhow::Result<Found> {
    // With two CPUs the reader shares the loop's, where it waits for the loop and for nobody else; the
    // gateways have the other one to themselves.
    let cpus = std::thread::available_parallelism()?.get();
    let reader_cpu = if cpus > 2 { loop_cpu - 1 } else { loop_cpu };
    let pair = [0, reader_cpu];
    let (mut over_ns, mut raw_ns, mut ratios) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    let mut phase_ns = 0;
    for _ in 0..rounds {
        let raw = on_a_thread(move || raw::iceoryx2_timed(pair, PERIOD_NS, seconds * 1_000))?;
        let (set, watch) = start()?;
        drop(watch);
        let dir = set.dir().clone();
        let (phase, ages) = on_a_thread(move || client_ages(dir, reader_cpu, seconds))?;
        end(set)?;
        phase_ns = phase;
        for (ratios, permille) in ratios.iter_mut().zip([500, 990]) {
            ratios.push(at(&ages, permille) as f64 / at(&raw, permille).max(1) as f64);
        }
        over_ns.extend(ages);
        raw_ns.extend(raw);
    }
    let seqlock = on_a_thread(move || raw::seqlock_ping_pong(pair, ROUND_TRIPS))?;
    let iceoryx2 = on_a_thread(move || raw::iceoryx2_ping_pong(pair, ROUND_TRIPS))?;
    let [p50, p99] = ratios.map(|ratios| bootstrap(&ratios));
    let (p50, p99) = (p50.context("no rounds")?, p99.context("no rounds")?);
    let json = json!({
        "stated_phase_ns": phase_ns,
        "age_over_phase_ns": percentiles(over_ns),
        "raw_iceoryx2_timed_ns": percentiles(raw_ns),
        "raw_iceoryx2_ping_pong_ns": percentiles(iceoryx2),
        "raw_seqlock_ping_pong_ns": percentiles(seqlock),
        "ratio_to_timed": {"p50": p50.json(), "p99": p99.json()},
        "rounds": rounds,
    });
    let text = format!(
        "loop to client, stated phase {:.0} µs:\n{}{}{}{}  over the phase, in times raw iceoryx2 sent by a timer: \
         p50 {p50}  p99 {p99}\n",
        phase_ns as f64 / 1e3,
        line("over the phase", &json["age_over_phase_ns"]),
        line("iceoryx2, timed", &json["raw_iceoryx2_timed_ns"]),
        line("iceoryx2, ping-pong", &json["raw_iceoryx2_ping_pong_ns"]),
        line("seqlock, ping-pong", &json["raw_seqlock_ping_pong_ns"]),
    );
    let late = |name: &str, ratio: Ratio| {
        (ratio.lo > RAW_TIMES_MAX).then(|| {
            format!(
                "loop to client: {name} over the phase is {ratio} times raw, above {RAW_TIMES_MAX}"
            )
        })
    };
    let broken = [late("p50", p50), late("p99", p99)].into_iter().flatten().collect();
    Ok(Found { json, text, broken })
}

/// Affinity and priority of a measurement end with its thread.
fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    std::thread::spawn(work).join().map_err(|_| anyhow::anyhow!("a measuring thread panicked"))?
}

fn at(values: &[u64], permille: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    percentile_of(&sorted, permille)
}

fn line(name: &str, value: &Value) -> String {
    let us = |at: &str| value[at].as_u64().unwrap_or(0) as f64 / 1e3;
    format!(
        "  {name:20} p50 {:7.2}  p90 {:7.2}  p99 {:7.2}  p99.9 {:8.2}  max {:9.2} µs\n",
        us("p50"),
        us("p90"),
        us("p99"),
        us("p999"),
        us("max")
    )
}

/// The stated phase, and how long after it each record was in this client's hands, ns.
fn client_ages(dir: RuntimeDir, cpu: usize, seconds: u64) -> anyhow::Result<(u64, Vec<u64>)> {
    raw::pin(cpu)?;
    let mut view = View::open(dir, Role::View, "latency", Duration::from_secs(10))?;
    let begun = Instant::now();
    let phase_ns = loop {
        let _newest = view.newest_state()?;
        if let Some(catalog) = view.catalog()? {
            break catalog.header.out_offset_ns;
        }
        ensure!(begun.elapsed() < PATIENCE, "the view gateway sends no catalog");
    };
    let mut ages = Vec::new();
    let wanted = usize::try_from(seconds * 1_000)?;
    let begun = Instant::now();
    while ages.len() < wanted {
        let Some(sample) = view.next_state()? else {
            ensure!(begun.elapsed() < PATIENCE + Duration::from_secs(seconds), "no state comes");
            std::hint::spin_loop();
            continue;
        };
        let due_ns = sample.header().grid_ns.saturating_add(phase_ns);
        ages.push(now_ns().saturating_sub(due_ns));
    }
    Ok((phase_ns, ages))
}

/// From a request to the wake of the cycle that answers it.
///
/// # Errors
/// The set does not run, or refuses what it must grant.
pub fn request_to_loop() -> anyhow::Result<Found> {
    let (set, mut watch) = start()?;
    let mut operate = Operate::connect(set.dir())?;
    let lead_ns = match watch.view().catalog()? {
        Some(catalog) => catalog.header.in_lead_ns,
        None => bail!("the view gateway sends no catalog"),
    };
    let mut random = SplitMix(7);
    let mut took_ns = Vec::with_capacity(REQUESTS);
    for number in 0..REQUESTS {
        // Anywhere within a period.
        let pause_us = 2_000 + random.below(1_000);
        std::thread::sleep(Duration::from_micros(pause_us as u64));
        watch.read()?;
        let sent_ns = now_ns();
        let share = if number % 2 == 0 { 0.5 } else { 1.0 };
        let answer = operate.request(RequestKind::Override, share, Duration::from_secs(5))?;
        ensure!(answer.is_granted(), "override refused: {}", answer.message);
        took_ns.push(wake_of(&mut watch, answer.cycle)?.saturating_sub(sent_ns));
    }
    drop(operate);
    end(set)?;
    let bound_ns = PERIOD_NS + lead_ns;
    // Whoever wakes later than the lead, gateway or loop, misses that pass: as often as a bare thread does.
    let lateness = raw::timer_lateness(PERIOD_NS, REQUESTS as u64)?;
    let late = lateness.iter().filter(|ns| **ns > lead_ns).count();
    let over = took_ns.iter().filter(|ns| **ns > bound_ns).count();
    let over_max = REQUESTS / 100 + 2 * late;
    let json = json!({
        "took_ns": percentiles(took_ns), "bound_ns": bound_ns, "requests": REQUESTS, "over_bound": over,
        "bare_timer_late": late, "bare_timer_ns": percentiles(lateness),
    });
    let text = format!(
        "request to loop, bound {:.0} µs (a period and the lead of the pass before the wake):\n{}  {over} of \
         {REQUESTS} above the bound; a bare timer was {late} times later than the lead\n",
        bound_ns as f64 / 1e3,
        line("from send to wake", &json["took_ns"]),
    );
    let broken = (over > over_max)
        .then(|| {
            format!(
                "request to loop: {over} of {REQUESTS} took longer than {bound_ns} ns, where one in a hundred may, and \
                 twice as many as the {late} in which a bare timer woke later than the lead"
            )
        })
        .into_iter()
        .collect();
    Ok(Found { json, text, broken })
}

/// When `cycle` woke, ns; the watch has not read it yet.
fn wake_of(watch: &mut Watch, cycle: u64) -> anyhow::Result<u64> {
    let begun = Instant::now();
    loop {
        while let Some(sample) = watch.view().next_state()? {
            if sample.header().cycle == cycle {
                return Ok(sample.header().wake_ns);
            }
        }
        ensure!(begun.elapsed() < PATIENCE, "cycle {cycle} answered and its record never came");
        std::thread::sleep(Duration::from_micros(100));
    }
}
