//! The status text and JSON of a known machine, byte for byte.
use std::collections::BTreeSet;

use kadenz_link::{Catalog, Counters, MachineStatus};
use proptest::prelude::*;
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::code::{AxisKind, Phase, Reason, Verdict, axis_flag, state_flag};
use shm_layout::health::Health;
use shm_layout::histogram::bucket_of;
use shm_layout::state::{AxisState, BusState, StateHeader};

fn name(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn header() -> StateHeader {
    let mut header = StateHeader {
        axis_count: 2,
        bus_count: 1,
        daemon_id: 0xfeed,
        cycle: 123_456,
        wake_ns: 1_000_000_000,
        period_ns: 1_000_000,
        phase: Phase::Stopped.code(),
        verdict: Verdict::Stop.code(),
        reason: Reason::DriveFault.code(),
        reason_axis: 1,
        flags: state_flag::SOURCE_ALIVE | state_flag::PATH_COMPLETE | state_flag::AT_REST,
        path_id: 7,
        tau_s: 3.2145,
        tau_last_s: 10.0,
        path_rate: 0.0,
        rate_override: 1.0,
        knots_accepted: 1200,
        knot_refusal_axis: 65535,
        ..StateHeader::zeroed()
    };
    header.buses[0] = BusState { kind: 1, wkc_actual: 6, wkc_expected: 6, ..BusState::zeroed() };
    header
}

fn axes() -> [AxisState; 2] {
    let good = AxisState {
        position_reference: 1.25,
        position_actual: 1.249_99,
        following_error: 0.000_01,
        statusword: 0x0637,
        flags: axis_flag::ENABLED,
        ..AxisState::zeroed()
    };
    let bad = AxisState {
        position_reference: -0.1,
        position_actual: -0.1,
        statusword: 0x0688,
        error_code: 0x7500,
        flags: axis_flag::FAULT,
        ..AxisState::zeroed()
    };
    [good, bad]
}

fn health() -> Health {
    let mut health = Health {
        cycles: 123_457,
        missed_cycles: 3,
        missed_by_cause: [0, 2, 1, 0, 0],
        overruns: 1,
        wake_latency_ns_max: 80_000,
        cycle_time_ns_max: 21_000,
        ..Health::zeroed()
    };
    health.wake_latency[bucket_of(4_000)] = 980;
    health.wake_latency[bucket_of(79_000)] = 20;
    health.cycle_time[bucket_of(12_000)] = 1000;
    health
}

fn catalog() -> Catalog {
    let mut header = CatalogHeader { machine_name: name("press"), ..CatalogHeader::zeroed() };
    header.bus_names[0] = name("sim");
    let axis = |text, kind: AxisKind| CatalogAxis {
        name: name(text),
        kind: kind.code(),
        ..CatalogAxis::zeroed()
    };
    Catalog { header, axes: vec![axis("turn", AxisKind::Rotary), axis("lift", AxisKind::Linear)] }
}

fn status() -> MachineStatus {
    let counters = Counters { reconnects: 1, lost: 28, ..Counters::default() };
    let (health, catalog) = (health(), catalog());
    MachineStatus::new(&header(), &axes(), Some(&health), Some(&catalog), counters, 1_000_200_000)
}

#[test]
fn the_text_of_a_known_machine_is_this() {
    let expected = "\
press: stopped, stop (drive-fault on lift)   cycle 123456, 200.0 µs old
path 3.215 / 10.000 s   rate 0 % of 100 %, at rest
source alive   knots: 1200 accepted, 0 refused
loop 1.0 ms   wake-up p50 4031 ns p99 79.8 µs max 80.0 µs   cycle p50 12.0 µs p99 12.0 µs max 21.0 µs
missed 3 (own 0, host 2, kernel 1, bus 0, unattributed 0)   overruns 1   drops 0   requests lost 0

axis  unit     reference        actual     following  drive
turn  rad       1.250000      1.249990      0.000010  operation-enabled
lift  m        -0.100000     -0.100000      0.000000  fault warning error 0x7500
bus sim (sim)  0 frames lost  input 0 cycles old  wkc 6/6
reader: 1 reconnects, 28 records not seen
";
    assert_eq!(status().to_text(), expected);
    let line = "stopped, stop (drive-fault on lift)   cycle 123456   path 3.215 / 10.000 s   rate 0 %   \
                following 0.000010 rad (turn)   following 0.000000 m (lift)   fault: lift   wake-up p99 79.8 µs   missed 3 (own 0)";
    assert_eq!(status().to_line(), line);
}

#[test]
fn the_json_of_a_known_machine_has_these_keys() {
    let json: serde_json::Value = serde_json::from_str(&status().to_json().unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["machine"], "press");
    assert_eq!(json["daemon_id"], "000000000000feed");
    assert_eq!(json["reason_axis"], "lift");
    assert_eq!(json["path"]["tau_s"], 3.2145);
    assert_eq!(json["axes"][1]["drive_state"], "fault");
    assert_eq!(json["axes"][0]["unit"], "rad");
    assert_eq!(json["loop"]["wake_latency_ns"]["max"], 80_000);
    assert_eq!(json["loop"]["missed_by_cause"]["host"], 2);
    assert_eq!(json["link"]["lost"], 28);
    let keys: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let promised = "age_ns axes buses cycle daemon_id gateway is_at_rest link loop machine path path_rate \
                    period_ns phase rate_override reason reason_axis schema_version source verdict";
    assert_eq!(keys, promised.split_whitespace().collect());
}

#[test]
fn without_catalog_and_health_axes_go_by_number() {
    let status = MachineStatus::new(&header(), &axes(), None, None, Counters::default(), 0);
    assert_eq!((status.axes[1].name.as_str(), &*status.axes[1].unit), ("axis 1", "?"));
    assert_eq!((status.reason_axis.as_deref(), status.age_ns), (Some("axis 1"), 0));
    assert!(status.to_text().contains("loop: no counters yet"));
}

#[test]
fn what_was_read_back_from_json_tells_the_same_as_the_record_it_came_from() {
    let read: MachineStatus = serde_json::from_str(&status().to_json().unwrap()).unwrap();
    assert_eq!(read.to_text(), status().to_text());
    let (told, rows) = read.record(1_000_200_000);
    let known = header();
    assert_eq!((told.cycle, told.daemon_id, told.path_id), (known.cycle, 0xfeed, 7));
    assert_eq!((told.phase, told.verdict, told.reason), (known.phase, known.verdict, known.reason));
    assert_eq!((told.reason_axis, told.flags, told.wake_ns), (1, known.flags, known.wake_ns));
    assert_eq!((told.tau_s.to_bits(), told.knots_accepted), (known.tau_s.to_bits(), 1200));
    for (told, known) in rows.iter().zip(axes()) {
        assert_eq!(told.following_error.to_bits(), known.following_error.to_bits());
        assert_eq!((told.flags, told.statusword), (known.flags, known.statusword));
    }
}

#[test]
fn the_status_of_the_largest_machine_fits_the_longest_line_and_no_number_is_read_back_as_none() {
    let long = "n".repeat(31);
    let odd = AxisState {
        position_reference: -1.234_567_890_123_456_7e-300,
        position_actual: f64::NAN,
        following_error: -1.234_567_890_123_456_7e-300,
        velocity_actual: f64::INFINITY,
        statusword: 0x0888,
        flags: axis_flag::FAULT | axis_flag::ENABLED,
        error_code: u16::MAX,
        input_age_cycles: u32::MAX,
        ..AxisState::zeroed()
    };
    let axis =
        CatalogAxis { name: name(&long), kind: AxisKind::Rotary.code(), ..CatalogAxis::zeroed() };
    let catalog = Catalog { header: catalog().header, axes: vec![axis; shm_layout::AXES_MAX] };
    let header = StateHeader { axis_count: 64, ..header() };
    let axes = [odd; shm_layout::AXES_MAX];
    let counters = Counters::default();
    let status = MachineStatus::new(&header, &axes, Some(&health()), Some(&catalog), counters, 0);
    let json = status.to_json().unwrap();
    // Room for the numbers around it.
    assert!(json.len() < kadenz_link::operate::LINE_BYTES_MAX - 4096, "{}", json.len());
    let read: MachineStatus = serde_json::from_str(&json).unwrap();
    assert!(read.axes[63].position_actual.is_nan() && read.axes[63].velocity_actual.is_nan());
}

/// Seeded bits (splitmix64), so that a failure prints one number.
struct Bits(u64);

impl Bits {
    fn words(&mut self, count: usize) -> Vec<u64> {
        let mut next = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            b ^ (b >> 31)
        };
        (0..count).map(|_| next()).collect()
    }
}

proptest! {
    #[test]
    fn any_bits_give_text_without_control_characters_and_json_that_parses(
        seed in any::<u64>(),
        now_ns in any::<u64>(),
    ) {
        let mut bits = Bits(seed);
        let words = bits.words(StateHeader::WORDS + 2 * AxisState::WORDS);
        let health_words = bits.words(Health::WORDS);
        let catalog_words = bits.words(CatalogHeader::WORDS + CatalogAxis::WORDS);
        let header = StateHeader::from_slice(&words).unwrap();
        let axes: Vec<AxisState> = words[StateHeader::WORDS..]
            .chunks_exact(AxisState::WORDS)
            .map(|chunk| AxisState::from_slice(chunk).unwrap())
            .collect();
        let health = Health::from_slice(&health_words).unwrap();
        let catalog = Catalog {
            header: CatalogHeader::from_slice(&catalog_words).unwrap(),
            axes: vec![CatalogAxis::from_slice(&catalog_words[CatalogHeader::WORDS..]).unwrap()],
        };
        let status = MachineStatus::new(
            &header, &axes, Some(&health), Some(&catalog), Counters::default(), now_ns,
        );
        prop_assert!(!status.to_line().chars().any(char::is_control));
        for line in status.lines() {
            prop_assert!(!line.text.chars().any(char::is_control));
        }
        let json = status.to_json().unwrap();
        let read: Result<MachineStatus, _> = serde_json::from_str(&json);
        prop_assert!(read.is_ok_and(|read| read.record(now_ns).1.len() == 2));
    }
}
