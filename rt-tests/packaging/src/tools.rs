//! Programs of the host that a package is made with.
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Runs a program, with `paths` behind its arguments, and hears nothing of it unless it fails.
pub(crate) fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    captured(program, arguments, paths).map(|_| ())
}

/// The same; gives what it printed.
pub(crate) fn captured(
    program: &str,
    arguments: &[&str],
    paths: &[&Path],
) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .args(paths)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| {
            format!("{program}: not there; install it (apt-get install {})", home(program))
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}\n{}", arguments.join(" "), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The Debian package that a program comes from.
fn home(program: &str) -> &str {
    match program {
        "dpkg-deb" => "dpkg",
        "strip" => "binutils",
        other => other,
    }
}
