//! The recording's messages, generated from `proto/kadenz.proto`, and the names under which a file
//! declares them; nothing else.

/// The messages themselves.
#[expect(missing_docs, reason = "generated; the meaning stands in proto/kadenz.proto")]
pub mod message {
    include!(concat!(env!("OUT_DIR"), "/kadenz.rs"));
}

/// The compiled schema (a `FileDescriptorSet`), embedded in every file.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kadenz.fds"));

/// One stream of a recording. The discriminant is its place in `Topic::ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The machine, once per cycle.
    State = 0,
    /// Recorded changes of state.
    Events = 1,
    /// The loop's counters and latencies.
    Health = 2,
    /// What the machine is.
    Catalog = 3,
    /// What is missing from the other topics.
    Gaps = 4,
    /// Breaches of timing with their cause.
    Incidents = 5,
}

impl Topic {
    /// Every topic, in the order in which files declare them.
    pub const ALL: [Topic; 6] =
        [Topic::State, Topic::Events, Topic::Health, Topic::Catalog, Topic::Gaps, Topic::Incidents];

    /// The topic's name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Topic::State => "/state",
            Topic::Events => "/events",
            Topic::Health => "/health",
            Topic::Catalog => "/catalog",
            Topic::Gaps => "/gaps",
            Topic::Incidents => "/incidents",
        }
    }

    /// The full protobuf name of its messages.
    #[must_use]
    pub const fn schema(self) -> &'static str {
        match self {
            Topic::State => "kadenz.State",
            Topic::Events => "kadenz.Event",
            Topic::Health => "kadenz.Health",
            Topic::Catalog => "kadenz.Catalog",
            Topic::Gaps => "kadenz.Gap",
            Topic::Incidents => "kadenz.Incident",
        }
    }
}
