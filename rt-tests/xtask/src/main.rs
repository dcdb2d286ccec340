//! The project's own commands, reached by cargo aliases: what proves the tree, and what builds and
//! starts the programs that show it. No knowledge of motion lives here.

use std::process::ExitCode;

mod workspace;
mod launch;
mod check_all;
mod gates;
mod dependencies;
mod licences;
mod sanitizers;
mod fuzz;
mod tidy;

use workspace::Workspace;

const USAGE: &str = "\
usage: cargo COMMAND [OPTIONS]

  check-all   every gate of the project, and a table of them (--list, --only NAME)
  demo        builds all processes and runs the machine end to end
  latency     builds all processes and measures the loop against its floors
  fuzz        one fuzz target for as long as asked: cargo run -p xtask -- fuzz TARGET [--runs N] [--seed S]
  cost        builds and counts what a cycle costs
  chaos       builds all processes and attacks a running machine
  deb         builds all processes and packs them for Debian: cargo run -p xtask -- deb
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = Workspace::find().and_then(|workspace| match command.as_str() {
        "check-all" => check_all::run(&workspace, &rest),
        "demo" | "latency" | "cost" | "chaos" | "deb" => launch::run(&workspace, &command, &rest),
        "fuzz" => fuzz::run(&workspace, &rest),
        _ => Err(format!("unknown command `{command}`\n{USAGE}")),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
