//! The latency rig: blocks of wake-ups measured in pairs, what stood around them, and what they show.
//!
//! A *pair* is a block of the bare loop beside a block of the real daemon, in alternating order. An *arm* is a
//! kind of company the daemon has. [`block`] holds what was measured, [`compare`] what is made of it; the
//! rest measures and shows.
pub mod arms;
pub mod block;
pub mod compare;
pub mod daemon;
pub mod evidence;
pub mod fingerprint;
pub mod floor;
pub mod outcome;
pub mod rate;
pub mod raw;
pub mod reach;
pub mod svg;
