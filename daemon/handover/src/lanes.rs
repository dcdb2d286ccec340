//! What stands in the lanes that are handed over, so that both sides say it once; no memory.

use kadenz_lanes::{Contract, LaneError, Layout};
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::incident::Incident;
use shm_layout::knot::batch_words_max;
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{
    EVENT_RING, INCIDENT_RING, LAYOUT_HASH, REQUEST_RING, SOURCES_MAX, STATE_RING, VERSION_MAJOR,
    VERSION_MINOR,
};

/// Outbound ring: one `StateHeader` and `axis_count` `AxisState` per cycle.
pub const STATE_REGION: &str = "state";
/// Outbound ring: one `Event` per record.
pub const EVENT_REGION: &str = "events";
/// Outbound ring: one `Incident` per record, written by kadenzd's mainland.
pub const INCIDENT_REGION: &str = "incident";
/// Outbound gauges: gauge i is word i of `Health`; the gateway fills in `sampled_ns`.
pub const HEALTH_REGION: &str = "health";
/// Outbound block: one `CatalogHeader` and `axis_count` `CatalogAxis`.
pub const CATALOG_REGION: &str = "catalog";
/// Inbound ring of the operate role: one `Request` per record.
pub const REQUEST_REGION: &str = "requests";

/// The contract every lane of this build carries.
#[must_use]
pub fn contract() -> Contract {
    let version = u64::from(VERSION_MAJOR) << 16 | u64::from(VERSION_MINOR);
    Contract { layout_hash: LAYOUT_HASH, version }
}

/// Inbound mailbox of the plan role for the source in `slot` (0 to `SOURCES_MAX` − 1): one
/// `KnotBatchHeader` and its rows of `KnotAxis`.
#[must_use]
pub fn mailbox_region(slot: usize) -> String {
    format!("source{slot}")
}

/// The outbound memory of a machine with `axis_count` axes.
///
/// # Errors
/// [`LaneError`] for an axis count that no lane can hold.
pub fn outbound_layout(axis_count: usize) -> Result<Layout, LaneError> {
    let state_words = StateHeader::WORDS + axis_count * AxisState::WORDS;
    let catalog_words = CatalogHeader::WORDS + axis_count * CatalogAxis::WORDS;
    Layout::new(contract())
        .ring(STATE_REGION, STATE_RING, state_words)?
        .ring(EVENT_REGION, EVENT_RING, Event::WORDS)?
        .ring(INCIDENT_REGION, INCIDENT_RING, Incident::WORDS)?
        .gauges(HEALTH_REGION, Health::WORDS)?
        .block(CATALOG_REGION, catalog_words)
}

/// The inbound memory of the plan role: one mailbox per source.
///
/// # Errors
/// [`LaneError`] for an axis count that no lane can hold.
pub fn plan_inbound_layout(axis_count: usize) -> Result<Layout, LaneError> {
    (0..SOURCES_MAX).try_fold(Layout::new(contract()), |layout, slot| {
        layout.mailbox(&mailbox_region(slot), batch_words_max(axis_count))
    })
}

/// The inbound memory of the operate role: one ring of requests.
///
/// # Errors
/// [`LaneError`]; never with the sizes of the contract.
pub fn operate_inbound_layout() -> Result<Layout, LaneError> {
    Layout::new(contract()).ring(REQUEST_REGION, REQUEST_RING, Request::WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm_layout::AXES_MAX;

    #[test]
    fn the_largest_machine_has_lanes() {
        assert!(outbound_layout(AXES_MAX).is_ok());
        assert!(plan_inbound_layout(AXES_MAX).is_ok());
        assert!(operate_inbound_layout().is_ok());
    }
}
