//! The command line of the monitor.
use std::path::PathBuf;

use clap::Parser;

/// Shows what the machine does: a table on a terminal, a line per second elsewhere.
///
/// Started as root it becomes the user of the view role first.
/// Comes back by itself when a gateway or kadenzd is restarted. Exit codes: 0 ended as asked,
/// 2 bad arguments, 69 the machine cannot be seen, 75 hung and to be started again.
#[derive(Debug, Parser)]
#[command(name = "kadenz-monitor", version)]
pub(crate) struct Arguments {
    /// Directory in which the processes of the machine meet
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// One JSON object per line: 5 per second on a terminal, else 1
    #[arg(long)]
    pub(crate) json: bool,
    /// End after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(crate) seconds: Option<u64>,
    /// Show once and end; 69 when the machine is not seen within 2 s
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) once: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
