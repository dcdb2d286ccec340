//! The life of a gateway, in order: harden, fetch lanes, confine, open services, pass, end. What a
//! pass does is in `broadcast.rs`, `knots.rs` and `operate/`.

mod args;
mod failure;
mod sys;
mod signals;
mod confine;
mod lanes;
mod phase;
mod epoch;
mod broadcast;
mod rate;
mod sources;
mod knots;
mod operate;
mod canary;
mod work;
mod passes;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kadenz_handover::{ClientError, Handover, request};
use kadenz_paths::RuntimeDir;
use kadenz_service::journal;
use kadenz_service::notify::Notify;

use crate::args::Args;
use crate::failure::Failure;
use crate::lanes::Outbound;
use crate::signals::Signals;
use crate::work::Work;

/// How long kadenzd may take to answer once it has accepted.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Between two knocks at a door that is not there yet.
const RETRY_MS_MIN: u64 = 20;
/// The longest such pause: service is back well within a second of the daemon's.
const RETRY_MS_MAX: u64 = 250;

/// An orderly end takes some 10 ms.
const END_S_MAX: u32 = 2;

fn main() -> ExitCode {
    journal::begin();
    match life(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::error!("{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn life(args: &Args) -> Result<(), Failure> {
    // Before there is a descriptor to be stolen.
    confine::hide_from_proc()?;
    let signals = Signals::take()?;
    let dir = RuntimeDir::find(args.runtime_dir.as_deref())?;
    let notify = Notify::from_env().map_err(|source| Failure::Host {
        step: "reading $NOTIFY_SOCKET",
        remedy: "unset it, or start from systemd",
        source,
    })?;
    let Some(handover) = wait_for_daemon(&dir, args, &signals, &notify)? else { return Ok(()) };
    let Handover { grant, outbound, inbound, tether } = handover;
    log::info!("role {} in {}, epoch {}", grant.role.word(), dir.as_path().display(), grant.token);

    let outbound = Outbound::open(outbound, &grant.terms)?;
    let inbound = inbound.map(lanes::open_inbound).transpose()?;
    confine::schedule(grant.terms.gateway_priority_fifo, grant.terms.loop_cpu)?;
    confine::deny_system_calls()?;

    let mut work = Work::open(&dir, &grant, outbound, inbound)?;
    let ended = passes::run(&mut work, &grant, tether, &signals, &notify);
    notify.stopping();
    if let Err(failure @ Failure::CanaryStuck(_)) = &ended {
        // Whatever made the canary hang would make an orderly end hang as well.
        log::error!("{failure}");
        sys::end_now(failure.exit_code());
    }
    // The domain may be corrupted in ways nobody has noticed: SIGALRM ends what does not end.
    nix::unistd::alarm::set(END_S_MAX);
    drop(work);
    epoch::clear_own(&dir, &grant);
    ended
}

/// Knocks until a daemon answers; `None` when asked to end meanwhile. Waiting is being alive: a service
/// manager that watches from the first moment on is told so at every knock.
fn wait_for_daemon(
    dir: &RuntimeDir,
    args: &Args,
    signals: &Signals,
    notify: &Notify,
) -> Result<Option<Handover>, Failure> {
    let mut pause_ms = RETRY_MS_MIN;
    let mut told = false;
    // BOUND: ends with an answer or a signal; waiting for a daemon is this process's job.
    loop {
        match request(dir, args.role(), ANSWER_TIME) {
            Ok(handover) => return Ok(Some(handover)),
            Err(error @ ClientError::Unreachable { .. }) => {
                if !told {
                    log::info!("waiting for kadenzd: {error}");
                    notify.status("waiting for kadenzd");
                    told = true;
                }
            }
            Err(error) => return Err(error.into()),
        }
        notify.alive();
        if signals.end_wanted_within(Duration::from_millis(pause_ms)) {
            return Ok(None);
        }
        pause_ms = (pause_ms * 2).min(RETRY_MS_MAX);
    }
}
