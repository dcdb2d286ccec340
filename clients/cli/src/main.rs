//! `kadenz`: one command line for people and scripts. Parses, calls one verb, prints, returns its exit code.

mod args;
mod reply;
mod terminal;
mod sys;
mod signals;
mod machine;
mod request;
mod status;
mod incidents;
mod planner;
mod follow;
mod run;
mod check;
mod up;
mod install;
mod recorder;

use std::process::ExitCode;

use clap::Parser;
use kadenz_paths::RuntimeDir;
use shm_layout::code::RequestKind;

use crate::args::{Args, RecorderVerb, Verb};
use crate::reply::{EXIT_USAGE, Failure, Reply};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A closed terminal is no reason for another exit code.
            let _unseen = error.print();
            let code = u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE);
            if code != 0 && std::env::args_os().any(|arg| arg == "--json") {
                let reply = Reply::new(code, error.to_string().trim_end());
                terminal::out(&reply.to_json("usage"));
            }
            return ExitCode::from(code);
        }
    };
    let word = args.verb.word();
    let reply = act(&args).unwrap_or_else(Reply::from);
    if args.json {
        terminal::out(&reply.to_json(word));
    } else if reply.code == 0 {
        terminal::out(&reply.text);
    } else {
        terminal::err(&format!("kadenz {word}: {}", reply.text));
    }
    ExitCode::from(reply.code)
}

fn act(args: &Args) -> Result<Reply, Failure> {
    let dir = || {
        RuntimeDir::find(args.runtime_dir.as_deref())
            .map_err(|error| Failure::new(EXIT_USAGE, error.to_string()))
    };
    match &args.verb {
        Verb::Status => status::status(&dir()?),
        Verb::Incidents { follow } => incidents::incidents(&dir()?, *follow, args.json),
        Verb::Run(options) => run::run(&dir()?, options, args.json),
        Verb::Check(options) => check::check(options),
        Verb::Recorder(RecorderVerb::Dump(options)) => recorder::dump(dir, options),
        Verb::Up(options) => up::up(dir()?, options, args.json),
        Verb::InstallUnits(options) => install::install(options),
        Verb::Enable => request::ask(&dir()?, RequestKind::Enable, 0.0),
        Verb::Disable => request::ask(&dir()?, RequestKind::Disable, 0.0),
        Verb::Hold => request::ask(&dir()?, RequestKind::Hold, 0.0),
        Verb::Resume => request::ask(&dir()?, RequestKind::Resume, 0.0),
        Verb::Stop => request::ask(&dir()?, RequestKind::Stop, 0.0),
        Verb::Override { factor } => request::ask(&dir()?, RequestKind::Override, *factor),
    }
}
