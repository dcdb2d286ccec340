//! The command line of the planner.
use std::path::PathBuf;

use clap::Parser;

/// Streams trajectory files to the loop.
///
/// Started as root it becomes the user of the plan role first.
#[derive(Parser)]
#[command(name = "kadenz-planner", version)]
pub(crate) struct Options {
    /// Where sockets and shared memory live [default: as kadenzd].
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// What the loop takes this planner's knots for; there is one class, active: they are followed.
    #[arg(long, value_name = "CLASS", default_value = "active", value_parser = class)]
    pub(crate) class: Class,
}

/// What the loop takes a planner's knots for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// They are followed.
    Active,
}

impl Class {
    /// Its name on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
        }
    }
}

fn class(text: &str) -> Result<Class, String> {
    match text {
        "active" => Ok(Class::Active),
        _ => Err("there is `active` and no other class yet; a machine has one planner".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn only_the_active_class_is_taken_and_others_are_told_why_not() {
        assert_eq!(class("active"), Ok(Class::Active));
        for other in ["standby", "shadow", "", "Active"] {
            assert!(class(other).unwrap_err().contains("no other class"), "{other}");
        }
    }
}
