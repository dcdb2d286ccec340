//! `cargo chaos`: hostile and dying clients against a real machine, with a verdict.
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};
use live_tests::chaos::{ATTACKS, Attack, Ground, client, ground, run};

/// Lives from which on a run is thorough; below, it is a check of a minute.
const LIVES_THOROUGH: u64 = 200;

/// Attacks a real machine whose axes move, and judges what became of it.
///
/// Exit code 0 when every promise was kept.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    role: Option<Part>,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Client lives of the storm; below 200, every attack is a short one.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    lives: u64,
    /// Writes the verdict to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these attacks.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Leaves these attacks out.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    without: Vec<String>,
    /// Lists the attacks and what they test.
    #[arg(long)]
    list: bool,
    /// Folder of recordings and logs [default: a temporary one, removed when all went well].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// Plays one client; started by this program itself.
    #[command(hide = true)]
    Client(client::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.role {
        Some(Part::Client(client)) => client::run(client),
        None => chaos(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chaos(options: &Options) -> anyhow::Result<()> {
    if options.list {
        for attack in ATTACKS {
            println!("{:15} {}\n{:15} -> {}", attack.name, attack.does, "", attack.promise);
        }
        return Ok(());
    }
    let attacks = wanted(options)?;
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        ground::go_private()?;
    }
    let kept = options.out.is_some();
    let default = std::env::temp_dir().join(format!("kadenz-chaos-{}", std::process::id()));
    let out = std::path::absolute(options.out.clone().unwrap_or(default))?;
    let ground = Ground {
        out: out.clone(),
        seed: options.seed,
        lives: options.lives,
        brief: options.lives < LIVES_THOROUGH,
        is_root,
    };
    let outcome = run(&ground, &attacks)?;
    let value = outcome.json();
    for key in [
        "seconds",
        "lives",
        "actions",
        "refused",
        "cycles",
        "own_missed_cycles",
        "unexpected_motion",
        "leaked_files",
        "leaked_fds",
        "gateway_restarts",
        "recovery_ms_max",
    ] {
        println!("{key}: {}", value[key]);
    }
    if let Some(path) = &options.json {
        fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())?;
    }
    if !outcome.broken.is_empty() {
        bail!(
            "seed {}: {} promises broken, logs and recordings are in {}\n  {}",
            options.seed,
            outcome.broken.len(),
            out.display(),
            outcome.broken.join("\n  ")
        );
    }
    if !kept {
        fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    Ok(())
}

fn wanted(options: &Options) -> anyhow::Result<Vec<&'static Attack>> {
    for name in options.only.iter().chain(&options.without) {
        ensure!(
            ATTACKS.iter().any(|attack| attack.name == name),
            "no attack is called {name:?}; see --list"
        );
    }
    let is_wanted = |attack: &&Attack| {
        let named = |names: &[String]| names.iter().any(|name| name == attack.name);
        (options.only.is_empty() || named(&options.only)) && !named(&options.without)
    };
    Ok(ATTACKS.iter().filter(is_wanted).collect())
}
