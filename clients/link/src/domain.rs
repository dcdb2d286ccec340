//! One domain's services: their names, types and sizes, stated once for gateways and clients. No policy.
//!
//! Clients in other languages need exactly this: iceoryx2 0.10.0, root and prefix of
//! [`EpochPlace`], and the rows of [`STREAMS`].
use core::time::Duration;
use std::path::Path;

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use iceoryx2::service::builder::publish_subscribe::{
    PublishSubscribeCreateError, PublishSubscribeOpenError,
};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use kadenz_paths::EpochPlace;
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::incident::Incident;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{AXES_MAX, KNOTS_PER_BATCH_MAX};

/// iceoryx2 as Kadenz uses it: between processes, each port owned by one thread.
pub type Ipc = ipc::Service;
/// A participant of a domain.
pub type DomainNode = Node<Ipc>;

/// Which end of the domain a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Creates the services and clears away what dead clients leave.
    Gateway,
    /// Opens what is there and touches nothing else.
    Client,
}

/// Size of one stream's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Publishers at a time.
    pub publishers_max: usize,
    /// Subscribers at a time.
    pub subscribers_max: usize,
    /// Samples a subscriber's queue holds; the oldest goes first.
    pub buffer_samples: usize,
    /// Samples a new subscriber is given from before its time.
    pub history_samples: usize,
    /// Samples a subscriber may hold at a time.
    pub borrowed_max: usize,
}

/// Participants a service takes, the gateway and its canary included.
pub const NODES_MAX: usize = 32;
/// Subscribers a stream takes, the gateway's canary included.
pub const SUBSCRIBERS_MAX: usize = 16;
/// Planners that may hold a knot port at a time, the gateway's canary included.
pub const KNOT_PUBLISHERS_MAX: usize = 8;

/// One stream of a domain, as other languages need it.
#[derive(Clone, Copy, Debug)]
pub struct StreamInfo {
    /// Service name; ends in the contract's major version.
    pub service: &'static str,
    /// iceoryx2 type name of the user header; empty when there is none.
    pub header: &'static str,
    /// iceoryx2 type name of the payload or of one element of it.
    pub payload: &'static str,
    /// The payload is a slice of that type.
    pub is_slice: bool,
    /// Queue sizes.
    pub shape: Shape,
}

/// At 1 kHz a reader may be away for a second and lose nothing.
///
/// Price, measured 2026-11-21 with 64 axes: a 118 MB sparse file of which 76 kB are touched while
/// readers keep up and 7.4 MB more per reader that stands still. A gateway must not lock its memory.
const STATE_SHAPE: Shape = shape(1, SUBSCRIBERS_MAX, 1024, 0, 6);
/// New readers see what has just happened; they drop by `sequence` what they have seen before.
const EVENT_SHAPE: Shape = shape(1, SUBSCRIBERS_MAX, 1024, 64, 2);
const INCIDENT_SHAPE: Shape = shape(1, SUBSCRIBERS_MAX, 256, 64, 2);
const HEALTH_SHAPE: Shape = shape(1, SUBSCRIBERS_MAX, 4, 1, 2);
const CATALOG_SHAPE: Shape = shape(1, SUBSCRIBERS_MAX, 2, 1, 2);
/// The newest batch counts; the gateway looks twice per cycle. Readers: gateway and its canary.
const KNOT_SHAPE: Shape = shape(KNOT_PUBLISHERS_MAX, 2, 16, 0, 2);

const fn shape(
    publishers_max: usize,
    subscribers_max: usize,
    buffer_samples: usize,
    history_samples: usize,
    borrowed_max: usize,
) -> Shape {
    Shape { publishers_max, subscribers_max, buffer_samples, history_samples, borrowed_max }
}

/// Every stream; `knots/v1` exists in the plan domain only.
pub const STREAMS: &[StreamInfo] = &[
    stream("state/v1", StateHeader::INFO.name, AxisState::INFO.name, true, STATE_SHAPE),
    stream("events/v1", "", Event::INFO.name, false, EVENT_SHAPE),
    stream("health/v1", "", Health::INFO.name, false, HEALTH_SHAPE),
    stream("catalog/v1", CatalogHeader::INFO.name, CatalogAxis::INFO.name, true, CATALOG_SHAPE),
    stream("knots/v1", KnotBatchHeader::INFO.name, KnotAxis::INFO.name, true, KNOT_SHAPE),
    stream("incidents/v1", "", Incident::INFO.name, false, INCIDENT_SHAPE),
];

const fn stream(
    service: &'static str,
    header: &'static str,
    payload: &'static str,
    is_slice: bool,
    shape: Shape,
) -> StreamInfo {
    StreamInfo { service, header, payload, is_slice, shape }
}

/// Why a domain or one of its services cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// Root or prefix is not a name iceoryx2 takes.
    #[error(
        "{what} {value:?} is not a name iceoryx2 takes (plain ASCII path, no `..`); choose another runtime directory"
    )]
    BadName {
        /// Root or prefix.
        what: &'static str,
        /// The name.
        value: String,
    },
    /// The participant could not be created.
    #[error(
        "cannot join the domain at {root}: {cause}; its owner is the role's user, run as that user"
    )]
    Node {
        /// Root of the domain.
        root: String,
        /// What iceoryx2 said.
        cause: String,
    },
    /// The service is not there (yet): the gateway has not created it, or has gone.
    #[error("service {service} is not there: its gateway is starting or gone")]
    Absent {
        /// Service name.
        service: &'static str,
    },
    /// The service is there with other types: another version of the contract.
    #[error(
        "service {service} carries other types ({cause}): client and gateway are of different versions, install the same one"
    )]
    Incompatible {
        /// Service name.
        service: &'static str,
        /// What iceoryx2 said.
        cause: String,
    },
    /// All places are taken.
    #[error(
        "service {service} is full ({cause}): end a client, or wait until the gateway has cleared dead ones (0.5 s)"
    )]
    Full {
        /// Service name.
        service: &'static str,
        /// What iceoryx2 said.
        cause: String,
    },
    /// Anything else iceoryx2 reports.
    #[error("service {service}: {cause}")]
    Broken {
        /// Service name.
        service: &'static str,
        /// What iceoryx2 said.
        cause: String,
    },
}

/// The configuration of one domain. Given to the node, it keeps iceoryx2 from reading any file.
///
/// # Errors
/// When root or prefix is not a name iceoryx2 takes.
pub fn config(root: &Path, prefix: &str, side: Side) -> Result<Config, DomainError> {
    let bad = |what, value: &str| DomainError::BadName { what, value: value.to_owned() };
    let text = root.to_str().ok_or_else(|| bad("root", &root.to_string_lossy()))?;
    let mut config = Config::default();
    config.global.set_root_path(&text.try_into().map_err(|_| bad("root", text))?);
    config.global.prefix = prefix.try_into().map_err(|_| bad("prefix", prefix))?;
    let is_gateway = side == Side::Gateway;
    // Clearing costs 0.1 ms per living node and has fatal paths: it is the gateway's work alone.
    config.global.node.cleanup_dead_nodes_on_creation = is_gateway;
    config.global.node.cleanup_dead_nodes_on_destruction = false;
    config.global.service.cleanup_dead_nodes_on_open = is_gateway;
    // A peer that died while connecting must not hold us up (the default waits for 500 ms).
    config.global.creation_timeout = Duration::from_millis(10);
    Ok(config)
}

/// Joins the domain of an epoch.
///
/// # Errors
/// When the names are bad or the node cannot be created.
pub fn node(place: &EpochPlace, name: &str, side: Side) -> Result<DomainNode, DomainError> {
    // Its messages are debug dumps of hundreds of bytes; errors come back as values anyhow.
    set_log_level(LogLevel::Fatal);
    let config = config(&place.root, &place.prefix, side)?;
    let name = name
        .try_into()
        .map_err(|_| DomainError::BadName { what: "node name", value: name.to_owned() })?;
    NodeBuilder::new()
        .name(&name)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .config(&config)
        .create::<Ipc>()
        .map_err(|error| DomainError::Node {
            root: place.root.display().to_string(),
            cause: format!("{error:?}"),
        })
}

fn open_error(service: &'static str, error: PublishSubscribeOpenError) -> DomainError {
    use PublishSubscribeOpenError as E;
    let cause = format!("{error:?}");
    match error {
        E::DoesNotExist | E::IsMarkedForDestruction | E::HangsInCreation => {
            DomainError::Absent { service }
        }
        E::ExceedsMaxNumberOfNodes => DomainError::Full { service, cause },
        E::InternalFailure
        | E::Interrupt
        | E::InsufficientPermissions
        | E::ServiceInCorruptedState
        | E::UnableToCreateServiceTag => DomainError::Broken { service, cause },
        _ => DomainError::Incompatible { service, cause },
    }
}

fn create_error(service: &'static str, error: PublishSubscribeCreateError) -> DomainError {
    DomainError::Broken { service, cause: format!("{error:?}") }
}

fn port_error(service: &'static str, error: &dyn core::fmt::Debug) -> DomainError {
    let cause = format!("{error:?}");
    if cause.contains("ExceedsMaxSupported") {
        DomainError::Full { service, cause }
    } else {
        DomainError::Broken { service, cause }
    }
}

/// Wraps a record as a user header: iceoryx2 fills a header with its default before the writer does.
/// The bytes and the type name are those of the record.
macro_rules! declare_head {
    ($(#[doc = $doc:literal])* $name:ident, $record:ty, $wire:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, ZeroCopySend)]
        #[type_name($wire)]
        #[repr(C)]
        pub struct $name($record);

        impl Default for $name {
            fn default() -> Self {
                Self(<$record>::zeroed())
            }
        }
        impl From<$record> for $name {
            fn from(record: $record) -> Self {
                Self(record)
            }
        }
        impl core::ops::Deref for $name {
            type Target = $record;
            fn deref(&self) -> &$record {
                &self.0
            }
        }
    };
}

declare_head! {
    /// `StateHeader` at the head of a state sample.
    StateHead, StateHeader, "Kadenz.StateHeader"
}
declare_head! {
    /// `CatalogHeader` at the head of a catalog sample.
    CatalogHead, CatalogHeader, "Kadenz.CatalogHeader"
}
declare_head! {
    /// `KnotBatchHeader` at the head of a batch of knots.
    KnotBatchHead, KnotBatchHeader, "Kadenz.KnotBatchHeader"
}

/// Declares one stream: service, publisher, subscriber, with equal settings on both sides.
macro_rules! declare_stream {
    ($(#[doc = $doc:literal])* $module:ident, $index:literal, $payload:ty, $header:ty,
     sized by ($($length:ident)?): |$builder:ident| $sized:expr) => {
        $(#[doc = $doc])*
        pub mod $module {
            use super::*;

            /// The stream's row in [`STREAMS`].
            pub const INFO: StreamInfo = STREAMS[$index];
            /// The service.
            pub type Service = PortFactory<Ipc, $payload, $header>;
            /// Its writing port.
            pub type Writer = Publisher<Ipc, $payload, $header>;
            /// Its reading port.
            pub type Reader = Subscriber<Ipc, $payload, $header>;
            /// One sample, read where it lies.
            pub type Received = Sample<Ipc, $payload, $header>;

            /// Creates (gateway) or opens (client) the service.
            ///
            /// # Errors
            /// When it is absent, full, of another version, or broken.
            pub fn service(node: &DomainNode, side: Side) -> Result<Service, DomainError> {
                let shape = INFO.shape;
                let name = INFO
                    .service
                    .try_into()
                    .map_err(|_| DomainError::BadName { what: "service", value: INFO.service.to_owned() })?;
                let builder = node
                    .service_builder(&name)
                    .publish_subscribe::<$payload>()
                    .user_header::<$header>()
                    .max_publishers(shape.publishers_max)
                    .max_subscribers(shape.subscribers_max)
                    .max_nodes(NODES_MAX)
                    .subscriber_max_buffer_size(shape.buffer_samples)
                    .history_size(shape.history_samples)
                    .subscriber_max_borrowed_samples(shape.borrowed_max)
                    .enable_safe_overflow(true);
                match side {
                    Side::Gateway => builder.create().map_err(|e| create_error(INFO.service, e)),
                    Side::Client => builder.open().map_err(|e| open_error(INFO.service, e)),
                }
            }

            /// A port to write with; it never waits for a reader.
            ///
            /// # Errors
            /// When all publishers' places are taken or memory is refused.
            pub fn writer(service: &Service $(, $length: usize)?) -> Result<Writer, DomainError> {
                let $builder = service
                    .publisher_builder()
                    .max_loaned_samples(1)
                    .backpressure_strategy(BackpressureStrategy::DiscardData);
                $sized.create().map_err(|e| port_error(INFO.service, &e))
            }

            /// A port to read with.
            ///
            /// # Errors
            /// When all subscribers' places are taken or memory is refused.
            pub fn reader(service: &Service) -> Result<Reader, DomainError> {
                service
                    .subscriber_builder()
                    .buffer_size(INFO.shape.buffer_samples)
                    .create()
                    .map_err(|e| port_error(INFO.service, &e))
            }
        }
    };
}

declare_stream! {
    /// `state/v1`: one record per cycle, a header and one `AxisState` per axis.
    state, 0, [AxisState], StateHead,
    sized by (axis_count): |builder| builder.initial_max_slice_len(axis_count)
}
declare_stream! {
    /// `events/v1`: one record per change of state. New readers get the latest ones again.
    events, 1, Event, (),
    sized by (): |builder| builder
}
declare_stream! {
    /// `health/v1`: counters and histograms of the loop.
    health, 2, Health, (),
    sized by (): |builder| builder
}
declare_stream! {
    /// `catalog/v1`: what the machine is. The writer calls `update_connections` now and then, or new
    /// readers of a stream that is written once would never get it (iceoryx2 issue 1641).
    catalog, 3, [CatalogAxis], CatalogHead,
    sized by (axis_count): |builder| builder.initial_max_slice_len(axis_count)
}
declare_stream! {
    /// `knots/v1`: batches of knots from planners to the gateway; plan domain only.
    knots, 4, [KnotAxis], KnotBatchHead,
    sized by (): |builder| builder.initial_max_slice_len(KNOTS_PER_BATCH_MAX * AXES_MAX)
}
declare_stream! {
    /// `incidents/v1`: one record per breach of timing. New readers get the latest ones again.
    incidents, 5, Incident, (),
    sized by (): |builder| builder
}
