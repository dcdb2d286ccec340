//! How references move: everything between a source's knots and the reference of one period; no
//! bus, no lane and no clock may be named here.
//!
//! A source sends *knots*: where every axis shall be at a path time τ. [`path::Path`] joins them
//! with quintics ([`quintic`]) and refuses ([`admission`]) what would break a limit anywhere
//! between two knots.
//! The loop does not play the path by the clock: [`rate::PathRate`] chooses each period how fast
//! path time runs, s ∈ [0, 1], so that feed hold, override, a slow source and a dead source are
//! all the same act, "choose s". Per axis
//!
//! ```text
//! v = q'·s      a = q''·s² + q'·ṡ      j = q'''·s³ + 3·q''·s·ṡ + q'·s̈
//! ```
//!
//! Admission therefore stores, per segment, which |ṡ| and |s̈| keep a and j inside the limits, and
//! s itself is moved by the same jerk-limited generator ([`ramp`]) that moves a single axis. s only
//! ever rises when a stop from the new state would still fit into the accepted knots, so the axes
//! come to rest on the path whatever the source does. [`stop::GroupStop`] is the last resort: it
//! leaves the path and brings a group to rest, axis by axis.

pub mod axis;
pub mod ramp;
pub mod quintic;
pub mod admission;
pub mod path;
pub mod rate;
pub mod stop;
pub mod next;

pub use admission::{Knot, Refusal};
pub use axis::{AxisLimits, AxisReference};
pub use path::Path;
pub use rate::PathRate;
pub use stop::GroupStop;

#[cfg(test)]
mod tests;
