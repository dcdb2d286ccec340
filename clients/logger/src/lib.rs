//! The recorder of Kadenz: every cycle, event and counter into MCAP files that survive crashes.
//!
//! The flow: `main` reads the gateway → `queue` encodes and never waits → `writer` decides about
//! files → `file` writes one. `recover` makes left-overs whole. Nothing here commands anything.
pub mod clock;
pub mod schema;
pub mod encode;
pub mod convert;
pub mod tally;
pub mod queue;
pub mod plan;
pub mod writer;
pub mod file;
pub mod recover;
