//! What can keep a client from the machine, in words that name place, value and remedy.
use std::path::PathBuf;

use kadenz_paths::{PathsError, Token};
use shm_layout::code::Role;

use crate::domain::DomainError;

/// Why a client has no samples, or cannot send.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no runtime directory.
    #[error(
        "no machine at {dir:?}: the directory is not there; start kadenzd, or name its --runtime-dir"
    )]
    NoMachine {
        /// The runtime directory.
        dir: PathBuf,
    },
    /// The role's domain has not been made.
    #[error("{dir:?} is not there: kadenzd {daemon}, and its {role} gateway has not been started")]
    NoDomain {
        /// Directory of the domain.
        dir: PathBuf,
        /// What the hand-over socket tells about kadenzd.
        daemon: &'static str,
        /// Role in words.
        role: &'static str,
    },
    /// No epoch is announced.
    #[error("{file:?} is not there: kadenzd {daemon}, and its {role} gateway is not ready")]
    NotAnnounced {
        /// The announcement.
        file: PathBuf,
        /// What the hand-over socket tells about kadenzd.
        daemon: &'static str,
        /// Role in words.
        role: &'static str,
    },
    /// An epoch is announced, but no samples come.
    #[error("no samples from the {role} gateway (epoch {epoch}): kadenzd {daemon}; waiting")]
    Silent {
        /// Role in words.
        role: &'static str,
        /// The announced epoch.
        epoch: Token,
        /// What the hand-over socket tells about kadenzd.
        daemon: &'static str,
    },
    /// The role has no iceoryx2 domain.
    #[error(
        "role {role} has no samples: requests go over operate.sock, samples come from view or plan"
    )]
    NotADomain {
        /// Role in words.
        role: &'static str,
    },
    /// The domain belongs to another user; shared memory would silently stay empty.
    #[error(
        "{dir:?} belongs to uid {owner} ({owner_name}), we are uid {uid}: run as that user (sudo -u {owner_name} …)"
    )]
    WrongUser {
        /// Directory of the domain.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// Name of its owner, or the number again.
        owner_name: String,
        /// Who we are.
        uid: u32,
    },
    /// The domain is ours but its mode bits keep us out.
    #[error(
        "{dir:?} cannot be read, written and searched by its own user: {cause}; kadenzd makes it with mode 0700"
    )]
    Denied {
        /// Directory of the domain.
        dir: PathBuf,
        /// What the operating system said.
        cause: String,
    },
    /// A client that was started as root could not become the role's user.
    #[error(
        "{dir:?} is {user}'s, and this process is root and cannot become {user}: {cause}; give it \
         CAP_SETUID and CAP_SETGID, or start it as {user} (sudo -u {user} ...)"
    )]
    StaysRoot {
        /// Directory of the domain.
        dir: PathBuf,
        /// Name of its owner.
        user: String,
        /// What the operating system said.
        cause: String,
    },
    /// The other side speaks another contract.
    #[error(
        "refused: the {role} gateway (epoch {epoch}) speaks contract {their_major}.{their_minor} with layout \
         {their_hash:#018x}, this program speaks {our_major}.{our_minor} with layout {our_hash:#018x}; install the same version of both"
    )]
    Contract {
        /// Role in words.
        role: &'static str,
        /// Epoch in which it was seen.
        epoch: Token,
        /// Major version of the other side.
        their_major: u16,
        /// Minor version of the other side.
        their_minor: u16,
        /// Layout fingerprint of the other side.
        their_hash: u64,
        /// Our major version.
        our_major: u16,
        /// Our minor version.
        our_minor: u16,
        /// Our layout fingerprint.
        our_hash: u64,
    },
    /// The program holds all samples it may hold.
    #[error("{service}: all samples that may be held at a time are held; drop older ones first")]
    TooManyHeld {
        /// Service name.
        service: &'static str,
    },
    /// A port failed.
    #[error("{service}: {cause}")]
    Port {
        /// Service name.
        service: &'static str,
        /// What iceoryx2 said.
        cause: String,
    },
    /// A batch that the contract does not allow.
    #[error("knot batch: {what} is {value}, must be {expected}")]
    Batch {
        /// What is wrong.
        what: &'static str,
        /// Its value.
        value: usize,
        /// What it must be.
        expected: String,
    },
    /// The domain or a service refuses us.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The meeting place cannot be used.
    #[error(transparent)]
    Paths(#[from] PathsError),
}

impl LinkError {
    /// Whether waiting can end it: the gateway may come (back), a place may get free.
    #[must_use]
    pub fn heals(&self) -> bool {
        match self {
            Self::NoMachine { .. }
            | Self::NoDomain { .. }
            | Self::NotAnnounced { .. }
            | Self::Silent { .. }
            | Self::Port { .. } => true,
            Self::Domain(error) => {
                !matches!(error, DomainError::BadName { .. } | DomainError::Incompatible { .. })
            }
            Self::Paths(error) => {
                matches!(error, PathsError::Io { .. } | PathsError::BadToken { .. })
            }
            Self::NotADomain { .. }
            | Self::WrongUser { .. }
            | Self::Denied { .. }
            | Self::StaysRoot { .. }
            | Self::Contract { .. }
            | Self::TooManyHeld { .. }
            | Self::Batch { .. } => false,
        }
    }
}

/// The word of a role that has a domain.
pub(crate) fn domain_word(role: Role) -> Result<&'static str, LinkError> {
    match role {
        Role::View | Role::Plan => Ok(role.word()),
        Role::Operate => Err(LinkError::NotADomain { role: role.word() }),
    }
}
