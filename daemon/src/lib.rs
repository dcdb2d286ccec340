//! `kadenzd`: the small program that gives the servo loop a clock, buses and lanes.
//!
//! `rt` is the shore, everything that runs on the RT thread around the island; `boot` is the
//! mainland, everything that runs before and beside it. The life of the process is in `main.rs`.

pub mod boot;
pub mod rt;
mod sys;

pub use sys::{GatedAllocator, denied_calls, denied_last, gate_rt_allocations, rt_allocations};
