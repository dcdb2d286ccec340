//! Manual pages and shell completions, from the very command lines that the programs parse.
use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::tree::directory;

#[expect(dead_code, reason = "the program's own command line, of which only the words are read")]
#[path = "../../../clients/cli/src/args.rs"]
mod kadenz;
#[path = "../../../daemon/src/args.rs"]
mod kadenzd;
#[expect(dead_code, reason = "as above")]
#[path = "../../../daemon/gateway/src/args.rs"]
mod gateway;
#[expect(dead_code, reason = "as above")]
#[path = "../../../clients/planner/src/args.rs"]
mod planner;
#[path = "../../../clients/logger/src/args.rs"]
mod logger;
#[path = "../../../clients/monitor/src/args.rs"]
mod monitor;

/// Every program's command line, and the section of its manual page: 1 for what people type, 8 for what the
/// service manager starts.
fn commands() -> [(Command, u8); 6] {
    [
        (kadenz::Args::command(), 1),
        (monitor::Arguments::command(), 1),
        (logger::Cli::command(), 8),
        (planner::Options::command(), 8),
        (gateway::Args::command(), 8),
        (kadenzd::Options::command(), 8),
    ]
}

/// Completions: shell, directory beneath the root.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "usr/share/bash-completion/completions"),
    (Shell::Zsh, "usr/share/zsh/vendor-completions"),
    (Shell::Fish, "usr/share/fish/vendor_completions.d"),
];

/// Writes pages and completions of every program beneath `root`.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    for (command, section) in commands() {
        for (shell, place) in COMPLETIONS {
            completion(&directory(root, place)?, command.clone(), shell)?;
        }
        let place = directory(root, &format!("usr/share/man/man{section}"))?;
        let name = command.get_name().to_owned();
        page(&place, command.display_name(name), section)?;
    }
    Ok(())
}

/// One completion file, called as the shell looks for it.
fn completion(place: &Path, mut command: Command, shell: Shell) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let file = match shell {
        Shell::Zsh => format!("_{name}"),
        Shell::Fish => format!("{name}.fish"),
        _ => name.clone(),
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    let path = place.join(file);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// The page of a command, and one of each of its verbs, all the way down.
fn page(place: &Path, mut command: Command, section: u8) -> anyhow::Result<()> {
    command.build();
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    // Without a date: the same sources give the same page.
    Man::new(command.clone()).section(section.to_string()).render(&mut text)?;
    let path = place.join(format!("{name}.{section}"));
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let verb_name = format!("{name}-{}", verb.get_name());
        page(place, verb.clone().display_name(verb_name), section)?;
    }
    Ok(())
}
