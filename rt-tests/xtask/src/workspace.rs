//! Where the tree and its build results are, and the one way in which commands are started here.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The target without an operating system that the island must build for.
pub const FREESTANDING: &str = "x86_64-unknown-none";

/// The tree as cargo sees it.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder of the root manifest.
    pub root: PathBuf,
    /// Where build results go; honours `CARGO_TARGET_DIR` and cargo's configuration.
    pub target: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// What cargo said instead of an answer.
    pub fn find() -> Result<Self, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let metadata = metadata(&cargo, None, &["--no-deps"])?;
        let path = |key: &str| {
            metadata.get(key).and_then(Value::as_str).map(PathBuf::from).ok_or_else(|| {
                format!("cargo metadata names no {key}; install the cargo of rust-version or newer")
            })
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")?, cargo })
    }

    /// Cargo in the root of the tree, reading no input. Gives a command to add arguments to.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Every package of the tree and beneath it, as cargo resolved them.
    ///
    /// # Errors
    /// What cargo said instead of an answer.
    pub fn packages(&self) -> Result<Vec<Value>, String> {
        let mut metadata = metadata(&self.cargo, Some(&self.root), &[])?;
        match metadata.get_mut("packages").map(Value::take) {
            Some(Value::Array(packages)) => Ok(packages),
            _ => Err("cargo metadata names no packages".to_owned()),
        }
    }
}

fn metadata(cargo: &OsString, root: Option<&Path>, more: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1"]).args(more).stdin(Stdio::null());
    if let Some(root) = root {
        command.current_dir(root);
    }
    let text = captured(&mut command)?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// The command as a person would type it.
pub fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a command whose output goes to the terminal.
///
/// # Errors
/// The command as typed, when it cannot be started or fails.
pub fn shown(command: &mut Command) -> Result<(), String> {
    let line = typed(command);
    println!("$ {line}");
    let status = command.status().map_err(|error| format!("`{line}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}`: {status}")) }
}

/// Runs a command; its output goes to the terminal as it comes and is given back as well.
///
/// # Errors
/// The command as typed, when it cannot be started or fails.
pub fn shown_and_captured(command: &mut Command) -> Result<String, String> {
    let line = typed(command);
    println!("$ {line}");
    let failed = |error: std::io::Error| format!("`{line}`: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut text = String::new();
    // BOUND: until the child closes its output.
    for output in child.stdout.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        let output = output.map_err(failed)?;
        println!("{output}");
        text.push_str(&output);
        text.push('\n');
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(text) } else { Err(format!("`{line}`: {status}")) }
}

/// Runs a command quietly and gives what it printed.
///
/// # Errors
/// The command as typed and what it complained of, when it cannot be started or fails.
pub fn captured(command: &mut Command) -> Result<String, String> {
    let line = typed(command);
    let output = command.output().map_err(|error| format!("`{line}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("`{line}`: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
