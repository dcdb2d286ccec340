//! What the running system is told about files that came or went: users, directories, rules, units. A
//! system that is not running, or not this one, reads them when it starts.
use std::path::Path;
use std::process::Command;

use super::files;
use crate::reply::{EXIT_SYSTEM, Failure};

/// There while systemd is the service manager (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

fn is_booted(root: &Path) -> bool {
    root == Path::new("/") && Path::new(BOOTED).is_dir()
}

/// Makes users and directories, loads rules, settings and units; what else has to be done, in words.
pub(crate) fn made_known(root: &Path, prefix: &Path) -> Result<Vec<String>, Failure> {
    if !is_booted(root) {
        return Ok(vec![
            "systemd does not run here: it takes all of this in when it starts".to_owned(),
        ]);
    }
    let path = |path: std::path::PathBuf| path.display().to_string();
    run("systemd-sysusers", &[&path(files::sysusers(prefix))])?;
    run("systemd-tmpfiles", &["--create", &path(files::tmpfiles(prefix))])?;
    run("/lib/systemd/systemd-sysctl", &[&path(files::sysctl(prefix))])?;
    run("systemctl", &["daemon-reload"])?;
    // A host without udev (a container) has no devices to care for.
    let rules = run("udevadm", &["control", "--reload"])
        .and_then(|()| run("udevadm", &["trigger", "--subsystem-match=misc"]));
    Ok(rules
        .err()
        .map(|failure| format!("udev rules wait for udev: {}", failure.text))
        .into_iter()
        .collect())
}

/// Stops everything of Kadenz, motion first, and takes it out of the boot.
pub(crate) fn stopped(root: &Path) -> Result<(), Failure> {
    if !is_booted(root) {
        return Ok(());
    }
    run("systemctl", &["disable", "--now", "kadenz.target"])?;
    // Waits for the end, of what was started by hand as well.
    run("systemctl", &["stop", "kadenzd.service", "kadenz.slice"])
}

/// Units that are gone are known no more; what else has to be done, in words.
pub(crate) fn made_forget(root: &Path) -> Result<Vec<String>, Failure> {
    if is_booted(root) {
        run("systemctl", &["daemon-reload"])?;
    }
    Ok(Vec::new())
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let typed = std::iter::once(program).chain(arguments.iter().copied());
    let typed = typed.collect::<Vec<_>>().join(" ");
    let failed = |what: String| Failure::new(EXIT_SYSTEM, format!("`{typed}`: {what}"));
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.trim())))
}
