//! `cargo lab`: the command line of the lab.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use lab::checks::{Check, Finding, Verdict};
use lab::latency::{golden, outcome};
use lab::{Boot, Guest, Isolation, Lab, RootKind};
use lab::{acceptance, checks, grounds, programs};

/// The lab itself failed (sysexits has no word for it; `timeout` and `git bisect` use the same).
const EXIT_LAB: u8 = 125;

/// Periods of each part of a measurement, unless told otherwise.
const CYCLES: u32 = 3_000;

/// A real PREEMPT_RT kernel with systemd as PID 1, in a virtual machine, for any command.
///
/// The exit code is that of the command; 125 when the lab itself failed. What is built is kept in target/lab, or in
/// $KADENZ_LAB_CACHE.
#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo lab", max_term_width = 100)]
struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fetches and builds everything the others need.
    Build {
        /// Forgets what was built: a newer kernel may have come.
        #[arg(long)]
        fresh: bool,
    },
    /// Runs a command under systemd in namespaces of this host: no RT kernel, up in less than a second.
    Namespaces(RunOptions),
    /// Runs a command on the RT kernel, restored from a snapshot in about two seconds.
    Warm(RunOptions),
    /// Runs a command on the RT kernel, freshly booted in about ten seconds.
    Cold(RunOptions),
    /// Runs a command on the RT kernel in counted time: two nanoseconds per instruction, the same in every run.
    Icount(RunOptions),
    /// Compares kadenzd's wake-up latency with cyclictest's in counted time, beside clients that come, stay and are
    /// killed. Fails when kadenzd is more than a microsecond later, or other than it was.
    Latency(LatencyOptions),
    /// Puts the package to the test: installed, started, moved, killed, frozen, upgraded and removed on the RT
    /// kernel under systemd.
    Acceptance {
        /// The package [default: one made of this tree].
        #[arg(long, value_name = "FILE")]
        deb: Option<PathBuf>,
        /// Writes the findings to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Everything the lab can show, check by check.
    All {
        /// Writes the findings to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct LatencyOptions {
    /// Periods of each part of each run; more than 10,000 would outlast the path that the axes follow.
    #[arg(long, default_value_t = CYCLES, value_parser = clap::value_parser!(u32).range(1_000..=10_000))]
    cycles: u32,
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Takes what is found for the golden figures.
    #[arg(long)]
    write_golden: bool,
}

#[derive(clap::Args)]
struct RunOptions {
    /// What the root file system holds.
    #[arg(long, value_enum, default_value_t = RootKind::Pruned)]
    root: RootKind,
    /// How others are kept off the isolated CPUs.
    #[arg(long, value_enum, default_value_t = Isolation::Boot)]
    isolate: Isolation,
    /// A folder that stands at /host in the guest.
    #[arg(long, value_name = "DIR")]
    host_dir: Option<PathBuf>,
    /// CPUs of the guest.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    cpus: u32,
    /// How many of them, the last, others are kept off.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=15))]
    isolated: u32,
    /// Counts time as icount does, in a guest that is talked to: no slow or busy host is seen in it.
    #[arg(long)]
    counted: bool,
    /// How long booting, and the command, may take, s.
    #[arg(long, value_name = "S", default_value_t = 300)]
    patience: u64,
    /// The command, run by bash in the guest.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(EXIT_LAB)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<u8> {
    let cache = cache_folder()?;
    match &options.verb {
        Verb::Build { fresh } => build(&cache, *fresh),
        Verb::Namespaces(options) => attended(&cache, options, Lab::namespaces),
        Verb::Warm(options) => attended(&cache, options, Lab::warm),
        Verb::Cold(options) => attended(&cache, options, Lab::cold),
        Verb::Icount(options) => {
            let output = Lab::open(&cache)?.icount(&options.boot(), &options.script())?;
            print!("{}", output.said);
            Ok(exit_code(output.code))
        }
        Verb::Latency(options) => latency(&cache, options),
        Verb::Acceptance { deb, json } => {
            let begun = Instant::now();
            let deb = match deb {
                Some(deb) => deb.clone(),
                None => programs::package()?,
            };
            let findings = acceptance::check(&Lab::open(&cache)?, &deb);
            tell(&findings, json.as_deref(), begun)
        }
        Verb::All { json } => all(&cache, json.as_deref()),
    }
}

/// What `cargo lab latency` asks, as one check among the others.
const LATENCY: [Check<Lab>; 1] = [Check {
    name: "in counted time kadenzd wakes no more than a microsecond later than cyclictest",
    run: |lab| {
        let outcome = outcome::measure(lab, CYCLES)?;
        println!("{}", outcome.text());
        let broken = outcome.broken(&golden::path())?;
        Ok(if broken.is_empty() { Verdict::Passed } else { Verdict::Failed(broken.join("; ")) })
    },
}];

fn all(cache: &Path, json: Option<&Path>) -> anyhow::Result<u8> {
    let begun = Instant::now();
    let mut lab = Lab::open(cache)?;
    lab.build()?;
    let mut findings = grounds::check(&mut lab);
    findings.extend(checks::run(&LATENCY, &mut lab));
    findings.extend(acceptance::check(&lab, &programs::package()?));
    tell(&findings, json, begun)
}

fn tell(findings: &[Finding], json: Option<&Path>, begun: Instant) -> anyhow::Result<u8> {
    let (passed, failed, skipped) = checks::counts(findings);
    if let Some(path) = json {
        let text = format!("{:#}\n", checks::json(findings));
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    println!(
        "{passed} passed, {failed} failed, {skipped} skipped in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(u8::from(failed > 0))
}

fn latency(cache: &Path, options: &LatencyOptions) -> anyhow::Result<u8> {
    let outcome = outcome::measure(&Lab::open(cache)?, options.cycles)?;
    println!("{}", outcome.text());
    if options.write_golden {
        golden::write(&golden::path(), &outcome.golden())?;
    }
    let broken = outcome.broken(&golden::path())?;
    if let Some(path) = &options.json {
        let mut value = outcome.json();
        value["not_kept"] = broken.clone().into();
        std::fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())?;
    }
    for line in &broken {
        eprintln!("not kept: {line}");
    }
    Ok(u8::from(!broken.is_empty()))
}

impl RunOptions {
    fn boot(&self) -> Boot {
        Boot {
            root: self.root,
            isolation: self.isolate,
            cpus: self.cpus,
            isolated: self.isolated,
            host_dir: self.host_dir.clone(),
            counted: self.counted,
            patience: Duration::from_secs(self.patience),
            ..Boot::default()
        }
    }

    fn script(&self) -> String {
        self.command.join(" ")
    }
}

/// `lab` in the target folder of the build that made us, or where the environment says.
fn cache_folder() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("KADENZ_LAB_CACHE").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let own = std::env::current_exe().context("own path")?;
    let target = own.ancestors().nth(2).context("this program lies in no target folder")?;
    Ok(target.join("lab"))
}

fn build(cache: &Path, fresh: bool) -> anyhow::Result<u8> {
    let begun = Instant::now();
    if fresh && cache.exists() {
        std::fs::remove_dir_all(cache).with_context(|| cache.display().to_string())?;
    }
    let lab = Lab::open(cache)?;
    lab.build()?;
    println!(
        "lab: {} ({}) in {}, {:.1} s",
        lab.kernel().release,
        lab.kernel().package_version,
        lab.cache().root().display(),
        begun.elapsed().as_secs_f64()
    );
    Ok(0)
}

/// Runs a command in a guest that is talked to, its output passed on as it comes.
fn attended(
    cache: &Path,
    options: &RunOptions,
    start: impl FnOnce(&Lab, &Boot) -> anyhow::Result<Guest>,
) -> anyhow::Result<u8> {
    let lab = Lab::open(cache)?;
    let mut guest = start(&lab, &options.boot())?;
    let mut out = std::io::stdout();
    let code = guest.run_to(&options.script(), &[], &mut out)?;
    out.flush().context("writing the output")?;
    Ok(exit_code(code))
}

fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(EXIT_LAB)
}
