//! `kadenz-planner`: trajectory files in, knots out. Its life: options, domain, socket, rounds.
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use kadenz_link::paths::RuntimeDir;
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{KnotPort, LinkError, View, access, clock};
use kadenz_service::journal;
use kadenz_service::notify::Notify;
use nix::sys::signal::{SigSet, Signal};
use shm_layout::code::Role;

mod args;
mod serve;

use args::Options;
use serve::{socket, stream::Streamer};

/// Rounds come at this pace: 12 per lease of the default 50 ms.
const ROUND: Duration = Duration::from_millis(4);

fn main() -> ExitCode {
    journal::begin();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            journal::last_words("kadenz-planner", &format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let dir = RuntimeDir::find(options.runtime_dir.as_deref())?;
    // Before there are threads, files and sockets: all of them shall be the role's user's.
    access::step_down(&dir, Role::Plan, wait_for_domain())?;
    let ending = end_on_signal()?;
    let notify = Notify::from_env()?;
    let watchdog = Watchdog::start(DEFAULT_LIMIT)?;
    let view = View::new(dir.clone(), Role::Plan, "kadenz-planner")?.watched_by(&watchdog);
    let knots = KnotPort::new(dir.clone(), "kadenz-planner").watched_by(&watchdog);
    let asked = socket::serve(&dir.planner_socket())?;
    let mut streamer = Streamer::new(view, knots, asked, dir.planner_dir());
    notify.ready();
    notify.status(&format!("serving as the {} planner", options.class.word()));
    let mut alive_at = Instant::now();
    // ORDERING: relaxed, the bit stands for itself.
    while !ending.load(Ordering::Relaxed) {
        streamer.round(clock::now_ns())?;
        if let Some(every) = notify.alive_every()
            && Instant::now() >= alive_at
        {
            alive_at = Instant::now() + every;
            notify.alive();
        }
        std::thread::sleep(ROUND);
    }
    notify.stopping();
    let _ = std::fs::remove_file(dir.planner_socket());
    Ok(())
}

/// Between two looks for the domain that tells a root process its user.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until the domain is there; says once why.
fn wait_for_domain() -> impl FnMut(&LinkError) -> bool {
    let mut told = String::new();
    move |trouble| {
        let words = trouble.to_string();
        if words != told {
            log::info!("started as root, waiting for the domain of the role's user: {words}");
            told = words;
        }
        std::thread::sleep(LOOK_EVERY);
        true
    }
}

/// A bit that SIGTERM and SIGINT set; the path the loop has accepted ends at rest by itself.
fn end_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block().context("blocking signals")?;
    let ending = Arc::new(AtomicBool::new(false));
    let bit = Arc::clone(&ending);
    std::thread::Builder::new().name("planner-signals".to_owned()).spawn(move || {
        if set.wait().is_ok() {
            // ORDERING: relaxed, as where it is read.
            bit.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(ending)
}
