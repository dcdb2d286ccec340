//! The lab: Debian's PREEMPT_RT kernel with systemd as PID 1, on a machine that has neither. Four ways to have
//! one, from a fraction of a second to deterministic; nothing of it stays behind.

pub mod sys;
pub mod command;
pub mod cache;
pub mod archive;
pub mod host;
pub mod kernel;
pub mod root;
pub mod guest;
pub mod machine;
pub mod snapshot;
pub mod namespaces;
mod qmp;
pub mod checks;
pub mod grounds;
pub mod leftovers;
pub mod programs;
pub mod latency;
pub mod acceptance;

use std::path::Path;

use anyhow::Context;

use cache::Cache;
pub use guest::{Guest, Output};
use kernel::Kernel;
use machine::Machine;
pub use machine::{Boot, Isolation};
pub use root::RootKind;

/// A lab that can start guests. What it needs is fetched and built when it is first needed, and kept.
#[derive(Debug)]
pub struct Lab {
    cache: Cache,
    kernel: Kernel,
}

impl Lab {
    /// Opens the lab whose cache is the folder `root`; installs the host's programs and fetches the kernel if they are
    /// missing.
    ///
    /// # Errors
    /// Something is missing and cannot be had from here.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let cache = Cache::open(root)?;
        host::ensure_programs(&cache)?;
        let kernel = Kernel::of(&cache)?;
        Ok(Self { cache, kernel })
    }

    /// The cache.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The kernel that guests run.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Makes everything that takes a while: both roots, and the snapshot of the pruned one.
    ///
    /// # Errors
    /// What cannot be made.
    pub fn build(&self) -> anyhow::Result<()> {
        root::image(&self.cache, &self.kernel, RootKind::Full)?;
        self.warm(&Boot::default()).map(drop)
    }

    /// A guest freshly booted, in about ten seconds.
    ///
    /// # Errors
    /// It does not come up.
    pub fn cold(&self, boot: &Boot) -> anyhow::Result<Guest> {
        Machine::new(&self.cache, &self.kernel, boot)?.cold()
    }

    /// The same guest from a snapshot, in about two seconds.
    ///
    /// # Errors
    /// As [`Lab::cold`].
    pub fn warm(&self, boot: &Boot) -> anyhow::Result<Guest> {
        let mut guest = snapshot::warm(&Machine::new(&self.cache, &self.kernel, boot)?)?;
        if let Some(folder) = &boot.host_dir {
            guest.put(folder).context("what is to stand at /host")?;
        }
        Ok(guest)
    }

    /// systemd on the host's own kernel, in less than a second.
    ///
    /// # Errors
    /// It does not come up.
    pub fn namespaces(&self, boot: &Boot) -> anyhow::Result<Guest> {
        namespaces::start(&self.cache, boot)
    }

    /// Boots in counted time, runs `script` (bash) and ends: the same script gives the same output, bit for bit.
    ///
    /// # Errors
    /// The guest ends before the script does, or not within the patience.
    pub fn icount(&self, boot: &Boot, script: &str) -> anyhow::Result<Output> {
        Machine::new(&self.cache, &self.kernel, boot)?.counted(script)
    }
}
