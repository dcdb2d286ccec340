//! Programs of the host, run one way: none outlives us, and one that fails is told as it was typed.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};

use crate::sys::dies_with_us;

/// Lines of a failed program's words that are repeated.
const LINES_TOLD: usize = 15;

/// Where a program lies, `/usr/sbin` and `/sbin` included.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let folders = folders.chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A command that reads nothing, speaks plain English, and ends with us.
///
/// # Errors
/// The program is not installed.
pub fn command<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> anyhow::Result<Command> {
    let path = find(program).with_context(|| format!("`{program}` is not installed"))?;
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    dies_with_us(&mut command);
    Ok(command)
}

/// Runs it to its end; gives what it printed.
///
/// # Errors
/// It cannot be started, or fails: what it said last.
pub fn told(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| typed(command))?;
    judge(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a shell's words in `folder`, for what is a pipe of two programs. `$1`, `$2`… are `arguments`.
///
/// # Errors
/// As [`told`].
pub fn piped<A: AsRef<OsStr>>(folder: &Path, words: &str, arguments: &[A]) -> anyhow::Result<()> {
    let mut command = command("bash", &["-euo", "pipefail", "-c", words, "lab"])?;
    told(command.args(arguments).current_dir(folder)).map(drop)
}

fn judge(command: &Command, output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n  ");
    bail!("`{}`: {}\n  {last}", typed(command), output.status)
}

/// The command as a person would type it.
fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_told_as_typed_with_its_last_words() {
        let words = ["-c", "echo first; echo last >&2; exit 3"];
        let said = told(&mut command("sh", &words).unwrap()).unwrap_err().to_string();
        assert!(said.starts_with("`sh -c echo first"), "{said}");
        assert!(said.contains("exit status: 3") && said.ends_with("last"), "{said}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let said = command("no-such-program", &[""; 0]).unwrap_err().to_string();
        assert_eq!(said, "`no-such-program` is not installed");
    }

    #[test]
    fn a_pipe_fails_when_its_first_half_does() {
        let here = Path::new("/");
        assert!(piped(here, "false | cat", &[""; 0]).is_err());
        piped(here, "test \"$1\" = one && true | cat", &["one"]).unwrap();
    }
}
