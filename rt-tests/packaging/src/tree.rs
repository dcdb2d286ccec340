//! The files of the package, as they will lie on a system.
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use shm_layout::LAYOUT_HASH;

use crate::{PROGRAMS, manuals, tools};

/// The tree's root.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Documentation: file of the tree, name in the package.
const DOCUMENTS: [(&str, &str); 8] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "changelog"),
    ("docs/ARCHITECTURE.md", "ARCHITECTURE.md"),
    ("docs/CONTRACT.md", "CONTRACT.md"),
    ("docs/HAZARDS.md", "HAZARDS.md"),
    ("docs/HOST.md", "HOST.md"),
    ("docs/machine.schema.json", "machine.schema.json"),
    ("rt-tests/packaging/debian/copyright", "copyright"),
];
/// Trajectories to begin with.
const EXAMPLES: [&str; 2] = [
    "clients/planner/trajectories/iso9283_arm.csv",
    "clients/planner/trajectories/pocket_contour.csv",
];

/// A directory with nothing in it, whatever was there.
pub(crate) fn empty(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| path.display().to_string());
        }
        _ => {}
    }
    directory(path, "").map(|_| ())
}

/// `place` beneath `root`, made with all its parents.
pub(crate) fn directory(root: &Path, place: &str) -> anyhow::Result<PathBuf> {
    let path = root.join(place);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&path)
        .with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Puts everything beneath `root`; programs come from `binaries`.
pub(crate) fn fill(root: &Path, binaries: &Path) -> anyhow::Result<()> {
    let programs = directory(root, "usr/bin")?;
    for program in PROGRAMS {
        let path = programs.join(program);
        copied(&binaries.join(program), &path)?;
        tools::run("strip", &["--strip-unneeded"], &[&path])?;
    }
    units(root, &binaries.join("kadenz"))?;
    manuals::write(root)?;

    let documents = directory(root, "usr/share/doc/kadenz")?;
    for (source, name) in DOCUMENTS {
        copied(&Path::new(SOURCES).join(source), &documents.join(name))?;
    }
    let examples = directory(root, "usr/share/doc/kadenz/examples")?;
    for source in EXAMPLES {
        let name = Path::new(source).file_name().unwrap_or_default();
        copied(&Path::new(SOURCES).join(source), &examples.join(name))?;
    }
    // What the maintainer's scripts compare: gateways of another contract would be refused.
    let contract = directory(root, "usr/share/kadenz")?.join("contract");
    fs::write(&contract, format!("{LAYOUT_HASH:#018x}\n"))
        .with_context(|| contract.display().to_string())?;

    compress(&root.join("usr/share/man"), |_| true)?;
    compress(&documents, |name| name == "changelog")?;
    modes(root)
}

/// Units, users, rules and the machine file, as the command line tool installs them.
fn units(root: &Path, kadenz: &Path) -> anyhow::Result<()> {
    let fixed = ["install-units", "--prefix", "/usr", "--binaries", "/usr/bin", "--root"];
    tools::run(&kadenz.display().to_string(), &fixed, &[root])
}

fn copied(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Compresses files of a folder and what is beneath it, without their times.
fn compress(folder: &Path, is_meant: impl Fn(&str) -> bool + Copy) -> anyhow::Result<()> {
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            compress(&path, is_meant)?;
        } else if is_meant(&name) {
            tools::run("gzip", &["-9", "-n"], &[&path])?;
        }
    }
    Ok(())
}

/// Programs may be run by all, everything may be read by all, nothing may be written but by root.
fn modes(folder: &Path) -> anyhow::Result<()> {
    for path in entries(folder)? {
        let is_program = path.parent().is_some_and(|parent| parent.ends_with("usr/bin"));
        let mode = if path.is_dir() || is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .with_context(|| path.display().to_string())?;
        if path.is_dir() {
            modes(&path)?;
        }
    }
    Ok(())
}

/// What is in a folder, in order.
pub(crate) fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || folder.display().to_string();
    let listed: Result<Vec<_>, _> = fs::read_dir(folder).with_context(failed)?.collect();
    let mut paths: Vec<PathBuf> =
        listed.with_context(failed)?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
