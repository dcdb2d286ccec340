//! Events, incidents, health and catalog as messages with names and words; they are rare, so clarity wins here.
use crate::encode::{axis_index, name_of};
use crate::schema::message;
use serde_json::{Value, json};
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::code::{
    AxisKind, Cause, EventKind, Finding, IncidentKind, KnotRefusal, Outcome, Phase, Reason,
    RequestKind, Verdict,
};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::histogram::percentile_ns;
use shm_layout::incident::Incident;

/// What the machine is: the header and its axes.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The machine as a whole.
    pub header: CatalogHeader,
    /// Its axes, in catalog order.
    pub axes: Vec<CatalogAxis>,
}

impl Machine {
    /// The machine's name.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.header.machine_name)
    }

    /// SHA-256 of the effective configuration, hexadecimal.
    #[must_use]
    pub fn config_hash(&self) -> String {
        self.header.config_hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Fingerprint of the contract, hexadecimal.
    #[must_use]
    pub fn layout_hash(&self) -> String {
        format!("{:016x}", self.header.layout_hash)
    }

    /// The `/catalog` message.
    #[must_use]
    pub fn message(&self) -> message::Catalog {
        let header = &self.header;
        message::Catalog {
            machine_name: self.name(),
            layout_hash: self.layout_hash(),
            config_hash: self.config_hash(),
            version_major: header.version_major.into(),
            version_minor: header.version_minor.into(),
            daemon_id: header.daemon_id,
            period_ns: header.period_ns,
            lease_ns: header.lease_ns,
            horizon_s: header.horizon_s,
            stop_path_time_s: header.stop_path_time_s,
            out_offset_ns: header.out_offset_ns,
            in_lead_ns: header.in_lead_ns,
            bus_names: names(&header.bus_names, u64::from(header.bus_count)),
            group_names: names(&header.group_names, header.group_count),
            axes: self.axes.iter().map(catalog_axis).collect(),
        }
    }

    /// The same as JSON, for the file's attachment.
    #[must_use]
    pub fn json(&self) -> Value {
        let message = self.message();
        let axes: Vec<Value> = message.axes.iter().map(axis_json).collect();
        json!({
            "schema_version": 1,
            "machine_name": message.machine_name,
            "layout_hash": message.layout_hash,
            "config_hash": message.config_hash,
            "version_major": message.version_major,
            "version_minor": message.version_minor,
            "daemon_id": message.daemon_id,
            "period_ns": message.period_ns,
            "lease_ns": message.lease_ns,
            "horizon_s": message.horizon_s,
            "stop_path_time_s": message.stop_path_time_s,
            "out_offset_ns": message.out_offset_ns,
            "in_lead_ns": message.in_lead_ns,
            "bus_names": message.bus_names,
            "group_names": message.group_names,
            "axes": axes,
        })
    }
}

fn names<const LENGTH: usize>(names: &[[u8; LENGTH]], count: u64) -> Vec<String> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    names.iter().take(count).map(|name| name_of(name)).collect()
}

fn unit_of(kind: u32) -> &'static str {
    match AxisKind::try_from(kind) {
        Ok(AxisKind::Rotary) => "rad",
        Ok(AxisKind::Linear) => "m",
        Err(_) => "unknown",
    }
}

/// A code as protobuf carries an enum: the same bits, signed.
fn enumerated(code: u32) -> i32 {
    code.cast_signed()
}

fn catalog_axis(axis: &CatalogAxis) -> message::CatalogAxis {
    message::CatalogAxis {
        name: name_of(&axis.name),
        kind: enumerated(axis.kind),
        unit: unit_of(axis.kind).into(),
        bus_index: axis.bus_index.into(),
        group_index: axis.group_index.into(),
        divisor: axis.divisor,
        position_min: axis.position_min,
        position_max: axis.position_max,
        velocity_max: axis.velocity_max,
        acceleration_max: axis.acceleration_max,
        jerk_max: axis.jerk_max,
        following_error_window: axis.following_error_window,
        following_error_time_ns: axis.following_error_time_ns,
        counts_per_unit: axis.counts_per_unit,
    }
}

fn axis_json(axis: &message::CatalogAxis) -> Value {
    json!({
        "name": axis.name,
        "kind": AxisKind::word_of(axis.kind.cast_unsigned()),
        "unit": axis.unit,
        "bus_index": axis.bus_index,
        "group_index": axis.group_index,
        "divisor": axis.divisor,
        "position_min": axis.position_min,
        "position_max": axis.position_max,
        "velocity_max": axis.velocity_max,
        "acceleration_max": axis.acceleration_max,
        "jerk_max": axis.jerk_max,
        "following_error_window": axis.following_error_window,
        "following_error_time_ns": axis.following_error_time_ns,
        "counts_per_unit": axis.counts_per_unit,
    })
}

/// An event as the `/events` message, codes spelled out.
#[must_use]
pub fn event_message(event: &Event, daemon_id: u64, machine: &Machine) -> message::Event {
    let (code_word, detail_word) = words(event);
    let axis = axis_index(event.axis);
    let named = axis.and_then(|index| machine.axes.get(usize::try_from(index).ok()?));
    message::Event {
        sequence: event.sequence,
        cycle: event.cycle,
        wake_ns: event.wake_ns,
        kind: enumerated(event.kind),
        axis,
        axis_name: named.map(|axis| name_of(&axis.name)).unwrap_or_default(),
        code: event.code,
        code_word: code_word.into(),
        detail: event.detail,
        detail_word: detail_word.into(),
        request_id: event.request_id,
        path_id: event.path_id,
        trace_id: event.trace_id,
        values: event.values.to_vec(),
        daemon_id,
    }
}

/// The words for an event's code and detail; empty where they are plain numbers.
fn words(event: &Event) -> (&'static str, &'static str) {
    match EventKind::try_from(event.kind) {
        Ok(EventKind::PhaseChanged) => (Phase::word_of(event.code), Phase::word_of(event.detail)),
        Ok(EventKind::VerdictChanged) => {
            (Verdict::word_of(event.code), Reason::word_of(event.detail))
        }
        Ok(EventKind::RequestAnswered) => {
            (Outcome::word_of(event.code), RequestKind::word_of(event.detail))
        }
        Ok(EventKind::KnotRefused) => (KnotRefusal::word_of(event.code), ""),
        Ok(EventKind::SourceChanged) => match event.code {
            0 => ("silent", ""),
            1 => ("back", ""),
            _ => ("unknown", ""),
        },
        _ => ("", ""),
    }
}

/// Health as the `/health` message: histograms become percentiles.
#[must_use]
pub fn health_message(health: &Health) -> message::Health {
    let [own, host, kernel, bus, unattributed] = health.missed_by_cause;
    message::Health {
        daemon_id: health.daemon_id,
        sampled_ns: health.sampled_ns,
        cycles: health.cycles,
        missed_cycles: health.missed_cycles,
        missed_by_cause: Some(message::MissedByCause { own, host, kernel, bus, unattributed }),
        overruns: health.overruns,
        wake_latency: Some(durations(&health.wake_latency, health.wake_latency_ns_max)),
        cycle_time: Some(durations(&health.cycle_time, health.cycle_time_ns_max)),
        requests_lost: health.requests_lost,
        mailbox_overtaken: health.mailbox_overtaken,
        recorder_drops: health.recorder_drops,
        minor_faults: health.minor_faults,
        major_faults: health.major_faults,
        involuntary_switches: health.involuntary_switches,
        allocations: health.allocations,
        system_calls: health.system_calls,
        denied_calls: health.denied_calls,
        incidents: health.incidents,
        incidents_suppressed: health.incidents_suppressed,
        recorder_unsaved: health.recorder_unsaved,
    }
}

/// An incident as the `/incidents` message, codes spelled out.
#[must_use]
pub fn incident_message(incident: &Incident, daemon_id: u64) -> message::Incident {
    message::Incident {
        daemon_id,
        sequence: incident.sequence,
        explanation: incident.to_string(),
        kind: IncidentKind::word_of(incident.kind).into(),
        cause: Cause::word_of(incident.cause).into(),
        finding: Finding::word_of(incident.finding).into(),
        stage: incident.stage_word().unwrap_or_default().into(),
        lost_ns: incident.lost_ns,
        cycle: incident.cycle,
        grid_ns: incident.grid_ns,
        wake_ns: incident.wake_ns,
        cycle_time_ns: incident.cycle_time_ns,
        missed_cycles: incident.skipped,
        suppressed_before: incident.suppressed,
        system_call: incident.system_call,
        evidence: incident.evidence,
        stage_ns: incident.stage_ns.to_vec(),
        stage_usual_ns: incident.stage_usual_ns.to_vec(),
        window_ns: incident.window_ns,
        cpu_time_ns: incident.cpu_time_ns,
        run_delay_ns: incident.run_delay_ns,
        own_threads_ns: incident.own_threads_ns,
        steal_ns: incident.steal_ns,
        bus_late_ns: incident.bus_late_ns,
        interrupts: incident.interrupts,
        softirqs: incident.softirqs,
        minor_faults: incident.minor_faults,
        major_faults: incident.major_faults,
        allocations: incident.allocations,
        involuntary_switches: incident.involuntary_switches,
        busy_permille: incident.busy_permille,
        smi_count: incident.smi_count,
        around_latency_ns: incident.around_latency_ns.to_vec(),
        around_time_ns: incident.around_time_ns.to_vec(),
    }
}

fn durations(counts: &[u64], max_ns: u64) -> message::Durations {
    // A bucket's upper edge may lie above the largest duration that fell into it.
    let at = |permille| percentile_ns(counts, permille).min(max_ns);
    message::Durations {
        p50_ns: at(500),
        p90_ns: at(900),
        p99_ns: at(990),
        p999_ns: at(999),
        max_ns,
        count: counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
    }
}
