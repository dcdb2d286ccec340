//! Where a recording is saved to: one file, or a directory in which the oldest files give way.
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What saved recordings end in.
const SUFFIX: &str = ".kdzrec";

/// Where recordings go.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One file for the whole run.
    OneFile(PathBuf),
    /// Files of limited size.
    Directory {
        /// Where.
        path: PathBuf,
        /// Whose: names begin with it.
        machine: String,
        /// Life of the daemon, in the names as well.
        daemon_id: u64,
        /// Size of each file.
        file_bytes: u64,
        /// Size of all files of this machine, those of earlier lives included.
        limit_bytes: u64,
    },
}

/// Takes a recording, file by file; a disk, or a test's idea of one.
pub(super) trait Disk: Send + 'static {
    /// Bytes that the file under way may have.
    fn file_bytes_max(&self) -> u64;
    /// Begins the next file, the name of which is then on disk.
    fn begin_next(&mut self) -> io::Result<()>;
    /// Writes `bytes` at `offset` of the file under way; they are on disk when it returns.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The file under way, for messages.
    fn path(&self) -> &Path;
}

/// Files on a disk.
pub(super) struct Files {
    place: Place,
    number: u32,
    path: PathBuf,
    file: File,
}

impl Files {
    /// Begins the first file.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn begin(place: Place) -> anyhow::Result<Self> {
        let path = place.path(0);
        let (file, path) = open(path.clone()).with_context(|| path.display().to_string())?;
        let files = Self { place, number: 0, path, file };
        files.make_room();
        Ok(files)
    }

    /// Removes the oldest files of this machine until the one under way can have its full size. One that
    /// cannot be removed stays, and the next is tried.
    fn make_room(&self) {
        let Place::Directory { path, machine, file_bytes, limit_bytes, .. } = &self.place else {
            return;
        };
        let mut others = Vec::new();
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| is_ours(name, machine))
                && entry.path() != self.path
                && let Ok(meta) = entry.metadata()
                && let Ok(modified) = meta.modified()
            {
                others.push((modified, entry.path(), meta.len()));
            }
        }
        others.sort();
        let mut total: u64 = others.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, bytes) in others {
            if total + file_bytes <= *limit_bytes {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                total -= bytes;
            }
        }
    }
}

/// Whether a file was named by [`Place::path`] for this machine. One that a person renamed is theirs.
fn is_ours(name: &str, machine: &str) -> bool {
    let middle = name
        .strip_prefix(machine)
        .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(SUFFIX)?.split_once('.'));
    middle.is_some_and(|(daemon_id, number)| {
        daemon_id.len() == 16
            && daemon_id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && number.len() >= 5
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Place {
    fn path(&self, number: u32) -> PathBuf {
        match self {
            Self::OneFile(path) => path.clone(),
            Self::Directory { path, machine, daemon_id, .. } => {
                path.join(format!("{machine}.{daemon_id:016x}.{number:05}{SUFFIX}"))
            }
        }
    }
}

/// Makes or empties a file and sees to it that its name outlives a power loss. What is there already is
/// looked at before it is touched: names can be guessed, and a pipe would hold up whoever opens it.
fn open(path: PathBuf) -> io::Result<(File, PathBuf)> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file; give the name of one, or of none"));
    }
    file.set_len(0)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok((file, path))
}

impl Disk for Files {
    fn file_bytes_max(&self) -> u64 {
        match &self.place {
            Place::OneFile(_) => u64::MAX,
            Place::Directory { file_bytes, .. } => *file_bytes,
        }
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        (self.file, self.path) = open(self.place.path(number))?;
        self.number = number;
        self.make_room();
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
