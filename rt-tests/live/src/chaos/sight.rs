//! What an observer sees of the machine, and the process that looks: a client of a scribbled domain may die of
//! it, so the rig itself never enters one.
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use kadenz_link::paths::RuntimeDir;
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{View, access};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use shm_layout::code::{Phase, Reason, Role, state_flag};

use crate::{Watch, ends_with_us};

/// Between two looks of the observer.
const LOOK: Duration = Duration::from_millis(4);
/// Before an observer that died is followed by the next.
const PAUSE: Duration = Duration::from_millis(5);

/// The machine in one cycle, and its counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// Cycle of the newest record.
    pub cycle: u64,
    /// Its wake-up, CLOCK_MONOTONIC ns.
    pub wake_ns: u64,
    /// `Phase`.
    pub phase: u32,
    /// `Reason`.
    pub reason: u32,
    /// `state_flag`.
    pub flags: u32,
    /// Path under way; 0 when none.
    pub path_id: u64,
    /// Path rate, 0 ..= 1.
    pub path_rate: f64,
    /// Largest share of its velocity limit any axis has, 0 ..= 1.
    pub speed_share: f64,
    /// Holder of the lease.
    pub source_id: u64,
    /// When the source was last heard, CLOCK_MONOTONIC ns.
    pub heard_ns: u64,
    /// Knots accepted since start.
    pub knots_accepted: u64,
    /// Knots refused since start, by loop and gateways.
    pub refused: u64,
    /// Cycles missed since start.
    pub missed: u64,
    /// The same by cause; judged a little later.
    pub missed_by_cause: [u64; 5],
    /// Allocations, page faults and refused calls of the loop's thread.
    pub trespasses: u64,
    /// Jumps this observer has seen between consecutive records.
    pub jumps: u64,
}

impl Sight {
    /// Whether a source holds the lease.
    #[must_use]
    pub const fn has_source(&self) -> bool {
        self.flags & state_flag::SOURCE_ALIVE != 0
    }

    /// In words, for messages.
    #[must_use]
    pub fn in_words(&self) -> String {
        format!(
            "cycle {}, {} ({}), path {:x} at rate {:.3}, speed {:.0} %, source {:x}",
            self.cycle,
            Phase::word_of(self.phase),
            Reason::word_of(self.reason),
            self.path_id,
            self.path_rate,
            100.0 * self.speed_share,
            self.source_id
        )
    }
}

/// The observer's whole life: a line per look, until nobody reads them.
///
/// # Errors
/// The domain cannot be entered, in words.
pub fn observe(dir: &RuntimeDir) -> anyhow::Result<()> {
    access::step_down(dir, Role::View, |_| {
        thread::sleep(LOOK);
        true
    })?;
    let watchdog = Watchdog::start(DEFAULT_LIMIT)?;
    let view = View::open(dir.clone(), Role::View, "chaos-observer", Duration::from_secs(2))?;
    let mut watch = Watch::new(view.watched_by(&watchdog));
    let mut out = std::io::stdout().lock();
    loop {
        watch.read()?;
        let health = watch.view().health()?.copied();
        if let (Some(health), Some((header, _))) = (health, watch.last()) {
            let sight = Sight {
                cycle: header.cycle,
                wake_ns: header.wake_ns,
                phase: header.phase,
                reason: header.reason,
                flags: header.flags,
                path_id: header.path_id,
                path_rate: header.path_rate,
                speed_share: watch.account().speed_share,
                source_id: header.source_id,
                heard_ns: header.wake_ns.saturating_sub(header.source_age_ns),
                knots_accepted: header.knots_accepted,
                refused: header.knots_refused
                    + health.gateway_refused
                    + health.gateway_rate_limited,
                missed: health.missed_cycles,
                missed_by_cause: health.missed_by_cause,
                trespasses: health.allocations
                    + health.minor_faults
                    + health.major_faults
                    + health.denied_calls,
                jumps: watch.account().jumps.len() as u64,
            };
            writeln!(out, "{}", serde_json::to_string(&sight)?)?;
        }
        thread::sleep(LOOK);
    }
}

#[derive(Default)]
struct Shared {
    newest: Mutex<Option<Sight>>,
    /// Jumps that observers who have ended saw.
    jumps: AtomicU64,
    ends: AtomicU64,
    pid: Mutex<Option<u32>>,
    stop: AtomicBool,
}

impl Shared {
    fn newest(&self) -> MutexGuard<'_, Option<Sight>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid(&self) -> MutexGuard<'_, Option<u32>> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an observer running and holds its newest sight. Dropped, it ends the observer.
pub struct Observer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts looking at the machine in `dir`.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(dir: &RuntimeDir) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (seen, dir) = (Arc::clone(&shared), dir.clone());
        let thread = thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || keep_looking(&dir, &seen))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The newest sight, if there has been any.
    #[must_use]
    pub fn newest(&self) -> Option<Sight> {
        self.shared.newest().clone()
    }

    /// The newest sight of a cycle that began after `since_ns` (CLOCK_MONOTONIC).
    #[must_use]
    pub fn since(&self, since_ns: u64) -> Option<Sight> {
        self.newest().filter(|sight| sight.wake_ns > since_ns)
    }

    /// Jumps seen by all observers so far.
    #[must_use]
    pub fn jumps(&self) -> u64 {
        // ORDERING: relaxed, a count that stands for itself.
        self.shared.jumps.load(Ordering::Relaxed) + self.newest().map_or(0, |sight| sight.jumps)
    }

    /// Observers that have ended, of scribbled memory or by their own watchdog.
    #[must_use]
    pub fn ends(&self) -> u64 {
        // ORDERING: relaxed, a count that stands for itself.
        self.shared.ends.load(Ordering::Relaxed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // ORDERING: relaxed, the bit stands for itself.
        self.shared.stop.store(true, Ordering::Relaxed);
        let pid = *self.shared.pid();
        if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
            let _ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn keep_looking(dir: &RuntimeDir, shared: &Shared) {
    // ORDERING: relaxed, the bit stands for itself.
    while !shared.stop.load(Ordering::Relaxed) {
        if let Ok(mut child) = start_observer(dir) {
            *shared.pid() = Some(child.id());
            // ORDERING: relaxed; asked to stop between start and note, this observer is killed here.
            if shared.stop.load(Ordering::Relaxed) {
                let _ended = child.kill();
            }
            if let Some(stdout) = child.stdout.take() {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if let Ok(sight) = serde_json::from_str(&line) {
                        *shared.newest() = Some(sight);
                    }
                }
            }
            let _status = child.wait();
            *shared.pid() = None;
            let jumps =
                shared.newest().as_mut().map_or(0, |sight| std::mem::take(&mut sight.jumps));
            // ORDERING: relaxed, counts that stand for themselves.
            shared.jumps.fetch_add(jumps, Ordering::Relaxed);
            shared.ends.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(PAUSE);
    }
}

fn start_observer(dir: &RuntimeDir) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    ends_with_us(&mut command)
        .args(["client", "observe", "--runtime-dir"])
        .arg(dir.as_path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting an observer")
}

/// Time that hosts have taken from each of this machine's CPUs since boot (steal of proc(5)).
#[derive(Clone, Debug)]
pub struct Stolen(Vec<u64>);

/// What a tick of `/proc/stat` is, ms.
const TICK_MS: u64 = 10;

impl Stolen {
    /// Until now.
    #[must_use]
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let cpus = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
        let steal = |line: &str| line.split_ascii_whitespace().nth(8)?.parse().ok();
        Self(cpus.map(|line| steal(line).unwrap_or(0)).collect())
    }

    /// What has been taken since, ms: of the CPU that lost most, since two CPUs wait at the same time.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        let now = Self::now();
        let taken = now.0.iter().zip(&self.0).map(|(now, then)| now.saturating_sub(*then));
        TICK_MS * taken.max().unwrap_or(0)
    }
}

/// Waits until `done`, looking every 2 ms; `None` when that takes longer than `patience`.
pub fn wait_for<T>(patience: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(outcome) = done() {
            return Some(outcome);
        }
        if begun.elapsed() > patience {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
