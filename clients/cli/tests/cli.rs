//! The binary as a person or a script meets it, without a machine: help, usage, files, absent processes.
use std::path::Path;
use std::process::{Command, Output};

/// Help texts, verbatim; a change of them is a change of the interface.
const HELP_GOLDEN: &str = include_str!("help.txt");

const VERBS: [&str; 15] = [
    "status",
    "incidents",
    "enable",
    "disable",
    "run",
    "hold",
    "resume",
    "stop",
    "override",
    "check",
    "doctor",
    "up",
    "install-units",
    "recorder",
    "recorder dump",
];

fn kadenz(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kadenz"))
        .args(args)
        .env_remove("KADENZ_RUNTIME_DIR")
        .output()
        .expect("the binary was built for this test")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("words are UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("words are UTF-8")
}

fn json(output: &Output) -> serde_json::Value {
    let text = out(output);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A runtime directory without a machine, short enough for a socket.
fn nowhere() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("/dev/shm takes directories")
}

#[test]
fn help_is_the_golden_text() {
    let mut text = String::new();
    let pages = std::iter::once(vec!["--help"])
        .chain(VERBS.map(|verb| verb.split(' ').chain(["--help"]).collect()));
    for args in pages {
        let output = kadenz(&args);
        assert_eq!(code(&output), 0);
        text.push_str(&format!("$ kadenz {}\n{}\n", args.join(" "), out(&output)));
    }
    if std::env::var_os("KADENZ_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt"), &text).unwrap();
        return;
    }
    assert_eq!(text, HELP_GOLDEN, "set KADENZ_BLESS to accept the new text");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let wrong: [&[&str]; 10] = [
        &[],
        &["top"],
        &["override"],
        &["override", "1.5"],
        &["override", "nan"],
        &["run"],
        &["run", "a.csv", "--speed", "5"],
        &["check"],
        &["up"],
        &["up", "--demo", "demo-arm", "--config", "a.toml"],
    ];
    for args in wrong {
        assert_eq!(code(&kadenz(args)), 2, "{args:?}");
    }
    let object = json(&kadenz(&["--json", "override", "1.5"]));
    assert_eq!((&object["ok"], &object["exit_code"]), (&false.into(), &2.into()));
    assert!(object["error"].as_str().is_some_and(|text| text.contains("from 0 to 1")), "{object}");
    assert_eq!(code(&kadenz(&["status", "--runtime-dir", "relative/dir"])), 2);
    assert_eq!(code(&kadenz(&["check", "notes.txt"])), 2);
    let without_machine = kadenz(&["check", "a.csv"]);
    assert_eq!(code(&without_machine), 2);
    assert!(err(&without_machine).contains("--machine FILE.toml"), "{}", err(&without_machine));
}

#[test]
fn without_a_daemon_every_operating_verb_ends_with_69_and_names_what_to_start() {
    let dir = nowhere();
    let at = dir.path().to_str().unwrap();
    let verbs: [&[&str]; 6] =
        [&["enable"], &["disable"], &["hold"], &["resume"], &["stop"], &["override", "0.5"]];
    for verb in verbs {
        let output = kadenz(&[verb, &["--runtime-dir", at]].concat());
        assert_eq!(code(&output), 69, "{verb:?}");
        let text = err(&output);
        assert!(text.contains("operate.sock") && text.contains("start kadenzd"), "{text}");
        assert!(text.contains("kadenz up") && text.contains(at), "{text}");
        assert!(out(&output).is_empty());
    }
}

#[test]
fn with_a_daemon_but_without_a_gateway_the_gateway_is_named() {
    let dir = nowhere();
    let at = dir.path().to_str().unwrap();
    let _daemon = std::os::unix::net::UnixListener::bind(dir.path().join("handover.sock")).unwrap();
    let output = kadenz(&["hold", "--runtime-dir", at]);
    assert_eq!(code(&output), 69);
    let text = err(&output);
    assert!(text.contains("start `kadenz-gateway --role operate"), "{text}");
}

#[test]
fn status_without_a_machine_says_so_in_words_and_in_json() {
    let dir = nowhere();
    let at = dir.path().to_str().unwrap();
    let words = kadenz(&["status", "--runtime-dir", at]);
    assert_eq!(code(&words), 69);
    assert!(err(&words).contains("start kadenzd"), "{}", err(&words));
    let object = json(&kadenz(&["status", "--json", "--runtime-dir", at]));
    assert_eq!(object["schema_version"], 1);
    assert_eq!(object["verb"], "status");
    assert_eq!(object["ok"], false);
    assert_eq!(object["exit_code"], 69);
    assert!(object["error"].as_str().unwrap().contains("start kadenzd"));
}

#[test]
fn run_names_an_unreadable_file_and_an_absent_planner() {
    let dir = nowhere();
    let at = dir.path().to_str().unwrap();
    let missing = kadenz(&["run", "/nonexistent/a.csv", "--runtime-dir", at]);
    assert_eq!(code(&missing), 74);
    assert!(err(&missing).contains("/nonexistent/a.csv"));
    let file = dir.path().join("a.csv");
    std::fs::write(&file, "t_s,j1_rad\n0,0\n1,0.1\n").unwrap();
    let output = kadenz(&["run", file.to_str().unwrap(), "--runtime-dir", at]);
    assert_eq!(code(&output), 69);
    assert!(err(&output).contains("kadenz-planner"), "{}", err(&output));
    std::fs::write(&file, b"t_s,j1_rad\n0,\xff\n").unwrap();
    let output = kadenz(&["run", file.to_str().unwrap(), "--runtime-dir", at]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("a.csv:2:3"), "{}", err(&output));
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("the directory is ours");
    path.display().to_string()
}

#[test]
fn a_good_machine_file_passes_and_its_printed_configuration_passes_again() {
    let dir = nowhere();
    let file = write(dir.path(), "arm.toml", kadenz_config::demo("demo-arm").unwrap());
    let object = json(&kadenz(&["check", &file, "--json"]));
    let hash = object["files"][0]["config_sha256"].as_str().unwrap().to_owned();
    let printed = kadenz(&["check", &file, "--print-config"]);
    assert_eq!(code(&printed), 0);
    assert!(out(&printed).contains(&hash));
    let again = write(dir.path(), "again.toml", &out(&printed));
    let object = json(&kadenz(&["check", &again, "--json"]));
    assert_eq!(object["files"][0]["config_sha256"], hash.as_str());
}

#[test]
fn the_schema_of_machine_files_is_printed_as_it_stands_in_the_documentation() {
    let printed = kadenz(&["check", "--schema"]);
    assert_eq!(code(&printed), 0);
    assert_eq!(out(&printed), include_str!("../../../docs/machine.schema.json"));
    let object = json(&kadenz(&["check", "--schema", "--json"]));
    assert_eq!(object["schema"]["required"][0], "machine");
    assert_eq!(code(&kadenz(&["check", "--schema", "arm.toml"])), 2);
}

#[test]
fn every_mistake_in_every_file_is_shown_and_78_wins() {
    let dir = nowhere();
    let bad = kadenz_config::demo("demo-arm").unwrap().replace("period_us = 1000", "period_us = 7");
    let bad = bad.replace("lease_ms = 50", "lease_ms = \"long\"");
    let machine = write(dir.path(), "bad.toml", &bad);
    let far = write(dir.path(), "far.csv", "t_s,j1_rad\n0,0\n1,90\n");
    let args = ["check", &machine, &far, "--demo", "demo-arm"];
    let output = kadenz(&args);
    assert_eq!(code(&output), 78);
    let text = err(&output);
    for wanted in ["period_us", "lease_ms", "far.csv:2", "degrees"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let object = json(&kadenz(&[&args[..], &["--json"]].concat()));
    assert!(object["files"][0]["findings"].as_array().unwrap().len() >= 2);
    assert!(object["files"][1]["violations"].as_u64().unwrap() > 0);
}

#[test]
fn a_trajectory_within_limits_passes_with_its_duration_and_what_it_uses() {
    let dir = nowhere();
    let file = write(dir.path(), "slow.csv", "t_s,j1_rad\n0,0\n1,0.05\n2,0\n");
    let output = kadenz(&["check", &file, "--demo", "demo-arm", "--json"]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    let found = &json(&output)["files"][0];
    assert!((found["duration_s"].as_f64().unwrap() - 2.0).abs() < 1e-9);
    let share = found["utilisation"][0]["velocity"].as_f64().unwrap();
    assert!(share > 0.0 && share < 0.8);
    let slower = json(&kadenz(&["check", &file, "--demo", "demo-arm", "--speed", "0.5", "--json"]));
    assert!((slower["files"][0]["duration_s"].as_f64().unwrap() - 4.0).abs() < 1e-9);
}

#[test]
fn up_refuses_a_bad_file_and_a_served_directory_before_it_starts_anything() {
    let dir = nowhere();
    let at = dir.path().to_str().unwrap();
    let bad = write(dir.path(), "bad.toml", "[machine]\n");
    let output = kadenz(&["up", "--config", &bad, "--runtime-dir", at]);
    assert_eq!(code(&output), 78);
    assert!(err(&output).contains("bad.toml:"), "{}", err(&output));
    assert_eq!(code(&kadenz(&["up", "--demo", "demo-leg", "--runtime-dir", at])), 2);
    let door = dir.path().join("handover.sock");
    let _daemon = std::os::unix::net::UnixListener::bind(&door).unwrap();
    let output = kadenz(&["up", "--demo", "demo-arm", "--runtime-dir", at]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("serves there already"), "{}", err(&output));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
