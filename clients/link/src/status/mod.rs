//! The machine in words and numbers, for people (`lines`) and scripts (JSON). Pure: records in, text out.
//!
//! JSON keys are a promise: they carry their unit, are only added to, and a change of meaning raises
//! [`SCHEMA_VERSION`]. Numbers that are not finite become `null`.

mod lines;
mod loop_health;
mod record;
mod statusword;

pub use lines::{Line, Tone};
pub use loop_health::{LoopStatus, MissedByCause};

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use shm_layout::code::{AxisKind, BusKind, KnotRefusal, Phase, Reason, Verdict};
use shm_layout::code::{axis_flag, state_flag};
use shm_layout::health::Health;
use shm_layout::histogram::percentile_ns;
use shm_layout::state::{AxisState, StateHeader};

use crate::sample::Catalog;
use crate::sequence::Counters;
use crate::text;

/// Version of the JSON form.
pub const SCHEMA_VERSION: u32 = 1;

/// What is known about the machine at one moment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MachineStatus {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the machine; empty until the catalog has come.
    pub machine: String,
    /// This life of kadenzd, hexadecimal (JSON numbers lose bits above 2^53).
    pub daemon_id: String,
    /// Number of the pass.
    pub cycle: u64,
    /// Age of the record, ns.
    pub age_ns: u64,
    /// Nominal period, ns.
    pub period_ns: u64,
    /// Phase in words.
    pub phase: Cow<'static, str>,
    /// Verdict in words.
    pub verdict: Cow<'static, str>,
    /// Reason of hold or stop in words.
    pub reason: Cow<'static, str>,
    /// Axis the reason is about.
    pub reason_axis: Option<String>,
    /// All references are at rest.
    pub is_at_rest: bool,
    /// The path under way.
    pub path: Option<PathStatus>,
    /// Path rate s, 0 ..= 1.
    #[serde(deserialize_with = "number_or_null")]
    pub path_rate: f64,
    /// Wanted path rate, 0 ..= 1.
    #[serde(deserialize_with = "number_or_null")]
    pub rate_override: f64,
    /// Who sends knots.
    pub source: SourceStatus,
    /// Axes in catalog order.
    pub axes: Vec<AxisStatus>,
    /// Buses in use.
    pub buses: Vec<BusStatus>,
    /// How the loop is doing; none until its counters have come.
    #[serde(rename = "loop")]
    pub loop_health: Option<LoopStatus>,
    /// What the gateway that tells this has counted; none until its counters have come.
    pub gateway: Option<GatewayStatus>,
    /// What this reader has counted.
    pub link: LinkStatus,
}

/// Progress along a path.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PathStatus {
    /// Number of the path, hexadecimal.
    pub id: String,
    /// Path time, s.
    #[serde(deserialize_with = "number_or_null")]
    pub tau_s: f64,
    /// Path time of the last accepted knot, s.
    #[serde(deserialize_with = "number_or_null")]
    pub tau_last_s: f64,
    /// The path's last knot has been accepted, so `tau_last_s` is its end.
    pub is_complete: bool,
}

/// The command source.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SourceStatus {
    /// The lease is held.
    pub is_alive: bool,
    /// Number of the source, hexadecimal.
    pub id: String,
    /// Grows each time the lease changes hands.
    pub lease_generation: u64,
    /// Time since it was last heard, ns.
    pub age_ns: u64,
    /// Knots accepted since start.
    pub knots_accepted: u64,
    /// Knots refused since start.
    pub knots_refused: u64,
    /// Why the last refused knot was refused.
    pub knot_refusal: Cow<'static, str>,
    /// Axis of that refusal.
    pub knot_refusal_axis: Option<String>,
}

/// One axis.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AxisStatus {
    /// Name; its number until the catalog has come.
    pub name: String,
    /// Unit of its positions: `rad` or `m`; `?` until the catalog has come.
    pub unit: Cow<'static, str>,
    /// Reference in that unit.
    #[serde(deserialize_with = "number_or_null")]
    pub position_reference: f64,
    /// Measured position in that unit.
    #[serde(deserialize_with = "number_or_null")]
    pub position_actual: f64,
    /// Following error in that unit.
    #[serde(deserialize_with = "number_or_null")]
    pub following_error: f64,
    /// Measured velocity in that unit per second.
    #[serde(deserialize_with = "number_or_null")]
    pub velocity_actual: f64,
    /// The drive is in Operation enabled.
    pub is_enabled: bool,
    /// The drive reports a fault.
    pub is_fault: bool,
    /// The drive's error code (603Fh).
    pub error_code: u16,
    /// The drive's statusword (6041h).
    pub statusword: u16,
    /// Its state in the standard's words.
    pub drive_state: Cow<'static, str>,
    /// Further bits in words.
    pub remarks: Vec<Cow<'static, str>>,
    /// Age of its feedback, cycles.
    pub input_age_cycles: u32,
}

/// One bus.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BusStatus {
    /// Name; its number until the catalog has come.
    pub name: String,
    /// Kind in words.
    pub kind: Cow<'static, str>,
    /// Frames lost since start.
    pub frames_lost: u64,
    /// Age of its newest input, cycles.
    pub input_age_cycles: u32,
    /// Working counter of the last answer.
    pub wkc_actual: u16,
    /// Working counter the configuration calls for.
    pub wkc_expected: u16,
}

/// A distribution of durations, ns.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Percentiles {
    /// Half are shorter.
    pub p50: u64,
    /// 90 % are shorter.
    pub p90: u64,
    /// 99 % are shorter.
    pub p99: u64,
    /// 99.9 % are shorter.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// What is not finite is written as `null`, and read back as no number.
fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl Percentiles {
    fn of(counts: &[u64], max: u64) -> Self {
        // A bucket reports its upper edge, which may lie above the longest duration.
        let at = |permille| percentile_ns(counts, permille).min(max);
        Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max }
    }
}

/// One gateway since its start. Batches come to the plan gateway, requests to the operate gateway.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct GatewayStatus {
    /// Batches or requests it refused.
    pub refused: u64,
    /// Batches it dropped because their source sent faster than it may.
    pub rate_limited: u64,
    /// Records overwritten before it came round to them.
    pub overwritten: u64,
}

/// What a reader has counted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct LinkStatus {
    /// Times the domain was entered again.
    pub reconnects: u64,
    /// State records never seen here.
    pub lost: u64,
    /// Events never seen here.
    pub events_lost: u64,
    /// Lives of kadenzd after the first.
    pub daemon_restarts: u64,
}

impl MachineStatus {
    /// The status from one state record and what else is known; `now_ns` is CLOCK_MONOTONIC.
    #[must_use]
    pub fn new(
        header: &StateHeader,
        axes: &[AxisState],
        health: Option<&Health>,
        catalog: Option<&Catalog>,
        counters: Counters,
        now_ns: u64,
    ) -> Self {
        let path = (header.path_id != 0).then(|| PathStatus {
            id: format!("{:016x}", header.path_id),
            tau_s: header.tau_s,
            tau_last_s: header.tau_last_s,
            is_complete: header.flags & state_flag::PATH_COMPLETE != 0,
        });
        Self {
            schema_version: SCHEMA_VERSION,
            machine: catalog.map(|c| text::name(&c.header.machine_name)).unwrap_or_default(),
            daemon_id: format!("{:016x}", header.daemon_id),
            cycle: header.cycle,
            age_ns: now_ns.saturating_sub(header.wake_ns),
            period_ns: header.period_ns,
            phase: Phase::word_of(header.phase).into(),
            verdict: Verdict::word_of(header.verdict).into(),
            reason: Reason::word_of(header.reason).into(),
            reason_axis: (header.reason != Reason::None.code())
                .then(|| axis_name(header.reason_axis, axes.len(), catalog))
                .flatten(),
            is_at_rest: header.flags & state_flag::AT_REST != 0,
            path,
            path_rate: header.path_rate,
            rate_override: header.rate_override,
            source: source_status(header, axes.len(), catalog),
            axes: axes.iter().enumerate().map(|(n, axis)| axis_status(n, axis, catalog)).collect(),
            buses: bus_statuses(header, catalog),
            loop_health: health.map(LoopStatus::of),
            gateway: health.map(|health| GatewayStatus {
                refused: health.gateway_refused,
                rate_limited: health.gateway_rate_limited,
                overwritten: health.gateway_overwritten,
            }),
            link: LinkStatus {
                reconnects: counters.reconnects,
                lost: counters.lost,
                events_lost: counters.events_lost,
                daemon_restarts: counters.daemon_restarts,
            },
        }
    }

    /// The status as lines for people, without line ends.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        lines::lines(self)
    }

    /// The status as text for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.lines().into_iter().map(|line| line.text + "\n").collect()
    }

    /// The status in one line for logs, without a line end.
    #[must_use]
    pub fn to_line(&self) -> String {
        lines::one_line(self)
    }

    /// The status as one line of JSON, without a line end.
    ///
    /// # Errors
    /// Never for a status made by [`MachineStatus::new`]; the writer's signature has it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn axis_name(index: u32, count: usize, catalog: Option<&Catalog>) -> Option<String> {
    let index = usize::try_from(index).ok().filter(|index| *index < count)?;
    Some(name_of_axis(index, catalog))
}

fn name_of_axis(index: usize, catalog: Option<&Catalog>) -> String {
    let known =
        catalog.and_then(|catalog| catalog.axes.get(index)).map(|axis| text::name(&axis.name));
    known.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("axis {index}"))
}

fn source_status(header: &StateHeader, axes: usize, catalog: Option<&Catalog>) -> SourceStatus {
    SourceStatus {
        is_alive: header.flags & state_flag::SOURCE_ALIVE != 0,
        id: format!("{:016x}", header.source_id),
        lease_generation: header.lease_generation,
        age_ns: header.source_age_ns,
        knots_accepted: header.knots_accepted,
        knots_refused: header.knots_refused,
        knot_refusal: KnotRefusal::word_of(header.knot_refusal).into(),
        knot_refusal_axis: (header.knot_refusal != KnotRefusal::None.code())
            .then(|| axis_name(header.knot_refusal_axis, axes, catalog))
            .flatten(),
    }
}

fn axis_status(index: usize, axis: &AxisState, catalog: Option<&Catalog>) -> AxisStatus {
    let kind = catalog.and_then(|catalog| catalog.axes.get(index)).map(|axis| axis.kind);
    let unit = match kind.map(AxisKind::try_from) {
        Some(Ok(AxisKind::Rotary)) => "rad",
        Some(Ok(AxisKind::Linear)) => "m",
        Some(Err(_)) | None => "?",
    };
    AxisStatus {
        name: name_of_axis(index, catalog),
        unit: unit.into(),
        position_reference: axis.position_reference,
        position_actual: axis.position_actual,
        following_error: axis.following_error,
        velocity_actual: axis.velocity_actual,
        is_enabled: axis.flags & axis_flag::ENABLED != 0,
        is_fault: axis.flags & axis_flag::FAULT != 0,
        error_code: axis.error_code,
        statusword: axis.statusword,
        drive_state: statusword::state_word(axis.statusword).into(),
        remarks: statusword::remark_words(axis.statusword).into_iter().map(Cow::Borrowed).collect(),
        input_age_cycles: axis.input_age_cycles,
    }
}

fn bus_statuses(header: &StateHeader, catalog: Option<&Catalog>) -> Vec<BusStatus> {
    let buses = header.buses.iter().enumerate().take(usize::from(header.bus_count));
    buses
        .map(|(index, bus)| BusStatus {
            name: catalog
                .and_then(|catalog| catalog.header.bus_names.get(index))
                .map(|name| text::name(name))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| format!("bus {index}")),
            kind: BusKind::word_of(bus.kind).into(),
            frames_lost: bus.frames_lost,
            input_age_cycles: bus.input_age_cycles,
            wkc_actual: bus.wkc_actual,
            wkc_expected: bus.wkc_expected,
        })
        .collect()
}
