//! The JSON Schema of machine files: golden, valid in itself, and, by somebody else's validator, never
//! narrower than the reader. `KADENZ_BLESS=1` rewrites the golden file.
#![expect(clippy::unwrap_used, reason = "in a test helper a panic is the verdict")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use kadenz_config::{DEMO_NAMES, Machine, demo, effective_toml, json_schema};
use serde_json::Value;

const MINIMAL: &str = include_str!("minimal.toml");

/// Bad files that a schema cannot refuse: each value is fit by itself, they do not fit each other.
const ACROSS_KEYS: [&str; 11] = [
    "duplicate_names",
    "gateway_passes_out_of_order",
    "no_roles",
    "no_roles_no_host",
    "overrun_count_without_policy",
    "position_limits_swapped",
    "too_short_horizon",
    "unknown_references",
    "unused_bus_and_group",
    "weak_motor",
    "wrapping_position",
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/machine.schema.json")
}

/// What JSON has no word for (no number, a date) becomes null, which no key may be.
fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(whole) => whole.into(),
        toml::Value::Float(real) => real.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(_) => Value::Null,
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, to_json(value))).collect()
        }
    }
}

fn document(text: &str) -> Option<Value> {
    text.parse::<toml::Table>().ok().map(|table| to_json(table.into()))
}

/// A Python with the pinned validator, kept between runs; tests that run at once install it once.
static PACKAGES: LazyLock<PathBuf> = LazyLock::new(packages);

fn packages() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kadenz-config-python");
    let done = dir.join("installed.txt");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return dir;
    }
    let _ = fs::remove_dir_all(&dir);
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&dir)
        .arg("-r")
        .arg(&requirements)
        .output();
    let output = output.expect("install the packages python3 and python3-pip");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}; install python3-pip; pip needs a package index");
    fs::write(done, wanted).unwrap();
    dir
}

/// The validator's word on each document: `valid`, or what is wrong.
fn judge(documents: &[Value]) -> Vec<String> {
    let schema = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine.schema.json");
    fs::write(&schema, json_schema()).unwrap();
    let mut process = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate.py"))
        .arg(&schema)
        .env("PYTHONPATH", &*PACKAGES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("install the package python3");
    let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
    let mut stdin = process.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the validator ended with {}", output.status);
    let words: Vec<_> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(words.len(), documents.len());
    words
}

#[test]
fn the_schema_in_the_documentation_is_the_readers_own() {
    let made = json_schema();
    if std::env::var_os("KADENZ_BLESS").is_some() {
        fs::write(golden(), &made).unwrap();
    }
    let kept = fs::read_to_string(golden()).unwrap_or_default();
    let lines = kept.lines().zip(made.lines()).enumerate();
    let differing = lines.map(|(at, pair)| (at + 1, pair)).find(|(_, (kept, made))| kept != made);
    assert!(
        kept == made,
        "docs/machine.schema.json is another, first at {differing:?} (line, kept, made); \
         KADENZ_BLESS=1 rewrites it; it needs a line in CHANGELOG.md"
    );
}

#[test]
fn every_shipped_machine_is_valid_as_written_and_with_every_default_spelled_out() {
    let texts = DEMO_NAMES.map(|name| demo(name).unwrap().to_owned());
    let effective = texts
        .clone()
        .map(|text| effective_toml(&Machine::from_toml("shipped.toml", &text).unwrap()));
    let minimal = Machine::from_toml("minimal.toml", MINIMAL).unwrap();
    let roles = format!(
        "{MINIMAL}\n[roles]\nview = \"v\"\nplan = \"p\"\n[overrun]\npolicy = \"stop-after\"\n"
    );
    let roles = roles.replace("[host]\n", "[host]\ncpu = 3\n");
    Machine::from_toml("roles.toml", &roles).unwrap();
    let more = [MINIMAL.to_owned(), effective_toml(&minimal), roles];
    let all: Vec<_> =
        texts.iter().chain(&effective).chain(&more).map(|text| document(text).unwrap()).collect();
    assert_eq!(judge(&all), vec!["valid"; all.len()]);
}

#[test]
fn bad_files_are_refused_unless_only_their_values_disagree_with_each_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut names: Vec<String> = fs::read_dir(folder.clone())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    let read = |name: &String| {
        let text = fs::read_to_string(folder.join(format!("{name}.toml"))).ok()?;
        Some((name.clone(), document(&text)?))
    };
    // What is no TOML never reaches a schema.
    let (names, documents): (Vec<_>, Vec<_>) = names.iter().filter_map(read).unzip();
    let words = judge(&documents);
    let passed: Vec<_> = names
        .iter()
        .zip(&words)
        .filter(|(_, word)| *word == "valid")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(passed, ACROSS_KEYS, "{words:#?}");
    assert!(names.len() > 20, "only {} bad files are TOML", names.len());
}

#[test]
fn a_number_outside_its_range_is_refused_with_the_bound() {
    let wrong = [
        ("= 3.0", "= -3e9", "-3000000000.0 is less than the minimum of"),
        ("= 1335088.44", "= 1e11", "100000000000.0 is greater than the maximum of"),
        ("[host]", "[source]\nlease_ms = 10001\n[host]", "10001 is greater than the maximum of"),
        ("[host]", "[recorder]\nring_s = 1.5\n[host]", "1.5 is not of type 'integer'"),
    ];
    let documents = wrong.map(|(from, to, _)| document(&MINIMAL.replace(from, to)).unwrap());
    for (said, (_, to, place)) in judge(&documents).iter().zip(wrong) {
        assert!(said.contains(place), "{to}: {said}");
    }
}

#[test]
fn what_the_reader_accepts_the_schema_accepts() {
    // Every line of a machine in turn left out, and with other values: what the reader still takes.
    let values = ["0", "1", "1000", "-0.5", "1e-6", "true", "\"last\"", "\"kadenz\"", "[]"];
    let texts = DEMO_NAMES.map(|name| demo(name).unwrap()).into_iter().chain([MINIMAL]);
    let mut accepted = Vec::new();
    for text in texts {
        let lines: Vec<&str> = text.lines().collect();
        for at in 0..lines.len() {
            let Some((key, _)) = lines[at].split_once('=') else { continue };
            let others = values.iter().map(|value| format!("{key}= {value}"));
            for line in others.chain([String::new()]) {
                let mut lines = lines.clone();
                lines[at] = &line;
                let text = lines.join("\n");
                if Machine::from_toml("f.toml", &text).is_ok() {
                    accepted.push(document(&text).unwrap());
                }
            }
        }
    }
    assert!(accepted.len() > 100, "only {} accepted", accepted.len());
    let refused: Vec<_> = judge(&accepted).into_iter().filter(|word| word != "valid").collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
