//! What a planner knows about a trajectory file, from its bytes to timed knots; nothing here talks
//! to the daemon.
//!
//! The data flows top to bottom: rows of a CSV, a smooth spline through them, a check of that
//! spline against the machine's limits, an approach to its first row, and the program of knots.

pub mod axis;
pub mod csv;
pub mod quintic;
pub mod spline;
pub mod braking;
pub mod scan;
pub mod check;
pub mod report;
pub mod approach;
pub mod program;

pub use axis::{AxisInfo, AxisKind, AxisLimits};
pub use program::{AxisKnot, Knot, PlanError, Program, ProgramOptions};
