//! Log lines on stderr, in the form that whoever reads them wants: with a time for people, with a
//! priority for the journal (sd-daemon(3)), so that `journalctl -p err` finds what is wrong.
use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use log::Level;

/// What `journalctl -p crit` finds: a process that ends by a mistake in its own code.
const CRITICAL: u8 = 2;

/// Begins to log: to the journal when stderr leads there, else for people. `$RUST_LOG` chooses what is
/// logged, `info` and above when it is not set.
pub fn begin() {
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    if is_stderr() {
        builder.format(|out, record| {
            let lines = with_priority(priority(record.level()), record.args());
            out.write_all(lines.as_bytes())
        });
        std::panic::set_hook(Box::new(|panic| {
            eprint!("{}", with_priority(CRITICAL, &format_args!("{panic}")));
        }));
    }
    builder.init();
}

/// The last thing a process says before it ends with an error, whatever is logged otherwise.
pub fn last_words(program: &str, words: &Arguments<'_>) {
    let text = format!("{program}: {words}");
    let text = match is_stderr() {
        true => with_priority(priority(Level::Error), &format_args!("{text}")),
        false => format!("{text}\n"),
    };
    // Nobody reads it: the exit code still tells.
    let _unread = std::io::stderr().write_all(text.as_bytes());
}

/// Whether stderr is a stream of the journal: its device and inode are those in `$JOURNAL_STREAM`. The
/// variable alone proves nothing; stderr may have been led elsewhere since.
fn is_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let found = stderr.and_then(|fd| File::from(fd).metadata());
    found.is_ok_and(|found| names(&stream, found.dev(), found.ino()))
}

/// Whether `stream`, "device:inode" in decimal, names this one.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// syslog's number for a level: what systemd calls err, warning, info and debug.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Each line of `words` with its priority in front: the journal makes an entry of each line.
fn with_priority(priority: u8, words: &Arguments<'_>) -> String {
    let words = words.to_string();
    let mut lines = String::with_capacity(words.len() + 8);
    for line in words.lines() {
        // A string takes whatever it is given.
        let _always = writeln!(lines, "<{priority}>{line}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_an_error_is_one_to_the_journal() {
        let lines = with_priority(priority(Level::Error), &format_args!("this host lacks:\n  a"));
        assert_eq!(lines, "<3>this host lacks:\n<3>  a\n");
    }

    #[test]
    fn levels_have_the_numbers_by_which_the_journal_sorts() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        assert_eq!(levels.map(priority), [3, 4, 6, 7, 7]);
    }

    #[test]
    fn stderr_is_the_journals_only_when_device_and_inode_are_the_named_ones() {
        assert!(names("8:4711", 8, 4711));
        for other in ["8:4712", "9:4711", "", ":", "8", "8:4711:1", "8: 4711", "x:y"] {
            assert!(!names(other, 8, 4711), "{other}");
        }
    }
}
