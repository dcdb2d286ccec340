//! `replay`: feeds a recording of a real run (`kadenzd --record FILE`) to the island again.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kadenzd::boot::replay::replay;

/// Replays a recording bit for bit; non-zero exit when it diverges or is no recording.
#[derive(Parser)]
struct Options {
    /// The recording.
    file: PathBuf,
}

fn main() -> ExitCode {
    let file = Options::parse().file;
    match replay(&file) {
        Ok(outcome) => {
            let torn = match outcome.torn_bytes {
                0 => String::new(),
                bytes => format!(", {bytes} bytes of a torn record at the end left out"),
            };
            match outcome.diverged_at {
                None => {
                    println!("{} cycles replayed bit for bit{torn}", outcome.cycles);
                    ExitCode::SUCCESS
                }
                Some(cycle) => {
                    println!("diverged at cycle {cycle} of {}{torn}", outcome.cycles);
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
