//! The reading ports of one epoch, and the check of the contract they carry. Opened together or not at all.
use iceoryx2::port::ReceiveError;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::ZeroCopySend;
use kadenz_paths::{EpochPlace, Token};
use shm_layout::catalog::CatalogHeader;
use shm_layout::code::Role;
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::incident::Incident;
use shm_layout::state::StateHeader;
use shm_layout::{LAYOUT_HASH, VERSION_MAJOR, VERSION_MINOR};

use crate::domain::{self, DomainNode, Ipc, Side};
use crate::error::LinkError;
use crate::watchdog::Calls;

/// One epoch's ports.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) state: domain::state::Reader,
    pub(crate) events: domain::events::Reader,
    pub(crate) incidents: domain::incidents::Reader,
    pub(crate) health: domain::health::Reader,
    pub(crate) catalog: domain::catalog::Reader,
    pub(crate) epoch: Token,
    pub(crate) contract_checked: bool,
    // Last, so that the ports go first.
    _node: DomainNode,
}

impl Ports {
    pub(crate) fn open(place: &EpochPlace, name: &str) -> Result<Self, LinkError> {
        let node = domain::node(place, name, Side::Client)?;
        let state = domain::state::reader(&domain::state::service(&node, Side::Client)?)?;
        let events = domain::events::reader(&domain::events::service(&node, Side::Client)?)?;
        let incidents =
            domain::incidents::reader(&domain::incidents::service(&node, Side::Client)?)?;
        let health = domain::health::reader(&domain::health::service(&node, Side::Client)?)?;
        let catalog = domain::catalog::reader(&domain::catalog::service(&node, Side::Client)?)?;
        Ok(Self {
            state,
            events,
            incidents,
            health,
            catalog,
            epoch: place.token,
            contract_checked: false,
            _node: node,
        })
    }
}

/// What a stream without a header carries.
pub(crate) trait Record: Copy + core::fmt::Debug + ZeroCopySend + 'static {}
impl Record for Event {}
impl Record for Incident {}

/// The reading port of such a stream.
pub(crate) type Reader<T> = Subscriber<Ipc, T, ()>;

/// The next record of a stream without a header.
pub(crate) fn next_of<T: Record>(
    reader: &Reader<T>,
    calls: &Calls,
) -> Result<Option<T>, ReceiveError> {
    let _inside = calls.enter();
    Ok(reader.receive()?.map(|sample| *sample.payload()))
}

/// A failed `receive` in our words.
pub(crate) fn receive_error(service: &'static str, error: ReceiveError) -> LinkError {
    match error {
        ReceiveError::ExceedsMaxBorrows => LinkError::TooManyHeld { service },
        ReceiveError::ConnectionFailure(failure) => {
            LinkError::Port { service, cause: format!("{failure:?}") }
        }
    }
}

/// What the other side says it speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TheirContract {
    hash: u64,
    major: u16,
    minor: u16,
}

impl TheirContract {
    pub(crate) fn of_state(header: &StateHeader) -> Self {
        Self { hash: header.layout_hash, major: header.version_major, minor: header.version_minor }
    }

    pub(crate) fn of_catalog(header: &CatalogHeader) -> Self {
        Self { hash: header.layout_hash, major: header.version_major, minor: header.version_minor }
    }

    /// Health carries the fingerprint alone; its version is not told apart from ours.
    pub(crate) fn of_health(health: &Health) -> Self {
        Self { hash: health.layout_hash, major: VERSION_MAJOR, minor: VERSION_MINOR }
    }

    /// The refusal in words, if there is one. The fingerprint covers every name, offset and unit, so
    /// equal fingerprints and major versions mean equal bytes.
    pub(crate) fn mismatch(self, role: Role, epoch: Token) -> Option<LinkError> {
        if self.hash == LAYOUT_HASH && self.major == VERSION_MAJOR {
            return None;
        }
        Some(LinkError::Contract {
            role: role.word(),
            epoch,
            their_major: self.major,
            their_minor: self.minor,
            their_hash: self.hash,
            our_major: VERSION_MAJOR,
            our_minor: VERSION_MINOR,
            our_hash: LAYOUT_HASH,
        })
    }
}
