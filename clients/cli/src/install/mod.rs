//! `kadenz install-units`: makes systemd know the binaries that lie beside this one, and forget them again.
//! Recordings and a changed machine file are never touched.

mod files;
mod machine_file;
mod cpus;
mod running;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::files::Planned;
use crate::args::InstallOptions;
use crate::reply::{EXIT_PERMISSION, EXIT_SYSTEM, EXIT_USAGE, Failure, Reply};

/// The machine of `kadenzd.service`, beneath the root.
const MACHINE_FILE: &str = "/etc/kadenz/machine.toml";
/// Where everything is recorded to.
const RECORDINGS: &str = "/var/lib/kadenz";

/// Installs or removes what `options` ask for.
pub(crate) fn install(options: &InstallOptions) -> Result<Reply, Failure> {
    for (option, path) in [("--root", &options.root), ("--prefix", &options.prefix)] {
        if !path.is_absolute() {
            let text = format!("{option} {}: give an absolute path", path.display());
            return Err(Failure::new(EXIT_USAGE, text));
        }
    }
    if options.remove { remove(options) } else { add(options) }
}

fn add(options: &InstallOptions) -> Result<Reply, Failure> {
    let mut planned = files::planned(&options.prefix, &binaries(options)?);
    planned.extend(options.isolate_cpus.iter().flat_map(|list| cpus::isolated(list)));
    planned.extend(options.housekeeping_cpus.iter().flat_map(|list| cpus::housekeeping(list)));
    let machine = Planned { path: MACHINE_FILE.into(), text: machine_file::text()? };
    let keeps_machine = beneath(&options.root, &machine.path).exists();
    if !keeps_machine {
        planned.push(machine);
    }
    let paths: Vec<PathBuf> = planned.iter().map(|one| beneath(&options.root, &one.path)).collect();
    let mut lines: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if keeps_machine {
        lines.push(format!("{MACHINE_FILE} is there and stays as it is"));
    }
    if options.dry_run {
        lines.insert(0, "would write:".to_owned());
        return Ok(reply(lines, &paths, false));
    }
    for (one, path) in planned.iter().zip(&paths) {
        write(path, &one.text).map_err(|error| refused(path, &error))?;
    }
    lines.insert(0, "written:".to_owned());
    lines.extend(running::made_known(&options.root, &options.prefix)?);
    lines.push(
        "`systemctl enable --now kadenz.target` starts the machine, now and at boot".to_owned(),
    );
    Ok(reply(lines, &paths, true))
}

fn remove(options: &InstallOptions) -> Result<Reply, Failure> {
    let planned = files::planned(&options.prefix, Path::new("/"));
    let settings = cpus::all();
    let paths = planned.iter().chain(&settings).map(|one| beneath(&options.root, &one.path));
    let paths: Vec<PathBuf> = paths.filter(|path| path.symlink_metadata().is_ok()).collect();
    let mut lines: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    lines.push(format!("kept: {MACHINE_FILE}, and what was recorded, in {RECORDINGS}"));
    if options.dry_run {
        lines.insert(0, "would stop kadenz.target and remove:".to_owned());
        return Ok(reply(lines, &paths, false));
    }
    // Units that run need their files to be stopped by.
    running::stopped(&options.root)?;
    for path in &paths {
        fs::remove_file(path).map_err(|error| refused(path, &error))?;
        // A drop-in's directory, if it was ours alone.
        if let Some(parent) =
            path.parent().filter(|parent| parent.extension() == Some("d".as_ref()))
        {
            let _in_use_is_fine = fs::remove_dir(parent);
        }
    }
    lines.insert(0, "removed:".to_owned());
    lines.extend(running::made_forget(&options.root)?);
    Ok(reply(lines, &paths, true))
}

/// The directory that units start binaries from: this program's own unless told otherwise.
fn binaries(options: &InstallOptions) -> Result<PathBuf, Failure> {
    if let Some(directory) = &options.binaries {
        if directory.is_absolute() {
            return Ok(directory.clone());
        }
        let text = format!("--binaries {}: give an absolute path", directory.display());
        return Err(Failure::new(EXIT_USAGE, text));
    }
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(EXIT_SYSTEM, format!("finding own executable: {error}")))?;
    let directory = own.parent().unwrap_or(Path::new("/")).to_path_buf();
    if !directory.join("kadenzd").is_file() {
        let text = format!(
            "{}: kadenzd is not there; install all binaries in one directory, or name theirs with \
             --binaries",
            directory.display()
        );
        return Err(Failure::new(EXIT_SYSTEM, text));
    }
    Ok(directory)
}

/// An absolute `path` as it is called from outside of `root`.
fn beneath(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Writes a whole file or none, with modes that do not depend on who installs.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    let draft = path.with_extension("kadenz-new");
    fs::write(&draft, text)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))?;
    fs::rename(&draft, path)
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    let (code, remedy) = match error.kind() {
        ErrorKind::PermissionDenied => (EXIT_PERMISSION, "; run as root (sudo)"),
        _ => (EXIT_SYSTEM, ""),
    };
    Failure::new(code, format!("{}: {error}{remedy}", path.display()))
}

fn reply(lines: Vec<String>, paths: &[PathBuf], done: bool) -> Reply {
    let files: Vec<Value> = paths.iter().map(|path| path.display().to_string().into()).collect();
    Reply::new(0, lines.join("\n")).with("files", files).with("done", done)
}
