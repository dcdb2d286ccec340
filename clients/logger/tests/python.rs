//! A recording opens in the readers people use: the public Python packages for MCAP and protobuf.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use kadenz_logger::clock::UnixOffset;
use kadenz_logger::plan::Plan;
use kadenz_logger::queue::Inlet;
use kadenz_logger::tally::Tally;
use kadenz_logger::writer::FileWriter;
use shm_layout::code::{EventKind, Phase};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::state::NO_AXIS;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

mod scratch;
mod synthetic;

fn run(command: &mut Command, remedy: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {remedy}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}; {remedy}");
    output
}

/// A Python with the pinned packages, kept between runs.
fn packages() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kadenz-logger-python");
    let done = dir.join("installed.txt");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return dir;
    }
    let _ = std::fs::remove_dir_all(&dir);
    run(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg("--target")
            .arg(&dir)
            .arg("-r")
            .arg(&requirements),
        "install the packages python3 and python3-pip; pip needs a package index",
    );
    std::fs::write(done, wanted).unwrap();
    dir
}

#[test]
fn python_reads_back_what_was_written() {
    let machine = synthetic::machine(6, 1_000_000);
    let offset = UnixOffset { offset_ns: 1_700_000_000_000_000_000 };
    let tally = Arc::new(Tally::default());
    let (mut inlet, outlet) = Inlet::with_pages(machine.clone(), offset, Arc::clone(&tally), 1000);
    let made: Vec<_> = (0..2_000u64)
        .filter(|cycle| *cycle != 1_000)
        .map(|cycle| {
            let (mut header, axes) = synthetic::state(&machine, cycle);
            header.reason_axis = NO_AXIS;
            (header, axes)
        })
        .collect();
    for (header, axes) in &made {
        inlet.state(header, axes);
    }
    let mut event = Event::zeroed();
    event.kind = EventKind::PhaseChanged.code();
    event.code = Phase::Moving.code();
    event.detail = Phase::Standstill.code();
    event.wake_ns = made[0].0.wake_ns;
    inlet.event(&event);
    let mut health = Health::zeroed();
    health.cycles = 4_711;
    health.sampled_ns = made[0].0.wake_ns;
    inlet.health(&health);
    inlet.finish();
    let plan = Plan::new(scratch::fresh_dir("python"), Some("run".into()), None);
    let mut file = PathBuf::new();
    FileWriter::new(plan, offset, tally, |path| file = path.into()).run(&outlet);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_back.py");
    let output = run(
        Command::new("python3").arg(script).arg(&file).env("PYTHONPATH", packages()),
        "install the package python3",
    );
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts =
        serde_json::json!({"/catalog": 1, "/state": 1_999, "/gaps": 1, "/events": 1, "/health": 1});
    assert_eq!(read["counts"], counts);
    assert_eq!(read["statistics"], 2_003);
    assert_eq!((&read["first_cycle"], &read["last_cycle"]), (&0.into(), &1_999.into()));
    assert_eq!(read["gaps"], 1);
    assert_eq!(read["gap_markers"], serde_json::json!([[1_000, 1_000]]));
    assert_eq!(read["metadata"]["kadenz"]["machine_name"], "bench/6 axes");
    assert_eq!(read["attachments"]["catalog.json"]["period_ns"], 1_000_000);
    assert_eq!(read["units"], serde_json::json!(["rad", "m", "rad", "m", "rad", "m"]));
    assert_eq!(read["event"], serde_json::json!(["moving", "standstill"]));
    assert_eq!(read["health_cycles"], 4_711);
    let (header, axes) = made.last().unwrap();
    let state = &read["state"];
    assert_eq!(state["log_time"], offset.unix_ns(header.wake_ns));
    assert_eq!((&state["sequence"], &state["wake_ns"]), (&1_999.into(), &header.wake_ns.into()));
    assert_eq!(state["phase"], "PHASE_MOVING");
    assert_eq!(state["reason_axis_present"], false);
    assert_eq!(state["axes"][5], "axis6");
    let positions: Vec<f64> = axes.iter().map(|axis| axis.position_actual).collect();
    assert_eq!(state["position_actual"], serde_json::json!(positions));
    assert!(state["fields"].as_array().unwrap().contains(&"following_error".into()));
}
