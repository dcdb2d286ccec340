//! Fuzz targets: what arbitrary bytes may never do, one file per border that bytes cross. Each target also
//! has a planted defect, which the fuzzer must find.
//!
//! A target takes bytes and panics when a promise is broken. The engine (`bin/fuzz.rs`) makes the bytes;
//! `tests/corpus.rs` runs every committed seed without it.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers drawn from bytes are cut to size by intent"
)]

pub mod script;
pub mod lanes;
pub mod headers;
pub mod configuration;
pub mod requests;
pub mod handover;
pub mod recording;
pub mod island;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its folder of seeds.
    pub name: &'static str,
    /// What ships, held against its promises.
    pub run: fn(&[u8]),
    /// The same with a defect in it.
    pub planted: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "lanes", run: lanes::run, planted: lanes::planted },
    Target { name: "headers", run: headers::run, planted: headers::planted },
    Target { name: "configuration", run: configuration::run, planted: configuration::planted },
    Target { name: "requests", run: requests::run, planted: requests::planted },
    Target { name: "handover", run: handover::run, planted: handover::planted },
    Target { name: "recording", run: recording::run, planted: recording::planted },
    Target { name: "island", run: island::run, planted: island::planted },
];

/// The target called `name`.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
