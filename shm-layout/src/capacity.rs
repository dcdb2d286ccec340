//! How many of each thing the contract has room for.

/// Axes of one machine.
pub const AXES_MAX: usize = 64;
/// Buses of one machine.
pub const BUSES_MAX: usize = 4;
/// Groups of axes that stop together.
pub const GROUPS_MAX: usize = 8;
/// Command sources that hold a mailbox (active, standby, shadow).
pub const SOURCES_MAX: usize = 4;
/// Knots the loop keeps of one source.
pub const KNOTS_PER_SOURCE: usize = 256;
/// Knots in one batch on the wire.
pub const KNOTS_PER_BATCH_MAX: usize = 64;
/// Knots the loop takes from a mailbox in one cycle at most; fewer where many axes share a short period.
pub const KNOTS_PER_CYCLE: usize = 8;
/// Requests the loop takes in one cycle.
pub const REQUESTS_PER_CYCLE: usize = 4;
/// 64-bit words of digital channels, each way.
pub const DIGITAL_WORDS: usize = 2;
/// Analogue channels, each way.
pub const ANALOGUE_CHANNELS: usize = 8;
/// State records in the outbound ring (256 ms at 1 kHz).
pub const STATE_RING: usize = 256;
/// Events in the outbound ring.
pub const EVENT_RING: usize = 1024;
/// Incidents in the outbound ring.
pub const INCIDENT_RING: usize = 256;
/// Passes on each side of an incident's own whose times it carries.
pub const INCIDENT_REACH: usize = 8;
/// Passes whose times an incident carries: `INCIDENT_REACH` before, its own, `INCIDENT_REACH` after.
pub const INCIDENT_PASSES: usize = 2 * INCIDENT_REACH + 1;
/// Requests in the inbound ring.
pub const REQUEST_RING: usize = 64;
/// Bytes of a name, zero padded, UTF-8.
pub const NAME_BYTES: usize = 32;
/// Stages of one cycle whose end is stamped.
pub const STAGES: usize = 8;
