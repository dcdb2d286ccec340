//! `cargo cost`: what one cycle costs, in instructions and ns, by axes and by clients.
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use clap::Parser;
use kadenzd::GatedAllocator;
use live_tests::cost::{Bench, Cost, Row};
use nix::sys::mman::{MlockAllFlags, mlockall};

#[global_allocator]
static ALLOCATOR: GatedAllocator = GatedAllocator;

/// Measures the cost of a cycle.
#[derive(Parser)]
struct Options {
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Cycles per measurement.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..))]
    cycles: u64,
    /// Runs one measurement in this process (used under callgrind and strace).
    #[arg(long, hide = true)]
    inner: bool,
    /// Axes of an inner measurement.
    #[arg(long, hide = true, default_value_t = 6)]
    axes: usize,
    /// Readers of the state ring in an inner measurement.
    #[arg(long, hide = true, default_value_t = 0)]
    clients: usize,
}

/// Cycles under callgrind: it is a thousand times slower and exact.
const COUNTED_CYCLES: u64 = 400;
/// A pass, for callgrind.
const PASS: &str = "*Loop*work*";
/// What stands for hardware within a pass.
const DRIVES: &str = "*servo_sim*Drive*exchange*";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if options.inner {
        let mut bench = Bench::moving(options.axes, options.clients, false)?;
        for _ in 0..options.cycles {
            bench.pass(|body, wake| body.servo.work(wake));
        }
        return Ok(());
    }
    // As the daemon does before its loop begins; without the right to, faults are told as they come.
    let locked = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE);
    if let Err(error) = locked {
        println!("memory is not locked ({error}): page faults are counted, and not judged");
    }
    println!("{HEAD}\n{:>8}", "axes");
    let by_axes = rows([1, 6, 32, 64].map(|axes| (axes, axes, 0)), options.cycles)?;
    println!("{:>8}   (6 axes)", "clients");
    let by_clients = rows([0, 1, 8, 32].map(|clients| (clients, 6, clients)), options.cycles)?;
    let inside = Bench::moving(6, 0, true)?.inside(options.cycles)?;
    let cost =
        Cost { by_axes, by_clients, inside, is_locked: locked.is_ok(), syscalls: syscalls()? };
    println!(
        "in {} passes (6 axes): allocations {}, page faults {}; system calls {} (the sleep is outside)",
        options.cycles, inside.allocations, inside.page_faults, cost.syscalls
    );
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", cost.json()))
            .with_context(|| path.display().to_string())?;
    }
    let broken = cost.broken();
    ensure!(broken.is_empty(), "not kept:\n  {}", broken.join("\n  "));
    Ok(())
}

const HEAD: &str = "caches warm, simulated drives told apart:\n            instructions   of it drives    \
                    ns p50   of it drives   ns/axis without   a knot, ns/axis";

/// Measures rows of (count, axes, clients), and prints each.
fn rows(what: [(usize, usize, usize); 4], cycles: u64) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (count, axes, clients) in what {
        let row = Row {
            count,
            instructions: instructions(axes, clients, PASS)?,
            drive_instructions: instructions(axes, clients, DRIVES)?,
            times: Bench::moving(axes, clients, true)?.times(cycles)?,
        };
        println!(
            "{count:>8} {:>15} {:>14} {:>9} {:>14} {:>17} {:>17}",
            row.instructions,
            row.drive_instructions,
            row.times.pass_ns,
            row.times.drives_ns,
            row.own_ns() / axes as u64,
            row.times.knot_ns / axes as u64
        );
        rows.push(row);
    }
    Ok(rows)
}

/// System calls of `COUNTED_CYCLES` passes, by strace.
fn syscalls() -> anyhow::Result<u64> {
    let total = |cycles: u64| -> anyhow::Result<u64> {
        let log = std::env::temp_dir().join(format!("kadenz-cost-{}.strace", std::process::id()));
        let status = Command::new("strace")
            .arg("-o")
            .arg(&log)
            .arg(std::env::current_exe()?)
            .args(["--inner", "--cycles", &cycles.to_string()])
            .stdout(Stdio::null())
            .status()
            .context("strace counts the system calls; install the package `strace`")?;
        ensure!(status.success(), "strace ended with {status}");
        let lines = std::fs::read_to_string(&log)?.lines().count();
        std::fs::remove_file(&log)?;
        Ok(lines as u64)
    };
    Ok(total(2 * COUNTED_CYCLES)?.saturating_sub(total(COUNTED_CYCLES)?))
}

/// Instructions of one pass within functions called `where_`, counted by callgrind.
fn instructions(axes: usize, clients: usize, where_: &str) -> anyhow::Result<u64> {
    let total = |cycles: u64| -> anyhow::Result<u64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(format!("--toggle-collect={where_}"))
            .arg(std::env::current_exe()?)
            .args(["--inner", "--axes", &axes.to_string(), "--clients", &clients.to_string()])
            .args(["--cycles", &cycles.to_string()])
            .output()
            .context("valgrind counts the instructions; install the package `valgrind`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| line.contains("Collected"));
        line.and_then(|line| line.rsplit(':').next()?.trim().parse().ok())
            .filter(|count| *count > 0)
            .with_context(|| format!("valgrind counted nothing in {where_}:\n{said}"))
    };
    // The difference leaves only whole measured cycles: warm-up and start are in both.
    Ok((total(2 * COUNTED_CYCLES)? - total(COUNTED_CYCLES)?) / COUNTED_CYCLES)
}
