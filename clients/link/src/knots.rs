//! Sending knots into the plan domain, across restarts of its gateway. What to send is the planner's business.
use kadenz_paths::{EpochPlace, RuntimeDir, Token};
use shm_layout::code::Role;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::{AXES_MAX, KNOTS_PER_BATCH_MAX, LAYOUT_HASH};

use crate::access;
use crate::clock;
use crate::domain::{self, DomainNode, Side};
use crate::error::LinkError;
use crate::follow::{LOOK_EVERY_NS, Pace, STALE_NS};
use crate::watchdog::{Calls, Watchdog};

/// A planner's port into the plan domain. It belongs to the thread that uses it.
#[derive(Debug)]
pub struct KnotPort {
    dir: RuntimeDir,
    name: String,
    calls: Calls,
    pace: Pace,
    open: Option<Open>,
    entered: bool,
    trouble: Option<LinkError>,
    heartbeat: u64,
    /// Tells this life of the source from the next, across gateways.
    life: u64,
    reconnects: u64,
}

#[derive(Debug)]
struct Open {
    writer: domain::knots::Writer,
    epoch: Token,
    _node: DomainNode,
}

impl KnotPort {
    /// A port that enters the plan domain as soon as it is there. `name` shows in iceoryx2's tools.
    #[must_use]
    pub fn new(dir: RuntimeDir, name: &str) -> Self {
        Self {
            dir,
            name: name.to_owned(),
            calls: Calls::default(),
            pace: Pace::new(),
            open: None,
            entered: false,
            trouble: None,
            heartbeat: 0,
            life: fresh_life(),
            reconnects: 0,
        }
    }

    /// Lets `watchdog` end the process when this port hangs inside iceoryx2.
    #[must_use]
    pub fn watched_by(self, watchdog: &Watchdog) -> Self {
        watchdog.watch(&self.calls);
        self
    }

    /// Sends one batch: `rows` holds all axes of the first knot, then of the second, and so on.
    /// `layout_hash`, `heartbeat`, `made_ns` and `source_id` are written by the port. Gives the readers it went to:
    /// 0 while the gateway is away, then [`KnotPort::trouble`] tells why and the port comes back by
    /// itself. Send the newest horizon again; knots the loop has already are harmless.
    ///
    /// # Errors
    /// A batch that is not what its header says, and what does not heal by waiting.
    pub fn send(
        &mut self,
        header: &KnotBatchHeader,
        rows: &[KnotAxis],
    ) -> Result<usize, LinkError> {
        self.send_at(clock::now_ns(), header, rows)
    }

    /// [`KnotPort::send`] with the time (CLOCK_MONOTONIC, ns) as an argument, for simulated time.
    ///
    /// # Errors
    /// As [`KnotPort::send`].
    pub fn send_at(
        &mut self,
        now_ns: u64,
        header: &KnotBatchHeader,
        rows: &[KnotAxis],
    ) -> Result<usize, LinkError> {
        check_batch(header, rows)?;
        self.heartbeat += 1;
        self.follow(now_ns)?;
        let Some(open) = &self.open else { return Ok(0) };
        let stamped = KnotBatchHeader {
            layout_hash: LAYOUT_HASH,
            heartbeat: self.heartbeat,
            source_id: self.life,
            made_ns: now_ns,
            ..*header
        };
        let sent = {
            let _inside = self.calls.enter();
            write(&open.writer, stamped, rows)
        };
        match sent {
            Ok(readers) => {
                if readers > 0 {
                    self.trouble = None;
                }
                Ok(readers)
            }
            Err(error) => {
                self.trouble = Some(error);
                self.leave();
                Ok(0)
            }
        }
    }

    /// Why batches do not arrive; `None` while they do.
    #[must_use]
    pub fn trouble(&self) -> Option<&LinkError> {
        self.trouble.as_ref()
    }

    /// The epoch that is sent into; `None` while outside.
    #[must_use]
    pub fn epoch(&self) -> Option<Token> {
        self.open.as_ref().map(|open| open.epoch)
    }

    /// Times the domain was entered again.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// A writer hears nothing back, so it reads the announcement at the pace of stale samples.
    fn follow(&mut self, now_ns: u64) -> Result<(), LinkError> {
        let every_ns = if self.open.is_some() { STALE_NS } else { LOOK_EVERY_NS };
        if !self.pace.due(now_ns, every_ns) {
            return Ok(());
        }
        match self.enter_announced(now_ns) {
            Err(error) if !error.heals() => Err(error),
            Err(error) => {
                self.trouble = Some(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn enter_announced(&mut self, now_ns: u64) -> Result<(), LinkError> {
        access::check(&self.dir, Role::Plan)?;
        let token = self
            .dir
            .read_epoch(Role::Plan)?
            .ok_or_else(|| access::not_announced(&self.dir, Role::Plan))?;
        if self.epoch() == Some(token) || !self.pace.may_open(now_ns, token) {
            return Ok(());
        }
        self.leave();
        let place = self.dir.epoch_place(Role::Plan, token)?;
        match self.open(&place) {
            Ok(open) => self.open = Some(open),
            Err(error) => {
                self.pace.failed(now_ns, token);
                return Err(error);
            }
        }
        if self.entered {
            self.reconnects += 1;
        }
        self.entered = true;
        Ok(())
    }

    fn open(&self, place: &EpochPlace) -> Result<Open, LinkError> {
        let _inside = self.calls.enter();
        let node = domain::node(place, &self.name, Side::Client)?;
        let writer = domain::knots::writer(&domain::knots::service(&node, Side::Client)?)?;
        Ok(Open { writer, epoch: place.token, _node: node })
    }

    fn leave(&mut self) {
        let _inside = self.calls.enter();
        self.open = None;
    }
}

/// A number no other life of a source has; not 0.
fn fresh_life() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u64(clock::now_ns());
    hasher.finish().max(1)
}

fn check_batch(header: &KnotBatchHeader, rows: &[KnotAxis]) -> Result<(), LinkError> {
    let wrong = |what, value, expected| Err(LinkError::Batch { what, value, expected });
    let (knots, axes) = (usize::from(header.knot_count), usize::from(header.axis_count));
    if knots > KNOTS_PER_BATCH_MAX {
        return wrong("knot_count", knots, format!("0 ..= {KNOTS_PER_BATCH_MAX}"));
    }
    if axes == 0 || axes > AXES_MAX {
        return wrong("axis_count", axes, format!("1 ..= {AXES_MAX}"));
    }
    if rows.len() != knots * axes {
        return wrong(
            "number of rows",
            rows.len(),
            format!("{knots} knots x {axes} axes = {}", knots * axes),
        );
    }
    Ok(())
}

fn write(
    writer: &domain::knots::Writer,
    header: KnotBatchHeader,
    rows: &[KnotAxis],
) -> Result<usize, LinkError> {
    let service = domain::knots::INFO.service;
    let failed = |cause: String| LinkError::Port { service, cause };
    let mut slot =
        writer.loan_slice_uninit(rows.len()).map_err(|error| failed(format!("{error:?}")))?;
    *slot.user_header_mut() = header.into();
    slot.write_from_slice(rows).send().map_err(|error| failed(format!("{error:?}")))
}
