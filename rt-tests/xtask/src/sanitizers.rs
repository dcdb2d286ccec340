//! The gates of the sanitizers that come with the compiler: RealtimeSanitizer over the loop's pass,
//! ThreadSanitizer over the lanes. Each also runs planted defects, which must be reported.

use std::path::PathBuf;
use std::process::Command;

use crate::workspace::{Workspace, captured, shown, typed};

/// The target whose runtimes are used.
const HOST: &str = "x86_64-unknown-linux-gnu";
/// Reports begin with this.
const RTSAN_SAYS: &str = "ERROR: RealtimeSanitizer";
const TSAN_SAYS: &str = "WARNING: ThreadSanitizer: data race";

/// A sanitizer's runtime, as shipped with the compiler.
fn runtime(workspace: &Workspace, name: &str) -> Result<PathBuf, String> {
    let mut ask = Command::new("rustc");
    ask.args(["--print", "target-libdir", "--target", HOST]).current_dir(&workspace.root);
    let folder = PathBuf::from(captured(&mut ask)?.trim());
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{folder:?}: {error}"))?;
    let end = format!("_rt.{name}.a");
    let mut found = entries.flatten().map(|entry| entry.path());
    found.find(|path| path.to_string_lossy().ends_with(&end)).ok_or_else(|| {
        format!("{}: no runtime `*{end}`; install rustc 1.95 or newer by rustup", folder.display())
    })
}

/// The loop's whole pass must call nothing of the C library that may block; each planted call must be
/// reported.
///
/// # Errors
/// The report, or which defect went by unnoticed.
pub fn rtsan(workspace: &Workspace) -> Result<(), String> {
    let runtime = runtime(workspace, "rtsan")?;
    let mut build = workspace.cargo(&["rustc", "--package", "rtsan-proof", "--features"]);
    build.args(["runtime", "--bin", "rtsan-proof", "--", "-C"]);
    // To the linker alone: nothing else is built anew, nothing shipped ever sees it.
    shown(build.arg(format!("link-arg={}", runtime.display())))?;
    let program = workspace.target.join("debug/rtsan-proof");
    shown(&mut Command::new(&program))?;
    for (defect, intercepted) in [("allocation", "alloc"), ("file", "open"), ("lock", "syscall")] {
        let mut command = Command::new(&program);
        must_report(command.arg(defect), &[RTSAN_SAYS, intercepted])?;
    }
    Ok(())
}

/// Threads on one mapping of lanes must race nowhere; a reader without atomics must be reported.
///
/// # Errors
/// The report, that the race went by unnoticed, or the package that is missing.
pub fn tsan(workspace: &Workspace) -> Result<(), String> {
    runtime(workspace, "tsan")?;
    let have = captured(Command::new("setarch").args(["-R", "true"]));
    have.map_err(|error| {
        format!("{error}\nThe sanitizer wants addresses that are not random: install util-linux")
    })?;
    shown(&mut tsan_test(workspace, &[]))?;
    must_report(
        &mut tsan_test(workspace, &["--ignored", "--exact", "a_reader_without_atomics"]),
        &[TSAN_SAYS, "GaugeWriter"],
    )
}

/// The lanes' threads, built with the sanitizer; `more` goes to the test harness.
fn tsan_test(workspace: &Workspace, more: &[&str]) -> Command {
    let cargo = workspace.cargo(&["test", "--package", "kadenz-lanes", "--test", "threads"]);
    let mut command = Command::new("setarch");
    command.arg("-R").arg(cargo.get_program()).args(cargo.get_args()).current_dir(&workspace.root);
    // A target is named so that build scripts and macros are left as they are.
    command.args(["--target", HOST, "--target-dir"]).arg(workspace.target.join("tsan"));
    command.arg("--").args(more).stdin(std::process::Stdio::null());
    let quiet = workspace.root.join("daemon/lanes/tests/tsan.supp");
    command.env("TSAN_OPTIONS", format!("history_size=4 suppressions={}", quiet.display()));
    // The flag is unstable by name only: the runtime is shipped with the stable compiler.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer");
    command
}

/// Runs a command that must fail with a report that says all of `words`.
///
/// # Errors
/// It ended well, or failed with other words.
fn must_report(command: &mut Command, words: &[&str]) -> Result<(), String> {
    let line = typed(command);
    println!("$ {line} (a planted defect, which must be reported)");
    match captured(command) {
        Ok(_) => Err(format!("`{line}`: the planted defect was not reported; this gate is blind")),
        Err(said) if words.iter().all(|word| said.contains(word)) => Ok(()),
        Err(said) => {
            Err(format!("the planted defect failed otherwise than with {words:?}:\n{said}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_defect_that_goes_by_or_fails_otherwise_fails_the_gate() {
        let report = "echo 'ERROR: RealtimeSanitizer: call to malloc' >&2; exit 43";
        assert_eq!(must_report(&mut shell(report), &[RTSAN_SAYS, "alloc"]), Ok(()));
        let other = must_report(&mut shell(report), &[RTSAN_SAYS, "open"]);
        assert!(other.is_err_and(|said| said.contains("otherwise")));
        let unnoticed = must_report(&mut shell("exit 0"), &[RTSAN_SAYS]);
        assert!(unnoticed.is_err_and(|said| said.contains("blind")));
    }
}
