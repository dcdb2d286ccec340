//! `cargo latency`: wake-up latency of the real daemon against two floors, in interleaved blocks of one run.
//!
//! The bare loop is the loop's whole body in a process of its own, with no gateway and no client; a
//! block of it stands beside every block of the daemon, so that what the host does hits both.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use kadenz_config::{Machine, demo};
use kadenz_link::paths::RuntimeDir;
use kadenzd::boot::host;
use kadenzd::boot::replay::replay_observed;
use kadenzd::rt::clock::{Clock, now_ns};
use live_tests::body::Body;
use live_tests::latencies::{Block, cyclictest, percentiles, ratio};
use live_tests::{Set, SetOptions, Watch, binary, ends_with_us, kills};
use serde_json::{Value, json};
use shm_layout::code::Role;

/// Measures wake-up latency.
#[derive(Parser)]
struct Options {
    /// Seconds of one block.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pairs of blocks per arm; below 12 the interval is wide.
    #[arg(long, default_value_t = 12)]
    pairs: usize,
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs one block of the bare loop in this process.
    #[arg(long, hide = true)]
    bare: bool,
}

/// What goes on beside the loop.
const ARMS: [&str; 5] = ["idle", "clients", "churn", "hostile", "load"];
/// What the lower bound of a paired ratio at p50 and p99 may be at most.
const RATIO_MAX: f64 = 1.05;
/// Monitors of the `clients` arm.
const MONITORS: usize = 4;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latency: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if options.bare {
        return bare(options.seconds);
    }
    let mut floors = Vec::new();
    let mut arms: BTreeMap<&str, Vec<(Block, Block)>> = BTreeMap::new();
    for pair in 0..options.pairs {
        for arm in ARMS {
            // The order within a pair alternates, so that a drift of the host hits both.
            let (floor, block) = if pair % 2 == 0 {
                let floor = bare_block(options.seconds)?;
                (floor, arm_block(arm, options.seconds)?)
            } else {
                let block = arm_block(arm, options.seconds)?;
                (bare_block(options.seconds)?, block)
            };
            println!(
                "pair {pair:2} {arm:8} p50 {:>6} / floor {:>6} ns   p99 {:>7} / {:>7} ns   stalls {} / {}",
                block.percentile(500),
                floor.percentile(500),
                block.percentile(990),
                floor.percentile(990),
                block.stalls(),
                floor.stalls()
            );
            arms.entry(arm).or_default().push((floor, block));
        }
        floors.push(cyclictest(options.seconds)?);
    }
    report(options, &arms, &floors)
}

/// The daemon's body and clock, prepared as the daemon prepares its thread; prints each latency.
fn bare(seconds: u64) -> anyhow::Result<()> {
    let machine = Machine::from_toml("demo-arm", demo("demo-arm").context("embedded machine")?)?;
    let ready = host::prepare(&machine, Path::new("/dev/shm"))?;
    let mut body = Body::new(&machine)?;
    let cycles = seconds * 1_000_000_000 / body.servo.setup.period_ns;
    let mut wakes = Vec::with_capacity(usize::try_from(cycles)?);
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        host::become_rt_thread(&machine, &ready)?;
        let mut clock = Clock::starting_soon(body.servo.setup.period_ns);
        for _ in 0..cycles {
            let wake = clock.wait();
            body.servo.work(&wake);
            wakes.push((wake.grid_ns, wake.wake_ns));
            clock.end_cycle(&wake, now_ns());
        }
        anyhow::Ok(wakes)
    })?;
    let wakes = thread.join().map_err(|_| anyhow::anyhow!("the bare loop panicked"))??;
    for (grid_ns, wake_ns) in wakes {
        println!("{grid_ns} {wake_ns}");
    }
    Ok(())
}

fn bare_block(seconds: u64) -> anyhow::Result<Block> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--bare", "--seconds", &seconds.to_string()])
        .output()
        .context("starting the bare loop")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut block = Block::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (grid, wake) = line.split_once(' ').context("the bare loop's lines")?;
        let (grid_ns, wake_ns): (u64, u64) = (grid.parse()?, wake.parse()?);
        block.latency_ns.push(wake_ns.saturating_sub(grid_ns));
    }
    Ok(block)
}

/// Background of an arm; gone when dropped.
struct Background {
    children: Vec<Child>,
}

impl Drop for Background {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Background {
    fn monitor(&mut self, set: &Set) -> anyhow::Result<()> {
        let mut command = Command::new(binary("kadenz-monitor")?);
        let child = ends_with_us(&mut command)
            .args(["--json", "--runtime-dir"])
            .arg(set.dir().as_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.children.push(child);
        Ok(())
    }

    fn hog(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("sh");
        let child = ends_with_us(&mut command).args(["-c", "while :; do :; done"]).spawn()?;
        self.children.push(child);
        Ok(())
    }
}

/// One block of the real daemon with what the arm calls for beside it.
fn arm_block(arm: &str, seconds: u64) -> anyhow::Result<Block> {
    let id = std::process::id();
    let out = std::env::temp_dir().join(format!("kadenz-latency-{id}"));
    let _ = fs::remove_dir_all(&out);
    let inputs = out.join("inputs.kdzrec");
    let without = if arm == "clients" { Vec::new() } else { vec!["logger".to_owned()] };
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
    let mut background = Background { children: Vec::new() };
    if arm == "clients" {
        for _ in 0..MONITORS {
            background.monitor(&set)?;
        }
    } else if arm == "load" {
        for _ in 0..std::thread::available_parallelism()?.get() {
            background.hog()?;
        }
    }
    // The start of all processes is over when the first second of motion is.
    let from = cycle_after(&mut watch, 1_000)?;
    let until = if arm == "hostile" {
        // A client of a domain that is scribbled over may die of it; this one reads the recording.
        drop(watch);
        pass_hostile_block(seconds, &set)?;
        from + seconds * 1_000
    } else {
        pass_block(arm, seconds, from, &set, &mut watch, &mut background)?
    };
    drop(background);
    let said = set.end_and_tell()?;
    let mut block = block_of(&fs::read(&inputs)?, from, until)?;
    block.own_missed = own_missed(&said).context("kadenzd's report names no own misses")?;
    fs::remove_dir_all(&out)?;
    Ok(block)
}

fn cycle_after(watch: &mut Watch, cycles: u64) -> anyhow::Result<u64> {
    watch.read()?;
    let from = watch.last().map_or(0, |(header, _)| header.cycle);
    let begun = Instant::now();
    loop {
        watch.read()?;
        match watch.last() {
            Some((header, _)) if header.cycle >= from + cycles => return Ok(header.cycle),
            _ if begun.elapsed() > Duration::from_secs(60) => bail!("the loop stands"),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Random words over shared memory of the view domain, as a client of that user could write them.
fn scribble(set: &Set, seed: u64) -> anyhow::Result<()> {
    let Ok(epoch) = fs::read_to_string(set.dir().epoch_file(Role::View)) else { return Ok(()) };
    let prefix = format!("{}{}_", RuntimeDir::shm_prefix(Role::View), epoch.trim());
    let mut random = seed | 1;
    for entry in fs::read_dir("/dev/shm")?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        // The file may be gone by now: a gateway that died of the last words takes its files along.
        let Ok(file) = fs::OpenOptions::new().write(true).open(entry.path()) else { continue };
        let length = file.metadata().map_or(0, |data| data.len());
        for _ in 0..4 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let _ = file.write_at(&random.to_le_bytes(), random % length.max(8) / 8 * 8);
        }
    }
    Ok(())
}

/// Scribbles at 50 Hz for as long as the block lasts.
fn pass_hostile_block(seconds: u64, set: &Set) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        scribble(set, now_ns())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Cycles missed by our own doing, from the report kadenzd prints at its end.
fn own_missed(report: &str) -> Option<u64> {
    let (_, rest) = report.split_once("missed cycles: ")?;
    let (_, rest) = rest.split_once("own ")?;
    rest.split(',').next()?.parse().ok()
}

/// Lets the block pass; gives its last cycle.
fn pass_block(
    arm: &str,
    seconds: u64,
    from: u64,
    set: &Set,
    watch: &mut Watch,
    background: &mut Background,
) -> anyhow::Result<u64> {
    let mut now = from;
    while now < from + seconds * 1_000 {
        now = cycle_after(watch, 100)?;
        if arm == "churn" {
            // Ten clients a second come and are killed.
            background.monitor(set)?;
            if background.children.len() > 3 {
                drop(Background { children: vec![background.children.remove(0)] });
            }
        }
    }
    Ok(now)
}

fn block_of(inputs: &[u8], from: u64, until: u64) -> anyhow::Result<Block> {
    let mut block = Block::default();
    let mut last_wake_ns = None;
    let replayed = replay_observed(inputs, |header, _| {
        if let Some(last) = last_wake_ns
            && header.wake_ns - last < header.period_ns / 2
        {
            block.closer_than_half_period += 1;
        }
        last_wake_ns = Some(header.wake_ns);
        if (from..until).contains(&header.cycle) {
            block.latency_ns.push(header.wake_ns.saturating_sub(header.grid_ns));
        }
    })?;
    ensure!(replayed.diverged_at.is_none(), "the recorded run does not replay");
    Ok(block)
}

fn report(
    options: &Options,
    arms: &BTreeMap<&str, Vec<(Block, Block)>>,
    cyclictest: &[Option<Value>],
) -> anyhow::Result<()> {
    let bare: Vec<&Block> = arms.values().flatten().map(|(floor, _)| floor).collect();
    let mut value = json!({
        "schema_version": 1,
        "pairs": options.pairs,
        "block_s": options.seconds,
        "floor_ns": percentiles(&bare),
        "cyclictest_ns": cyclictest.iter().flatten().collect::<Vec<_>>(),
        "arms": {},
    });
    println!("\nfloor (bare loop of equal body): {}", value["floor_ns"]);
    if value["cyclictest_ns"].as_array().is_some_and(Vec::is_empty) {
        println!("cyclictest: not installed (package rt-tests)");
    } else {
        println!("cyclictest -N, per pair: {}", value["cyclictest_ns"]);
    }
    let mut broken = Vec::new();
    for (arm, pairs) in arms {
        let blocks: Vec<&Block> = pairs.iter().map(|(_, block)| block).collect();
        let (p50, p99, p999) = (ratio(pairs, 500), ratio(pairs, 990), ratio(pairs, 999));
        let show = |ratio: &Value| {
            let number = |key: &str| ratio[key].as_f64().unwrap_or(0.0);
            format!("{:.3} [{:.3}, {:.3}]", number("value"), number("lo"), number("hi"))
        };
        println!("{arm:8} ratio p50 {}  p99 {}  p99.9 {}", show(&p50), show(&p99), show(&p999));
        let own_missed = blocks.iter().map(|block| block.own_missed).sum::<u64>();
        let closer = blocks.iter().map(|block| block.closer_than_half_period).sum::<u64>();
        for (name, ratio) in [("p50", &p50), ("p99", &p99)] {
            if ratio["lo"].as_f64().is_none_or(|lo| lo > RATIO_MAX) {
                broken.push(format!("{arm}: {name} ratio {} above {RATIO_MAX}", show(ratio)));
            }
        }
        if own_missed + closer > 0 {
            broken.push(format!(
                "{arm}: own missed {own_missed}, closer than half a period {closer}"
            ));
        }
        value["arms"][arm] = json!({
            "wake_ns": percentiles(&blocks),
            "ratio": {"p50": p50, "p99": p99, "p999": p999},
            "own_missed_cycles": own_missed,
            "closer_than_half_period": closer,
            "host_stalls": blocks.iter().map(|block| block.stalls()).sum::<usize>(),
        });
    }
    if let Some(path) = &options.json {
        fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())?;
    }
    ensure!(broken.is_empty(), "not kept:\n  {}", broken.join("\n  "));
    Ok(())
}
