//! A reader of the gateway's own domain, on an ordinary thread: what it cannot join, no client can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kadenz_link::clock::now_ns;
use kadenz_link::domain::{
    DomainError, DomainNode, Side, catalog, events, health, incidents, knots, node, state,
};
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
/// Welcomes that a visit in which nothing was heard must have seen to prove anything: with fewer, the pass loop was held up (by the
/// host, or a scheduler that has no time for it), and the domain is not to blame.
const WELCOMES_MIN: u32 = 3;
/// Visits in a row without a single welcome after which the pass loop hangs (1 s and more). Its
/// supervisor's watchdog is faster, where there is one.
const UNWELCOME_MAX: u32 = 10;
/// Passes with records within one visit, of which a reader must have seen one; with fewer the loop stands.
const RECORDS_MIN: u32 = 3;
/// A sample older than this is from before the gateway stopped working.
const SAMPLE_AGE_NS_MAX: u64 = 1_000_000_000;
/// Visits in vain, in a row, that end the gateway.
const MISSES_MAX: u32 = 2;
/// Visits between two clearings of dead clients (0.5 s).
const CLEAR_EVERY: u32 = 5;
/// Welcomes (10 ms each) without the canary's return after which it hangs: a truncated file makes
/// iceoryx2 0.10 wait for ever. Counted, not timed, so that a process that was stopped as a whole
/// does not blame itself. A visit takes some 60 ms, with 30 dead clients to clear twice that; service shall be
/// back within a second.
const AWAY_WELCOMES_MAX: u32 = 60;

/// What the pass loop and the canary know of each other.
#[derive(Default)]
struct Signs {
    stop: AtomicBool,
    /// Times the pass loop has welcomed new readers.
    welcomes: AtomicU32,
    /// Times the canary has come back.
    visits: AtomicU32,
    /// Passes that sent records of the loop.
    records: AtomicU32,
}

/// The running canary.
pub(crate) struct Canary {
    signs: Arc<Signs>,
    thread: JoinHandle<()>,
    visits_seen: u32,
    away_welcomes: u32,
}

/// What one visit showed.
enum Visit {
    Heard,
    /// Joined, and was given nothing, or something old.
    Unheard,
    Missed(String),
    Inconclusive,
}

impl Canary {
    /// Sends it off. The health stream must have been written once.
    pub(crate) fn start(place: EpochPlace) -> Result<Self, Failure> {
        let signs = Arc::new(Signs::default());
        let own = Arc::clone(&signs);
        let thread = std::thread::Builder::new()
            .name("canary".to_owned())
            .spawn(move || fly(&place, &own))
            .map_err(|source| Failure::Host {
                step: "starting the canary",
                remedy: "raise TasksMax",
                source,
            })?;
        Ok(Self { signs, thread, visits_seen: 0, away_welcomes: 0 })
    }

    /// Called by the pass loop after each pass that has sent a record of the loop.
    pub(crate) fn note_record(&self) {
        // ORDERING: relaxed, the number stands for itself.
        self.signs.records.fetch_add(1, Ordering::Relaxed);
    }

    /// Called by the pass loop after each welcome: has the canary come back lately?
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        // ORDERING: relaxed, here and below: each number stands for itself.
        self.signs.welcomes.fetch_add(1, Ordering::Relaxed);
        let visits = self.signs.visits.load(Ordering::Relaxed);
        if visits != self.visits_seen {
            self.visits_seen = visits;
            self.away_welcomes = 0;
        }
        self.away_welcomes += 1;
        if self.away_welcomes > AWAY_WELCOMES_MAX {
            return Err(Failure::CanaryStuck(self.away_welcomes));
        }
        Ok(())
    }

    /// Calls it back, and waits a moment for it: it may hang, and the process ends anyway.
    pub(crate) fn stop(self) {
        // ORDERING: relaxed, each sign stands for itself.
        self.signs.stop.store(true, Ordering::Relaxed);
        for _ in 0..100 {
            if self.thread.is_finished() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn fly(place: &EpochPlace, signs: &Signs) {
    let (mut misses, mut unwelcome) = (0, 0);
    // What is looked at more closely; what failed is looked at again.
    let mut turn = 0;
    // ORDERING: relaxed, each sign stands for itself.
    let mut before = signs.welcomes.load(Ordering::Relaxed);
    // BOUND: flies until it is called back.
    while !signs.stop.load(Ordering::Relaxed) {
        // ORDERING: relaxed, each sign stands for itself.
        let begun = signs.welcomes.load(Ordering::Relaxed);
        let visits = signs.visits.load(Ordering::Relaxed).wrapping_add(1);
        let visit = visit(place, signs, turn, visits.is_multiple_of(CLEAR_EVERY));
        if matches!(visit, Visit::Heard | Visit::Inconclusive) {
            turn += 1;
        }
        // ORDERING: relaxed, each sign stands for itself.
        let after = signs.welcomes.load(Ordering::Relaxed);
        unwelcome = if after == before { unwelcome + 1 } else { 0 };
        before = after;
        match visit {
            Visit::Heard => misses = 0,
            Visit::Inconclusive => {}
            Visit::Unheard if after.wrapping_sub(begun) < WELCOMES_MIN => {}
            Visit::Unheard => {
                misses += 1;
                log::warn!("canary: joined and got no fresh health ({misses} of {MISSES_MAX})");
            }
            Visit::Missed(why) => {
                misses += 1;
                log::warn!("canary: {why} ({misses} of {MISSES_MAX})");
            }
        }
        if misses >= MISSES_MAX || unwelcome >= UNWELCOME_MAX {
            log::error!("this domain cannot be used any more; starting over in a new epoch");
            sys::end_now(EXIT_CANARY);
        }
        // ORDERING: relaxed, each sign stands for itself.
        signs.visits.store(visits, Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
}

/// Joins as a client would, and must be given a fresh health record.
fn visit(place: &EpochPlace, signs: &Signs, turn: usize, clear_dead: bool) -> Visit {
    match hear(place, signs, turn, clear_dead) {
        Ok(true) => Visit::Heard,
        Ok(false) => Visit::Unheard,
        // All places taken by living clients: joining worked as far as it can.
        Err(DomainError::Full { .. }) => Visit::Inconclusive,
        Err(error) => Visit::Missed(error.to_string()),
    }
}

fn hear(
    place: &EpochPlace,
    signs: &Signs,
    turn: usize,
    clear_dead: bool,
) -> Result<bool, DomainError> {
    let node = node(place, "canary", Side::Client)?;
    if clear_dead {
        // Frees the places of killed clients. Here, because it takes milliseconds for each.
        node.try_cleanup_dead_nodes();
    }
    let streams = Streams::join(&node, place.role, turn)?;
    // ORDERING: relaxed, here and below: the number stands for itself.
    let records = signs.records.load(Ordering::Relaxed);
    let mut heard = Heard { state: streams.state.is_none(), ..Heard::default() };
    for _ in 0..LOOKS {
        if let Ok(Some(sample)) = streams.health.receive() {
            let age_ns = now_ns().saturating_sub(sample.payload().sampled_ns);
            if age_ns > SAMPLE_AGE_NS_MAX {
                return Ok(false);
            }
            heard.health = true;
        }
        heard.catalog |= matches!(streams.catalog.receive(), Ok(Some(_)));
        heard.state |=
            streams.state.as_ref().is_some_and(|one| matches!(one.receive(), Ok(Some(_))));
        if heard.health && heard.catalog && heard.state {
            return Ok(true);
        }
        std::thread::sleep(LOOK);
    }
    // ORDERING: relaxed, a counter that stands for itself.
    let passed = signs.records.load(Ordering::Relaxed).wrapping_sub(records);
    Ok(heard.health && heard.catalog && (heard.state || passed < RECORDS_MIN))
}

/// Streams of which a sample has come.
#[derive(Default)]
struct Heard {
    health: bool,
    catalog: bool,
    state: bool,
}

/// The streams a client joins, since each can be destroyed, or given to another user, alone.
struct Streams {
    health: health::Reader,
    catalog: catalog::Reader,
    /// Connected by the pass that sends the next record, some 50 µs: only every other visit has it.
    state: Option<state::Reader>,
}

impl Streams {
    fn join(node: &DomainNode, role: Role, turn: usize) -> Result<Self, DomainError> {
        let states = state::service(node, Side::Client)?;
        let state = turn.is_multiple_of(2).then(|| state::reader(&states)).transpose()?;
        events::reader(&events::service(node, Side::Client)?)?;
        incidents::reader(&incidents::service(node, Side::Client)?)?;
        if role == Role::Plan {
            knots::writer(&knots::service(node, Side::Client)?)?;
        }
        let catalog = catalog::reader(&catalog::service(node, Side::Client)?)?;
        let health = health::reader(&health::service(node, Side::Client)?)?;
        Ok(Self { health, catalog, state })
    }
}
