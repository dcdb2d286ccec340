//! Real gateway processes between a stand-in for kadenzd and real clients.
#![expect(clippy::unwrap_used, reason = "in a test helper a panic is the verdict")]

mod machine;
mod domain;
mod operate;
mod life;
