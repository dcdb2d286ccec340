//! kill -9 of kadenzd while axes move, over and over: what its ring and its saved recording hold, and how soon
//! its successor runs.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kadenz_config::{Machine, demo, effective_toml};
use kadenz_link::paths::RuntimeDir;
use kadenz_recorder::Recording;
use kadenzd::boot::replay::replay;
use rt_tests::random::Random;
use serde::Serialize;
use serde_json::Value;
use shm_layout::code::Phase;

use crate::kills::{enable, fast_csv, open_watch, until};
use crate::{Set, SetOptions, Watch};

/// Longest wait between the axes' moving off and the kill, µs.
const WAIT_US_MAX: u64 = 700_000;
/// What a client's queue may still hold after the kill is read for this long.
const DRAIN: Duration = Duration::from_millis(30);
/// Share of its velocity limit that some axis must have at the kill.
const SPEED_SHARE_MIN: f64 = 0.05;

/// One kill of kadenzd.
#[derive(Clone, Debug, Serialize)]
pub struct DaemonKill {
    /// Life that was ended.
    pub daemon_id: String,
    /// Whether nobody tidied up behind it.
    pub left_all: bool,
    /// Largest share of its velocity limit any axis had.
    pub speed_share: f64,
    /// Newest cycle that a client saw.
    pub seen_cycle: u64,
    /// Last whole cycle in the ring.
    pub ring_cycle: u64,
    /// Whole cycles in the ring.
    pub ring_cycles: usize,
    /// Records in the ring that are not whole.
    pub torn: usize,
    /// Last whole cycle in the recording on disk.
    pub saved_cycle: u64,
    /// Cycles that were in the ring alone.
    pub unsaved_cycles: u64,
    /// Cycles that replay bit for bit from the ring alone, when it still holds the first.
    pub replayed_cycles: u64,
    /// From the start of the next set to a client's first record of it, ms.
    pub back_after_ms: u64,
}

/// Kills kadenzd `count` times at instants drawn from `seed`; reports each on stdout. Everything lies in `out`
/// and in a runtime directory of its own.
///
/// # Errors
/// A promise was not kept: what, and at which kill.
pub fn run(out: &Path, count: usize, seed: u64) -> anyhow::Result<Vec<DaemonKill>> {
    let dir = RuntimeDir::at(format!("/dev/shm/kdz-dk-{}", std::process::id()))?;
    // There before any set is: a set that made it would also remove it.
    fs::create_dir_all(dir.as_path())?;
    let done = series(&dir, out, count, seed);
    let removed = fs::remove_dir_all(dir.as_path());
    let kills = done?;
    removed.context("removing the runtime directory")?;
    Ok(kills)
}

fn series(
    dir: &RuntimeDir,
    out: &Path,
    count: usize,
    seed: u64,
) -> anyhow::Result<Vec<DaemonKill>> {
    let saved = out.join("flight");
    let options = SetOptions {
        machine: machine_file(out, &saved)?.display().to_string(),
        dir: dir.clone(),
        out: out.to_owned(),
        record: None,
        without: vec!["logger".to_owned()],
    };
    let path = out.join("fast.csv");
    fs::write(&path, fast_csv())?;
    let mut random = Random::stream(seed, "kills of kadenzd");
    let mut kills: Vec<DaemonKill> = Vec::new();
    let (mut set, mut watch, _) = start(&options, None)?;
    for number in 0..count {
        let one = Kill { set, watch, left_all: number % 2 == 1, saved: &saved, path: &path };
        let mut kill = one.run(&mut random).with_context(|| format!("kill {number}"))?;
        let ring = dir.as_path().join("flight.ring");
        let evidence = fs::read(&ring)?;
        (set, watch, kill.back_after_ms) = start(&options, Some(&kill.daemon_id))?;
        let kept = dir.as_path().join(format!("flight.ring.{}", kill.daemon_id));
        let same = fs::read(&kept).is_ok_and(|kept| kept == evidence);
        ensure!(same, "kill {number}: {} is not what the dead daemon left", kept.display());
        println!("{number:3} {}", kill.words());
        kill.judge().with_context(|| format!("kill {number}"))?;
        kills.push(kill);
    }
    drop(watch);
    set.end()?;
    Ok(kills)
}

/// A client has the next life's first record within this long, ms (G11: at once; the rest is what a host takes).
const BACK_MS_MAX: u64 = 1_000;
/// Cycles of 1 ms that may be in the ring alone: `save_every_ms` of 100 ms, and a disk and a host that are slow.
const UNSAVED_CYCLES_MAX: u64 = 500;

impl DaemonKill {
    /// # Errors
    /// The next life came late, or more than the stated window was not yet on disk.
    fn judge(&self) -> anyhow::Result<()> {
        let (back, unsaved) = (self.back_after_ms, self.unsaved_cycles);
        ensure!(
            back <= BACK_MS_MAX,
            "the next life was there after {back} ms, {BACK_MS_MAX} ms are promised"
        );
        ensure!(
            unsaved <= UNSAVED_CYCLES_MAX,
            "{unsaved} cycles were not yet on disk, at most {UNSAVED_CYCLES_MAX} are promised"
        );
        Ok(())
    }

    fn words(&self) -> String {
        format!(
            "seen {:6}, ring to {:6} ({:5} whole, {} torn), on disk to {:6}, {:6} replayed, back after {} ms{}",
            self.seen_cycle,
            self.ring_cycle,
            self.ring_cycles,
            self.torn,
            self.saved_cycle,
            self.replayed_cycles,
            self.back_after_ms,
            if self.left_all { " among all leftovers" } else { "" }
        )
    }
}

/// The embedded arm, saved to a directory.
fn machine_file(out: &Path, saved: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(out)?;
    let mut machine = Machine::from_toml("demo-arm", demo("demo-arm").context("embedded")?)?;
    machine.recorder.directory = Some(saved.to_owned());
    // 1,024 cycles: some lives end before their ring begins to overwrite, some after.
    machine.recorder.ring_s = 1;
    let path = out.join("machine.toml");
    fs::write(&path, effective_toml(&machine))?;
    Ok(path)
}

/// Starts a set and waits for a record of a life other than `before`; gives also how long that took, in ms.
fn start(options: &SetOptions, before: Option<&str>) -> anyhow::Result<(Set, Watch, u64)> {
    let begun = Instant::now();
    let mut set = Set::start(options.clone())?;
    let mut watch = open_watch(&mut set)?;
    until(&mut watch, "a record of the next life", |watch| {
        let life = watch.last().map(|(header, _)| format!("{:016x}", header.daemon_id));
        Ok(life.is_some_and(|life| before != Some(life.as_str())))
    })?;
    Ok((set, watch, u64::try_from(begun.elapsed().as_millis())?))
}

/// A set whose daemon is about to be killed.
struct Kill<'a> {
    set: Set,
    watch: Watch,
    left_all: bool,
    saved: &'a Path,
    path: &'a Path,
}

impl Kill<'_> {
    fn run(mut self, random: &mut Random) -> anyhow::Result<DaemonKill> {
        enable(&self.set)?;
        let file = self.path.to_string_lossy();
        // A dead planner's socket may lie there until its successor has made its own, and that one refuses
        // until it has seen the machine.
        until(&mut self.watch, "a planner that takes the file", |_| {
            Ok(self.set.kadenz(&["run", "--detach", &file])?.status.success())
        })?;
        until(&mut self.watch, "axes that move", |watch| {
            let is_moving =
                watch.last().is_some_and(|(header, _)| header.phase == Phase::Moving.code());
            Ok(is_moving && watch.account().speed_share > SPEED_SHARE_MIN)
        })?;
        let at = Instant::now() + Duration::from_micros(random.below(WAIT_US_MAX));
        // BOUND: until the instant drawn.
        while Instant::now() < at {
            self.watch.read()?;
        }
        let speed_share = self.watch.account().speed_share;
        let ring = self.set.dir().as_path().join("flight.ring");
        self.set.crash(self.left_all)?;
        // What the dead daemon's gateway had already handed over. Its end may show as an error, once.
        let drained = Instant::now() + DRAIN;
        // BOUND: a fixed time.
        while Instant::now() < drained {
            let _end_of_its_gateway = self.watch.read();
        }
        let (header, _) = self.watch.last().context("no state was seen")?;
        let (daemon_id, seen) = (format!("{:016x}", header.daemon_id), header.cycle);
        let found = judge(&Recording::read(&ring)?, &daemon_id, seen)?;
        let dumped = dump(&ring)?;
        ensure!(
            dumped["last_cycle"] == found.last && dumped["daemon_id"] == daemon_id.as_str(),
            "kadenz recorder dump tells another story: {dumped}"
        );
        let mut replayed_cycles = 0;
        if found.first == 0 {
            let replayed = replay(&ring).context("the ring alone")?;
            ensure!(replayed.diverged_at.is_none(), "the ring replays otherwise: {replayed:?}");
            replayed_cycles = replayed.cycles;
        }
        let saved_cycle = judge_saved(self.saved, &daemon_id, &found)?;
        Ok(DaemonKill {
            daemon_id,
            left_all: self.left_all,
            speed_share,
            seen_cycle: seen,
            ring_cycle: found.last,
            ring_cycles: found.count,
            torn: found.torn,
            saved_cycle,
            unsaved_cycles: found.last.saturating_sub(saved_cycle),
            replayed_cycles,
            back_after_ms: 0,
        })
    }
}

/// What a dead daemon's ring holds.
#[derive(Clone, Copy, Debug)]
pub struct RingFound {
    first: u64,
    last: u64,
    count: usize,
    torn: usize,
}

/// Judges the ring of life `daemon_id` (16 hexadecimal digits), of which a client saw cycle `seen`.
///
/// # Errors
/// It is another's, ends before what was seen, has a hole, or holds more than one torn record.
pub fn judge(ring: &Recording, daemon_id: &str, seen: u64) -> anyhow::Result<RingFound> {
    let header = ring.header();
    ensure!(
        format!("{:016x}", header.daemon_id) == daemon_id,
        "the ring is that of daemon {:016x}, not {daemon_id}",
        header.daemon_id
    );
    let (first, last) = ring.span().context("the ring holds no whole cycle")?;
    ensure!(last >= seen, "the ring ends at cycle {last}, a client saw {seen}");
    ensure!(ring.torn() <= 1, "{} torn records; one can be in writing", ring.torn());
    ensure!(ring.gaps().is_empty(), "cycles are missing in the ring: {:?}", ring.gaps());
    ensure!(ring.cycles().all(|(_, inputs)| inputs.is_some()), "a record is none of this machine");
    Ok(RingFound { first, last, count: ring.len(), torn: ring.torn() })
}

/// Judges what was saved to disk: whole up to its end, and no hole between that and the ring.
fn judge_saved(directory: &Path, daemon_id: &str, ring: &RingFound) -> anyhow::Result<u64> {
    let file = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(daemon_id))
        .with_context(|| format!("nothing of {daemon_id} was saved"))?;
    let saved = Recording::read(&file).with_context(|| file.display().to_string())?;
    let (first, last) = saved.span().context("the recording on disk holds no cycle")?;
    ensure!(
        first == 0 && saved.gaps().is_empty(),
        "cycles are missing on disk: {:?}",
        saved.gaps()
    );
    ensure!(saved.torn() == 0, "a record on disk is damaged");
    ensure!(
        last <= ring.last && last + 1 >= ring.first,
        "on disk to cycle {last}, in the ring {} to {}",
        ring.first,
        ring.last
    );
    let replayed = replay(&file)?;
    ensure!(replayed.diverged_at.is_none(), "the recording replays otherwise: {replayed:?}");
    Ok(last)
}

fn dump(ring: &Path) -> anyhow::Result<Value> {
    let output = std::process::Command::new(crate::binary("kadenz")?)
        .args(["--json", "recorder", "dump"])
        .arg(ring)
        .output()
        .context("running `kadenz`")?;
    ensure!(output.status.success(), "kadenz recorder dump: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
