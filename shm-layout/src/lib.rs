//! The contract between `kadenzd`, its gateways and every client: plain data with meaning, no code that acts.
//!
//! Every record is `repr(C)`, made of integers, floats and arrays of them, without padding, so that
//! any bytes another process writes are a valid value. What the value *means* (unit, range, who
//! writes it) stands beside each field and is printed into `docs/CONTRACT.md` by the golden test.
//! Range checks belong to the reader's border, never to this crate.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used)]

mod record;
pub mod capacity;
pub mod code;
pub mod histogram;
pub mod catalog;
pub mod knot;
pub mod request;
pub mod state;
pub mod event;
pub mod incident;
pub mod health;

pub use capacity::*;
pub use record::{Field, RecordInfo};

/// Shows under clippy that the ban bites in this crate: an expectation that nothing meets is an error.
#[cfg(all(clippy, not(test)))]
const _: fn(f64) -> f64 = {
    #[expect(clippy::disallowed_methods, reason = "planted: clippy.toml bans it here")]
    fn planted(value: f64) -> f64 {
        value.clamp(0.0, 1.0)
    }
    planted
};

/// Major version of this layout. Streams carry it in their service name (`state/v1`).
pub const VERSION_MAJOR: u16 = 1;
/// Minor version: grows when reserved space is given a meaning.
pub const VERSION_MINOR: u16 = 0;

/// Every record of the contract, in data-flow order.
pub const RECORDS: &[RecordInfo] = &[
    catalog::CatalogHeader::INFO,
    catalog::CatalogAxis::INFO,
    knot::KnotBatchHeader::INFO,
    knot::KnotAxis::INFO,
    request::Request::INFO,
    state::StateHeader::INFO,
    state::BusState::INFO,
    state::GroupState::INFO,
    state::AxisState::INFO,
    event::Event::INFO,
    incident::Incident::INFO,
    health::Health::INFO,
];

/// Fingerprint of every record's name, size, field names, types, offsets and units.
///
/// Two processes that disagree on it must refuse each other: the bytes would mean different things.
pub const LAYOUT_HASH: u64 = record::hash_of(RECORDS);
