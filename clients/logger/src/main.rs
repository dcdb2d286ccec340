//! The life of the recorder: find the gateway, read it, hand records to the writer, end cleanly.
//! What a file holds and when it is safe is decided in the library.
use anyhow::{Context, Result, bail};
use clap::Parser;
use kadenz_link::access;
use kadenz_link::paths::RuntimeDir;
use kadenz_logger::clock::UnixOffset;
use kadenz_logger::plan::{Plan, Rotate};
use kadenz_logger::queue::Inlet;
use kadenz_logger::recover::{recover_file, recover_leftovers};
use kadenz_logger::tally::Tally;
use kadenz_logger::writer::FileWriter;
use kadenz_service::journal;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{AccessFlags, access as may};
use shm_layout::code::Role;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod args;
mod intake;

use args::{Cli, Record, Verb};

/// Between two looks for the domain that tells a root process its user.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where recordings go when nobody says and the role's user records for root.
const SYSTEM_DIR: &str = "/var/lib/kadenz";

/// sysexits.h: usage, and input/output errors.
const EXIT_USAGE: u8 = 2;
const EXIT_IO: u8 = 74;

fn main() -> ExitCode {
    journal::begin();
    let cli = Cli::parse();
    let outcome = match &cli.verb {
        Some(Verb::Recover { files }) => recover(files),
        None => match stop_on_signal().map(|stop| (settle(&cli.record, &stop), stop)) {
            Ok((Ok(plan), stop)) => record(plan, cli.record.runtime_dir, &stop),
            // ORDERING: a flag that publishes nothing else.
            Ok((Err(_), stop)) if stop.load(Ordering::Relaxed) => {
                log::info!("{}", Tally::default());
                Ok(())
            }
            Ok((Err(error), _)) | Err(error) => {
                log::error!("{error:#}");
                return ExitCode::from(EXIT_USAGE);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::from(EXIT_IO)
        }
    }
}

fn recover(files: &[PathBuf]) -> Result<()> {
    let mut failed = 0;
    for file in files {
        match recover_file(file) {
            Ok((copy, recovered)) => {
                announce(&copy);
                log::info!(
                    "{}: {} messages, {} damaged chunks or records left out, {} bytes at the end not read",
                    file.display(),
                    recovered.messages,
                    recovered.damaged,
                    recovered.unread_bytes
                );
            }
            Err(error) => {
                failed += 1;
                log::error!("{error:#}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} files not recovered", files.len());
    }
    Ok(())
}

/// Says on stdout where a finished file is.
fn announce(path: &Path) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    // A reader that has closed its end does not want to know.
    let _ = writeln!(std::io::stdout().lock(), "recording: {}", path.display());
}

/// Becomes the view role's user, where this is root, and gives what is to be recorded where. Waits for that
/// user's domain until `stop` is raised.
fn settle(record: &Record, stop: &AtomicBool) -> Result<Plan> {
    let dir = RuntimeDir::find(record.runtime_dir.as_deref())?;
    // What makes no sense is said before anything is waited for.
    plan_of(record, false)?;
    let mut told = String::new();
    let successor = access::successor(&dir, Role::View, |trouble| {
        let words = trouble.to_string();
        if words != told {
            log::warn!("waiting: {words} (started as root, it records as the role's user)");
            told = words;
        }
        std::thread::sleep(LOOK_EVERY);
        // ORDERING: a flag that publishes nothing else.
        !stop.load(Ordering::Relaxed)
    })?;
    let plan = plan_of(record, successor.is_some())?;
    let Some(successor) = successor else { return Ok(plan) };
    let (place, name) = (plan.dir.display(), successor.name());
    successor.give_dir(&plan.dir).with_context(|| place.to_string())?;
    successor.take_over()?;
    if let Err(errno) = may(&plan.dir, AccessFlags::W_OK | AccessFlags::X_OK) {
        bail!(
            "{place}: {name}, who records, may not write there ({}): `chown {name} {place}`, or \
             give another directory with --out",
            errno.desc()
        );
    }
    log::info!("started as root, recording as {name} to {place}");
    Ok(plan)
}

fn plan_of(record: &Record, is_for_role_user: bool) -> Result<Plan> {
    let dir = match &record.out {
        Some(dir) => dir.clone(),
        // Root's home is closed to the role's user.
        None if is_for_role_user && std::env::var_os("STATE_DIRECTORY").is_none() => {
            PathBuf::from(SYSTEM_DIR)
        }
        None => default_dir(|key| std::env::var_os(key).filter(|value| !value.is_empty()))?,
    };
    if let Some(name) = &record.name {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            bail!("--name {name:?}: give a plain file name without `/` and leading dot");
        }
        let first = dir.join(format!("{name}{}.mcap", if record.single { "" } else { "-000" }));
        if first.try_exists().unwrap_or(false) {
            bail!("--name {name:?}: {} exists; choose another name or remove it", first.display());
        }
    }
    let rotate = (!record.single).then(|| Rotate {
        age: Duration::from_secs(record.rotate_s),
        size_bytes: record.rotate_mb * 1_000_000,
    });
    Ok(Plan::new(std::path::absolute(dir)?, record.name.clone(), rotate))
}

/// Where recordings go when nobody says: the service manager's directory, then XDG's.
fn default_dir(env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<PathBuf> {
    if let Some(dirs) = env("STATE_DIRECTORY") {
        // systemd separates several directories by colons; the first is ours.
        let first = std::env::split_paths(&dirs).next();
        return first.context("STATE_DIRECTORY is empty");
    }
    let state = env("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || env("HOME").map(|home| Path::new(&home).join(".local/state"));
    let state = state
        .or_else(home)
        .context("neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set: give --out DIR")?;
    Ok(state.join("kadenz"))
}

fn record(plan: Plan, runtime_dir: Option<PathBuf>, stop: &Arc<AtomicBool>) -> Result<()> {
    let offset = UnixOffset::measure()?;
    let tally = Arc::new(Tally::default());
    let recovery = {
        let (dir, stop) = (plan.dir.clone(), Arc::clone(stop));
        thread("recover", move || recover_leftovers(&dir, &stop))?
    };
    let mut source = intake::Source::open(runtime_dir.as_deref())?;
    let outcome = match source.wait_for_machine(stop)? {
        Some(machine) => {
            let (mut inlet, outlet) = Inlet::new(machine, offset, Arc::clone(&tally));
            let writer = FileWriter::new(plan, offset, Arc::clone(&tally), announce);
            let writing = thread("write", move || writer.run(&outlet))?;
            let outcome = source.read(&mut inlet, stop, &tally);
            inlet.finish();
            join(writing)?;
            outcome
        }
        None => Ok(()),
    };
    // ORDERING: a flag that publishes nothing else.
    stop.store(true, Ordering::Relaxed);
    join(recovery)?;
    log::info!("{tally}");
    Ok(outcome?)
}

/// A flag that SIGTERM and SIGINT raise.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Blocked before any thread begins, so that all inherit it and only the waiting one is told.
    signals.thread_block().context("cannot block signals")?;
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    thread("signals", move || {
        if signals.wait().is_ok() {
            // ORDERING: a flag that publishes nothing else.
            raised.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(stop)
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(body).with_context(|| format!("cannot start the {name} thread"))
}

fn join(handle: std::thread::JoinHandle<()>) -> Result<()> {
    handle.join().map_err(|_| anyhow::anyhow!("a thread of the logger ended by panic"))
}
