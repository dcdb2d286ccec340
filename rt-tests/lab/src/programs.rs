//! This tree's programs for a guest: built for release, stripped, in one folder.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::command::{command, told};

/// The daemon is built alone: beside the others features unify, and it would carry the half of the contract that is
/// meant for iceoryx2.
const DAEMON: &str = "kadenzd";
/// What goes with it.
const OTHERS: [&str; 4] = ["kadenz", "kadenz-gateway", "kadenz-planner", "kadenz-monitor"];

/// Builds, and puts the programs into `folder`.
///
/// # Errors
/// The build, as cargo tells it on the terminal; the file system.
pub fn stage(folder: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("own path")?;
    let target = own.ancestors().nth(2).context("this program lies in no target folder")?;
    built(target, &["--package", DAEMON])?;
    let mut arguments = Vec::new();
    for name in OTHERS {
        arguments.extend(["--package", name, "--bin", name]);
    }
    built(target, &arguments)?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for name in std::iter::once(DAEMON).chain(OTHERS) {
        let from: PathBuf = target.join("release").join(name);
        let (from, to) = (from.display().to_string(), folder.join(name).display().to_string());
        told(&mut command("strip", &["-o", &to, &from])?)?;
    }
    Ok(())
}

/// Makes the Debian package of this tree.
///
/// # Errors
/// The build, as cargo tells it on the terminal; no package at its end.
pub fn package() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--package", "xtask", "--", "deb"]);
    let output = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    ensure!(output.status.success(), "`cargo run -p xtask -- deb`: {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    let path = said.lines().last().context("the package has no name")?;
    Ok(PathBuf::from(path))
}

fn built(target: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--target-dir"]).arg(target).args(arguments);
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("cargo")?;
    ensure!(status.success(), "`cargo build --release {}`: {status}", arguments.join(" "));
    Ok(())
}
