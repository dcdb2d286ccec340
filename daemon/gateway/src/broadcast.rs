//! Lanes to streams: every state record and event as it comes, health and catalog now and then.
//! One thread owns all ports; what a record means is not looked at.

use iceoryx2::port::update_connections::UpdateConnections;
use kadenz_link::domain::{
    CatalogHead, DomainError, DomainNode, Side, StateHead, catalog, events, health, incidents,
    state,
};
use shm_layout::state::AxisState;
use shm_layout::{EVENT_RING, INCIDENT_RING, STATE_RING};

use crate::lanes::{Outbound, OwnCounts};

/// The writing ports of a domain.
pub(crate) struct Broadcast {
    state: state::Writer,
    events: events::Writer,
    incidents: incidents::Writer,
    health: health::Writer,
    catalog: catalog::Writer,
    /// Kept: a service ends with its last participant.
    _services:
        (state::Service, events::Service, incidents::Service, health::Service, catalog::Service),
    unsent: u64,
}

impl Broadcast {
    /// Creates the streams.
    pub(crate) fn open(node: &DomainNode, axis_count: usize) -> Result<Self, DomainError> {
        let services = (
            state::service(node, Side::Gateway)?,
            events::service(node, Side::Gateway)?,
            incidents::service(node, Side::Gateway)?,
            health::service(node, Side::Gateway)?,
            catalog::service(node, Side::Gateway)?,
        );
        Ok(Self {
            state: state::writer(&services.0, axis_count)?,
            events: events::writer(&services.1)?,
            incidents: incidents::writer(&services.2)?,
            health: health::writer(&services.3)?,
            catalog: catalog::writer(&services.4, axis_count)?,
            _services: services,
            unsent: 0,
        })
    }

    /// Sends all that is new; gives the grid point of the newest state record.
    pub(crate) fn records(&mut self, outbound: &mut Outbound) -> Option<u64> {
        let mut grid_ns = None;
        // BOUND: what the rings can hold; the rest waits for the next pass.
        for _ in 0..STATE_RING {
            let Some((header, rows)) = outbound.next_state() else { break };
            grid_ns = Some(header.grid_ns);
            let mut rows = rows.chunks_exact(AxisState::WORDS);
            let count = rows.len();
            let sent = self.state.loan_slice_uninit(count).is_ok_and(|mut sample| {
                *sample.user_header_mut() = StateHead::from(header);
                let mut row = |_| rows.next().and_then(AxisState::from_slice);
                let sample =
                    sample.write_from_fn(|index| row(index).unwrap_or(AxisState::zeroed()));
                sample.send().is_ok()
            });
            self.unsent += u64::from(!sent);
        }
        for _ in 0..EVENT_RING {
            let Some(event) = outbound.next_event() else { break };
            self.unsent += u64::from(self.events.send_copy(event).is_err());
        }
        for _ in 0..INCIDENT_RING {
            let Some(incident) = outbound.next_incident() else { break };
            self.unsent += u64::from(self.incidents.send_copy(incident).is_err());
        }
        grid_ns
    }

    /// Sends the counters as they are now.
    pub(crate) fn health(&mut self, outbound: &Outbound, own: OwnCounts, now_ns: u64) {
        self.unsent += u64::from(self.health.send_copy(outbound.health(own, now_ns)).is_err());
    }

    /// Sends the catalog.
    pub(crate) fn catalog(&mut self, outbound: &Outbound) {
        let (header, axes) = outbound.catalog();
        let sent = self.catalog.loan_slice_uninit(axes.len()).is_ok_and(|mut sample| {
            *sample.user_header_mut() = CatalogHead::from(*header);
            sample.write_from_slice(axes).send().is_ok()
        });
        self.unsent += u64::from(!sent);
    }

    /// Gives new readers of slow streams what was sent before their time: without this they would
    /// wait for the next record, however long (iceoryx2 issue 1641).
    pub(crate) fn welcome(&mut self) {
        let welcomed = [
            self.events.update_connections().is_ok(),
            self.incidents.update_connections().is_ok(),
            self.health.update_connections().is_ok(),
            self.catalog.update_connections().is_ok(),
        ];
        self.unsent += u64::from(welcomed.contains(&false));
    }

    /// Records, or connections, that iceoryx2 refused.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }
}
