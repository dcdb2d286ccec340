//! Why a file cannot be read as a recording: place, value, remedy.
use shm_layout::LAYOUT_HASH;

/// What is wrong with a file that should be a ring or a saved recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// The first bytes are not those of a recording.
    #[error("this is no ring and no recording of Kadenz: its first 8 bytes are not `KADENZRC`")]
    Magic,
    /// Another version of the format.
    #[error(
        "format version {found}, this build reads {expected}; read it with the build that wrote it"
    )]
    Version {
        /// Version found.
        found: u64,
        /// Version understood.
        expected: u64,
    },
    /// The file ends inside its header.
    #[error(
        "the header is cut off: it should be {expected} bytes long, the file has {found}; nothing was recorded"
    )]
    CutOff {
        /// Length of the file.
        found: u64,
        /// Length of the header.
        expected: u64,
    },
    /// A bit of the header is wrong.
    #[error(
        "the header is damaged, its checksum says; what follows cannot be understood without it"
    )]
    Damaged,
    /// A number in the header is out of range although its checksum is right.
    #[error(
        "the header says {what} = {value}, which cannot be; the file was not written by Kadenz"
    )]
    Range {
        /// Which number.
        what: &'static str,
        /// What stands there.
        value: u64,
    },
    /// Recorded under another contract.
    #[error(
        "recorded with contract {found:#018x}, this build has {LAYOUT_HASH:#018x}; read it with the build that \
         recorded it"
    )]
    Contract {
        /// Hash found.
        found: u64,
    },
}
