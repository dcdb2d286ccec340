//! The real thing under test: real processes, real shared memory, as a user would start them.
//!
//! [`Set`] is `kadenz up` with everything it supervises; [`Watch`] reads every cycle of it and keeps
//! account of what was promised.

mod set;
mod sys;
mod urgent;
mod watch;
pub mod body;
pub mod cost;
pub mod feeder;
mod ending;
mod planned;
pub mod kills;
pub mod daemon_kills;
pub mod latency;
pub mod recordings;
pub mod chaos;

pub use ending::Ending;
pub use planned::arm_limits;
pub use set::{Set, SetOptions, binary};
pub use sys::{ends_with_us, read_clock_by_system_call, take_page_faults};
pub use urgent::become_urgent;
pub use watch::{Account, Judge, Watch};
