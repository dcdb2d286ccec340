//! The RT island: what the servo loop decides, as a pure function of its inputs.
//!
//! No allocation, no lock, no system call, no panic, no clock: the compiler (`no_std`), a
//! freestanding build and a link test that rejects panics say so. Start at [`cycle()`] and read down.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, unused_must_use)]
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines
)]

mod cycle;
pub mod ports;
pub mod setup;
pub mod guard;
pub mod motion;
mod control;
pub mod limit;
pub mod drive;
pub mod events;
pub mod record;
pub mod crc;
pub mod inputs;

pub use cycle::{State, cycle};

/// Shows under clippy that the ban bites in this crate: an expectation that nothing meets is an error.
#[cfg(all(clippy, not(test)))]
const _: fn(f64) -> f64 = {
    #[expect(clippy::disallowed_methods, reason = "planted: clippy.toml bans it here")]
    fn planted(value: f64) -> f64 {
        value.clamp(0.0, 1.0)
    }
    planted
};
