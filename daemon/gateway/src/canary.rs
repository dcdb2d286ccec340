//! A reader of the gateway's own domain, on an ordinary thread: what it cannot join, no client can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kadenz_link::clock::now_ns;
use kadenz_link::domain::{DomainError, Side, health, knots, node, state};
use kadenz_paths::EpochPlace;
use shm_layout::code::Role;

use crate::failure::{EXIT_CANARY, Failure};
use crate::sys;

/// Between two visits.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks for the sample.
const LOOK: Duration = Duration::from_millis(2);
/// Looks in one visit: the gateway welcomes new readers every 10 ms.
const LOOKS: u32 = 30;
/// A visit that took this much longer than its sleeps was held up by the host: it proves nothing.
const HELD_UP_NS: u64 = 50_000_000;
/// A sample older than this is from before the gateway stopped working.
const SAMPLE_AGE_NS_MAX: u64 = 1_000_000_000;
/// Visits in vain, in a row, that end the gateway.
const MISSES_MAX: u32 = 2;
/// Visits between two clearings of dead clients (0.5 s).
const CLEAR_EVERY: u32 = 5;
/// A visit that takes this long hangs: a truncated file makes iceoryx2 0.10 wait for ever.
const STUCK_NS: u64 = 2_000_000_000;

/// The running canary.
pub(crate) struct Canary {
    stop: Arc<AtomicBool>,
    back_ns: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// What one visit showed.
enum Visit {
    Heard,
    Missed(String),
    Inconclusive,
}

impl Canary {
    /// Sends it off. The health stream must have been written once.
    pub(crate) fn start(place: EpochPlace) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let back_ns = Arc::new(AtomicU64::new(now_ns()));
        let (stopped, back) = (Arc::clone(&stop), Arc::clone(&back_ns));
        let thread = std::thread::Builder::new()
            .name("canary".to_owned())
            .spawn(move || fly(&place, &stopped, &back))
            .map_err(|source| Failure::Host {
                step: "starting the canary",
                remedy: "raise TasksMax",
                source,
            })?;
        Ok(Self { stop, back_ns, thread })
    }

    /// Called by the pass loop, which is on time: has the canary come back lately?
    pub(crate) fn check(&self, now_ns: u64) -> Result<(), Failure> {
        // ORDERING: relaxed, the number stands for itself.
        let away_ns = now_ns.saturating_sub(self.back_ns.load(Ordering::Relaxed));
        if away_ns > STUCK_NS { Err(Failure::CanaryStuck(away_ns / 1_000_000)) } else { Ok(()) }
    }

    /// Calls it back, and waits a moment for it: it may hang, and the process ends anyway.
    pub(crate) fn stop(self) {
        // ORDERING: relaxed, nothing else hangs on the flag.
        self.stop.store(true, Ordering::Relaxed);
        for _ in 0..100 {
            if self.thread.is_finished() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn fly(place: &EpochPlace, stop: &AtomicBool, back_ns: &AtomicU64) {
    let (mut misses, mut visits) = (0, 0_u32);
    // ORDERING: relaxed, as in `stop`.
    while !stop.load(Ordering::Relaxed) {
        visits = visits.wrapping_add(1);
        let begin_ns = now_ns();
        let visit = visit(place, visits.is_multiple_of(CLEAR_EVERY));
        let spent_ns = now_ns().saturating_sub(begin_ns);
        let asleep_ns = u64::try_from((LOOK * LOOKS).as_nanos()).unwrap_or(u64::MAX);
        match visit {
            Visit::Heard => misses = 0,
            Visit::Missed(_) if spent_ns > asleep_ns + HELD_UP_NS => {}
            Visit::Inconclusive => {}
            Visit::Missed(why) => {
                misses += 1;
                log::warn!("canary: {why} ({misses} of {MISSES_MAX})");
            }
        }
        if misses >= MISSES_MAX {
            log::error!("this domain cannot be joined any more; starting over in a new epoch");
            sys::end_now(EXIT_CANARY);
        }
        // ORDERING: relaxed, the number stands for itself.
        back_ns.store(now_ns(), Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
}

/// Joins as a client would, and must be given a fresh health record.
fn visit(place: &EpochPlace, clear_dead: bool) -> Visit {
    match hear(place, clear_dead) {
        Ok(true) => Visit::Heard,
        Ok(false) => Visit::Missed("joined, and was given no health record".to_owned()),
        // All places taken by living clients: joining worked as far as it can.
        Err(DomainError::Full { .. }) => Visit::Inconclusive,
        Err(error) => Visit::Missed(error.to_string()),
    }
}

fn hear(place: &EpochPlace, clear_dead: bool) -> Result<bool, DomainError> {
    let node = node(place, "canary", Side::Client)?;
    if clear_dead {
        // Frees the places of killed clients. Here, because it takes milliseconds for each.
        node.try_cleanup_dead_nodes();
    }
    state::service(&node, Side::Client)?;
    if place.role == Role::Plan {
        knots::service(&node, Side::Client)?;
    }
    let reader = health::reader(&health::service(&node, Side::Client)?)?;
    for _ in 0..LOOKS {
        let received = reader.receive();
        match received {
            Ok(Some(sample)) => {
                let age_ns = now_ns().saturating_sub(sample.payload().sampled_ns);
                return Ok(age_ns <= SAMPLE_AGE_NS_MAX);
            }
            Ok(None) | Err(_) => std::thread::sleep(LOOK),
        }
    }
    Ok(false)
}
