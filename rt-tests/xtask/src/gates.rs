//! The gates of `cargo check-all`, cheapest first: what each one runs and what it proves.

use std::path::Path;
use std::process::Command;

use crate::workspace::{FREESTANDING, Workspace, captured, shown, shown_and_captured};
use crate::{dependencies, fuzz, licences, sanitizers, tidy};

/// One gate.
pub struct Gate {
    /// Its name, as `--only` takes it.
    pub name: &'static str,
    /// What holds when it passes.
    pub proves: &'static str,
    /// Runs it; an error says what was found, or what is missing to run it at all.
    pub run: fn(&Workspace) -> Result<(), String>,
}

/// All gates, in the order they run.
pub const GATES: &[Gate] = &[
    Gate { name: "tidy", proves: "the rules of docs/STYLE.md that text can show", run: tidy::gate },
    Gate { name: "fmt", proves: "one format", run: fmt },
    Gate {
        name: "dependencies",
        proves: "kadenzd links no iceoryx2; the island leans on nothing but its contract",
        run: dependencies::gate,
    },
    Gate { name: "licences", proves: "every dependency may be shipped", run: licences::gate },
    Gate {
        name: "clippy",
        proves: "no lint speaks, in the tree and in kadenzd alone",
        run: clippy,
    },
    Gate { name: "island", proves: "the island builds without an operating system", run: island },
    Gate {
        name: "panic-proof",
        proves: "no panic and no allocation can be reached from a cycle",
        run: panic_proof,
    },
    Gate {
        name: "tests",
        proves: "every test of the workspace, golden files included",
        run: tests,
    },
    Gate {
        name: "rtsan",
        proves: "the loop's pass calls nothing that may block (≈ 1 min cold)",
        run: sanitizers::rtsan,
    },
    Gate {
        name: "tsan",
        proves: "threads on one lane touch it by atomics alone (≈ 1 min cold)",
        run: sanitizers::tsan,
    },
    Gate {
        name: "fuzz",
        proves: "no bytes break a promise at any border they cross (≈ 2 min cold)",
        run: fuzz::gate,
    },
    Gate { name: "loom", proves: "the lanes under every interleaving within bounds", run: loom },
    Gate {
        name: "docs",
        proves: "the documentation builds and its links lead somewhere",
        run: docs,
    },
];

/// Makes sure that a tool of cargo's is there.
fn have(workspace: &Workspace, tool: &str, component: &str) -> Result<(), String> {
    captured(&mut workspace.cargo(&[tool, "--version"])).map(|_| ()).map_err(|error| {
        format!("{error}\n`cargo {tool}` is missing: rustup component add {component}")
    })
}

fn fmt(workspace: &Workspace) -> Result<(), String> {
    have(workspace, "fmt", "rustfmt")?;
    shown(&mut workspace.cargo(&["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<(), String> {
    have(workspace, "clippy", "clippy")?;
    // Features unify in a workspace build; kadenzd is shipped from a build of its own.
    for scope in [["--workspace"].as_slice(), ["--package", "kadenzd"].as_slice()] {
        let mut command = workspace.cargo(&["clippy", "--all-targets", "--keep-going"]);
        shown(command.args(scope).args(["--", "-D", "warnings"]))?;
    }
    // Binaries that link only in their own gates are no part of a workspace build.
    let mut command = workspace.cargo(&["clippy", "--package", "rtsan-proof"]);
    shown(command.args(["--features", "runtime", "--", "-D", "warnings"]))?;
    let mut command = workspace.cargo(&["clippy", "--package", "fuzz"]);
    shown(command.args(["--features", "engine", "--", "-D", "warnings"]))?;
    have_freestanding(workspace)?;
    let mut command = workspace.cargo(&["clippy", "--package", "panic-proof"]);
    command.args(["--features", "seeded-defect", "--target", FREESTANDING]);
    shown(command.args(["--", "-D", "warnings"]))
}

/// Makes sure that the freestanding target's core library is there.
fn have_freestanding(workspace: &Workspace) -> Result<(), String> {
    let mut ask = Command::new("rustc");
    ask.args(["--print", "target-libdir", "--target", FREESTANDING]).current_dir(&workspace.root);
    if captured(&mut ask).is_ok_and(|told| Path::new(told.trim()).is_dir()) {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add", FREESTANDING]).current_dir(&workspace.root);
    shown(&mut add).map_err(|error| {
        format!(
            "{error}\nThe target {FREESTANDING} is missing: install rustup, then \
             `rustup target add {FREESTANDING}`."
        )
    })
}

fn island(workspace: &Workspace) -> Result<(), String> {
    have_freestanding(workspace)?;
    let mut command = workspace.cargo(&["build", "--lib", "--no-default-features"]);
    for package in ["shm-layout", "servo-core", "servo-sim", "kadenz-lanes"] {
        command.args(["--package", package]);
    }
    shown(command.args(["--target", FREESTANDING]))
}

/// The symbol that the panic handler of panic-proof names and nobody defines.
const PANIC_SYMBOL: &str = "kadenz_island_can_panic";

fn panic_proof(workspace: &Workspace) -> Result<(), String> {
    have_freestanding(workspace)?;
    let link = |feature: &str| {
        let mut command = workspace.cargo(&["build", "--package", "panic-proof"]);
        command.args(["--profile", "panic-proof", "--target", FREESTANDING]);
        command.args(["--features", feature]);
        command
    };
    shown(&mut link("proof")).map_err(|error| {
        format!(
            "{error}\nIf `{PANIC_SYMBOL}` is undefined, something the RT thread runs can panic: \
             look for an index, a slice, a division or an unwrap in the change."
        )
    })?;
    println!("and with a planted panic, which must not link:");
    match captured(&mut link("seeded-defect")) {
        Err(said) if said.contains(PANIC_SYMBOL) => Ok(()),
        Err(said) => Err(format!("the planted panic failed to link for another reason:\n{said}")),
        Ok(_) => Err("the planted panic linked: this gate cannot find one".to_owned()),
    }
}

fn tests(workspace: &Workspace) -> Result<(), String> {
    // Tests start real processes of other packages; kadenzd last, from a build of its own.
    shown(&mut workspace.cargo(&["build", "--workspace", "--bins", "--exclude", "kadenzd"]))?;
    shown(&mut workspace.cargo(&["build", "--package", "kadenzd", "--bins"]))?;
    shown(&mut workspace.cargo(&["test", "--workspace", "--no-fail-fast"]))
}

fn loom(workspace: &Workspace) -> Result<(), String> {
    let target = workspace.target.join("loom");
    let mut command = workspace.cargo(&["test", "--release", "--package", "kadenz-lanes"]);
    command.arg("--target-dir").arg(target).args(["--test", "loom"]);
    command.env("RUSTFLAGS", "--cfg loom");
    // Without the flag the file is empty, and an empty run proves nothing.
    match shown_and_captured(&mut command)? {
        told if told.contains("test result: ok. 0 passed") => {
            Err("no model ran: the flag `--cfg loom` did not reach the compiler".to_owned())
        }
        _ => Ok(()),
    }
}

fn docs(workspace: &Workspace) -> Result<(), String> {
    let mut command = workspace.cargo(&["doc", "--workspace", "--no-deps", "--keep-going"]);
    shown(command.env("RUSTDOCFLAGS", "-D warnings"))
}
