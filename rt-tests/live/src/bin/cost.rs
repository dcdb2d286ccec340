//! `cargo cost`: what one cycle costs, in instructions and ns, by axes and by clients.
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use clap::Parser;
use kadenz_lanes::BroadcastReader;
use kadenzd::GatedAllocator;
use kadenzd::rt::clock::now_ns;
use live_tests::body::{Body, machine_of};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;
use servo_core::ports::Wake;
use shm_layout::code::Phase;

#[global_allocator]
static ALLOCATOR: GatedAllocator = GatedAllocator;

/// Measures the cost of a cycle.
#[derive(Parser)]
struct Options {
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Cycles per measurement.
    #[arg(long, default_value_t = 20_000)]
    cycles: u64,
    /// Runs one measurement in this process (used under callgrind).
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
/// Cycles after which the wave runs at full amplitude.
const WARM_UP: u64 = 4_000;

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
        println!("{}", measure(options.axes, options.clients, options.cycles)?);
        return Ok(());
    }
    // As the daemon does before its loop begins; without the right to, faults are told as they come.
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
        println!("memory is not locked ({error}): page faults will be counted");
    }
    let mut by_axes = Vec::new();
    println!(
        "{:>6} {:>14} {:>10} {:>10}   (simulated drives included)",
        "axes", "instructions", "ns p50", "ns/axis"
    );
    for axes in [1, 6, 32, 64] {
        let ns = measure(axes, 0, options.cycles)?;
        let instructions = count(axes, 0)?;
        println!("{axes:>6} {instructions:>14} {ns:>10} {:>10.0}", ns as f64 / axes as f64);
        by_axes.push(json!({"axes": axes, "instructions": instructions, "ns": ns}));
    }
    let mut by_clients = Vec::new();
    println!("{:>6} {:>14} {:>10}   (6 axes)", "readers", "instructions", "ns p50");
    for clients in [0, 1, 8, 32] {
        let ns = measure(6, clients, options.cycles)?;
        let instructions = count(6, clients)?;
        println!("{clients:>6} {instructions:>14} {ns:>10}");
        by_clients.push(json!({"clients": clients, "instructions": instructions, "ns": ns}));
    }
    let Inside { allocations, page_faults } = inside(options.cycles)?;
    let syscalls = syscalls()?;
    println!(
        "in {} passes (6 axes): allocations {allocations}, page faults {page_faults}; \
         system calls {syscalls} (the sleep is outside)",
        options.cycles
    );
    let counts: Vec<&serde_json::Value> =
        by_clients.iter().map(|one: &serde_json::Value| &one["instructions"]).collect();
    let flat = counts.windows(2).all(|pair| pair[0] == pair[1]);
    if let Some(path) = &options.json {
        let value = json!({
            "schema_version": 1, "by_axes": by_axes, "by_clients": by_clients,
            "allocations": allocations, "page_faults": page_faults, "syscalls": syscalls,
        });
        std::fs::write(path, format!("{value:#}\n"))?;
    }
    ensure!(flat, "the cost of a pass depends on how many read it: {counts:?}");
    ensure!(allocations + syscalls == 0, "the passes allocated or called the kernel");
    Ok(())
}

/// What the passes did that they must not do.
struct Inside {
    allocations: u64,
    page_faults: i64,
}

/// A moving body, its wave at full amplitude, and what is needed to run it pass by pass.
struct Bench {
    body: Body,
    readers: Vec<BroadcastReader<'static>>,
    words: Vec<u64>,
    index: u64,
}

impl Bench {
    fn moving(axes: usize, clients: usize) -> anyhow::Result<Self> {
        let body = Body::new(&machine_of(axes)?)?;
        let readers = (0..clients).map(|_| body.state_reader()).collect::<anyhow::Result<_>>()?;
        let mut bench = Self { body, readers, words: vec![0; 4096], index: 0 };
        for _ in 0..WARM_UP {
            bench.pass(|body, wake| body.servo.work(wake));
        }
        let state = &bench.body.servo.state;
        ensure!(
            state.guard.phase == Phase::Moving,
            "the axes should move; phase {:?}, refused {:?}",
            state.guard.phase,
            state.motion.refusal
        );
        Ok(bench)
    }

    /// One pass, run by `work`, then the readers, as gateways read.
    fn pass<T>(&mut self, work: impl FnOnce(&mut Body, &Wake) -> T) -> T {
        let index = self.index;
        self.index += 1;
        if index == 100 {
            self.body.enable();
        }
        if index.is_multiple_of(4) && index > 300 {
            self.body.feed();
        }
        let due_ns = 1_000_000_000 + index * self.body.servo.setup.period_ns;
        let wake =
            Wake { grid_index: index, grid_ns: due_ns, wake_ns: due_ns + 10_000, skipped: 0 };
        let worked = work(&mut self.body, &wake);
        for reader in &mut self.readers {
            reader.read_next(&mut self.words);
        }
        worked
    }
}

/// Runs the body `cycles` times back to back; p50 of one pass in ns.
fn measure(axes: usize, clients: usize, cycles: u64) -> anyhow::Result<u64> {
    let mut bench = Bench::moving(axes, clients)?;
    let mut times = Vec::with_capacity(usize::try_from(cycles)?);
    for _ in 0..cycles {
        times.push(bench.pass(|body, wake| {
            let begun_ns = now_ns();
            body.servo.work(wake);
            now_ns() - begun_ns
        }));
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("no cycles")
}

/// Allocations and page faults inside the passes.
fn inside(cycles: u64) -> anyhow::Result<Inside> {
    let mut bench = Bench::moving(6, 0)?;
    let faults = || {
        getrusage(UsageWho::RUSAGE_THREAD)
            .map(|usage| usage.minor_page_faults() + usage.major_page_faults())
    };
    let mut page_faults = 0;
    for _ in 0..cycles {
        page_faults += bench.pass(|body, wake| -> anyhow::Result<i64> {
            let before = faults()?;
            kadenzd::gate_rt_allocations(true);
            body.servo.work(wake);
            kadenzd::gate_rt_allocations(false);
            Ok(faults()? - before)
        })?;
    }
    Ok(Inside { allocations: kadenzd::rt_allocations(), page_faults })
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

/// Instructions of one pass, counted by callgrind.
fn count(axes: usize, clients: usize) -> anyhow::Result<u64> {
    let total = |cycles: u64| -> anyhow::Result<u64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg("--toggle-collect=*Loop*work*")
            .arg(std::env::current_exe()?)
            .args(["--inner", "--axes", &axes.to_string(), "--clients", &clients.to_string()])
            .args(["--cycles", &cycles.to_string()])
            .output()
            .context("valgrind counts the instructions; install the package `valgrind`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| line.contains("Collected"));
        line.and_then(|line| line.rsplit(':').next()?.trim().parse().ok())
            .with_context(|| format!("valgrind said no count:\n{said}"))
    };
    // The difference leaves only whole measured cycles: warm-up and start are in both.
    Ok((total(2 * COUNTED_CYCLES)? - total(COUNTED_CYCLES)?) / COUNTED_CYCLES)
}
