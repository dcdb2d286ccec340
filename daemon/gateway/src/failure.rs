//! Every way a gateway's life can fail, and the exit code that tells its supervisor.

use std::io;

use kadenz_handover::ClientError;
use kadenz_lanes::LaneError;
use kadenz_link::domain::DomainError;
use kadenz_paths::PathsError;

/// The gateway's own health service cannot be used though the gateway runs: a new epoch is needed.
pub(crate) const EXIT_CANARY: u8 = 4;

/// Why a gateway ended. Exit codes: 0 asked to, or kadenzd ended; 2 command line or runtime
/// directory; 3 refused by kadenzd; 4 own service unusable; 5 lanes do not fit; 6 domain or socket;
/// 7 the host refuses a protection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Paths(#[from] PathsError),
    #[error(transparent)]
    Handover(#[from] ClientError),
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error("lanes of another machine: {0}; restart kadenzd and its gateways from one build")]
    Lanes(String),
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error("{place}: {source}; {remedy}")]
    Place { place: String, remedy: &'static str, source: io::Error },
    #[error("{step}: {source}; {remedy}")]
    Host { step: &'static str, remedy: &'static str, source: io::Error },
    #[error(
        "the canary has not come back within {0} welcomes of 10 ms: this domain cannot be joined \
         any more; starting over in a new epoch"
    )]
    CanaryStuck(u32),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Paths(_) => 2,
            Self::Handover(_) => 3,
            Self::CanaryStuck(_) => EXIT_CANARY,
            Self::Lane(_) | Self::Lanes(_) => 5,
            Self::Domain(_) | Self::Place { .. } => 6,
            Self::Host { .. } => 7,
        }
    }
}
