//! Proof of the island: the whole of it in virtual time, on real lane memory, among seeded actors
//! who are late, wrong or hostile, watched by a checker that trusts none of its code.
//!
//! A run is a pure function of a machine, a seed and a number of cycles. `simulation` puts the parts
//! together; start reading there.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "random numbers are drawn well inside the types they are narrowed to"
)]

pub mod random;
pub mod machines;
pub mod island;
pub mod plan;
pub mod actors;
pub mod checker;
pub mod recording;
pub mod summary;
pub mod simulation;
pub mod cli;
