//! What can go wrong while lanes are made or opened: place, value, remedy; nothing of this is
//! reachable once the loop runs.

use std::io;

use crate::geometry::GeometryError;

/// Why a lane's memory could not be made, opened or used. Mainland only.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The kernel refused a step.
    #[error("lane memory \"{memory}\": {step} failed: {source}; {remedy}")]
    System {
        /// Name of the memory.
        memory: String,
        /// What was tried.
        step: &'static str,
        /// What to look at.
        remedy: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The memory cannot hold this many words.
    #[error("lane memory \"{memory}\": {words} words; 1 to {words_max} words are possible")]
    Words {
        /// Name of the memory.
        memory: String,
        /// Words asked for.
        words: usize,
        /// Most words possible.
        words_max: usize,
    },
    /// A descriptor whose size is no whole number of words, or out of range.
    #[error(
        "lane memory \"{memory}\": {bytes} bytes; a multiple of 8 up to {bytes_max} is needed, so \
         this descriptor is not a lane of this kadenzd"
    )]
    Bytes {
        /// Name of the memory.
        memory: String,
        /// Size found.
        bytes: i64,
        /// Largest size possible.
        bytes_max: usize,
    },
    /// The seals that make the memory safe are missing.
    #[error(
        "lane memory \"{memory}\": seals {found:#x}, needed {needed:#x}; without them its peer \
         could shrink or rewrite it, so take lanes only from kadenzd's own socket"
    )]
    Seals {
        /// Name of the memory.
        memory: String,
        /// Seals found (`F_SEAL_*` bits).
        found: i32,
        /// Seals needed.
        needed: i32,
    },
    /// A descriptor was asked of memory that was received from someone else.
    #[error("lane memory \"{memory}\": its descriptor was closed after mapping; ask its owner")]
    NotOwner {
        /// Name of the memory.
        memory: String,
    },
    /// A number in the lane's own header is wrong.
    #[error(
        "lane header, {place}: found {found:#x}, expected {expected:#x}; run kadenzd and its \
         gateways from one build, and restart both if they are"
    )]
    Header {
        /// Which number.
        place: String,
        /// What stands there.
        found: u64,
        /// What would be right.
        expected: u64,
    },
    /// A region's sizes are out of range.
    #[error("lane region \"{region}\": {source}")]
    Geometry {
        /// Name of the region.
        region: String,
        /// Which size.
        source: GeometryError,
    },
    /// A region name that cannot be stored.
    #[error(
        "lane region name {region:?}: 1 to 8 printable ASCII characters, each name once, at most \
         {regions_max} regions"
    )]
    Name {
        /// The name.
        region: String,
        /// Most regions in one memory.
        regions_max: usize,
    },
    /// No region of that name and kind.
    #[error("lane region \"{region}\": no {kind} of that name here; there are: {present}")]
    Missing {
        /// Name asked for.
        region: String,
        /// Kind asked for.
        kind: &'static str,
        /// What there is.
        present: String,
    },
    /// A writer was asked for on memory that is mapped read-only.
    #[error("lane region \"{region}\": this side maps it read-only, its writer is the other side")]
    ReadOnly {
        /// Name asked for.
        region: String,
    },
}
