//! Where a run takes place: as root in a mount namespace of its own with a small /dev/shm, so that memory can be
//! filled and leaks be counted without harm to anybody else.
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::leaks::SHM_DIR;

/// Size of the private /dev/shm; a set of the arm and its clients need about a tenth of it.
const SHM_SIZE: &str = "size=768m";

/// The surroundings of a run.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Folder of recordings and logs.
    pub out: PathBuf,
    /// Seed of every random number.
    pub seed: u64,
    /// Client lives in all.
    pub lives: u64,
    /// A run of a minute, for CI, instead of a thorough one.
    pub brief: bool,
    /// Whether mounts, users and clocks can be changed.
    pub is_root: bool,
}

impl Ground {
    /// `full` of something in a thorough run, `brief` of it in a short one.
    #[must_use]
    pub const fn of(&self, full: u64, brief: u64) -> u64 {
        if self.brief { brief } else { full }
    }
}

/// Gives this process mounts of its own and an empty /dev/shm. Call it before any thread exists.
///
/// # Errors
/// The kernel refuses.
pub fn go_private() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of its own (unshare)")?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("mounts of its own")?;
    mount_tmpfs(Path::new(SHM_DIR), SHM_SIZE)
}

/// Mounts an empty tmpfs; it is gone with the process.
///
/// # Errors
/// The kernel refuses.
pub fn mount_tmpfs(at: &Path, size: &str) -> anyhow::Result<()> {
    let options = format!("{size},mode=1777");
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mounting a tmpfs of {size} at {}", at.display()))
}
