//! Where the processes of one machine meet: the runtime directory and the names in it. Nothing here opens a service.

mod directory;
mod epoch;

pub use directory::{RUNTIME_DIR_ENV, RuntimeDir, Surroundings};
pub use epoch::{EpochPlace, ROOT_AND_PREFIX_BYTES_MAX, Token};

use std::path::PathBuf;

/// Why a meeting place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// A path is too long for the sockets inside the domain.
    #[error(
        "runtime directory {dir:?}: {bytes} bytes of root and prefix, at most {max} fit a socket name; \
         use a directory that is {excess} bytes shorter (--runtime-dir or {RUNTIME_DIR_ENV})"
    )]
    TooLong {
        /// The runtime directory.
        dir: PathBuf,
        /// Bytes that root and prefix need together.
        bytes: usize,
        /// Bytes they may need.
        max: usize,
        /// Bytes too many.
        excess: usize,
    },
    /// The directory was named by a relative or empty path.
    #[error(
        "runtime directory {dir:?} is not an absolute path; give one (--runtime-dir or {RUNTIME_DIR_ENV})"
    )]
    NotAbsolute {
        /// The path as given.
        dir: PathBuf,
    },
    /// The fallback directory belongs to somebody else.
    #[error(
        "{dir:?} belongs to uid {owner}, not to uid {uid}: somebody else made it; remove it, or set {RUNTIME_DIR_ENV}"
    )]
    ForeignOwner {
        /// The directory.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// An announcement does not hold a token.
    #[error(
        "{file:?} holds {text:?} where 8 lower-case hex digits are expected; restart kadenzd to announce anew"
    )]
    BadToken {
        /// The announcement.
        file: PathBuf,
        /// Its first bytes.
        text: String,
    },
    /// The operating system refused.
    #[error("{path:?}: {source}")]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

pub(crate) fn io_error(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> PathsError {
    let path = path.to_path_buf();
    move |source| PathsError::Io { path, source }
}
