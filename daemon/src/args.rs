//! The command line of kadenzd.
use std::path::PathBuf;

use clap::Parser;

/// The servo loop of one machine.
#[derive(Parser)]
#[command(name = "kadenzd", version)]
pub(crate) struct Options {
    /// The machine's TOML file.
    #[arg(long, value_name = "FILE", required_unless_present = "demo", conflicts_with = "demo")]
    pub(crate) config: Option<PathBuf>,
    /// An embedded machine instead of a file: demo-arm or demo-mill.
    #[arg(long, value_name = "NAME")]
    pub(crate) demo: Option<String>,
    /// Where sockets and shared memory live [default: /run/kadenz, or the user's runtime directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// Saves every cycle of this run to FILE, for replay, in place of `[recorder] directory`.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Prints the effective configuration, with every default, and ends.
    #[arg(long)]
    pub(crate) print_config: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
