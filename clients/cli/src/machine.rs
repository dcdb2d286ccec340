//! The machine as a verb sees it: its state, through the view domain or the operate socket, and what to
//! start when it is absent.
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kadenz_link::access::{check, step_down};
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{LinkError, MachineStatus, Operate, OperateError, Outlook, View, clock};
use kadenz_paths::RuntimeDir;
use shm_layout::code::{AxisKind, EventKind, Reason, Role};
use shm_layout::event::Event;
use shm_layout::state::{AxisState, NO_AXIS, StateHeader};

use crate::reply::{EXIT_PERMISSION, EXIT_SYSTEM, EXIT_UNAVAILABLE, Failure};
use crate::request::unanswered;

/// A gateway in restart is back well within this.
const ENTER_TIME: Duration = Duration::from_secs(1);
/// Between two looks at the state; the domain keeps what comes meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Between two questions on the operate socket: each is work for its gateway.
const ASK_EVERY_NS: u64 = 20_000_000;
/// Catalog and counters come seldom; a status without them is still one.
const LOOKS_FOR_THE_REST: u32 = 250;

/// One state of the machine: header and axes.
pub(crate) type State = (StateHeader, Vec<AxisState>);

/// A reader of one machine.
#[derive(Debug)]
pub(crate) struct Machine {
    way: Way,
    dir: RuntimeDir,
}

/// How the machine is looked at.
#[derive(Debug)]
enum Way {
    /// Every cycle, as the user of the view role.
    Domain(Box<View>),
    /// Now and then, as a member of the group of the operate socket.
    Socket(Box<Window>),
}

/// The machine through the operate socket.
#[derive(Debug)]
struct Window {
    operate: Option<Operate>,
    asked_ns: u64,
    seen: Option<Outlook>,
    event: Option<Event>,
    trouble: Option<OperateError>,
}

impl Machine {
    /// Enters the view domain, or, where that is another user's, asks through the operate socket.
    /// Signals a verb wants to handle must be blocked before.
    pub(crate) fn enter(dir: &RuntimeDir) -> Result<Self, Failure> {
        let told = |error: LinkError| absent(dir, &error);
        let give_up = Instant::now() + ENTER_TIME;
        let waits = |_: &LinkError| {
            std::thread::sleep(LOOK_EVERY);
            Instant::now() < give_up
        };
        step_down(dir, Role::View, waits).map_err(told)?;
        if let Err(LinkError::WrongUser { .. }) = check(dir, Role::View) {
            let window = Window::open(dir).map_err(|error| unanswered(dir, &error))?;
            return Ok(Self { way: Way::Socket(Box::new(window)), dir: dir.clone() });
        }
        let watchdog = Watchdog::start(DEFAULT_LIMIT)
            .map_err(|error| Failure::new(EXIT_SYSTEM, format!("watchdog thread: {error}")))?;
        let view = View::open(dir.clone(), Role::View, "kadenz", ENTER_TIME).map_err(told)?;
        let way = Way::Domain(Box::new(view.watched_by(&watchdog)));
        Ok(Self { way, dir: dir.clone() })
    }

    /// The next state; through the domain none is left out. `None` when none is waiting.
    pub(crate) fn next(&mut self) -> Result<Option<State>, Failure> {
        match &mut self.way {
            Way::Domain(view) => {
                let next = view.next_state().map_err(|error| absent(&self.dir, &error))?;
                Ok(next.map(|sample| (*sample.header(), sample.axes().to_vec())))
            }
            Way::Socket(window) => {
                window.look(&self.dir).map_err(|error| unanswered(&self.dir, &error))
            }
        }
    }

    /// The next event that tells of the end of a path.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Failure> {
        match &mut self.way {
            Way::Domain(view) => view.next_event().map_err(|error| absent(&self.dir, &error)),
            Way::Socket(window) => Ok(window.event.take()),
        }
    }

    /// The view domain, for what the operate socket does not tell.
    pub(crate) fn view(&mut self) -> Result<&mut View, Failure> {
        match &mut self.way {
            Way::Domain(view) => Ok(view),
            Way::Socket(_) => {
                let words = check(&self.dir, Role::View).err().map(|error| error.to_string());
                let words = words.unwrap_or_else(|| "the view domain has become ours".to_owned());
                Err(Failure::new(
                    EXIT_PERMISSION,
                    format!("the operate socket tells the status only; {words}"),
                ))
            }
        }
    }

    /// What `judge` gives for a state, as soon as it gives something; `wait` at most.
    pub(crate) fn find<T>(
        &mut self,
        wait: Duration,
        mut judge: impl FnMut(&State) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let give_up = Instant::now() + wait;
        loop {
            // All that has come is taken, so that what is found is news.
            let mut found = None;
            while let Some(state) = self.next()? {
                found = judge(&state).or(found);
            }
            if found.is_some() {
                return Ok(found);
            }
            if Instant::now() >= give_up {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The machine in words and numbers; the state it tells of has just come.
    pub(crate) fn status(&mut self, wait: Duration) -> Result<MachineStatus, Failure> {
        let mut newest = self.find(wait, |state| Some(state.clone()))?;
        if newest.is_none() {
            return Err(self.silence());
        }
        let view = match &mut self.way {
            Way::Domain(view) => view,
            Way::Socket(window) => match &window.seen {
                Some(seen) => return Ok(seen.status.clone()),
                None => return Err(self.silence()),
            },
        };
        for _ in 0..LOOKS_FOR_THE_REST {
            let has_catalog = matches!(view.catalog(), Ok(Some(_)));
            let has_health = matches!(view.health(), Ok(Some(_)));
            if has_catalog && has_health {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // Fresh again after the wait for the rest.
        if let Some(sample) = view.newest_state().map_err(|error| absent(&self.dir, &error))? {
            newest = Some((*sample.header(), sample.axes().to_vec()));
        }
        let Some((header, axes)) = newest else { return Err(self.silence()) };
        let counters = view.counters();
        let health = view.health().ok().flatten().copied();
        let catalog = view.catalog().ok().flatten();
        let now_ns = clock::now_ns();
        Ok(MachineStatus::new(&header, &axes, health.as_ref(), catalog, counters, now_ns))
    }

    /// Why no state comes, as a failure.
    pub(crate) fn silence(&self) -> Failure {
        let trouble = match &self.way {
            Way::Domain(view) => view.trouble().map(|error| absent(&self.dir, error)),
            Way::Socket(window) => {
                window.trouble.as_ref().map(|error| unanswered(&self.dir, error))
            }
        };
        trouble.unwrap_or_else(|| {
            let start = what_to_start(&self.dir, "view");
            Failure::new(EXIT_UNAVAILABLE, format!("no state comes from the view gateway; {start}"))
        })
    }

    /// Name of an axis as the catalog has it, or its number.
    pub(crate) fn axis_name(&mut self, axis: usize) -> String {
        let known = match &mut self.way {
            Way::Domain(view) => {
                let catalog = view.catalog().ok().flatten();
                let axis = catalog.and_then(|catalog| catalog.axes.get(axis));
                axis.map(|axis| kadenz_link::text::name(&axis.name))
            }
            Way::Socket(window) => window.axis(axis).map(|axis| axis.name.clone()),
        };
        known.unwrap_or_else(|| format!("axis {axis}"))
    }

    /// Unit of an axis's positions, `rad` or `m`; empty until the catalog has come.
    pub(crate) fn axis_unit(&mut self, axis: usize) -> String {
        match &mut self.way {
            Way::Domain(view) => {
                let catalog = view.catalog().ok().flatten();
                let kind = catalog.and_then(|catalog| catalog.axes.get(axis)).map(|one| one.kind);
                match kind.map(AxisKind::try_from) {
                    Some(Ok(AxisKind::Rotary)) => "rad".to_owned(),
                    Some(Ok(AxisKind::Linear)) => "m".to_owned(),
                    _ => String::new(),
                }
            }
            Way::Socket(window) => {
                window.axis(axis).map(|axis| axis.unit.to_string()).unwrap_or_default()
            }
        }
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

impl Window {
    fn open(dir: &RuntimeDir) -> Result<Self, OperateError> {
        let operate = Some(Operate::connect(dir)?);
        Ok(Self { operate, asked_ns: 0, seen: None, event: None, trouble: None })
    }

    /// Asks, if it is time to; a gateway in restart is asked again later.
    fn look(&mut self, dir: &RuntimeDir) -> Result<Option<State>, OperateError> {
        let now_ns = clock::now_ns();
        if now_ns.saturating_sub(self.asked_ns) < ASK_EVERY_NS {
            return Ok(None);
        }
        self.asked_ns = now_ns;
        let asked = match self.operate.take() {
            Some(operate) => Ok(operate),
            None => Operate::connect(dir),
        };
        let looked = asked.and_then(|mut operate| {
            let outlook = operate.outlook()?;
            self.operate = Some(operate);
            Ok(outlook)
        });
        match looked {
            Ok(outlook) => {
                self.trouble = None;
                self.event = self.event.or_else(|| path_event(&outlook));
                let state = outlook.status.record(clock::now_ns());
                self.seen = Some(outlook);
                Ok(Some(state))
            }
            Err(error @ OperateError::Garbage { .. }) => Err(error),
            Err(error) => {
                self.trouble = Some(error);
                Ok(None)
            }
        }
    }

    fn axis(&self, axis: usize) -> Option<&kadenz_link::status::AxisStatus> {
        self.seen.as_ref()?.status.axes.get(axis)
    }
}

/// The end of the last path, as the event that told of it.
fn path_event(outlook: &Outlook) -> Option<Event> {
    let path = outlook.last_path.as_ref()?;
    let kinds = [EventKind::PathEnded, EventKind::PathDropped];
    let kind = kinds.into_iter().find(|kind| kind.word() == path.end)?;
    let path_id = u64::from_str_radix(&path.id, 16).ok()?;
    Some(Event { kind: kind.code(), path_id, ..Event::zeroed() })
}

fn absent(dir: &RuntimeDir, error: &LinkError) -> Failure {
    match error {
        LinkError::WrongUser { .. } | LinkError::Denied { .. } | LinkError::StaysRoot { .. } => {
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
