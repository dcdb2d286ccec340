//! The command line: what may be typed and what it means, nothing of what is done with it.
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Looks at a Kadenz machine, commands it, checks its files, and starts it.
///
/// Exit codes: 0 done, 1 refused or not completed, 2 usage, 69 a process is not running, 71 the system
/// refused, 74 a file cannot be read, 75 no answer in time, 77 no permission, 78 bad configuration, 130
/// interrupted.
#[derive(Debug, Parser)]
#[command(name = "kadenz", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The machine's runtime directory [default: $KADENZ_RUNTIME_DIR, then the usual places].
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// Prints one JSON object on stdout instead of words.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Shows the machine as it is now: phase, path, axes, loop.
    Status,
    /// Explains late wake-ups, overruns and missed cycles of the loop, one line each, cause first.
    Incidents {
        /// Stays and shows those that come, until Ctrl-C; with --json one object per line.
        #[arg(long)]
        follow: bool,
    },
    /// Clears a latched stop, resets drive faults and brings all drives to Operation enabled.
    Enable,
    /// Stops if moving, then takes torque off all axes.
    Disable,
    /// Runs a trajectory file and follows it to its end; Ctrl-C holds the machine on the path.
    Run(RunOptions),
    /// Brakes to rest on the path and waits there.
    Hold,
    /// Goes on along the path after a hold.
    Resume,
    /// Brakes to rest on the path and drops the rest of it; `enable` clears the stop.
    Stop,
    /// Sets the path rate: 1 is as planned, 0.5 takes twice the time, 0 stands on the path.
    Override {
        /// Wanted path rate, 0 to 1.
        #[arg(value_name = "FACTOR", value_parser = rate, allow_negative_numbers = true)]
        factor: f64,
    },
    /// Checks machine files (.toml) and trajectory files (.csv); nothing moves.
    Check(CheckOptions),
    /// Starts kadenzd, its gateways, planner and logger, and looks after them until Ctrl-C.
    Up(UpOptions),
    /// Makes systemd know the binaries beside this one: units, users, rules, a machine file; or forget them.
    InstallUnits(InstallOptions),
    /// Looks into the flight recorder: a daemon's last seconds in memory, or a saved recording.
    #[command(subcommand)]
    Recorder(RecorderVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecorderVerb {
    /// Tells what is in a ring or saved recording, whole or damaged, of a dead or a living daemon.
    Dump(DumpOptions),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DumpOptions {
    /// A ring (flight.ring, flight.ring.DAEMON) or a saved recording (.kdzrec) [default: flight.ring of the
    /// runtime directory].
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Saves the whole records to this file, as a recording.
    #[arg(long, value_name = "FILE.kdzrec")]
    pub(crate) out: Option<PathBuf>,
    /// Writes a row per cycle to this file: time, phase, positions, drives.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) csv: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// The trajectory file.
    #[arg(value_name = "FILE.csv")]
    pub(crate) file: PathBuf,
    /// Uniform speed factor, 0.01 to 4: the planner re-times the whole file.
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = speed, allow_negative_numbers = true)]
    pub(crate) speed: f64,
    /// Returns once the planner has accepted the file; the machine goes on alone.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckOptions {
    /// Machine files (.toml) and trajectory files (.csv).
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub(crate) files: Vec<PathBuf>,
    /// The machine that trajectory files are checked against.
    #[arg(long, value_name = "FILE.toml", conflicts_with = "demo")]
    pub(crate) machine: Option<PathBuf>,
    /// An embedded machine instead: demo-arm or demo-mill.
    #[arg(long, value_name = "NAME")]
    pub(crate) demo: Option<String>,
    /// Uniform speed factor that trajectory files are checked at, 0.01 to 4.
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = speed, allow_negative_numbers = true)]
    pub(crate) speed: f64,
    /// Prints the effective configuration of machine files, every default spelled out, and its hash.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Prints the JSON Schema of machine files, for editors, and checks nothing.
    #[arg(long, conflicts_with_all = ["files", "print_config"])]
    pub(crate) schema: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UpOptions {
    /// The machine's TOML file.
    #[arg(long, value_name = "FILE", required_unless_present = "demo", conflicts_with = "demo")]
    pub(crate) config: Option<PathBuf>,
    /// An embedded machine instead of a file: demo-arm or demo-mill.
    #[arg(long, value_name = "NAME")]
    pub(crate) demo: Option<String>,
    /// Directory of the recordings [default: the logger's own; with users for roles /var/lib/kadenz].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Saves every cycle of the loop to FILE, for replay, in place of `[recorder] directory`.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Leaves clients out of the set.
    #[arg(long, value_name = "CLIENT", value_delimiter = ',')]
    pub(crate) without: Vec<Client>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InstallOptions {
    /// Takes everything out again; the machine file and recordings stay.
    #[arg(long, conflicts_with_all = ["isolate_cpus", "housekeeping_cpus"])]
    pub(crate) remove: bool,
    /// Says which files, and touches nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where units and rules go: DIR/lib/systemd/system and beside it.
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    pub(crate) prefix: PathBuf,
    /// The system to install into; another than / is not told to take anything in.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Where units find the binaries [default: beside this one].
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: Option<PathBuf>,
    /// Gives these CPUs to kadenzd alone by an isolated partition, for hosts booted without isolcpus=.
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    pub(crate) isolate_cpus: Option<String>,
    /// Keeps services, people and clients on these CPUs.
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    pub(crate) housekeeping_cpus: Option<String>,
}

/// A client that `up` starts unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// kadenz-planner.
    Planner,
    /// kadenz-logger.
    Logger,
}

impl Verb {
    /// The verb as it is typed.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Incidents { .. } => "incidents",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Run(_) => "run",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::Override { .. } => "override",
            Self::Check(_) => "check",
            Self::Up(_) => "up",
            Self::InstallUnits(_) => "install-units",
            Self::Recorder(RecorderVerb::Dump(_)) => "recorder dump",
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0).ok_or_else(|| {
        "must be a number from 0 to 1; above 1 the file must be re-timed: `kadenz run --speed`"
            .to_owned()
    })
}

fn speed(text: &str) -> Result<f64, String> {
    use kadenz_planner::check::{SPEED_MAX, SPEED_MIN};
    within(text, SPEED_MIN, SPEED_MAX)
        .ok_or_else(|| format!("must be a number from {SPEED_MIN} to {SPEED_MAX}"))
}

/// A list of CPUs as the kernel writes it: `1`, `2-3`, `1,3`.
fn cpu_list(text: &str) -> Result<String, String> {
    const COUNT_MAX: u16 = 1024;
    let number = |digits: &str| {
        let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| is_plain && *number < COUNT_MAX)
    };
    let is_range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
    };
    match text.split(',').all(is_range) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be CPU numbers below {COUNT_MAX}, such as 1, 2-3 or 1,3")),
    }
}

fn within(text: &str, min: f64, max: f64) -> Option<f64> {
    text.parse().ok().filter(|value| (min..=max).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_factor_that_is_no_rate_is_refused_and_a_rate_is_taken() {
        for wrong in ["-0.1", "1.01", "NaN", "inf", "half", "", "50%"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rate("0.5"), Ok(0.5));
        assert!(speed("0").is_err() && speed("4.1").is_err() && speed("2").is_ok());
    }

    #[test]
    fn cpu_lists_are_taken_as_the_kernel_writes_them_and_nothing_else_is() {
        for list in ["1", "2-3", "0,2-3", "1023"] {
            assert_eq!(cpu_list(list).as_deref(), Ok(list));
        }
        for wrong in ["", ",", "1,", "3-2", "-1", "1-", "+1", " 1", "a", "1024", "1\n[Service]"] {
            assert!(cpu_list(wrong).unwrap_err().contains("such as 1, 2-3"), "{wrong}");
        }
    }
}
