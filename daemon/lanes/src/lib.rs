//! Lanes: fixed-size shared memory in which every bit pattern is safe; the wait-free structures in
//! it and the sealed memory under it live here, the meaning of the words does not.
//!
//! | part | who writes | who reads |
//! |---|---|---|
//! | [`BroadcastWriter`], [`BroadcastReader`] | RT thread (state, events), operate gateway (requests) | gateways; RT thread (requests) |
//! | [`MailboxWriter`], [`MailboxReader`] | plan gateway, one mailbox per source | RT thread |
//! | [`GaugeWriter`], [`GaugeReader`] | RT thread; a gateway for its heartbeat | anyone, any time |
//! | [`Layout`], [`Lanes`], [`Memory`] | mainland of kadenzd and the gateways, before the loop runs | the same |
//!
//! There is one record mechanism: a ring of slots, each with its own sequence. Read in order by
//! private cursors it is a broadcast ring (state, events, and the request ring towards the loop);
//! read for the newest record only, in parts, it is a mailbox.
//!
//! Rules that hold for every function of the first three rows: no allocation, no lock, no system
//! call, no panic, no loop longer than the record; a reader never writes, so it can be mapped
//! read-only and can never push back. A reader of a lane that a hostile process writes gets
//! garbage words at worst, never a wild index: it copies out first and validates the copy.
//!
//! One writer per lane. Two writers (a stopped gateway that wakes after its successor started) mix
//! records, which is garbage as above and nothing more.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("lanes index 64-bit words with usize; a 64-bit target is needed");

mod word;
mod geometry;
mod slot;
mod broadcast;
mod mailbox;
mod gauge;
#[cfg(all(feature = "std", not(loom)))]
#[expect(clippy::disallowed_types, reason = "mainland: before the loop runs")]
mod error;
#[cfg(all(feature = "std", not(loom)))]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "mainland: before the loop runs"
)]
mod layout;
#[cfg(all(feature = "std", not(loom)))]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "mainland: before the loop runs"
)]
mod region;
#[cfg(all(feature = "std", not(loom)))]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "mainland: before the loop runs"
)]
mod sys;

pub use broadcast::{BroadcastReader, BroadcastWriter, Read};
pub use gauge::{GaugeReader, GaugeWriter};
pub use geometry::{GeometryError, MAILBOX_SLOTS, RingGeometry};
pub use mailbox::{MailboxReader, MailboxWriter, Ticket};
pub use slot::SLOT_HEADER_WORDS;
pub use word::{View, Word};

#[cfg(all(feature = "std", not(loom)))]
pub use error::LaneError;
#[cfg(all(feature = "std", not(loom)))]
pub use layout::{Contract, Layout};
#[cfg(all(feature = "std", not(loom)))]
pub use region::Lanes;
#[cfg(all(feature = "std", not(loom)))]
pub use sys::{Memory, Sealing};

/// Shows under clippy that the ban bites in this crate: an expectation that nothing meets is an error.
#[cfg(all(clippy, not(test)))]
const _: fn() = {
    #[expect(clippy::disallowed_methods, reason = "planted: clippy.toml bans it here")]
    fn planted() {
        core::hint::spin_loop();
    }
    planted
};
