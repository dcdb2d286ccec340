//! Promises kept by real processes on real shared memory. Needs the programs: `cargo build --workspace --bins`.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kadenz_link::paths::RuntimeDir;
use kadenzd::boot::replay::{replay_bytes, replay_observed};
use live_tests::recordings::{self, Recorded};
use live_tests::{Judge, Set, SetOptions, Watch, kills};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shm_layout::code::{Cause, Finding};
use shm_layout::health::Health;

/// One machine at a time: two would take each other's cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Rig {
    set: Option<Set>,
    watch: Watch,
    out: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Rig {
    fn start(name: &str) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let out = std::env::temp_dir().join(format!("kadenz-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&out);
        let dir = format!("/dev/shm/kdz-{name}-{}", std::process::id());
        let mut set = Set::start(SetOptions {
            machine: "demo-arm".to_owned(),
            dir: RuntimeDir::at(dir).expect("the rig works"),
            out: out.clone(),
            record: Some(out.join("inputs.kdzrec")),
            without: Vec::new(),
        })
        .expect("the rig works");
        let watch = kills::open_watch(&mut set).expect("the rig works");
        kills::enable(&set).expect("the rig works");
        Self { set: Some(set), watch, out, _alone: alone }
    }

    fn set(&self) -> &Set {
        self.set.as_ref().expect("the rig works")
    }

    /// Reads on until `cycles` more cycles have passed.
    fn let_pass(&mut self, cycles: u64) {
        let from = self.watch.last().map_or(0, |(header, _)| header.cycle);
        while self.watch.last().is_none_or(|(header, _)| header.cycle < from + cycles) {
            self.watch.read().expect("the rig works");
            std::thread::yield_now();
        }
    }

    /// What the loop's thread says of its own system calls.
    fn system_calls(&mut self) -> u64 {
        self.watch.read().expect("the rig works");
        self.watch.last().map_or(0, |(header, _)| header.system_calls)
    }

    /// Ends the set; gives the loop's account, the recorded inputs and what the logger recorded.
    fn end(mut self) -> (Health, Vec<u8>, Recorded) {
        self.let_pass(300);
        self.watch.read().expect("the rig works");
        let health = *self.watch.view().health().expect("the rig works").expect("the rig works");
        self.set.take().expect("the rig works").end().expect("the rig works");
        let inputs = fs::read(self.out.join("inputs.kdzrec")).expect("the rig works");
        let recorded = recordings::read_all(&self.out).expect("every recording can be read");
        (health, inputs, recorded)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.out);
        }
    }
}

fn loop_thread(kadenzd: Pid) -> Pid {
    for entry in fs::read_dir(format!("/proc/{kadenzd}/task")).expect("the rig works").flatten() {
        if fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim() == "kadenz-rt" {
            return Pid::from_raw(
                entry.file_name().to_string_lossy().parse().expect("the rig works"),
            );
        }
    }
    panic!("kadenzd has no thread kadenz-rt");
}

/// The names of the system calls in an strace log, apart from the one it broke into at the start.
fn system_calls(log: &Path) -> (BTreeSet<String>, usize) {
    let text = fs::read_to_string(log).expect("the rig works");
    let names: Vec<String> = text
        .lines()
        .filter(|line| !line.contains("resuming interrupted") && !line.starts_with("strace:"))
        .filter_map(|line| Some(line.split_once('(')?.0.trim().to_owned()))
        .collect();
    (names.iter().cloned().collect(), names.len())
}

/// The calls that `daemon/src/rt/mod.rs` lists in its table as made in every cycle.
fn listed_calls() -> BTreeSet<String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../daemon/src/rt/mod.rs");
    fs::read_to_string(source)
        .expect("the rig works")
        .lines()
        .filter(|line| !line.contains("| never, "))
        .filter_map(|line| line.strip_prefix("//! | `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn the_loop_thread_makes_only_the_listed_system_calls_and_neither_allocates_nor_faults() {
    let mut rig = Rig::start("calls");
    let file = rig.out.join("fast.csv");
    fs::write(&file, kills::fast_csv()).expect("the rig works");
    rig.set().must(&["run", "--detach", &file.to_string_lossy()]).expect("the rig works");
    rig.let_pass(500);
    let kadenzd = *rig.set().pids(&["kadenzd"]).first().expect("kadenzd runs");
    let log = rig.out.join("strace.log");
    let counted_before = rig.system_calls();
    let mut strace = Command::new("strace")
        .args(["-qq", "-p", &loop_thread(kadenzd).to_string(), "-o"])
        .arg(&log)
        .stdin(Stdio::null())
        .spawn()
        .expect("strace traces the loop's thread; install the package `strace`");
    // Traced while it moves, is held, goes on, loses a gateway and is disabled.
    rig.let_pass(300);
    for request in ["hold", "resume"] {
        rig.set().must(&[request]).expect("the rig works");
        rig.let_pass(300);
    }
    let gateway = *rig.set().pids(&["kadenz-gateway", "view"]).first().expect("a gateway");
    kill(gateway, Signal::SIGKILL).expect("the rig works");
    rig.let_pass(500);
    rig.set().must(&["disable"]).expect("the rig works");
    rig.let_pass(300);
    kill(Pid::from_raw(i32::try_from(strace.id()).expect("the rig works")), Signal::SIGINT)
        .expect("the rig works");
    strace.wait().expect("the rig works");
    let (names, count) = system_calls(&log);
    assert!(count > 1_000, "strace saw only {count} calls");
    rig.let_pass(2);
    let counted = rig.system_calls() - counted_before;
    assert!(count as u64 <= counted, "strace saw {count} calls, the loop counted {counted}");
    assert_eq!(names, listed_calls());

    let (health, inputs, _) = rig.end();
    assert_eq!(health.allocations, 0, "allocations on the loop's thread");
    assert_eq!(
        (health.minor_faults, health.major_faults),
        (0, 0),
        "page faults of the loop's thread"
    );
    let replayed = replay_bytes(&inputs).expect("the rig works");
    assert_eq!(replayed.diverged_at, None);
}

/// Wake-ups that came sooner than half a period after the one before, and the longest gap in periods.
fn spacing(inputs: &[u8]) -> (u64, u32) {
    let (mut closer, mut longest, mut last_wake_ns) = (0, 0, None);
    replay_observed(inputs, |header, _| {
        let since_ns = last_wake_ns.map_or(u64::MAX, |last| header.wake_ns - last);
        closer += u64::from(since_ns < header.period_ns / 2);
        longest = longest.max(header.skipped);
        last_wake_ns = Some(header.wake_ns);
    })
    .expect("the rig works");
    (closer, longest)
}

#[test]
fn after_stalls_of_any_kind_cycles_keep_half_a_period_apart_and_motion_never_hops() {
    let mut rig = Rig::start("stalls");
    let file = rig.out.join("fast.csv");
    fs::write(&file, kills::fast_csv()).expect("the rig works");
    rig.set().must(&["run", "--detach", &file.to_string_lossy()]).expect("the rig works");
    rig.let_pass(1_500);
    let kadenzd = *rig.set().pids(&["kadenzd"]).first().expect("kadenzd runs");
    // Stopped for some periods, for more than the lease, for more than a host's usual stall.
    for stopped_ms in [2, 5, 8, 13, 30, 70, 150, 3, 90, 1, 11, 200] {
        kill(kadenzd, Signal::SIGSTOP).expect("the rig works");
        std::thread::sleep(std::time::Duration::from_millis(stopped_ms));
        kill(kadenzd, Signal::SIGCONT).expect("the rig works");
        rig.let_pass(250);
    }
    // Starved by a task above the loop's priority on every CPU.
    let cpus = std::thread::available_parallelism().expect("the rig works").get();
    let hogs: Vec<_> = (0..cpus).map(|cpu| std::thread::spawn(move || starve(cpu))).collect();
    hogs.into_iter().for_each(|hog| hog.join().expect("the rig works"));
    rig.let_pass(500);
    let mut stood_still = 0;
    while let Some(incident) = rig.watch.view().next_incident().expect("the rig works") {
        println!("{incident}");
        stood_still += u32::from(incident.finding == Finding::ProcessStopped.code());
    }
    rig.set().must(&["disable"]).expect("the rig works");
    let (health, inputs, _) = rig.end();

    let (closer, longest) = spacing(&inputs);
    assert_eq!(closer, 0, "cycles closer than half a period");
    assert!(longest > 100, "the stalls reached the loop: {longest} periods");
    let mut judge = Judge::new(live_tests::arm_limits().expect("the rig works"));
    let replayed =
        replay_observed(&inputs, |header, axes| judge.judge(header, axes)).expect("the rig works");
    assert_eq!(replayed.diverged_at, None);
    assert!(judge.account().jumps.is_empty(), "{:?}", judge.account().jumps);
    assert_eq!(health.missed_by_cause[Cause::Own.code() as usize], 0, "none of it was ours");
    assert!(stood_still > 0, "a stopped process is told for what it is");
}

/// Takes `cpu` for 20 ms, ten times in a second, above the loop's priority.
fn starve(cpu: usize) {
    live_tests::become_urgent(cpu, 90).expect("SCHED_FIFO");
    for _ in 0..10 {
        let until_ns = kadenzd::rt::clock::now_ns() + 20_000_000;
        while kadenzd::rt::clock::now_ns() < until_ns {}
        std::thread::sleep(std::time::Duration::from_millis(80));
    }
}

#[test]
fn every_process_can_be_killed_in_mid_motion_and_the_run_replays_bit_for_bit() {
    let mut rig = Rig::start("kills");
    let set = rig.set.take().expect("the rig works");
    let series = kills::run(&set, &mut rig.watch, 10);
    rig.set = Some(set);
    let series = series.expect("the rig works");
    assert!(series.kills.iter().all(|kill| kill.speed_share > 0.5));
    assert!(series.off_path_max < 1e-6, "{}", series.off_path_max);
    rig.set().must(&["disable"]).expect("the rig works");
    let out = rig.out.clone();
    let (_, inputs, recorded) = rig.end();

    let limits = live_tests::arm_limits().expect("the rig works");
    let mut judge = Judge::new(limits);
    let replayed =
        replay_observed(&inputs, |header, axes| judge.judge(header, axes)).expect("the rig works");
    assert_eq!(replayed.diverged_at, None, "the recorded run replays");
    assert_eq!(replayed.torn_bytes, 0);
    assert!(judge.account().jumps.is_empty(), "{:?}", judge.account().jumps);
    assert!(recorded.files >= 3, "one recording per life of the logger: {recorded:?}");
    assert!(recorded.states > 1_000, "{recorded:?}");
    let _ = fs::remove_dir_all(out);

    // The gate can fail: one flipped bit in a measured position is a divergence.
    let mut damaged = inputs;
    let middle = damaged.len() / 2 / 8 * 8;
    let record = (middle..damaged.len()).step_by(8).find(|at| flips(&damaged, *at));
    damaged[record.expect("a word that matters")] ^= 1;
    let replayed = replay_bytes(&damaged);
    assert!(replayed.map_or(true, |replayed| replayed.diverged_at.is_some()));
}

/// Whether a flipped lowest bit at `at` is noticed; lengths and digests are, idle words are not.
fn flips(bytes: &[u8], at: usize) -> bool {
    let mut copy = bytes.to_vec();
    copy[at] ^= 1;
    replay_bytes(&copy).map_or(true, |replayed| replayed.diverged_at.is_some())
}
