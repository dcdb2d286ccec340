//! Real gateway processes between a stand-in for kadenzd and real clients.

mod machine;
mod domain;
mod operate;
mod life;
