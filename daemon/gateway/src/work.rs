//! What a role does in its passes, put together from its parts; when passes come is in passes.rs.

use kadenz_handover::Grant;
use kadenz_lanes::Lanes;
use kadenz_link::domain::{DomainNode, Side, node};
use kadenz_paths::{EpochPlace, RuntimeDir};
use shm_layout::code::Role;

use crate::broadcast::Broadcast;
use crate::canary::Canary;
use crate::epoch;
use crate::failure::Failure;
use crate::knots::Intake;
use crate::lanes::{Outbound, OwnCounts};
use crate::operate::Desk;

/// The role's work.
pub(crate) struct Work {
    outbound: Outbound,
    duty: Duty,
}

enum Duty {
    Domain(Box<Domain>),
    Operate(Box<Desk>),
}

/// View and plan: an iceoryx2 domain.
struct Domain {
    canary: Option<Canary>,
    intake: Option<Intake>,
    broadcast: Broadcast,
    place: EpochPlace,
    _node: DomainNode,
}

/// What went wrong so far and did not end anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Records overwritten in the outbound lane before this gateway came round to them.
    pub(crate) overwritten: u64,
    /// Records in the outbound lane that made no sense.
    pub(crate) malformed: u64,
    /// Records that iceoryx2 did not take.
    pub(crate) unsent: u64,
    /// Batches of knots, or requests, that were refused.
    pub(crate) refused: u64,
    /// Batches of knots that came faster than their source may send.
    pub(crate) rate_limited: u64,
}

impl Work {
    /// Opens the domain, or the socket, of the role granted.
    pub(crate) fn open(
        dir: &RuntimeDir,
        grant: &Grant,
        outbound: Outbound,
        inbound: Option<Lanes>,
    ) -> Result<Self, Failure> {
        let duty = match (grant.role, inbound) {
            (Role::View, None) => Duty::Domain(Box::new(Domain::open(dir, grant, None)?)),
            (Role::Plan, Some(lanes)) => {
                let lease_ns = outbound.catalog().0.lease_ns;
                Duty::Domain(Box::new(Domain::open(dir, grant, Some((&lanes, lease_ns)))?))
            }
            (Role::Operate, Some(lanes)) => {
                Duty::Operate(Box::new(Desk::open(dir, grant, &lanes)?))
            }
            (role, inbound) => {
                let came = if inbound.is_some() { "an" } else { "no" };
                let role = role.word();
                return Err(Failure::Lanes(format!("{came} inbound lane came with role {role}")));
            }
        };
        Ok(Self { outbound, duty })
    }

    /// Whether this role copies anything in.
    pub(crate) fn copies_in(&self) -> bool {
        match &self.duty {
            Duty::Domain(domain) => domain.intake.is_some(),
            Duty::Operate(_) => true,
        }
    }

    /// The pass after the loop's publish; gives the newest grid point if there is a new one.
    pub(crate) fn out_pass(&mut self, now_ns: u64) -> Option<u64> {
        match &mut self.duty {
            Duty::Domain(domain) => {
                let grid_ns = domain.broadcast.records(&mut self.outbound);
                if let (Some(_), Some(canary)) = (grid_ns, &domain.canary) {
                    canary.note_record();
                }
                grid_ns
            }
            Duty::Operate(desk) => {
                let grid_ns = self.outbound.newest_state().map(|header| header.grid_ns);
                desk.answer(&mut self.outbound, now_ns);
                grid_ns
            }
        }
    }

    /// The pass before the loop's wake.
    pub(crate) fn in_pass(&mut self, now_ns: u64) {
        match &mut self.duty {
            Duty::Domain(domain) => {
                if let Some(intake) = &mut domain.intake {
                    intake.pass(now_ns);
                }
            }
            Duty::Operate(desk) => desk.take(now_ns),
        }
    }

    /// Every 10 ms: new readers, and the canary's return.
    pub(crate) fn tend(&mut self) -> Result<(), Failure> {
        match &mut self.duty {
            Duty::Domain(domain) => {
                domain.broadcast.welcome();
                domain.canary.as_mut().map_or(Ok(()), Canary::check)
            }
            Duty::Operate(_) => Ok(()),
        }
    }

    /// Sends health.
    pub(crate) fn health(&mut self, now_ns: u64) {
        if let Duty::Domain(domain) = &mut self.duty {
            domain.broadcast.health(&self.outbound, domain.own_counts(), now_ns);
        }
    }

    /// Sends the catalog.
    pub(crate) fn catalog(&mut self) {
        if let Duty::Domain(domain) = &mut self.duty {
            domain.broadcast.catalog(&self.outbound);
        }
    }

    /// Once the first pass is done: watches the role's own service from outside.
    pub(crate) fn watch(&mut self) -> Result<(), Failure> {
        if let Duty::Domain(domain) = &mut self.duty {
            domain.canary = Some(Canary::start(domain.place.clone())?);
        }
        Ok(())
    }

    /// For the log.
    pub(crate) fn losses(&self) -> Losses {
        let (overwritten, malformed) = self.outbound.losses();
        let (unsent, own) = match &self.duty {
            Duty::Domain(domain) => (domain.broadcast.unsent(), domain.own_counts()),
            Duty::Operate(desk) => (0, desk.own_counts()),
        };
        let OwnCounts { refused, rate_limited } = own;
        Losses { overwritten, malformed, unsent, refused, rate_limited }
    }
}

impl Domain {
    /// Opens the domain; with what is to be copied in, if anything, and the lease of its sources, ns.
    fn open(
        dir: &RuntimeDir,
        grant: &Grant,
        inbound: Option<(&Lanes, u64)>,
    ) -> Result<Self, Failure> {
        let place = epoch::prepare(dir, grant)?;
        let axis_count = usize::from(grant.terms.axis_count);
        let node = node(&place, "gateway", Side::Gateway)?;
        epoch::close_to_others(&place);
        let broadcast = Broadcast::open(&node, axis_count)?;
        let period_ns = grant.terms.period_ns;
        let intake = inbound
            .map(|(lanes, lease_ns)| Intake::open(&node, lanes, axis_count, (period_ns, lease_ns)))
            .transpose()?;
        Ok(Self { canary: None, intake, broadcast, place, _node: node })
    }

    fn own_counts(&self) -> OwnCounts {
        self.intake.as_ref().map(Intake::own_counts).unwrap_or_default()
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        if let Some(canary) = self.canary.take() {
            canary.stop();
        }
    }
}
