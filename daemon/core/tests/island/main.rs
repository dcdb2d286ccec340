//! The whole island on bare ports, without buses and lanes.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up fails its test")]

mod bench;
mod hazards;
mod latches;
mod told;
