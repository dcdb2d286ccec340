//! What goes into a recording comes out of it, field by field, through readers we did not write.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use kadenz_logger::schema::{Topic, message};
use kadenz_logger::tally::get;
use prost::Message as _;
use shm_layout::code;
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::histogram::{bucket_of, percentile_ns};
use shm_layout::incident::Incident;
use shm_layout::state::{AxisState, NO_AXIS, StateHeader};

mod reading;
mod scratch;
mod synthetic;

use reading::{OFFSET, read, record, single, states};

fn random_words<const WORDS: usize>(seed: u64) -> [u64; WORDS] {
    std::array::from_fn(|place| synthetic::noise(seed, place as u64))
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn assert_axis(axis: &AxisState, read: &message::Axis, name: &str) {
    assert_eq!(read.name, name);
    let written = [
        axis.position_reference,
        axis.velocity_reference,
        axis.acceleration_reference,
        axis.torque_feed_forward,
        axis.position_actual,
        axis.velocity_actual,
        axis.torque_actual,
        axis.following_error,
    ];
    let back = [
        read.position_reference,
        read.velocity_reference,
        read.acceleration_reference,
        read.torque_feed_forward,
        read.position_actual,
        read.velocity_actual,
        read.torque_actual,
        read.following_error,
    ];
    assert_eq!(bits(&written), bits(&back));
    assert_eq!(read.target_counts, axis.target_counts);
    assert_eq!(read.controlword, u32::from(axis.controlword));
    assert_eq!(read.statusword, u32::from(axis.statusword));
    assert_eq!(read.error_code, u32::from(axis.error_code));
    assert_eq!(read.mode, u32::from(axis.mode));
    assert_eq!(read.input_age_cycles, axis.input_age_cycles);
    assert_eq!(read.divisor, axis.divisor);
    assert_eq!(read.bus_index, u32::from(axis.bus_index));
    assert_eq!(read.group_index, u32::from(axis.group_index));
    assert_eq!(read.trace_id, axis.trace_id);
    let flags = (u32::from(read.enabled) * code::axis_flag::ENABLED)
        | (u32::from(read.fault) * code::axis_flag::FAULT)
        | (u32::from(read.homed) * code::axis_flag::HOMED)
        | (u32::from(read.brake_released) * code::axis_flag::BRAKE_RELEASED)
        | (u32::from(read.limit_enforced) * code::axis_flag::LIMIT_ENFORCED)
        | (u32::from(read.fresh) * code::axis_flag::FRESH)
        | read.flags_unnamed;
    assert_eq!(flags, axis.flags);
}

fn assert_header(header: &StateHeader, read: &message::State) {
    let axis = |axis: u32| (axis != NO_AXIS).then_some(axis);
    assert_eq!(read.cycle, header.cycle);
    assert_eq!(read.grid_ns, header.grid_ns);
    assert_eq!(read.wake_ns, header.wake_ns);
    assert_eq!(read.grid_index, header.grid_index);
    assert_eq!(read.period_ns, header.period_ns);
    assert_eq!(read.stage_end_ns, header.stage_end_ns);
    assert_eq!(read.skipped, header.skipped);
    assert_eq!(read.phase.cast_unsigned(), header.phase);
    assert_eq!(read.verdict.cast_unsigned(), header.verdict);
    assert_eq!(read.reason.cast_unsigned(), header.reason);
    assert_eq!(read.reason_axis, axis(header.reason_axis));
    assert_eq!(read.path_id, header.path_id);
    let written = [
        header.tau_s,
        header.path_rate,
        header.path_rate_slope_s,
        header.rate_override,
        header.tau_last_s,
    ];
    let back =
        [read.tau_s, read.path_rate, read.path_rate_slope_s, read.rate_override, read.tau_last_s];
    assert_eq!(bits(&written), bits(&back));
    assert_eq!(read.knot_next_index, header.knot_next_index);
    assert_eq!(read.knots_accepted, header.knots_accepted);
    assert_eq!(read.knots_refused, header.knots_refused);
    assert_eq!(read.knot_refusal.cast_unsigned(), header.knot_refusal);
    assert_eq!(read.knot_refusal_axis, axis(header.knot_refusal_axis));
    assert_eq!(read.source_id, header.source_id);
    assert_eq!(read.lease_generation, header.lease_generation);
    assert_eq!(read.source_age_ns, header.source_age_ns);
    assert_eq!(read.trace_id, header.trace_id);
    assert_eq!(read.event_count, header.event_count);
    assert_eq!(read.digital_inputs, header.digital_inputs);
    assert_eq!(read.digital_outputs, header.digital_outputs);
    assert_eq!(bits(&read.analogue_inputs), bits(&header.analogue_inputs));
    assert_eq!(bits(&read.analogue_outputs), bits(&header.analogue_outputs));
    assert_eq!(read.daemon_id, header.daemon_id);
    let flags = (u32::from(read.source_alive) * code::state_flag::SOURCE_ALIVE)
        | (u32::from(read.path_loaded) * code::state_flag::PATH_LOADED)
        | (u32::from(read.path_complete) * code::state_flag::PATH_COMPLETE)
        | (u32::from(read.at_rest) * code::state_flag::AT_REST)
        | read.flags_unnamed;
    assert_eq!(flags, header.flags);
    assert_eq!(read.buses.len(), usize::from(header.bus_count));
    for (bus, read) in header.buses.iter().zip(&read.buses) {
        assert_eq!(read.kind.cast_unsigned(), bus.kind);
        assert_eq!(read.input_age_cycles, bus.input_age_cycles);
        assert_eq!(read.frames_lost, bus.frames_lost);
        assert_eq!(read.wkc_actual, u32::from(bus.wkc_actual));
        assert_eq!(read.wkc_expected, u32::from(bus.wkc_expected));
        assert_eq!(read.lost_in_row, bus.lost_in_row);
    }
    for (group, read) in header.groups.iter().zip(&read.groups) {
        assert_eq!(read.axis_mask, group.axis_mask);
        assert_eq!(read.verdict.cast_unsigned(), group.verdict);
        assert_eq!(read.reason.cast_unsigned(), group.reason);
    }
    assert!(header.groups.iter().skip(read.groups.len()).all(|group| group.axis_mask == 0));
}

#[test]
fn every_field_of_every_cycle_reads_back_whatever_its_bits() {
    let machine = synthetic::machine(32, 250_000);
    let names: Vec<String> = (1..=32).map(|index| format!("axis{index}")).collect();
    let made: Vec<(StateHeader, Vec<AxisState>)> = (0..300u64)
        .map(|cycle| {
            let mut header = StateHeader::from_words(&random_words(cycle));
            header.cycle = cycle;
            header.axis_count = 32;
            header.bus_count = u16::try_from(cycle % 5).unwrap();
            if cycle % 2 == 0 {
                header.reason_axis = NO_AXIS;
                header.groups[7].axis_mask = 0;
                header.groups[6].axis_mask = 0;
            } else {
                header.knot_refusal_axis = NO_AXIS;
            }
            let axes = (0..32).map(|axis| AxisState::from_words(&random_words(cycle * 64 + axis)));
            (header, axes.collect())
        })
        .collect();
    let (files, tally) = record(single("every_field"), machine, |inlet| {
        for (header, axes) in &made {
            inlet.state(header, axes);
        }
    });
    assert_eq!(get(&tally.state.written), 300);
    let read_states = states(&files[0]);
    assert_eq!(read_states.len(), made.len());
    for ((header, axes), read) in made.iter().zip(&read_states) {
        assert_header(header, read);
        assert_eq!(read.axes.len(), axes.len());
        for ((axis, read), name) in axes.iter().zip(&read.axes).zip(&names) {
            assert_axis(axis, read, name);
        }
    }
    for (raw, (header, _)) in read(&files[0])["/state"].iter().zip(&made) {
        assert_eq!(raw.log_ns, OFFSET.unix_ns(header.wake_ns));
        assert_eq!(u64::from(raw.sequence), header.cycle);
    }
}

#[test]
fn events_carry_the_words_of_their_codes() {
    let machine = synthetic::machine(2, 1_000_000);
    let mut event = Event::from_words(&random_words(7));
    event.sequence = 5;
    event.kind = code::EventKind::RequestAnswered.code();
    event.code = code::Outcome::StopLatched.code();
    event.detail = code::RequestKind::Hold.code();
    event.axis = 1;
    let mut machine_wide = event;
    machine_wide.sequence = 6;
    machine_wide.kind = 4711;
    machine_wide.axis = NO_AXIS;
    let (files, _) = record(single("events"), machine, |inlet| {
        inlet.event(&event);
        inlet.event(&machine_wide);
    });
    let raw = &read(&files[0])["/events"];
    let first = message::Event::decode(raw[0].data.as_slice()).unwrap();
    assert_eq!(first.kind(), message::EventKind::RequestAnswered);
    assert_eq!((first.code_word.as_str(), first.detail_word.as_str()), ("stop-latched", "hold"));
    assert_eq!((first.axis, first.axis_name.as_str()), (Some(1), "axis2"));
    assert_eq!((first.sequence, first.cycle, first.wake_ns), (5, event.cycle, event.wake_ns));
    assert_eq!((first.code, first.detail), (event.code, event.detail));
    assert_eq!(
        (first.request_id, first.path_id, first.trace_id),
        (event.request_id, event.path_id, event.trace_id)
    );
    assert_eq!(bits(&first.values), bits(&event.values));
    assert_eq!(first.daemon_id, synthetic::DAEMON_ID);
    let second = message::Event::decode(raw[1].data.as_slice()).unwrap();
    assert_eq!((second.axis, second.kind), (None, 4711));
}

#[test]
fn health_carries_counters_and_the_percentiles_of_its_histograms() {
    let mut health = Health::from_words(&random_words(3));
    health.wake_latency = [0; shm_layout::histogram::BUCKETS];
    health.wake_latency[bucket_of(1_000)] = 990;
    health.wake_latency[bucket_of(50_000)] = 10;
    health.wake_latency_ns_max = 50_123;
    let (files, _) =
        record(single("health"), synthetic::machine(1, 1_000_000), |inlet| inlet.health(&health));
    let read = message::Health::decode(read(&files[0])["/health"][0].data.as_slice()).unwrap();
    let missed = read.missed_by_cause.unwrap();
    let by_cause = [missed.own, missed.host, missed.kernel, missed.bus, missed.unattributed];
    assert_eq!(by_cause, health.missed_by_cause);
    let wake = read.wake_latency.unwrap();
    assert_eq!((wake.p50_ns, wake.count), (percentile_ns(&health.wake_latency, 500), 1000));
    assert_eq!((wake.p999_ns, wake.max_ns), (50_123, 50_123));
    let counters = [
        (read.daemon_id, health.daemon_id),
        (read.sampled_ns, health.sampled_ns),
        (read.cycles, health.cycles),
        (read.missed_cycles, health.missed_cycles),
        (read.overruns, health.overruns),
        (read.requests_lost, health.requests_lost),
        (read.mailbox_overtaken, health.mailbox_overtaken),
        (read.recorder_drops, health.recorder_drops),
        (read.minor_faults, health.minor_faults),
        (read.major_faults, health.major_faults),
        (read.involuntary_switches, health.involuntary_switches),
        (read.allocations, health.allocations),
    ];
    assert!(counters.iter().all(|(back, written)| back == written), "{counters:?}");
}

#[test]
fn an_incident_is_read_back_with_its_cause_in_words() {
    let incident = Incident {
        sequence: 3,
        kind: code::IncidentKind::MissedCycles.code(),
        cause: code::Cause::Host.code(),
        finding: code::Finding::Steal.code(),
        lost_ns: 98_000_000,
        skipped: 97,
        around_time_ns: [7; shm_layout::INCIDENT_PASSES],
        ..Incident::zeroed()
    };
    let (files, _) = record(single("incidents"), synthetic::machine(1, 1_000_000), |inlet| {
        inlet.incident(&incident);
    });
    let data = &read(&files[0])["/incidents"][0].data;
    let read = message::Incident::decode(data.as_slice()).unwrap();
    assert_eq!((read.sequence, read.missed_cycles), (3, 97));
    assert_eq!((read.cause.as_str(), read.kind.as_str()), ("host", "missed-cycles"));
    assert!(read.explanation.starts_with("host stole 98.0 ms"), "{}", read.explanation);
    assert_eq!(read.around_time_ns, incident.around_time_ns);
}

#[test]
fn a_file_names_its_machine_its_contract_and_its_clock() {
    let machine = synthetic::machine(3, 1_000_000);
    let (files, _) = record(single("names"), machine.clone(), |inlet| {
        let (header, axes) = synthetic::state(&machine, 0);
        inlet.state(&header, &axes);
    });
    let bytes = std::fs::read(&files[0]).unwrap();
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let metadata = mcap::read::metadata(&bytes, &summary.metadata_indexes[0]).unwrap();
    assert_eq!(metadata.name, "kadenz");
    assert_eq!(metadata.metadata["unix_less_monotonic_ns"], OFFSET.offset_ns.to_string());
    assert_eq!(metadata.metadata["layout_hash"], format!("{:016x}", shm_layout::LAYOUT_HASH));
    assert_eq!(metadata.metadata["config_hash"], "ab".repeat(32));
    assert_eq!(metadata.metadata["daemon_id"], "1122334455667788");
    let attachment = mcap::read::attachment(&bytes, &summary.attachment_indexes[0]).unwrap();
    let catalog: serde_json::Value = serde_json::from_slice(&attachment.data).unwrap();
    assert_eq!(catalog["axes"][1]["unit"], "m");
    assert_eq!(catalog["machine_name"], "bench/6 axes");
    let message = message::Catalog::decode(read(&files[0])["/catalog"][0].data.as_slice()).unwrap();
    assert_eq!(message, machine.message());
    for channel in summary.channels.values() {
        let schema = channel.schema.as_ref().unwrap();
        assert_eq!(
            (schema.encoding.as_str(), schema.data.as_ref()),
            ("protobuf", kadenz_logger::schema::DESCRIPTORS)
        );
        let topic = Topic::ALL.into_iter().find(|topic| topic.name() == channel.topic).unwrap();
        assert_eq!(schema.name, topic.schema());
    }
    assert_eq!(summary.channels.len(), Topic::ALL.len());
}

#[test]
fn every_code_of_the_contract_has_its_word_in_the_schema() {
    fn check<C: Copy>(
        set: &[(C, &str, &[&str])],
        prefix: &str,
        number: impl Fn(C) -> u32,
        name: impl Fn(i32) -> Option<&'static str>,
    ) {
        for (code, word, _) in set {
            let wanted = format!("{prefix}_{}", word.to_uppercase().replace('-', "_"));
            assert_eq!(name(number(*code).cast_signed()), Some(wanted.as_str()));
        }
    }
    macro_rules! check {
        ($($name:ident $prefix:literal),*) => { $( check(
            code::$name::ALL, $prefix, code::$name::code,
            |number| message::$name::try_from(number).ok().map(|value| value.as_str_name()),
        ); )* };
    }
    check!(Verdict "VERDICT", Phase "PHASE", Reason "REASON", KnotRefusal "KNOT_REFUSAL",
        EventKind "EVENT_KIND", AxisKind "AXIS_KIND", BusKind "BUS_KIND");
}
