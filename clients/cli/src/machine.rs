//! The machine as a verb sees it: its state through the view domain, and what to start when it is absent.
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kadenz_link::access::step_down;
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{LinkError, StateSample, View};
use kadenz_paths::RuntimeDir;
use shm_layout::code::{Reason, Role};
use shm_layout::state::{NO_AXIS, StateHeader};

use crate::reply::{EXIT_PERMISSION, EXIT_SYSTEM, EXIT_UNAVAILABLE, Failure};

/// A gateway in restart is back well within this.
const ENTER_TIME: Duration = Duration::from_secs(1);
/// Between two looks at the state; the domain keeps what comes meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A reader of one machine's view domain.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The domain.
    pub(crate) view: View,
    dir: RuntimeDir,
}

impl Machine {
    /// Enters the view domain. Signals a verb wants to handle must be blocked before.
    pub(crate) fn enter(dir: &RuntimeDir) -> Result<Self, Failure> {
        let told = |error: LinkError| absent(dir, &error);
        match step_down(dir, Role::View) {
            // The domain may be about to be made: opening waits for it.
            Err(error) if !error.heals() => return Err(told(error)),
            _ => {}
        }
        let watchdog = Watchdog::start(DEFAULT_LIMIT)
            .map_err(|error| Failure::new(EXIT_SYSTEM, format!("watchdog thread: {error}")))?;
        let view = View::open(dir.clone(), Role::View, "kadenz", ENTER_TIME).map_err(told)?;
        Ok(Self { view: view.watched_by(&watchdog), dir: dir.clone() })
    }

    /// The first state for which `judge` gives something, `wait` at most.
    pub(crate) fn find<T>(
        &mut self,
        wait: Duration,
        mut judge: impl FnMut(&StateSample) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let give_up = Instant::now() + wait;
        loop {
            let newest = self.view.newest_state().map_err(|error| absent(&self.dir, &error))?;
            if let Some(found) = newest.as_ref().and_then(&mut judge) {
                return Ok(Some(found));
            }
            if Instant::now() >= give_up {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Why no state comes, as a failure.
    pub(crate) fn silence(&self) -> Failure {
        match self.view.trouble() {
            Some(error) => absent(&self.dir, error),
            None => Failure::new(
                EXIT_UNAVAILABLE,
                format!(
                    "no state comes from the view gateway; {}",
                    what_to_start(&self.dir, "view")
                ),
            ),
        }
    }

    /// Name of an axis as the catalog has it, or its number.
    pub(crate) fn axis_name(&mut self, axis: usize) -> String {
        let catalog = self.view.catalog().ok().flatten();
        let known = catalog.and_then(|catalog| catalog.axes.get(axis));
        known.map_or_else(|| format!("axis {axis}"), |axis| kadenz_link::text::name(&axis.name))
    }

    /// The reason a state gives, with its axis, in words.
    pub(crate) fn reason(&mut self, header: &StateHeader) -> String {
        let word = Reason::word_of(header.reason);
        match usize::try_from(header.reason_axis) {
            Ok(axis) if header.reason_axis != NO_AXIS => {
                format!("{word}, {}", self.axis_name(axis))
            }
            _ => word.to_owned(),
        }
    }
}

fn absent(dir: &RuntimeDir, error: &LinkError) -> Failure {
    match error {
        LinkError::WrongUser { .. } | LinkError::Denied { .. } => {
            Failure::new(EXIT_PERMISSION, error.to_string())
        }
        error if error.heals() => Failure::new(
            EXIT_UNAVAILABLE,
            format!("{error}; {}", what_to_start(dir, Role::View.word())),
        ),
        error => Failure::new(EXIT_UNAVAILABLE, error.to_string()),
    }
}

/// Which process is missing, as a remedy: kadenzd when nobody accepts on its socket, else the gateway.
pub(crate) fn what_to_start(dir: &RuntimeDir, gateway: &str) -> String {
    let at = dir.as_path().display();
    if UnixStream::connect(dir.handover_socket()).is_ok() {
        format!("kadenzd runs: start `kadenz-gateway --role {gateway} --runtime-dir {at}`")
    } else {
        format!("start kadenzd: `kadenz up --config FILE --runtime-dir {at}`, or its systemd unit")
    }
}
