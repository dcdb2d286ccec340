//! The shipped units as systemd judges them: no complaint, and no more exposed than systemd.md says. Each
//! judgement is shown a unit that must not pass.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `systemd-analyze security` may say at most, in tenths, and for which units. The points that are
/// left are explained in systemd/README.md.
const EXPOSURE_MAX: [(&str, u32); 5] = [
    ("kadenzd.service", 20),
    ("kadenz-gateway@.service", 6),
    ("kadenz-planner@.service", 6),
    ("kadenz-logger@.service", 6),
    ("kadenz-monitor.service", 6),
];

/// A system that has the units, and binaries that are called as theirs are.
struct System {
    root: tempfile::TempDir,
}

impl System {
    fn installed() -> Self {
        let root = tempfile::tempdir().unwrap();
        let binaries = root.path().join("bin");
        fs::create_dir(&binaries).unwrap();
        let names =
            ["kadenzd", "kadenz-gateway", "kadenz-planner", "kadenz-logger", "kadenz-monitor"];
        for name in names {
            let path = binaries.join(name);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let output = install(
            root.path(),
            &["--prefix", "/usr", "--binaries", &binaries.display().to_string()],
        );
        assert!(output.status.success(), "{}", err(&output));
        Self { root }
    }

    fn units(&self) -> PathBuf {
        self.root.path().join("usr/lib/systemd/system")
    }

    /// Changes a unit as `edit` says, which must change something.
    fn edited(&self, unit: &str, edit: impl Fn(&str) -> String) {
        let path = self.units().join(unit);
        let before = fs::read_to_string(&path).unwrap();
        let after = edit(&before);
        assert_ne!(before, after);
        fs::write(path, after).unwrap();
    }

    /// What systemd complains of; nothing when it is content.
    fn complaints(&self) -> String {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(self.units()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 10, "{paths:?}");
        let output = analyze().args(["verify", "--man=no"]).args(paths).output();
        let output = output.expect(ANALYZE_MISSING);
        format!("{}{}", err(&output), String::from_utf8_lossy(&output.stdout))
    }

    /// Whether a unit is exposed by no more than `tenths`; what was said.
    fn is_within(&self, unit: &str, tenths: u32) -> (bool, String) {
        let output = analyze()
            .args(["security", "--no-pager", "--offline=true"])
            .arg(format!("--threshold={tenths}"))
            .arg(self.units().join(unit))
            .output()
            .expect(ANALYZE_MISSING);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("Overall exposure level"), "{told}{}", err(&output));
        (output.status.success(), told)
    }
}

const ANALYZE_MISSING: &str = "systemd-analyze is there (apt-get install systemd)";

fn analyze() -> Command {
    let mut command = Command::new("systemd-analyze");
    command.env("SYSTEMD_COLORS", "0").env("LC_ALL", "C.UTF-8");
    command
}

fn install(root: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kadenz"))
        .args(["install-units", "--root"])
        .arg(root)
        .args(more)
        .output()
        .expect("the binary was built for this test")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn systemd_has_nothing_to_complain_of_in_any_unit() {
    let system = System::installed();
    assert_eq!(system.complaints(), "");
    system.edited("kadenzd.service", |text| text.replace("WatchdogSec=", "WatchdogSeconds="));
    assert!(system.complaints().contains("WatchdogSeconds"), "a misspelt line is found");
}

#[test]
fn no_unit_is_more_exposed_than_promised() {
    let system = System::installed();
    for (unit, tenths) in EXPOSURE_MAX {
        let (within, told) = system.is_within(unit, tenths);
        assert!(within, "{unit}: above {tenths} tenths\n{told}");
        system.edited(unit, |text| text.replace("\nUser=kadenz", "\nUser=root\n#"));
        system.edited(unit, |text| text.replace("\nCapabilityBoundingSet=\n", "\n"));
        let (within, told) = system.is_within(unit, tenths);
        assert!(!within, "{unit}: root with all its rights is found\n{told}");
    }
}

#[test]
fn drop_ins_for_isolated_cpus_are_units_that_systemd_takes() {
    let root = tempfile::tempdir().unwrap();
    let binaries = std::env::current_exe().unwrap();
    let binaries = binaries.parent().unwrap().display().to_string();
    let more = ["--binaries", &binaries, "--isolate-cpus", "1", "--housekeeping-cpus", "0,2-3"];
    let output = install(root.path(), &more);
    assert!(output.status.success(), "{}", err(&output));
    let settings = root.path().join("etc/systemd/system");
    let output =
        analyze().args(["verify", "--man=no"]).arg(settings.join("kadenzrt.slice")).output();
    assert_eq!(err(&output.expect(ANALYZE_MISSING)), "");
    let drop_in = settings.join("kadenzd.service.d/50-isolated-cpus.conf");
    let drop_in = fs::read_to_string(drop_in).unwrap();
    assert!(drop_in.contains("\nSlice=kadenzrt.slice\n"), "{drop_in}");
    let clients = settings.join("kadenz-clients.slice.d/50-kadenz-housekeeping.conf");
    assert!(fs::read_to_string(clients).unwrap().ends_with("[Slice]\nAllowedCPUs=0,2-3\n"));
}

#[test]
fn what_is_installed_is_removed_again_and_the_machine_file_and_recordings_stay() {
    let root = tempfile::tempdir().unwrap();
    let more = ["--binaries", "/opt/kadenz", "--isolate-cpus", "1", "--housekeeping-cpus", "0"];
    assert!(install(root.path(), &[&more[..], &["--dry-run"]].concat()).status.success());
    assert_eq!(files(root.path()), Vec::<PathBuf>::new(), "a dry run touches nothing");
    assert!(install(root.path(), &more).status.success());
    let machine = root.path().join("etc/kadenz/machine.toml");
    fs::write(&machine, "# mine\n").unwrap();
    let recording = root.path().join("var/lib/kadenz/recordings/main/a.mcap");
    fs::create_dir_all(recording.parent().unwrap()).unwrap();
    fs::write(&recording, "recorded").unwrap();

    assert!(install(root.path(), &more).status.success(), "installing again changes nothing");
    assert_eq!(fs::read_to_string(&machine).unwrap(), "# mine\n");
    let output = install(root.path(), &["--remove"]);
    assert!(output.status.success(), "{}", err(&output));
    let kept = vec![machine.clone(), recording.clone()];
    assert_eq!(files(root.path()), kept);
    assert!(!root.path().join("etc/systemd/system/kadenzd.service.d").exists());
    assert!(install(root.path(), &["--remove"]).status.success(), "nothing to remove is no error");
}

#[test]
fn paths_that_depend_on_where_one_stands_are_a_usage_error() {
    for wrong in [["--prefix", "usr"], ["--binaries", "bin"], ["--root", "here"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kadenz"));
        let output = command.args(["install-units", "--dry-run"]).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(err(&output).contains("absolute path"), "{}", err(&output));
    }
}

/// Every file beneath `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
