//! The flight recorder's files, as written and as found: the ring on tmpfs and saved recordings. No thread, no
//! clock, no mapping; whoever reads one believes none of it.
//!
//! Both kinds begin with the same [`Header`], which carries all that is needed to understand them, the
//! effective configuration included. Then a ring has the slots of a broadcast ring, each with room for the
//! largest record; a saved file has records one behind the other. A record is what
//! [`servo_core::inputs`] writes: marked, numbered, and covered by a checksum, so that a whole one is told
//! from a torn one wherever it stands.
//!
//! A daemon that is killed leaves its ring as it stood: the record that was being written is torn, every
//! one before it is whole.

mod error;
mod header;
mod recording;

pub use error::RecordingError;
pub use header::{Header, Moment};
pub use recording::{Gap, Recording};
