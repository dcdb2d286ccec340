//! `kadenz run`: a trajectory file to the planner, then its progress until it has ended.
use std::path::Path;

use kadenz_link::text::printable;
use kadenz_link::{Operate, clock};
use kadenz_paths::RuntimeDir;
use kadenz_planner::csv;
use nix::sys::signal::Signal;
use shm_layout::code::Reason;

use crate::args::RunOptions;
use crate::follow::{End, Follower};
use crate::machine::{LOOK_EVERY, Machine};
use crate::planner::{Accepted, Planner};
use crate::reply::{EXIT_IO, EXIT_REFUSED, Failure, Reply};
use crate::request;
use crate::signals::{ENDING, Signals};
use crate::terminal::{self, LiveLine};

/// Between two progress lines where each stays.
const LINE_EVERY_NS: u64 = 1_000_000_000;
/// Between two progress lines where one replaces the other.
const LIVE_EVERY_NS: u64 = 100_000_000;
/// Without any state for this long, following makes no sense; a gateway is back in less than 1 s.
const BLIND_NS_MAX: u64 = 10_000_000_000;

/// Runs the file of `options`; quiet but for its end when `json` is wanted.
pub(crate) fn run(dir: &RuntimeDir, options: &RunOptions, json: bool) -> Result<Reply, Failure> {
    let csv = read(&options.file)?;
    let signals = Signals::take(&ENDING)?;
    let mut planner = Planner::connect(dir)?;
    // For the hold that an interrupt asks for: looking may make root the view's user.
    let mut operate = Operate::connect(dir).ok();
    // Looking begins before running, so that no event of the path is missed.
    let machine = if options.detach { None } else { Some(Machine::enter(dir)?) };
    let mut interrupted = None;
    let accepted = planner.run(&options.file, &csv, options.speed, || {
        interrupted = interrupted.or_else(|| signals.next());
        interrupted.is_some()
    })?;
    let Some(accepted) = accepted else {
        return Ok(held_by(interrupted.unwrap_or(Signal::SIGINT), dir, operate));
    };
    let name =
        options.file.file_name().map_or_else(String::new, |n| printable(&n.to_string_lossy()));
    if !json {
        say_accepted(&name, &accepted);
    }
    let Some(machine) = machine else {
        let text =
            "running on its own: `kadenz status` looks, `kadenz hold` holds, `kadenz stop` stops";
        return Ok(with_path(Reply::new(0, text), &accepted));
    };
    let reply = match follow(machine, &signals, &name, &accepted, json)? {
        Followed::Ended(reply) => reply,
        Followed::Interrupted(signal) => held_by(signal, dir, operate.take()),
    };
    Ok(with_path(reply, &accepted))
}

fn read(file: &Path) -> Result<String, Failure> {
    let bytes = csv::read_bytes(file).map_err(|error| Failure::new(EXIT_IO, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        // The parser knows line and column of the first byte that is no text.
        let name = file.display().to_string();
        let place = csv::parse(&name, error.as_bytes(), &[]).err();
        let text = place.map_or_else(|| error.to_string(), |place| place.to_string());
        Failure::new(EXIT_REFUSED, text)
    })
}

fn say_accepted(name: &str, accepted: &Accepted) {
    terminal::err(&format!(
        "{name}: accepted, {:.3} s of path ({:.3} s of it approach), {} knots, path {}",
        accepted.duration_s,
        accepted.approach_s,
        accepted.knots,
        printable(&accepted.path_id)
    ));
    for line in &accepted.says {
        terminal::err(&format!("{name}: {}", printable(line)));
    }
}

fn with_path(reply: Reply, accepted: &Accepted) -> Reply {
    reply
        .with("path_id", accepted.path_id.as_str())
        .with("duration_s", accepted.duration_s)
        .with("approach_s", accepted.approach_s)
        .with("knots", accepted.knots)
}

/// How following came to its end.
enum Followed {
    Ended(Reply),
    Interrupted(Signal),
}

fn follow(
    mut machine: Machine,
    signals: &Signals,
    name: &str,
    accepted: &Accepted,
    json: bool,
) -> Result<Followed, Failure> {
    let mut follower = Follower::new(accepted, clock::now_ns());
    let mut line = LiveLine::new();
    let every_ns = if line.is_terminal() { LIVE_EVERY_NS } else { LINE_EVERY_NS };
    let (mut seen_ns, mut shown_ns) = (clock::now_ns(), 0);
    loop {
        let now_ns = clock::now_ns();
        if look(&mut machine, &mut follower, now_ns)? {
            seen_ns = now_ns;
        }
        if now_ns.saturating_sub(seen_ns) > BLIND_NS_MAX {
            line.close();
            return Err(machine.silence());
        }
        let end = follower.end(now_ns);
        if !json {
            let is_due = now_ns.saturating_sub(shown_ns) > every_ns;
            if is_due || (end.is_some() && line.is_terminal()) {
                shown_ns = now_ns;
                let blind_ns = now_ns.saturating_sub(seen_ns);
                line.show(&follower.line(name, &worst(&mut machine, &follower), blind_ns));
            }
            let reason = follower.last.map_or("", |last| Reason::word_of(last.reason));
            if let Some(told) = follower.hold_told(name, reason) {
                line.close();
                terminal::err(&told);
            }
        }
        if let Some(end) = end {
            line.close();
            return Ok(Followed::Ended(ended(&mut machine, &follower, name, &end)));
        }
        if let Some(signal) = signals.next_within(LOOK_EVERY) {
            line.close();
            return Ok(Followed::Interrupted(signal));
        }
    }
}

/// Takes everything that has come; true when a state was among it.
fn look(machine: &mut Machine, follower: &mut Follower, now_ns: u64) -> Result<bool, Failure> {
    let mut seen = false;
    while let Some((header, axes)) = machine.next()? {
        follower.state(&header, &axes, now_ns);
        seen = true;
    }
    while let Some(event) = machine.next_event()? {
        follower.event(&event);
    }
    Ok(seen)
}

fn ended(machine: &mut Machine, follower: &Follower, name: &str, end: &End) -> Reply {
    let reason = match &follower.last {
        Some(last) => machine.reason(last),
        None => Reason::None.word().to_owned(),
    };
    let worst_words = worst(machine, follower);
    let why = follower.why(end, &reason);
    let text = format!("{name}: {why}; max following error {worst_words}");
    let (code, word) = match end {
        End::Followed => (0, "followed"),
        End::Dropped => (EXIT_REFUSED, "dropped"),
        End::HeldLong => (EXIT_REFUSED, "held"),
        End::NeverBegun => (EXIT_REFUSED, "never-begun"),
        End::OtherLife => (EXIT_REFUSED, "daemon-restarted"),
    };
    Reply::new(code, text)
        .with("end", word)
        .with("reason", reason)
        .with("tau_s", follower.tau_s)
        .with("progress", follower.progress())
        .with("max_following_error", follower.worst.error)
        .with("max_following_error_axis", machine.axis_name(follower.worst.axis))
}

/// Interrupted while a path may be under way: the machine must not go on unwatched.
fn held_by(signal: Signal, dir: &RuntimeDir, operate: Option<Operate>) -> Reply {
    let held = request::hold(dir, operate);
    let number = u8::try_from(signal as i32).unwrap_or(0);
    let text =
        format!("interrupted; {held}; `kadenz resume` goes on, `kadenz stop` drops the path");
    // As shells count: 130 for Ctrl-C.
    Reply::new(128 + number, text).with("end", "interrupted")
}

fn worst(machine: &mut Machine, follower: &Follower) -> String {
    let axis = follower.worst.axis;
    let unit = machine.axis_unit(axis);
    format!("{:.6} {unit} ({})", follower.worst.error, machine.axis_name(axis))
}
