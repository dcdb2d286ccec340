//! The program as people and service managers meet it: words, exit codes, signals.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use kadenz_logger::clock::UnixOffset;
use kadenz_logger::encode::StateEncoder;
use kadenz_logger::file::Recording;
use kadenz_logger::schema::Topic;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

mod scratch;
mod synthetic;

fn logger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kadenz-logger"));
    command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY").env("RUST_LOG", "info");
    command
}

#[test]
fn recover_prints_the_absolute_path_of_each_copy_and_fails_for_what_is_none() {
    let dir = scratch::fresh_dir("cli-recover");
    let machine = synthetic::machine(1, 1_000_000);
    let offset = UnixOffset { offset_ns: 0 };
    let mut given_up = Recording::create(&dir.join("a.mcap"), &machine, offset, 0).unwrap();
    let (header, axes) = synthetic::state(&machine, 0);
    let mut bytes = Vec::new();
    StateEncoder::new(&machine.axes).encode(&header, &axes, &mut bytes);
    given_up.write(Topic::State, 0, header.wake_ns, &bytes).unwrap();
    given_up.flush().unwrap();
    let left = given_up.give_up(&anyhow::anyhow!("test"));
    assert!(left.flushed_is_safe);
    std::fs::write(dir.join("b.mcap"), "nothing").unwrap();

    let output = logger().arg("recover").arg(dir.join("a.mcap.part")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("recording: {}\n", dir.join("a.mcap").display()));
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("2 messages, 0 damaged"), "{told}");
    let output = logger().arg("recover").arg(dir.join("b.mcap")).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("b.mcap") && said.contains("no whole message"), "{said}");
}

#[test]
fn a_logger_without_a_machine_waits_in_words_and_ends_well_on_sigterm() {
    let dir = scratch::fresh_dir("cli-wait");
    let mut process = logger()
        .arg("--out")
        .arg(dir.join("out"))
        .arg("--runtime-dir")
        .arg(dir.join("run"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let waiting = lines.next().unwrap().unwrap();
    assert!(waiting.contains("waiting:") && waiting.contains("cli-wait/run"), "{waiting}");
    kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("0 cycles written, 0 lost")), "{rest:?}");
}

#[test]
fn a_name_that_is_taken_or_no_name_is_refused_before_anything_is_recorded() {
    let dir = scratch::fresh_dir("cli-name");
    std::fs::write(dir.join("taken.mcap"), "").unwrap();
    for name in ["taken", "../up", ""] {
        let output =
            logger().args(["--single", "--name", name, "--out"]).arg(&dir).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--name"), "{name:?}");
    }
}
