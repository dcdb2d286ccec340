//! Reading the gateway into the queue: follows outages and daemon lives, never waits for a disk.
use anyhow::{Context, Result};
use kadenz_link::paths::RuntimeDir;
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{Catalog, LinkError, View};
use kadenz_logger::convert::Machine;
use kadenz_logger::queue::Inlet;
use kadenz_logger::tally::{Tally, add};
use kadenz_service::notify::Notify;
use shm_layout::code::Role;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause between looks. The subscriber holds 1,024 cycles: 51 ms at 20 kHz.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Pause between looks at the counters and between status lines.
const SELDOM: Duration = Duration::from_millis(500);

/// The gateway as the logger sees it.
pub struct Source {
    view: View,
    notify: Notify,
    /// Ends the process when iceoryx2 hangs; what was flushed is recovered at the next start.
    _watchdog: Watchdog,
    alive_at: Instant,
    seldom_at: Instant,
    health_sampled_ns: Option<u64>,
    trouble: Option<String>,
}

impl Source {
    /// A source that follows the view gateway of the machine at `runtime_dir`.
    ///
    /// # Errors
    /// When the directory's name or the service manager's socket cannot be used.
    pub fn open(runtime_dir: Option<&Path>) -> Result<Self> {
        let dir = RuntimeDir::find(runtime_dir)?;
        let watchdog = Watchdog::start(DEFAULT_LIMIT).context("cannot start the watchdog")?;
        let view = View::new(dir, Role::View, "kadenz-logger")?.watched_by(&watchdog);
        let notify = Notify::from_env().context("cannot use $NOTIFY_SOCKET")?;
        notify.ready();
        let now = Instant::now();
        Ok(Self {
            view,
            notify,
            _watchdog: watchdog,
            alive_at: now,
            seldom_at: now,
            health_sampled_ns: None,
            trouble: None,
        })
    }

    /// Waits until the machine is known; `None` when `stop` was raised before.
    ///
    /// # Errors
    /// What does not heal by waiting, such as another contract.
    pub fn wait_for_machine(&mut self, stop: &AtomicBool) -> Result<Option<Machine>, LinkError> {
        // ORDERING: a flag that publishes nothing else.
        while !stop.load(Ordering::Relaxed) {
            // Entering the domain is what reading does; a cycle before the catalog has no names.
            let _unnamed = self.view.next_state()?;
            if let Some(catalog) = self.view.catalog()? {
                return Ok(Some(machine_of(catalog)));
            }
            self.still_here();
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(None)
    }

    /// Reads until `stop` is raised, then what is still waiting.
    ///
    /// # Errors
    /// What does not heal by waiting, such as another contract.
    pub fn read(
        &mut self,
        inlet: &mut Inlet,
        stop: &AtomicBool,
        tally: &Tally,
    ) -> Result<(), LinkError> {
        loop {
            // ORDERING: a flag that publishes nothing else.
            let last = stop.load(Ordering::Relaxed);
            self.take_states(inlet, tally)?;
            while let Some(event) = self.view.next_event()? {
                inlet.event(&event);
            }
            while let Some(incident) = self.view.next_incident()? {
                inlet.incident(&incident);
            }
            let seldom = Instant::now() >= self.seldom_at;
            if last || seldom {
                self.take_health(inlet)?;
            }
            if last {
                self.notify.stopping();
                return Ok(());
            }
            if seldom {
                self.seldom_at = Instant::now() + SELDOM;
                self.notify.status(&tally.to_string());
            }
            inlet.tick();
            self.still_here();
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn take_states(&mut self, inlet: &mut Inlet, tally: &Tally) -> Result<(), LinkError> {
        while let Some(sample) = self.view.next_state()? {
            let header = sample.header();
            if header.daemon_id != inlet.machine().header.daemon_id {
                match self.view.catalog()? {
                    Some(catalog) if catalog.header.daemon_id == header.daemon_id => {
                        inlet.change_machine(machine_of(catalog));
                        log::info!("another life of kadenzd began");
                    }
                    _ => {
                        // Without its catalog the record has no names and units.
                        add(&tally.state.never_received, 1);
                        continue;
                    }
                }
            }
            inlet.state(header, sample.axes());
        }
        Ok(())
    }

    fn take_health(&mut self, inlet: &mut Inlet) -> Result<(), LinkError> {
        if let Some(health) = self.view.health()?
            && self.health_sampled_ns != Some(health.sampled_ns)
        {
            self.health_sampled_ns = Some(health.sampled_ns);
            inlet.health(health);
        }
        Ok(())
    }

    /// Tells the service manager that we live, and people once what is wrong.
    fn still_here(&mut self) {
        if let Some(every) = self.notify.alive_every()
            && Instant::now() >= self.alive_at
        {
            self.alive_at = Instant::now() + every;
            self.notify.alive();
        }
        let trouble = self.view.trouble().map(ToString::to_string);
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => log::warn!("waiting: {trouble}"),
                None => log::info!("reading again"),
            }
            self.trouble = trouble;
        }
    }
}

fn machine_of(catalog: &Catalog) -> Machine {
    Machine { header: catalog.header, axes: catalog.axes.clone() }
}
