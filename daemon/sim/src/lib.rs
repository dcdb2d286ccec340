//! The simulated plant: motors, loads and CiA 402 drives, in process. It imports nothing of the
//! daemon or the contract, so that wire constants are typed twice and a misreading of the standard
//! on one side shows.
//!
//! It runs on the real-time thread: no allocation, no panic, integers that wrap or saturate by
//! name. The same setup, seed and process data give the same bits.
//!
//! One call of [`Drive::exchange`] is one bus cycle, in the order of a real frame:
//! the elapsed period runs with what the *previous* frame brought, the inputs are sampled, and only
//! then are the new outputs latched. A target therefore shows in the next cycle's answer.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic
)]

mod wire;
mod setup;
mod state;
mod servo;
mod load;
mod drive;
mod plant;

pub use drive::{Drive, Fault};
pub use plant::{MAX_DRIVES, Plant, PlantError};
pub use setup::{DriveSetup, SetupError};
pub use state::State;
pub use wire::{Rxpdo, Txpdo, controlword, error_code, mode, statusword};

/// Shows under clippy that the ban bites in this crate: an expectation that nothing meets is an error.
#[cfg(all(clippy, not(test)))]
const _: fn(f64) -> f64 = {
    #[expect(clippy::disallowed_methods, reason = "planted: clippy.toml bans it here")]
    fn planted(value: f64) -> f64 {
        value.clamp(0.0, 1.0)
    }
    planted
};
