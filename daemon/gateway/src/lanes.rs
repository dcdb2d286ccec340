//! The lanes a gateway was given, read as records of the contract; no service, no socket.

use std::os::fd::OwnedFd;

use kadenz_handover::{
    CATALOG_REGION, EVENT_REGION, HEALTH_REGION, INCIDENT_REGION, STATE_REGION, Terms, contract,
};
use kadenz_lanes::{BroadcastReader, GaugeReader, Lanes, Read, Sealing};
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::incident::Incident;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{LAYOUT_HASH, STATE_RING};

use crate::failure::Failure;

/// Events, and incidents, that a new gateway gives again, so that none is missing across its restart. As many as a
/// new subscriber is given from the stream's history.
const EVENTS_AGAIN: u64 = 64;

/// Maps an inbound lane and closes its descriptor.
pub(crate) fn open_inbound(fd: OwnedFd) -> Result<Lanes, Failure> {
    Ok(Lanes::open("inbound", fd, Sealing::Inbound, contract())?)
}

/// What a gateway itself has counted, for its health record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnCounts {
    /// Batches of knots, or requests, that were refused.
    pub(crate) refused: u64,
    /// Batches dropped because their source sent faster than it may.
    pub(crate) rate_limited: u64,
}

/// The outbound lane as a gateway reads it.
pub(crate) struct Outbound {
    state: BroadcastReader<'static>,
    events: BroadcastReader<'static>,
    incidents: BroadcastReader<'static>,
    health: GaugeReader<'static>,
    catalog: (CatalogHeader, Vec<CatalogAxis>),
    axis_count: usize,
    daemon_id: u64,
    record: Vec<u64>,
    malformed: u64,
}

/// The axes behind a header: exactly as many as the machine has.
fn rows(words: &[u64], header_words: usize, axis_count: usize, row_words: usize) -> Option<&[u64]> {
    words.get(header_words..).filter(|rows| rows.len() == axis_count * row_words)
}

impl Outbound {
    /// Maps the lane, closes its descriptor, and checks that it is the lane of this machine.
    pub(crate) fn open(fd: OwnedFd, terms: &Terms) -> Result<Self, Failure> {
        let lanes = Lanes::open("outbound", fd, Sealing::Outbound, contract())?;
        let axis_count = usize::from(terms.axis_count);
        let room = lanes.geometry(STATE_REGION)?.payload_words();
        let needed = StateHeader::WORDS + axis_count * AxisState::WORDS;
        if room != needed {
            return Err(Failure::Lanes(format!(
                "state records of {room} words, {axis_count} axes need {needed}"
            )));
        }
        let events = lanes.ring_reader(EVENT_REGION)?;
        let again_from = events.head().saturating_sub(EVENTS_AGAIN);
        let incidents = lanes.ring_reader(INCIDENT_REGION)?;
        let incidents_from = incidents.head().saturating_sub(EVENTS_AGAIN);
        Ok(Self {
            state: lanes.ring_reader(STATE_REGION)?,
            events: events.resume_at(again_from),
            incidents: incidents.resume_at(incidents_from),
            health: lanes.gauge_reader(HEALTH_REGION)?,
            catalog: catalog(&lanes.read_block(CATALOG_REGION)?, axis_count)?,
            axis_count,
            daemon_id: terms.daemon_id,
            record: vec![0; room],
            malformed: 0,
        })
    }

    /// The machine.
    pub(crate) fn catalog(&self) -> &(CatalogHeader, Vec<CatalogAxis>) {
        &self.catalog
    }

    /// The next state record in order: header and the words of its axes.
    pub(crate) fn next_state(&mut self) -> Option<(StateHeader, &[u64])> {
        // BOUND: a hostile head can promise records for ever.
        for _ in 0..STATE_RING {
            match self.state.read_next(&mut self.record) {
                Read::Empty => return None,
                Read::Lost { .. } => {}
                Read::Record { words, .. } => {
                    if state(&self.record[..words], self.axis_count).is_some() {
                        return state(&self.record[..words], self.axis_count);
                    }
                    self.malformed += 1;
                }
            }
        }
        None
    }

    /// The newest state record's header, if there is one that was not looked at before.
    pub(crate) fn newest_state(&mut self) -> Option<StateHeader> {
        match self.state.newest(&mut self.record) {
            Read::Record { words, .. } => {
                state(self.record.get(..words)?, self.axis_count).map(|(header, _)| header)
            }
            Read::Empty => None,
            Read::Lost { .. } => {
                // Overwritten while it was copied: half a record is none.
                self.record.fill(0);
                None
            }
        }
    }

    /// The state record that was read last; `None` while none has come that makes sense.
    pub(crate) fn last_state(&self) -> Option<(StateHeader, Vec<AxisState>)> {
        let (header, rows) = state(&self.record, self.axis_count)?;
        let axes = rows.chunks_exact(AxisState::WORDS).filter_map(AxisState::from_slice).collect();
        (header.layout_hash == LAYOUT_HASH).then_some((header, axes))
    }

    /// The next event in order.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let mut words = [0; Event::WORDS];
        next(&mut self.events, &mut words, &mut self.malformed).then(|| Event::from_words(&words))
    }

    /// The next incident in order.
    pub(crate) fn next_incident(&mut self) -> Option<Incident> {
        let mut words = [0; Incident::WORDS];
        next(&mut self.incidents, &mut words, &mut self.malformed)
            .then(|| Incident::from_words(&words))
    }

    /// Counters and histograms as they are now, with this gateway's own.
    pub(crate) fn health(&self, own: OwnCounts, now_ns: u64) -> Health {
        let mut words = [0; Health::WORDS];
        let _always_on_the_page = self.health.copy_to(0, &mut words);
        let mut health = Health::from_words(&words);
        // What this gateway knows for sure stands in for what a page may not carry.
        health.layout_hash = LAYOUT_HASH;
        health.daemon_id = self.daemon_id;
        health.sampled_ns = now_ns;
        health.gateway_refused = own.refused;
        health.gateway_rate_limited = own.rate_limited;
        health.gateway_overwritten = self.losses().0;
        health
    }

    /// Records that were overwritten before they were read, and records that made no sense.
    pub(crate) fn losses(&self) -> (u64, u64) {
        (self.state.lost() + self.events.lost() + self.incidents.lost(), self.malformed)
    }
}

/// Copies the next record that fills `words` exactly; whether there was one.
fn next(ring: &mut BroadcastReader<'static>, words: &mut [u64], malformed: &mut u64) -> bool {
    // BOUND: after a loss the cursor stands where the ring still is; a few tries find it.
    for _ in 0..4 {
        match ring.read_next(words) {
            Read::Record { words: length, .. } if length == words.len() => return true,
            Read::Record { .. } => *malformed += 1,
            Read::Lost { .. } => {}
            Read::Empty => return false,
        }
    }
    false
}

fn state(words: &[u64], axis_count: usize) -> Option<(StateHeader, &[u64])> {
    let header = StateHeader::from_slice(words)?;
    let rows = rows(words, StateHeader::WORDS, axis_count, AxisState::WORDS)?;
    (usize::from(header.axis_count) == axis_count).then_some((header, rows))
}

fn catalog(words: &[u64], axis_count: usize) -> Result<(CatalogHeader, Vec<CatalogAxis>), Failure> {
    let wrong = || {
        let count = words.len();
        Failure::Lanes(format!("a catalog of {count} words does not describe {axis_count} axes"))
    };
    let header = CatalogHeader::from_slice(words).ok_or_else(wrong)?;
    let rows =
        rows(words, CatalogHeader::WORDS, axis_count, CatalogAxis::WORDS).ok_or_else(wrong)?;
    if usize::from(header.axis_count) != axis_count || header.layout_hash != LAYOUT_HASH {
        return Err(wrong());
    }
    let axes = rows.chunks_exact(CatalogAxis::WORDS).filter_map(CatalogAxis::from_slice).collect();
    Ok((header, axes))
}
