//! A host that is not the one that was judged: a real daemon refuses to enable until a person says so.
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kadenzd::boot::replay::replay_bytes;
use live_tests::{binary, ends_with_us};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Turns of a loop that waits for other processes: a guard against hanging, not a limit in time.
const TURNS_MAX: u32 = 6000;
const TURN: Duration = Duration::from_millis(10);

/// A machine with a state directory of its own.
struct Site {
    home: PathBuf,
    runtime_dir: PathBuf,
    up: Option<Child>,
}

impl Site {
    fn make() -> Self {
        let home = std::env::temp_dir().join(format!("kadenz-host-{}", std::process::id()));
        let _none_left = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).expect("a folder");
        let runtime_dir = PathBuf::from(format!("/dev/shm/kdz-host-{}", std::process::id()));
        Self { home, runtime_dir, up: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("kadenz").expect("built programs"));
        command.arg("--runtime-dir").arg(&self.runtime_dir);
        command.env("KADENZ_STATE_DIR", &self.home).stdin(Stdio::null());
        command
    }

    fn kadenz(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("built programs run")
    }

    fn recording(&self) -> PathBuf {
        self.home.join("inputs.kdzrec")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("up.log")).unwrap_or_default()
    }

    /// Starts the set and waits until it can be looked at.
    fn start(&mut self) {
        let log = File::create(self.home.join("up.log")).expect("a log");
        let mut command = self.command();
        command
            .args(["up", "--demo", "demo-arm", "--without", "logger,planner", "--record"])
            .arg(self.recording())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .process_group(0);
        ends_with_us(&mut command);
        self.up = Some(command.spawn().expect("built programs run"));
        for _ in 0..TURNS_MAX {
            if self.kadenz(&["status"]).status.success() {
                return;
            }
            std::thread::sleep(TURN);
        }
        panic!("no machine came up:\n{}", self.log());
    }

    fn end(&mut self) {
        let Some(mut up) = self.up.take() else { return };
        let pid = Pid::from_raw(i32::try_from(up.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("our child");
        assert!(up.wait().expect("our child").success(), "{}", self.log());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _gone = up.kill();
            let _gone = up.wait();
        }
        let _gone = fs::remove_dir_all(&self.runtime_dir);
        if !std::thread::panicking() {
            let _gone = fs::remove_dir_all(&self.home);
        }
    }
}

fn words(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).expect("words are UTF-8")
}

/// Writes down a host like this one but for its clock source.
fn write_down_another_host(home: &Path) {
    let file = home.join("host.json");
    let text = fs::read_to_string(&file).expect("it was written down");
    let mut stored: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    stored["clock_source"] = "sundial".into();
    fs::write(&file, stored.to_string()).expect("our file");
}

#[test]
fn a_changed_host_is_enabled_only_by_somebody_who_acknowledges_it_and_that_is_recorded() {
    let mut site = Site::make();
    // A host that was never judged raises no question.
    site.start();
    let enabled = site.kadenz(&["enable"]);
    assert!(enabled.status.success(), "{}", words(&enabled));
    assert!(site.log().contains("no fingerprint of this host"), "{}", site.log());
    site.end();

    // Judged by what the doctor itself would store, whatever this host is fit for.
    kadenz_host::Fingerprint::of(&kadenz_host::Files::here())
        .store(&site.home.join("host.json"))
        .expect("our folder");
    site.start();
    let enabled = site.kadenz(&["enable"]);
    assert!(enabled.status.success(), "the host is as it was: {}", words(&enabled));
    site.end();

    write_down_another_host(&site.home);
    site.start();
    assert!(site.log().contains("clock source was `sundial`"), "{}", site.log());
    let refused = site.kadenz(&["enable", "--json"]);
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    let reply: serde_json::Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!(reply["outcome"], "host-changed");
    assert!(reply["host_changes"][0].as_str().unwrap_or_default().contains("sundial"), "{reply}");
    for way_out in ["kadenz doctor", "--acknowledge-host"] {
        assert!(reply["error"].as_str().unwrap_or_default().contains(way_out), "{reply}");
    }
    assert!(words(&site.kadenz(&["status"])).contains("disabled"));

    let enabled = site.kadenz(&["enable", "--acknowledge-host"]);
    assert!(enabled.status.success(), "{}", words(&enabled));
    // It holds for this life of the daemon.
    let disabled = site.kadenz(&["disable"]);
    assert!(disabled.status.success(), "{}", words(&disabled));
    let again = site.kadenz(&["enable"]);
    assert!(again.status.success(), "{}", words(&again));
    site.end();

    // An input like any other: the recording repeats it bit for bit and tells of it.
    let recording = site.recording();
    let replayed = replay_bytes(&fs::read(&recording).expect("recorded")).expect("a recording");
    assert_eq!(replayed.diverged_at, None);
    let told = words(&site.kadenz(&["recorder", "dump", &recording.to_string_lossy()]));
    assert!(told.contains("not the one that was judged"), "{told}");
    assert!(told.contains("acknowledging the changed host"), "{told}");
}
