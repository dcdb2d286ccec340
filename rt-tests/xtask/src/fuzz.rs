//! libFuzzer with the stable compiler over the targets of `rt-tests/fuzz`: a short run of each with a fixed
//! seed as a gate, which must also find each planted defect, and runs as long as one likes.

use std::path::PathBuf;
use std::process::Command;

use crate::workspace::{Workspace, captured, shown, typed};

const HOST: &str = "x86_64-unknown-linux-gnu";

/// Targets and how many inputs the gate tries; counted, not timed, so that a slow host proves as much.
/// Together about half a minute on a quiet 2-CPU machine (2026-11, `cargo check-all --only fuzz`, warm).
const TARGETS: [(&str, u64); 7] = [
    ("lanes", 100_000),
    ("headers", 50_000),
    ("configuration", 20_000),
    ("requests", 100_000),
    ("handover", 50_000),
    ("recording", 20_000),
    ("island", 4_000),
];
/// Inputs within which a planted defect must be found; most take some hundred.
const PLANTED_RUNS: u64 = 300_000;

/// What cargo-fuzz would pass to the compiler for coverage, which the stable one takes as well.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How one target is run.
struct Run<'a> {
    target: &'a str,
    runs: u64,
    seed: u64,
    planted: bool,
}

/// Every target for its number of inputs, then with its defect.
///
/// # Errors
/// What was found and where it was put, which defect was not found, or what is missing to build it.
pub fn gate(workspace: &Workspace) -> Result<(), String> {
    let program = build(workspace)?;
    for (target, runs) in TARGETS {
        let mut command =
            engine(workspace, &program, "gate")(&Run { target, runs, seed: 1, planted: false })?;
        println!("$ FUZZ_TARGET={target} {}", typed(&command));
        let said = captured(&mut command);
        said.map_err(|error| {
            format!(
                "{error}\n{target}: put the input that is named above into \
                 rt-tests/fuzz/corpus/{target} and mend what it broke"
            )
        })?;
    }
    for (target, _) in TARGETS {
        let run = Run { target, runs: PLANTED_RUNS, seed: 1, planted: true };
        let mut command = engine(workspace, &program, "planted")(&run)?;
        println!("$ FUZZ_PLANTED=1 FUZZ_TARGET={target} {}", typed(&command));
        must_be_found(target, captured(&mut command))?;
    }
    Ok(())
}

/// `cargo run -p xtask -- fuzz TARGET [--runs N] [--seed S]`: goes on from the inputs that it kept.
///
/// # Errors
/// Words that are not understood, or what [`gate`] says.
pub fn run(workspace: &Workspace, words: &[String]) -> Result<(), String> {
    let wanted = wanted(words)?;
    let program = build(workspace)?;
    let mut command = engine(workspace, &program, "corpus")(&wanted)?;
    shown(&mut command)
}

fn wanted(words: &[String]) -> Result<Run<'_>, String> {
    let names = TARGETS.map(|(name, _)| name).join(", ");
    let usage = || format!("fuzz TARGET [--runs N] [--seed S]; the targets are {names}");
    let (target, options) = words.split_first().ok_or_else(usage)?;
    if !TARGETS.iter().any(|(name, _)| name == target) {
        return Err(format!("{target} is no target; {}", usage()));
    }
    let mut run = Run { target, runs: 10_000_000, seed: 1, planted: false };
    for pair in options.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse().ok()).ok_or_else(usage)?;
        match pair[0].as_str() {
            "--runs" => run.runs = number,
            "--seed" => run.seed = number,
            _ => return Err(usage()),
        }
    }
    Ok(run)
}

fn build(workspace: &Workspace) -> Result<PathBuf, String> {
    captured(Command::new("c++").arg("--version")).map_err(|error| {
        format!("{error}\nlibFuzzer is C++: install the package build-essential")
    })?;
    let target_dir = workspace.target.join("fuzz");
    let mut command = workspace.cargo(&["build", "--package", "fuzz", "--features", "engine"]);
    command.args(["--bin", "fuzz", "--target", HOST, "--target-dir"]).arg(&target_dir);
    shown(command.env("RUSTFLAGS", COVERAGE))?;
    Ok(target_dir.join(HOST).join("debug/fuzz"))
}

/// Makes the engine's command for a run. What it keeps goes to the folder `keep` under the target
/// directory, which the gate empties: it must not depend on the runs before it.
fn engine<'a>(
    workspace: &'a Workspace,
    program: &'a PathBuf,
    keep: &'a str,
) -> impl Fn(&Run<'_>) -> Result<Command, String> + 'a {
    move |run| {
        let kept = workspace.target.join("fuzz").join(keep).join(run.target);
        let found = workspace.target.join("fuzz/found");
        if keep != "corpus" && kept.exists() {
            std::fs::remove_dir_all(&kept).map_err(|error| format!("{kept:?}: {error}"))?;
        }
        for folder in [&kept, &found] {
            std::fs::create_dir_all(folder).map_err(|error| format!("{folder:?}: {error}"))?;
        }
        let name = if run.planted { "planted" } else { run.target };
        let mut command = Command::new(program);
        // The time limit guards against hanging alone; no input takes a thousandth of it.
        command.args(["-max_len=2048", "-timeout=120"]);
        command.arg(format!("-runs={}", run.runs)).arg(format!("-seed={}", run.seed));
        command.arg(format!("-artifact_prefix={}/{name}-", found.display()));
        command.arg(kept).arg(workspace.root.join("rt-tests/fuzz/corpus").join(run.target));
        command.env("FUZZ_TARGET", run.target);
        if keep != "corpus" {
            command.arg("-verbosity=0");
        }
        if run.planted {
            command.env("FUZZ_PLANTED", "1");
        }
        Ok(command)
    }
}

/// The engine must have ended at a broken promise, not well and not for another reason.
fn must_be_found(target: &str, outcome: Result<String, String>) -> Result<(), String> {
    match outcome {
        Ok(_) => Err(format!("{target}: the planted defect was not found; this gate is blind")),
        Err(said) if said.contains("panicked at") && said.contains("deadly signal") => Ok(()),
        Err(said) => Err(format!("{target}: the planted defect failed otherwise:\n{said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_folder_of_seeds_and_every_folder_a_target() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
        let mut folders: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut names = TARGETS.map(|(name, _)| name);
        folders.sort();
        names.sort_unstable();
        assert_eq!(folders, names);
    }

    #[test]
    fn a_defect_that_is_not_found_or_fails_otherwise_fails_the_gate() {
        let found = "thread panicked at lanes.rs\n==1== ERROR: libFuzzer: deadly signal";
        assert_eq!(must_be_found("lanes", Err(found.to_owned())), Ok(()));
        assert!(
            must_be_found("lanes", Ok(String::new())).is_err_and(|said| said.contains("blind"))
        );
        assert!(must_be_found("lanes", Err("no such file".to_owned())).is_err());
    }

    #[test]
    fn a_long_run_is_asked_for_by_target_runs_and_seed() {
        let words = |words: &[&str]| words.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let asked = words(&["island", "--runs", "7", "--seed", "3"]);
        let run = wanted(&asked).map(|run| (run.target.to_owned(), run.runs, run.seed));
        assert_eq!(run, Ok(("island".to_owned(), 7, 3)));
        for wrong in [&["isle"][..], &[], &["island", "--runs"], &["island", "--fast", "1"]] {
            assert!(wanted(&words(wrong)).is_err_and(|said| said.contains("the targets are")));
        }
    }
}
