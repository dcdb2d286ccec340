//! The gateway's loop: two passes per cycle of the loop it serves, or per several where periods are short, and
//! what comes round now and then. Ends when kadenzd does, when asked to, or when its own service cannot be
//! used any more.

use std::time::Duration;

use kadenz_handover::{Grant, Tether};
use kadenz_link::clock::now_ns;
use kadenz_service::notify::Notify;

use crate::failure::Failure;
use crate::phase::{Pass, Phase, sleep_until};
use crate::signals::Signals;
use crate::work::{Losses, Work};

/// New readers, end of the daemon, end wanted.
const TEND_NS: u64 = 10_000_000;
/// A sign of life to the supervisor.
const ALIVE_NS: u64 = 50_000_000;
/// Silence that a supervisor shall take for death, once the gateway serves. `kadenz up` knows it; systemd is
/// told, because its unit must allow for a start.
const SILENCE_MAX: Duration = Duration::from_millis(200);
/// Health at 10 Hz.
const HEALTH_NS: u64 = 100_000_000;
/// Catalog at 1 Hz.
const CATALOG_NS: u64 = 1_000_000_000;
/// Losses are told this often at most.
const REPORT_NS: u64 = 10_000_000_000;

/// Something that is due every so often.
struct Every {
    period_ns: u64,
    last_ns: u64,
}

impl Every {
    const fn new(period_ns: u64, now_ns: u64) -> Self {
        Self { period_ns, last_ns: now_ns }
    }

    fn due(&mut self, now_ns: u64) -> bool {
        let due = now_ns.saturating_sub(self.last_ns) >= self.period_ns;
        if due {
            self.last_ns = now_ns;
        }
        due
    }
}

/// Serves until there is a reason to end.
///
/// # Errors
/// [`Failure::CanaryStuck`] when the domain cannot be joined any more.
pub(crate) fn run(
    work: &mut Work,
    grant: &Grant,
    mut tether: Tether,
    signals: &Signals,
    notify: &Notify,
) -> Result<(), Failure> {
    let begin_ns = now_ns();
    let mut phase = Phase::new(&grant.terms, work.copies_in(), begin_ns);
    first_pass(work, &mut phase, begin_ns);
    // A daemon that is gone already is noticed below.
    let _noticed_below = tether.ready();
    work.watch()?;
    notify.ready_and_watched(SILENCE_MAX);
    notify.status(&format!("serving, epoch {}", grant.token));

    let [mut tend, mut alive, mut health, mut catalog, mut report] =
        [TEND_NS, ALIVE_NS, HEALTH_NS, CATALOG_NS, REPORT_NS]
            .map(|period_ns| Every::new(period_ns, begin_ns));
    let mut told = Losses::default();
    // BOUND: a gateway serves until it is told to end.
    loop {
        let (pass, due_ns) = phase.next(now_ns());
        sleep_until(due_ns);
        let now_ns = now_ns();
        match pass {
            Pass::In => work.in_pass(now_ns),
            Pass::Out => {
                if let Some(grid_ns) = work.out_pass(now_ns) {
                    phase.follow(grid_ns, now_ns);
                }
                // Right behind the pass that matters least to wait for.
                if health.due(now_ns) {
                    work.health(now_ns);
                }
                if catalog.due(now_ns) {
                    work.catalog();
                }
            }
        }
        if alive.due(now_ns) {
            notify.alive();
        }
        if tend.due(now_ns) {
            work.tend()?;
            if signals.end_wanted() {
                log::info!("asked to end");
                return Ok(());
            }
            if !tether.holds() {
                log::info!("kadenzd has ended or let go of this gateway");
                return Ok(());
            }
        }
        if report.due(now_ns) && work.losses() != told {
            told = work.losses();
            log::warn!("so far: {told:?}");
        }
    }
}

fn first_pass(work: &mut Work, phase: &mut Phase, now_ns: u64) {
    if let Some(grid_ns) = work.out_pass(now_ns) {
        phase.follow(grid_ns, now_ns);
    }
    work.catalog();
    work.health(now_ns);
}
