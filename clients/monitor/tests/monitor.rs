//! The monitor as a process, against a gateway's publishing side played by the test.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]
#[path = "../../link/tests/machine/mod.rs"]
mod machine;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use machine::{Gateway, Machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shm_layout::code::Role;

fn monitor(machine: &Machine, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kadenz-monitor"));
    command.arg("--runtime-dir").arg(machine.dir.as_path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A monitor whose lines the test waits for while it publishes.
struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).unwrap_or(());
        });
        Self { child, lines }
    }

    /// The next line that contains `part`; `publish` runs about once per millisecond meanwhile.
    fn line_with(&self, part: &str, mut publish: impl FnMut()) -> String {
        loop {
            publish();
            match self.lines.recv_timeout(Duration::from_millis(1)) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("ended without a line with {part:?}"),
            }
        }
    }

    fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn publish_all(gateway: &Gateway, cycle: &mut u64) {
    gateway.publish_state(*cycle);
    gateway.publish_health(*cycle);
    gateway.look_for_readers();
    *cycle += 1;
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn once_without_a_machine_ends_with_69_and_says_what_is_missing() {
    let machine = Machine::new();
    let output = monitor(&machine, &["--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let (out, err) = texts(&output);
    assert!(out.is_empty(), "{out}");
    assert!(err.contains("view gateway has not been started"), "{err}");
}

#[test]
fn once_shows_the_whole_picture_as_one_object() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 6);
    gateway.publish_catalog("press");
    machine.announce(Role::View, 1);
    let watched = Watched::start(monitor(&machine, &["--once", "--json"]));
    let mut cycle = 0;
    let line = watched.line_with("{", || publish_all(&gateway, &mut cycle));
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&json["machine"], &json["schema_version"]), (&"press".into(), &1.into()));
    assert_eq!(json["axes"].as_array().unwrap().len(), 6);
    let mut child = watched.child;
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn another_contract_ends_once_with_69_naming_both() {
    let machine = Machine::new();
    let mut gateway = Gateway::start(&machine, Role::View, 1, 1);
    gateway.layout_hash = 0xbad;
    machine.announce(Role::View, 1);
    let mut child = monitor(&machine, &["--once"]).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        gateway.publish_state(1);
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let (_, err) = texts(&output);
    assert!(
        err.contains("0x0000000000000bad") && err.contains("install the same version"),
        "{err}"
    );
}

#[test]
fn on_a_pipe_it_says_that_the_gateway_went_and_came_back_and_ctrl_c_ends_it_cleanly() {
    let machine = Machine::new();
    let watched = Watched::start(monitor(&machine, &[]));
    watched.line_with("waiting: ", || ());
    let mut cycle = 0;
    let first = Gateway::start(&machine, Role::View, 1, 2);
    machine.announce(Role::View, 1);
    watched.line_with("cycle", || publish_all(&first, &mut cycle));
    drop(first);
    watched.line_with("waiting: ", || ());
    let second = Gateway::start(&machine, Role::View, 2, 2);
    machine.announce(Role::View, 2);
    let back = watched.line_with("back: ", || publish_all(&second, &mut cycle));
    assert!(back.starts_with("back: 1 reconnects"), "{back}");
    watched.line_with("cycle", || publish_all(&second, &mut cycle));
    assert_eq!(watched.interrupt(), Some(0));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let mut child = monitor(&machine, &[]).spawn().unwrap();
    drop(child.stdout.take());
    let mut cycle = 0;
    let status = loop {
        publish_all(&gateway, &mut cycle);
        std::thread::yield_now();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(0));
}
