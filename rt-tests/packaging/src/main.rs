//! The Debian package, made of binaries that lie beside this one: `cargo run -p xtask -- deb`. Builds nothing.

mod manuals;
mod tree;
mod control;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

/// The programs of the package, each its own binary.
const PROGRAMS: [&str; 6] =
    ["kadenz", "kadenzd", "kadenz-gateway", "kadenz-planner", "kadenz-logger", "kadenz-monitor"];

/// Makes target/debian/kadenz_VERSION_ARCHITECTURE.deb.
#[derive(Debug, Parser)]
#[command(name = "deb", version)]
struct Options {
    /// Where the package goes [default: debian, in the directory above the binaries'].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Leaves the package unpacked: for a test, in which size does not matter.
    #[arg(long)]
    uncompressed: bool,
}

fn main() -> ExitCode {
    match package(&Options::parse()) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("deb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn package(options: &Options) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding own executable")?;
    let binaries = own.parent().context("an executable lies in a directory")?;
    for program in PROGRAMS {
        if !binaries.join(program).is_file() {
            bail!(
                "{}: {program} is not there; `cargo run -p xtask -- deb` builds all of them",
                binaries.display()
            );
        }
    }
    let beside = || binaries.parent().unwrap_or(binaries).join("debian");
    let out = options.out.clone().unwrap_or_else(beside);
    let out = std::path::absolute(out).context("--out")?;
    let stage = out.join("root");
    tree::empty(&stage)?;
    tree::fill(&stage, binaries)?;
    let architecture = architecture()?;
    control::write(&stage, architecture)?;
    let version = env!("CARGO_PKG_VERSION");
    let path = out.join(format!("kadenz_{version}_{architecture}.deb"));
    build(&stage, &path, options.uncompressed)?;
    std::fs::remove_dir_all(&stage).with_context(|| stage.display().to_string())?;
    Ok(path)
}

fn build(stage: &Path, path: &Path, uncompressed: bool) -> anyhow::Result<()> {
    let mut arguments = vec!["--root-owner-group"];
    if uncompressed {
        arguments.push("-Znone");
    }
    arguments.push("--build");
    tools::run("dpkg-deb", &arguments, &[stage, path])
}

/// What Debian calls the architecture that this was built for.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("architecture {other}: Debian's name for it is not known here; add it"),
    }
}
