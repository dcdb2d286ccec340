//! The planner's memory across its own death: which file it streams, from where, under which path id.
//!
//! Same file, same start, same speed give the same knots to the last bit, so a successor goes on
//! exactly where the loop stands. Kept in the planner's own directory, gone with the runtime directory.
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kadenz_planner::{AxisInfo, Program, ProgramOptions};
use serde::{Deserialize, Serialize};

/// One program under way.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Life of the daemon it was streamed to.
    pub daemon_id: u64,
    /// Path id it was given.
    pub path_id: u64,
    /// Name of the file.
    pub name: String,
    /// Content of the file.
    pub csv: String,
    /// Speed factor.
    pub speed: f64,
    /// Where the axes stood, bits of the numbers (JSON decimals would not do).
    pub start_bits: Vec<u64>,
}

impl Journal {
    /// The program it describes.
    ///
    /// # Errors
    /// The file does not pass the check any more.
    pub fn program(
        &self,
        axes: &[AxisInfo],
        stop_path_time_s: f64,
    ) -> Result<Program, kadenz_planner::PlanError> {
        let mut options = ProgramOptions { speed: self.speed, ..ProgramOptions::default() };
        options.check.stop_path_time_s = stop_path_time_s;
        let start: Vec<f64> = self.start_bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        Program::from_bytes(&self.name, self.csv.as_bytes(), axes, &start, &options)
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("journal.json")
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let (path, draft) = (Self::path(dir), dir.join("journal.json.new"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .with_context(|| draft.display().to_string())?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&draft, &path).with_context(|| path.display().to_string())
    }

    /// The program a predecessor left, if it is of this life of the daemon and of this path.
    #[must_use]
    pub fn of(dir: &Path, daemon_id: u64, path_id: u64) -> Option<Self> {
        let bytes = fs::read(Self::path(dir)).ok()?;
        let journal: Self = serde_json::from_slice(&bytes).ok()?;
        (journal.daemon_id == daemon_id && journal.path_id == path_id).then_some(journal)
    }
}
