//! Reads the one TOML file of a machine and yields a checked [`Machine`], or every reason why not; mainland only, it knows nothing of the loop.
//!
//! The way of a file: text → spanned TOML document → `walk` (types, ranges, unknown and missing
//! keys) → `resolve` and `axis` (defaults, names, cross-checks) → [`Machine`]. Nothing is repaired
//! silently and the first error does not hide the others.

pub mod machine;
mod exemption;
mod schema;
mod report;
mod wording;
mod asked;
mod spot;
mod walk;
mod names;
mod resolve;
mod axis;
mod recorder;
mod effective;
mod json_schema;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use effective::{effective_toml, hash};
pub use exemption::Exemption;
pub use json_schema::json_schema;
pub use machine::Machine;
pub use report::{Finding, Findings};

/// The process exit code of a refused configuration (EX_CONFIG); systemd does not restart on it.
pub const EXIT_CODE: u8 = 78;

/// The largest configuration file read, in bytes; 64 axes with comments need a tenth of it.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The names that [`demo`] knows.
pub const DEMO_NAMES: [&str; 2] = ["demo-arm", "demo-mill"];

/// Why a file gave no [`Machine`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read at all.
    #[error("{path}: cannot be read: {source}; give the path of a machine's TOML file")]
    Read {
        /// The path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read and refused.
    #[error(transparent)]
    Refused(#[from] Findings),
}

impl Machine {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be read, else every [`Finding`] in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        let mut bytes = Vec::new();
        // One byte beyond the limit tells a full file from an endless one.
        File::open(path)
            .and_then(|opened| opened.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| Error::Read { path: file.clone(), source })?;
        Ok(Self::from_bytes(&file, &bytes)?)
    }

    /// Checks the bytes of a file; `file` is the name that messages carry.
    ///
    /// # Errors
    /// Every [`Finding`], sorted by position: not UTF-8, too long, not TOML, or refused by a check.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, Findings> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_toml(file, text),
            Err(broken) => {
                let readable = String::from_utf8_lossy(&bytes[..broken.valid_up_to()]);
                let report = report::Report::new(&readable);
                let end = readable.len();
                report.add(end..end, "not UTF-8 from here on; save the file as UTF-8".to_owned());
                Err(report.into_findings(file))
            }
        }
    }

    /// Checks the text of a file; `file` is the name that messages carry.
    ///
    /// # Errors
    /// Every [`Finding`], sorted by position: too long, not TOML, or refused by a check.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Findings> {
        let report = report::Report::new(text);
        if text.len() > FILE_BYTES_MAX {
            let message = format!(
                "the file is longer than {FILE_BYTES_MAX} bytes; one file describes one machine"
            );
            report.add(0..0, message);
            return Err(report.into_findings(file));
        }
        let machine = walk::document(text, &report, resolve::machine);
        match machine {
            Some(machine) if report.is_empty() => Ok(machine),
            _ => Err(report.into_findings(file)),
        }
    }
}

/// The text of an embedded machine file (see [`DEMO_NAMES`]), made to be copied.
#[must_use]
pub fn demo(name: &str) -> Option<&'static str> {
    match name {
        "demo-arm" => Some(include_str!("../machines/demo-arm.toml")),
        "demo-mill" => Some(include_str!("../machines/demo-mill.toml")),
        _ => None,
    }
}
