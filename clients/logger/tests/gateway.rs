//! The whole program against the publishing side of a gateway: what is published is what is recorded.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use machine::{Gateway, Machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost::Message as _;
use reading::{read, states};
use shm_layout::code::Role;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[path = "../../link/tests/machine/mod.rs"]
mod machine;
mod reading;
mod scratch;

#[test]
fn the_program_records_every_cycle_and_event_it_is_given_and_says_where() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 6);
    gateway.publish_catalog("press");
    gateway.publish_health(5);
    machine.announce(Role::View, 1);
    let dir = scratch::fresh_dir("gateway");
    let mut process = Command::new(env!("CARGO_BIN_EXE_kadenz-logger"))
        .args(["--single", "--name", "run", "--out"])
        .arg(&dir)
        .arg("--runtime-dir")
        .arg(machine.dir.as_path())
        .env_remove("NOTIFY_SOCKET")
        .env("RUST_LOG", "info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let recording = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&recording);
    let stderr = process.stderr.take().unwrap();
    let listener = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map(Result::unwrap);
        lines
            .inspect(|line| {
                if line.contains("recording to") {
                    heard.store(true, Ordering::SeqCst);
                }
            })
            .collect::<Vec<_>>()
    });
    // Cycles at their pace until the logger has a file, then 500 more.
    let mut cycle = 0;
    let mut more = 500;
    while more > 0 {
        gateway.publish_state(cycle);
        if cycle % 10 == 0 {
            gateway.publish_event(cycle / 10, cycle);
        }
        gateway.look_for_readers();
        cycle += 1;
        more -= u64::from(recording.load(Ordering::SeqCst));
        assert!(cycle < 60_000, "the logger began no file");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), Signal::SIGTERM).unwrap();
    let output = process.wait_with_output().unwrap();
    let lines = listener.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{lines:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let path = PathBuf::from(said.strip_prefix("recording: ").unwrap().trim_end());
    assert_eq!(path, dir.join("run.mcap"));

    let cycles: Vec<u64> = states(&path).iter().map(|state| state.cycle).collect();
    let first = cycles[0];
    assert!(cycles.iter().copied().eq(first..cycle), "{first}..{cycle}: {}", cycles.len());
    let topics = read(&path);
    let numbers: Vec<u64> = topics["/events"]
        .iter()
        .map(|read| kadenz_logger::schema::message::Event::decode(&*read.data).unwrap().sequence)
        .collect();
    assert!(numbers.iter().copied().eq(numbers[0]..=(cycle - 1) / 10), "{numbers:?}");
    assert!(!topics["/health"].is_empty());
    assert!(!topics.contains_key("/gaps"));
    assert!(lines.iter().any(|line| line.contains(" 0 lost (")), "{lines:?}");
}
