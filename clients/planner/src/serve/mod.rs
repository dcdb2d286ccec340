//! The planner as a process: takes files over its socket, streams their knots ahead of path time.
pub mod journal;
pub mod protocol;
pub mod visitors;
pub mod socket;
pub mod stream;
