//! Shows the machine to people and scripts: start-up, arguments, exit codes. It can look and nothing else.

mod args;
mod screen;
mod show;
mod signals;
mod sys;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use kadenz_link::paths::RuntimeDir;
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{View, access};
use kadenz_service::journal;
use shm_layout::code::Role;

use args::Arguments;
use show::{End, Form, Plan, Show};
use signals::Signals;

/// How long `--once` waits, s.
const ONCE_S: u64 = 2;
/// Between two looks for the domain that tells a root process its user.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The machine cannot be seen (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;
/// The operating system refused something the monitor cannot do without (`EX_OSERR`).
const EXIT_OS: u8 = 71;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err((code, words)) => {
            journal::last_words("kadenz-monitor", &format_args!("{words}"));
            ExitCode::from(code)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, (u8, String)> {
    let unavailable = |error: &dyn std::fmt::Display| (EXIT_UNAVAILABLE, error.to_string());
    let os = |what: &str, error: &dyn std::fmt::Display| (EXIT_OS, format!("{what}: {error}"));
    let dir = RuntimeDir::find(arguments.runtime_dir.as_deref()).map_err(|e| unavailable(&e))?;
    // Before any thread: the watchdog must inherit the blocked signals, and root must not stay root.
    let signals = Signals::block().map_err(|error| os("signals", &error))?;
    let limit_s = if arguments.once { Some(ONCE_S) } else { arguments.seconds };
    let (begun, mut told) = (Instant::now(), String::new());
    let stepped = access::step_down(&dir, Role::View, |trouble| {
        let words = trouble.to_string();
        if words != told && !arguments.once {
            // As it says later, when the machine goes away; nobody need read it.
            let _unread = match arguments.json {
                false => writeln!(std::io::stdout(), "waiting: {words}"),
                true => writeln!(std::io::stderr(), "kadenz-monitor: waiting: {words}"),
            };
            told = words;
        }
        let is_over = limit_s.is_some_and(|limit_s| begun.elapsed().as_secs() >= limit_s);
        !is_over && !signals.ended_within(LOOK_EVERY).unwrap_or(true)
    });
    match stepped {
        Ok(()) => {}
        // It has waited for as long as it was asked to.
        Err(error) if error.heals() && !arguments.once => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(unavailable(&error)),
    }
    let watchdog = Watchdog::start(DEFAULT_LIMIT).map_err(|error| os("watchdog thread", &error))?;
    let view = View::new(dir, Role::View, "kadenz-monitor")
        .map_err(|error| unavailable(&error))?
        .watched_by(&watchdog);
    let is_terminal = std::io::stdout().is_terminal();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let form = match (arguments.json, is_terminal && !is_dumb && !arguments.once) {
        (true, _) => Form::Json,
        (false, true) => Form::Screen { color: !no_color },
        (false, false) => Form::Lines,
    };
    let plan = Plan {
        form,
        once: arguments.once,
        every: if is_terminal { Duration::from_millis(200) } else { Duration::from_secs(1) },
        seconds: arguments.seconds,
    };
    match Show::new(view, plan).run(&signals) {
        Ok(End::AsAsked) => Ok(ExitCode::SUCCESS),
        Ok(End::Unavailable(words)) => Err((EXIT_UNAVAILABLE, words)),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(os("output", &error)),
    }
}
