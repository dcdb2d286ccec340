//! Dumps of made-up recordings: what is told, converted and refused.
use std::path::PathBuf;

use kadenz_config::{Machine, demo, effective_toml};
use kadenz_recorder::Moment;
use servo_core::inputs::{Entry, Outcome, Shape, WORDS_MAX, encode};
use servo_core::ports::{Feedback, Intake, Wake};
use shm_layout::request::Request;
use shm_layout::{AXES_MAX, LAYOUT_HASH, STAGES};

use super::*;
use shm_layout::code::{Phase, Reason, RequestKind, Verdict};

const SHAPE: Shape = Shape { axis_count: 6, bus_count: 1 };

/// A request at cycle 2, a fault of the second drive at cycle 4 that stops the machine.
fn record(cycle: u64) -> Vec<u64> {
    let mut feedback = Feedback::EMPTY;
    for axis in &mut feedback.axes {
        (axis.age_cycles, axis.position) = (0, 0.5);
    }
    feedback.axes[1].error_code = if cycle >= 4 { 0x7500 } else { 0 };
    let mut intake = Intake::empty();
    intake.request_count = usize::from(cycle == 2);
    intake.requests[0] =
        Request { kind: RequestKind::Enable.code(), peer_uid: 1001, ..Request::zeroed() };
    let (verdict, reason) = match cycle {
        4.. => (Verdict::Stop, Reason::DriveFault),
        _ => (Verdict::Hold, Reason::None),
    };
    let outcome = Outcome {
        phase: Phase::Standstill.code(),
        verdict: verdict.code(),
        reason: reason.code(),
        reason_axis: if cycle >= 4 { 1 } else { u32::MAX },
        tau_s: 1.25,
        stage_end_ns: [900; STAGES],
        digest: 0xfeed,
        positions: [0.75; AXES_MAX],
    };
    let grid_ns = 5_000_000_000 + cycle * 1_000_000;
    let wake = Wake { grid_index: cycle, grid_ns, wake_ns: grid_ns + 42_000, skipped: 0 };
    let entry =
        Entry { cycle, wake: &wake, feedback: &feedback, intake: &intake, outcome: &outcome };
    let mut words = vec![0; WORDS_MAX];
    let length = encode(SHAPE, &entry, &mut words).unwrap();
    words.truncate(length);
    words
}

/// A recording of these cycles, with some bytes of another at its end.
fn file(cycles: &[u64], tail: usize) -> (tempfile::TempDir, PathBuf) {
    let machine = Machine::from_toml("demo-arm", demo("demo-arm").unwrap()).unwrap();
    let header = Header {
        layout_hash: LAYOUT_HASH,
        daemon_id: 0xabc,
        period_ns: 1_000_000,
        shape: SHAPE,
        begun: Moment {
            boot_id: 1,
            realtime_ns: 1_764_000_000_000_000_000,
            monotonic_ns: 5_000_000_000,
        },
        ring: None,
        config: effective_toml(&machine),
    };
    let mut words = header.to_words();
    cycles.iter().for_each(|cycle| words.extend(record(*cycle)));
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let next: Vec<u8> = record(99).iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(&next[..tail]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made-up.kdzrec");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn dumped(options: &DumpOptions) -> Result<Reply, Failure> {
    dump(|| unreachable!("the file is named"), options)
}

fn of(path: &Path) -> DumpOptions {
    DumpOptions { file: Some(path.to_owned()), out: None, csv: None }
}

#[test]
fn a_dump_tells_span_wall_time_requests_faults_and_the_end() {
    let (_dir, path) = file(&[0, 1, 2, 3, 4, 5], 0);
    let reply = dumped(&of(&path)).unwrap();
    for words in [
        "recording of daemon 0000000000000abc (demo-arm, 6 axes, 1000 µs)",
        "cycles 0 to 5: 6 whole over 0.005 s, 2025-11-24T16:00:00.000Z to 2025-11-24T16:00:00.005Z",
        "nothing missing, nothing torn; it can be replayed",
        "wake-ups at most 42 µs late",
        "request enable from user 1001",
        "drive of j2 reports error 0x7500",
        "standstill, stop (drive-fault, j2)",
        "at the end, cycle 5",
        "j2           at     0.500000 rad, sent     0.750000 rad",
    ] {
        assert!(reply.text.contains(words), "{words}\n{}", reply.text);
    }
    let fields = &reply.fields;
    assert_eq!((&fields["cycles"], &fields["replayable"]), (&6.into(), &true.into()));
    assert_eq!(fields["last"]["axes"][1]["error_code"], 0x7500);
    let told: Vec<&str> = fields["happenings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|happening| happening["what"].as_str())
        .collect();
    assert_eq!(
        told,
        [
            "standstill, hold",
            "request enable from user 1001",
            "drive of j2 reports error 0x7500",
            "standstill, stop (drive-fault, j2)"
        ]
    );
}

#[test]
fn what_is_missing_or_torn_is_said_and_replay_is_not_promised() {
    let (_dir, path) = file(&[3, 4, 8], 100);
    let reply = dumped(&of(&path)).unwrap();
    for words in ["3 missing from 5", "bytes of a torn record at the end", "cannot be replayed"] {
        assert!(reply.text.contains(words), "{words}\n{}", reply.text);
    }
    assert_eq!(reply.fields["gaps"][0]["count"], 3);
    assert_eq!(reply.fields["tail_bytes"], 100);
}

#[test]
fn a_dump_is_converted_to_a_whole_recording_and_to_a_table() {
    let (dir, path) = file(&[3, 4, 5], 100);
    let (out, csv) = (dir.path().join("out.kdzrec"), dir.path().join("out.csv"));
    let options = DumpOptions { out: Some(out.clone()), csv: Some(csv.clone()), ..of(&path) };
    dumped(&options).unwrap();
    let again = Recording::read(&out).unwrap();
    assert_eq!((again.span(), again.tail_bytes()), (Some((3, 5)), 0));
    let table = std::fs::read_to_string(csv).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("cycle,utc,wake_ns,late_ns"), "{}", lines[0]);
    assert!(lines[0].contains("j2_rad,j2_sent_rad,j2_rad_s"), "{}", lines[0]);
    assert!(lines[2].starts_with("4,2025-11-24T16:00:00.004Z,5004042000,42000,0,900,0,0,standstill,stop,drive-fault,1.25,0.5,0.75"), "{}", lines[2]);
}

#[test]
fn what_cannot_be_read_is_said_with_its_remedy() {
    let (dir, path) = file(&[0], 0);
    let missing = dumped(&of(&dir.path().join("nothing"))).unwrap_err();
    assert_eq!(missing.code, EXIT_IO);
    assert!(missing.text.contains("an orderly end removes the ring"), "{}", missing.text);
    std::fs::write(&path, "a text").unwrap();
    let foreign = dumped(&of(&path)).unwrap_err();
    assert!(foreign.text.contains("no ring and no recording of Kadenz"), "{}", foreign.text);
}
