//! The one rule by which every process finds the runtime directory, and the names of the sockets in it.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::{PathsError, io_error};

/// Environment variable that names the runtime directory.
pub const RUNTIME_DIR_ENV: &str = "KADENZ_RUNTIME_DIR";

const SYSTEM_RUN: &str = "/run";
const SYSTEM_DIR: &str = "/run/kadenz";
const SHM_DIR: &str = "/dev/shm";

/// What the rule depends on, gathered in one place so that it can be tested without a machine.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `--runtime-dir`.
    pub option: Option<PathBuf>,
    /// `KADENZ_RUNTIME_DIR`; empty counts as unset.
    pub environment: Option<PathBuf>,
    /// `/run` is a tmpfs.
    pub run_is_tmpfs: bool,
    /// `/run/kadenz` is there.
    pub system_dir_exists: bool,
    /// `XDG_RUNTIME_DIR`, when it is on a tmpfs.
    pub xdg_tmpfs: Option<PathBuf>,
    /// Effective user id.
    pub uid: u32,
}

impl Surroundings {
    /// What this process sees.
    #[must_use]
    pub fn of_this_process(option: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Self {
            option: option.map(Path::to_path_buf),
            environment: variable(RUNTIME_DIR_ENV),
            run_is_tmpfs: is_tmpfs(Path::new(SYSTEM_RUN)),
            system_dir_exists: Path::new(SYSTEM_DIR).is_dir(),
            xdg_tmpfs: variable("XDG_RUNTIME_DIR").filter(|dir| is_tmpfs(dir)),
            uid: nix::unistd::geteuid().as_raw(),
        }
    }

    /// The directory the rule names: option, environment, `/run/kadenz` (on tmpfs; for root, or when it
    /// is there), `$XDG_RUNTIME_DIR/kadenz` (on tmpfs), `/dev/shm/kadenz-<uid>`.
    ///
    /// # Errors
    /// When a named path is not absolute.
    pub fn runtime_dir(&self) -> Result<RuntimeDir, PathsError> {
        if let Some(named) = self.option.as_ref().or(self.environment.as_ref()) {
            return RuntimeDir::at(named);
        }
        if self.run_is_tmpfs && (self.uid == 0 || self.system_dir_exists) {
            return RuntimeDir::at(SYSTEM_DIR);
        }
        if let Some(xdg) = &self.xdg_tmpfs {
            return RuntimeDir::at(xdg.join("kadenz"));
        }
        RuntimeDir::at(Path::new(SHM_DIR).join(format!("kadenz-{}", self.uid)))
    }
}

fn is_tmpfs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}

/// The directory in which the processes of one machine meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// Finds the directory by the rule of [`Surroundings::runtime_dir`]. It need not exist yet.
    ///
    /// # Errors
    /// When a named path is not absolute, or the fallback in world-writable `/dev/shm` was made by
    /// another user.
    pub fn find(option: Option<&Path>) -> Result<Self, PathsError> {
        let surroundings = Surroundings::of_this_process(option);
        let dir = surroundings.runtime_dir()?;
        let fallback = Path::new(SHM_DIR).join(format!("kadenz-{}", surroundings.uid));
        if dir.0 == fallback && surroundings.option.is_none() && surroundings.environment.is_none()
        {
            dir.refuse_foreign_owner(surroundings.uid)?;
        }
        Ok(dir)
    }

    /// The directory at an absolute path.
    ///
    /// # Errors
    /// When the path is not absolute.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, PathsError> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(PathsError::NotAbsolute { dir: path.to_path_buf() });
        }
        // Trailing slashes and `.` would count against the length limit.
        Ok(Self(path.components().collect()))
    }

    fn refuse_foreign_owner(&self, uid: u32) -> Result<(), PathsError> {
        match fs::symlink_metadata(&self.0) {
            Ok(meta) if meta.uid() == uid => Ok(()),
            Ok(meta) => {
                Err(PathsError::ForeignOwner { dir: self.0.clone(), owner: meta.uid(), uid })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(&self.0)(error)),
        }
    }

    /// Its path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Socket on which kadenzd hands lanes to gateways.
    #[must_use]
    pub fn handover_socket(&self) -> PathBuf {
        self.0.join("handover.sock")
    }

    /// Socket on which the operate gateway takes requests.
    #[must_use]
    pub fn operate_socket(&self) -> PathBuf {
        self.0.join("operate.sock")
    }

    /// Socket on which the planner takes jobs.
    #[must_use]
    pub fn planner_socket(&self) -> PathBuf {
        self.planner_dir().join("planner.sock")
    }

    /// What belongs to the planner alone: its socket and its journal. Owned by the plan role's user.
    #[must_use]
    pub fn planner_dir(&self) -> PathBuf {
        self.0.join("planner")
    }
}
