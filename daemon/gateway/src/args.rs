//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use shm_layout::code::Role;

/// Carries one role between kadenzd's lanes and its clients. Started once per role by systemd or
/// `kadenz up`, as the role's user.
#[derive(Debug, Parser)]
#[command(name = "kadenz-gateway", version, max_term_width = 100)]
pub(crate) struct Args {
    /// What this gateway lets its clients do; kadenzd checks that this user may hold the role.
    #[arg(long)]
    role: RoleName,
    /// The machine's runtime directory [default: $KADENZ_RUNTIME_DIR, then the usual places].
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// State, events, health and catalog out.
    View,
    /// The same, and knots in.
    Plan,
    /// Requests in, over a unix socket.
    Operate,
}

impl Args {
    /// The role asked for.
    pub(crate) fn role(&self) -> Role {
        match self.role {
            RoleName::View => Role::View,
            RoleName::Plan => Role::Plan,
            RoleName::Operate => Role::Operate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
