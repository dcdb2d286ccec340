//! `cargo demo`, `cargo latency`, `cargo cost`, `cargo chaos`, and `deb`: build every process, then become the program
//! that drives or packs them. What it measures and promises is that program's business.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::workspace::{Workspace, shown};

/// Packages whose binaries a machine is made of, kadenzd apart.
const PROCESSES: [&str; 5] =
    ["kadenz", "kadenz-gateway", "kadenz-planner", "kadenz-monitor", "kadenz-logger"];

/// Builds, and replaces this process by the program called `name`, with `arguments` as they came.
///
/// # Errors
/// The build that failed, or why the program could not be started. It does not return otherwise.
pub fn run(workspace: &Workspace, name: &str, arguments: &[String]) -> Result<(), String> {
    // Alone: beside the others, features unify and the daemon would be built with the half of the
    // contract that is meant for iceoryx2.
    let mut daemon = workspace.cargo(&["build", "--release", "--package", "kadenzd"]);
    shown(&mut daemon)?;
    // All others in one build, so that what they share is compiled once.
    let home = if name == "deb" { "packaging" } else { "live-tests" };
    let mut others = workspace.cargo(&["build", "--release", "--package", home, "--bin", name]);
    for process in PROCESSES {
        others.args(["--package", process, "--bin", process]);
    }
    shown(&mut others)?;

    // The caller's directory is kept, so that relative paths mean what they say.
    let program = workspace.target.join("release").join(name);
    let error = Command::new(&program).args(arguments).exec();
    Err(format!("{}: {error}", program.display()))
}
