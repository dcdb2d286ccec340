//! Reading one role's domain, across restarts of its gateway and of kadenzd. Nothing is written here.
use std::time::Duration;

use kadenz_paths::{RuntimeDir, Token};
use shm_layout::code::Role;
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::incident::Incident;

use crate::access;
use crate::clock;
use crate::domain::{self, StreamInfo};
use crate::error::{LinkError, domain_word};
use crate::follow::Pace;
use crate::ports::{Ports, Reader, Record, TheirContract, next_of, receive_error};
use crate::sample::{Catalog, StateSample};
use crate::sequence::{Counters, Cycles, Numbered};
use crate::status::MachineStatus;
use crate::watchdog::{Calls, Watchdog};

/// A reader of one domain. It belongs to the thread that uses it.
#[derive(Debug)]
pub struct View {
    dir: RuntimeDir,
    role: Role,
    name: String,
    calls: Calls,
    pace: Pace,
    ports: Option<Ports>,
    entered: bool,
    trouble: Option<LinkError>,
    refused: Option<(Token, TheirContract)>,
    reconnects: u64,
    cycles: Cycles,
    events: Numbered,
    incidents: Numbered,
    health: Option<Box<Health>>,
    catalog: Option<Catalog>,
}

impl View {
    /// A view that enters the domain of `role` as soon as it is there. `name` shows in iceoryx2's tools.
    ///
    /// # Errors
    /// When the role has no domain.
    pub fn new(dir: RuntimeDir, role: Role, name: &str) -> Result<Self, LinkError> {
        domain_word(role)?;
        Ok(Self {
            dir,
            role,
            name: name.to_owned(),
            calls: Calls::default(),
            pace: Pace::new(),
            ports: None,
            entered: false,
            trouble: None,
            refused: None,
            reconnects: 0,
            cycles: Cycles::default(),
            events: Numbered::default(),
            incidents: Numbered::default(),
            health: None,
            catalog: None,
        })
    }

    /// Like [`View::new`], but waits until the domain is entered, `wait` at most.
    ///
    /// # Errors
    /// What kept it out when the time was over, or at once what waiting cannot end.
    pub fn open(
        dir: RuntimeDir,
        role: Role,
        name: &str,
        wait: Duration,
    ) -> Result<Self, LinkError> {
        let mut view = Self::new(dir, role, name)?;
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let end_ns = clock::now_ns().saturating_add(wait_ns);
        loop {
            let now_ns = clock::now_ns();
            if view.enter(now_ns)? {
                return Ok(view);
            }
            if now_ns >= end_ns {
                let unknown = || access::not_announced(&view.dir, role);
                return Err(view.trouble.take().unwrap_or_else(unknown));
            }
            std::thread::sleep(Duration::from_nanos(crate::follow::LOOK_EVERY_NS));
        }
    }

    /// Lets `watchdog` end the process when this view hangs inside iceoryx2.
    #[must_use]
    pub fn watched_by(self, watchdog: &Watchdog) -> Self {
        watchdog.watch(&self.calls);
        self
    }

    /// The next state record; `None` when none is waiting.
    ///
    /// An outage is not an error: it yields `None`, [`View::trouble`] tells why, and the view comes
    /// back by itself.
    ///
    /// # Errors
    /// What does not heal by waiting: another contract, another user, too many samples held.
    pub fn next_state(&mut self) -> Result<Option<StateSample>, LinkError> {
        self.next_state_at(clock::now_ns())
    }

    /// [`View::next_state`] with the time (CLOCK_MONOTONIC, ns) as an argument, for simulated time.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn next_state_at(&mut self, now_ns: u64) -> Result<Option<StateSample>, LinkError> {
        if self.ports.is_none() && !self.try_enter(now_ns)? {
            return Ok(None);
        }
        let found = {
            let _inside = self.calls.enter();
            self.ports.as_ref().map_or(Ok(None), |ports| ports.state.receive())
        };
        match found {
            Ok(Some(sample)) => {
                self.pace.fresh(now_ns);
                self.check_contract(TheirContract::of_state(sample.user_header()))?;
                self.trouble = None;
                let sample = StateSample::new(sample);
                if self.cycles.take(sample.header()) {
                    self.forget_machine();
                }
                Ok(Some(sample))
            }
            Ok(None) => self.nothing_waiting(now_ns).map(|()| None),
            Err(error) => {
                self.port_failed(receive_error(domain::state::INFO.service, error)).map(|()| None)
            }
        }
    }

    /// The newest state record waiting; older ones are let go. `None` when none is waiting.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn newest_state(&mut self) -> Result<Option<StateSample>, LinkError> {
        let now_ns = clock::now_ns();
        let mut newest = None;
        // A queue's worth: what arrives meanwhile is for the next call.
        for _ in 0..domain::state::INFO.shape.buffer_samples {
            match self.next_state_at(now_ns)? {
                Some(sample) => newest = Some(sample),
                None => break,
            }
        }
        Ok(newest)
    }

    /// The next event; a new reader is first given up to 64 that were recorded before it came.
    /// Read state as well: that is what follows the gateway.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn next_event(&mut self) -> Result<Option<Event>, LinkError> {
        self.next_numbered(
            domain::events::INFO,
            |ports| &ports.events,
            |view, event| view.events.take(event.sequence, event.wake_ns),
        )
    }

    /// The next incident; as for events.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn next_incident(&mut self) -> Result<Option<Incident>, LinkError> {
        self.next_numbered(
            domain::incidents::INFO,
            |ports| &ports.incidents,
            |view, incident| view.incidents.take(incident.sequence, incident.wake_ns),
        )
    }

    /// The next record of a stream that `is_new` has not taken before.
    fn next_numbered<T: Record>(
        &mut self,
        stream: StreamInfo,
        reader: impl Fn(&Ports) -> &Reader<T>,
        is_new: impl Fn(&mut Self, &T) -> bool,
    ) -> Result<Option<T>, LinkError> {
        for _ in 0..stream.shape.buffer_samples {
            // These records carry no fingerprint: none is believed before the contract is checked.
            let found = match &self.ports {
                Some(ports) if ports.contract_checked => next_of(reader(ports), &self.calls),
                _ => return Ok(None),
            };
            match found {
                Ok(Some(record)) if is_new(self, &record) => return Ok(Some(record)),
                Ok(Some(_seen_before)) => {}
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.port_failed(receive_error(stream.service, error))?;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// The newest counters and histograms of the loop; `None` until the first have come.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn health(&mut self) -> Result<Option<&Health>, LinkError> {
        for _ in 0..domain::health::INFO.shape.buffer_samples {
            let found = {
                let _inside = self.calls.enter();
                let Some(ports) = &self.ports else { break };
                ports.health.receive().map(|s| s.map(|s| Box::new(*s.payload())))
            };
            match found {
                Ok(Some(health)) => {
                    self.check_contract(TheirContract::of_health(&health))?;
                    self.health = Some(health);
                }
                Ok(None) => break,
                Err(error) => {
                    self.port_failed(receive_error(domain::health::INFO.service, error))?;
                    break;
                }
            }
        }
        Ok(self.health.as_deref())
    }

    /// What the machine is; `None` until the catalog has come. Kept while the gateway is away.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn catalog(&mut self) -> Result<Option<&Catalog>, LinkError> {
        for _ in 0..domain::catalog::INFO.shape.buffer_samples {
            let found = {
                let _inside = self.calls.enter();
                let Some(ports) = &self.ports else { break };
                ports.catalog.receive().map(|sample| sample.map(|sample| Catalog::copy_of(&sample)))
            };
            match found {
                Ok(Some(catalog)) => {
                    self.check_contract(TheirContract::of_catalog(&catalog.header))?;
                    self.catalog = Some(catalog);
                }
                Ok(None) => break,
                Err(error) => {
                    self.port_failed(receive_error(domain::catalog::INFO.service, error))?;
                    break;
                }
            }
        }
        Ok(self.catalog.as_ref())
    }

    /// The machine in words and numbers, from a sample and what else has come.
    ///
    /// # Errors
    /// As [`View::next_state`].
    pub fn status(&mut self, sample: &StateSample) -> Result<MachineStatus, LinkError> {
        self.health()?;
        self.catalog()?;
        let (health, catalog) = (self.health.as_deref(), self.catalog.as_ref());
        let (header, axes) = (sample.header(), sample.axes());
        let now_ns = clock::now_ns();
        Ok(MachineStatus::new(header, axes, health, catalog, self.counters(), now_ns))
    }

    /// Why no samples come; `None` while they do.
    #[must_use]
    pub fn trouble(&self) -> Option<&LinkError> {
        self.trouble.as_ref()
    }

    /// The epoch that is followed; `None` while outside.
    #[must_use]
    pub fn epoch(&self) -> Option<Token> {
        self.ports.as_ref().map(|ports| ports.epoch)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            reconnects: self.reconnects,
            lost: self.cycles.lost(),
            events_lost: self.events.lost(),
            daemon_restarts: self.cycles.daemon_restarts(),
        }
    }

    /// Another life of kadenzd: what was known of the machine may be wrong.
    fn forget_machine(&mut self) {
        let daemon_id = self.cycles.daemon_id();
        self.health.take_if(|health| Some(health.daemon_id) != daemon_id);
        self.catalog.take_if(|catalog| Some(catalog.header.daemon_id) != daemon_id);
    }

    fn try_enter(&mut self, now_ns: u64) -> Result<bool, LinkError> {
        if !self.pace.due(now_ns, crate::follow::LOOK_EVERY_NS) {
            return Ok(false);
        }
        self.enter(now_ns)
    }

    /// Whether the announced epoch is entered now; what heals is kept as trouble.
    fn enter(&mut self, now_ns: u64) -> Result<bool, LinkError> {
        match self.enter_announced(now_ns) {
            Err(error) if error.heals() => {
                self.trouble = Some(error);
                Ok(false)
            }
            other => other,
        }
    }

    fn enter_announced(&mut self, now_ns: u64) -> Result<bool, LinkError> {
        access::check(&self.dir, self.role)?;
        let token = self
            .dir
            .read_epoch(self.role)?
            .ok_or_else(|| access::not_announced(&self.dir, self.role))?;
        if let Some((epoch, theirs)) = self.refused.filter(|(epoch, _)| *epoch == token) {
            return theirs.mismatch(self.role, epoch).map_or(Ok(false), Err);
        }
        if !self.pace.may_open(now_ns, token) {
            return Ok(false);
        }
        let place = self.dir.epoch_place(self.role, token)?;
        let opened = {
            let _inside = self.calls.enter();
            Ports::open(&place, &self.name)
        };
        match opened {
            Ok(ports) => self.ports = Some(ports),
            Err(error) => {
                self.pace.failed(now_ns, token);
                return Err(error);
            }
        }
        self.pace.opened(now_ns);
        if self.entered {
            self.reconnects += 1;
        }
        self.entered = true;
        Ok(true)
    }

    /// Another contract ends this epoch for us: it is not entered again.
    fn check_contract(&mut self, theirs: TheirContract) -> Result<(), LinkError> {
        let Some(ports) = self.ports.as_mut() else { return Ok(()) };
        match theirs.mismatch(self.role, ports.epoch) {
            None => {
                ports.contract_checked = true;
                Ok(())
            }
            Some(refusal) => {
                self.refused = Some((ports.epoch, theirs));
                self.leave();
                Err(refusal)
            }
        }
    }

    fn nothing_waiting(&mut self, now_ns: u64) -> Result<(), LinkError> {
        if !self.pace.wants_look(now_ns) {
            return Ok(());
        }
        let announced = self.dir.read_epoch(self.role).ok().flatten();
        if self.trouble.is_none() {
            self.trouble = Some(access::not_announced_or_silent(&self.dir, self.role, announced));
        }
        let is_same = announced.is_some() && announced == self.epoch();
        // Without an announcement the old ports are as good as none: keep them until one is there.
        if announced.is_some() && (!is_same || self.pace.wants_reopen(now_ns)) {
            self.leave();
            return self.enter(now_ns).map(|_entered| ());
        }
        Ok(())
    }

    fn port_failed(&mut self, error: LinkError) -> Result<(), LinkError> {
        if !error.heals() {
            return Err(error);
        }
        self.trouble = Some(error);
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        let _inside = self.calls.enter();
        self.ports = None;
    }
}
