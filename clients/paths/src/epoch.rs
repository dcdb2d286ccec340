//! Epochs: the token of one gateway life, where it is announced, and the names made from it.
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use shm_layout::code::Role;

use crate::{PathsError, RuntimeDir, io_error};

/// Bytes that an iceoryx2 root path and prefix may have together: event sockets carry both in a
/// 108-byte `sun_path` (iceoryx2 0.10 refuses listeners above it, and panics far above it).
pub const ROOT_AND_PREFIX_BYTES_MAX: usize = 60;

const TOKEN_DIGITS: usize = 8;

/// The unpredictable name of one gateway life, so that nobody can squat its files beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u32);

impl Token {
    /// A token nobody can guess.
    ///
    /// # Errors
    /// When the kernel's random source cannot be read.
    pub fn fresh() -> Result<Self, PathsError> {
        let source = Path::new("/dev/urandom");
        let mut bytes = [0; 4];
        fs::File::open(source)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(io_error(source))?;
        Ok(Self(u32::from_ne_bytes(bytes)))
    }

    /// The token with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number, as it travels with the lanes.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

impl FromStr for Token {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = text.len() == TOKEN_DIGITS
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !plain {
            return Err(());
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| ())
    }
}

/// Root directory and prefix of one epoch. Both change with the token: shared memory names carry the
/// prefix only, the tree carries the root only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochPlace {
    /// Role whose domain this is.
    pub role: Role,
    /// Token of this life.
    pub token: Token,
    /// Root of the iceoryx2 tree.
    pub root: PathBuf,
    /// Prefix of every shared memory name; ends in `_`.
    pub prefix: String,
}

/// Prefix that the shared memory of all epochs of a role begins with.
#[must_use]
fn role_prefix(role: Role) -> &'static str {
    match role {
        Role::View => "kdzv",
        Role::Plan => "kdzp",
        Role::Operate => "kdzo",
    }
}

impl RuntimeDir {
    /// The announcement of the epoch of `role`: `<role>.epoch`, written by kadenzd alone.
    #[must_use]
    pub fn epoch_file(&self, role: Role) -> PathBuf {
        self.as_path().join(format!("{}.epoch", role.word()))
    }

    /// The directory of the role's domain; its owner is the role's unix user.
    #[must_use]
    pub fn role_dir(&self, role: Role) -> PathBuf {
        self.as_path().join(role.word())
    }

    /// What every shared memory name of the role begins with, whatever the epoch.
    #[must_use]
    pub fn shm_prefix(role: Role) -> &'static str {
        role_prefix(role)
    }

    /// Root and prefix of one epoch.
    ///
    /// # Errors
    /// When both together are longer than [`ROOT_AND_PREFIX_BYTES_MAX`].
    pub fn epoch_place(&self, role: Role, token: Token) -> Result<EpochPlace, PathsError> {
        let root = self.role_dir(role).join(format!("e{token}"));
        let prefix = format!("{}{token}_", role_prefix(role));
        let bytes = root.as_os_str().len() + prefix.len();
        if bytes > ROOT_AND_PREFIX_BYTES_MAX {
            return Err(PathsError::TooLong {
                dir: self.as_path().to_path_buf(),
                bytes,
                max: ROOT_AND_PREFIX_BYTES_MAX,
                excess: bytes - ROOT_AND_PREFIX_BYTES_MAX,
            });
        }
        Ok(EpochPlace { role, token, root, prefix })
    }

    /// The announced token; `None` while nothing is announced.
    ///
    /// # Errors
    /// When the announcement cannot be read or holds no token.
    pub fn read_epoch(&self, role: Role) -> Result<Option<Token>, PathsError> {
        let file = self.epoch_file(role);
        let mut bytes = Vec::new();
        // One byte more than a token and its line end: enough to see that there is too much.
        let limit = TOKEN_DIGITS as u64 + 2;
        match fs::File::open(&file).and_then(|open| open.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&file)(error)),
        }
        let text = String::from_utf8_lossy(&bytes);
        match text.strip_suffix('\n').unwrap_or(&text).parse() {
            Ok(token) => Ok(Some(token)),
            Err(()) => Err(PathsError::BadToken { file, text: text.into_owned() }),
        }
    }

    /// Announces an epoch: readers see the old token or the new one, never a part of it.
    ///
    /// # Errors
    /// When the file cannot be written or renamed.
    pub fn announce_epoch(&self, role: Role, token: Token) -> Result<(), PathsError> {
        let file = self.epoch_file(role);
        let draft = self.as_path().join(format!(".{}.epoch.new", role.word()));
        fs::File::create(&draft)
            .and_then(|mut open| open.write_all(format!("{token}\n").as_bytes()))
            .map_err(io_error(&draft))?;
        fs::rename(&draft, &file).map_err(io_error(&file))
    }
}
