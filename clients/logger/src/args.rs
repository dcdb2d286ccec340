//! The command line of the logger.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Records every cycle, event and counter of a Kadenz machine into MCAP files.
///
/// Started as root it becomes the user of the view role first; a directory that is not there is made
/// for that user.
#[derive(Debug, Parser)]
#[command(name = "kadenz-logger", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) record: Record,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Makes damaged or unfinished recordings whole: each FILE is copied next to itself and kept.
    Recover {
        /// Recordings to recover.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Directory of the recordings [default: $STATE_DIRECTORY, $XDG_STATE_HOME/kadenz or ~/.local/state/kadenz; for root that records as the role's user $STATE_DIRECTORY or /var/lib/kadenz].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Name of the files without number and extension [default: machine and UTC time].
    #[arg(long, value_name = "BASENAME")]
    pub(crate) name: Option<String>,
    /// One file from start to end.
    #[arg(long, conflicts_with_all = ["rotate_s", "rotate_mb"])]
    pub(crate) single: bool,
    /// Seconds after which a file is finished and the next begun.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) rotate_s: u64,
    /// Megabytes after which a file is finished and the next begun.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) rotate_mb: u64,
    /// Runtime directory of the machine [default: as kadenzd chooses it].
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
