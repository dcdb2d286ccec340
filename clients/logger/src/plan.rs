//! Where recordings go, what they are called and how large they grow; nothing is written here.
use crate::clock::{unix_now_s, utc_compact};
use crate::convert::Machine;
use crate::file::part_of;
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// Age of unflushed records at which they are flushed. With the page's 50 ms before it, a kill
/// costs at most 250 ms.
const FLUSH_EVERY: Duration = Duration::from_millis(180);
/// Pause between tries while the disk does not take a file.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Files of one name; a directory with more of them is somebody's mistake.
const NUMBER_MAX: u32 = 999_999;

/// Where recordings go and how large they grow.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Directory of the recordings.
    pub dir: PathBuf,
    /// Name without number and extension; from machine and time when absent.
    pub name: Option<String>,
    /// Age and size at which a file is finished and the next begun; never when absent.
    pub rotate: Option<Rotate>,
    /// Pause between tries while the disk does not take a file.
    pub retry_every: Duration,
    /// Age of unflushed records at which they are flushed.
    pub flush_every: Duration,
}

/// Bounds of one file.
#[derive(Clone, Copy, Debug)]
pub struct Rotate {
    /// Age at which a file is finished.
    pub age: Duration,
    /// Size at which a file is finished.
    pub size_bytes: u64,
}

impl Plan {
    /// A plan with the usual pauses.
    #[must_use]
    pub fn new(dir: PathBuf, name: Option<String>, rotate: Option<Rotate>) -> Self {
        Self { dir, name, rotate, retry_every: RETRY_EVERY, flush_every: FLUSH_EVERY }
    }

    /// The next free path, numbered from `number` on.
    pub(crate) fn target(&self, machine: &Machine, number: &mut u32) -> Result<PathBuf> {
        let stem = match &self.name {
            Some(name) => name.clone(),
            None => format!("{}-{}", file_word(&machine.name()), utc_compact(unix_now_s()?)),
        };
        while *number <= NUMBER_MAX {
            let plain = self.name.is_some() && self.rotate.is_none() && *number == 0;
            let name =
                if plain { format!("{stem}.mcap") } else { format!("{stem}-{number:03}.mcap") };
            *number += 1;
            let target = self.dir.join(name);
            if !target.try_exists()? && !part_of(&target).try_exists()? {
                return Ok(target);
            }
        }
        anyhow::bail!("no free number left for {stem} in {}", self.dir.display())
    }
}

/// A machine's name as part of a file name: ASCII letters, digits, `.`, `_`; no leading dot.
#[must_use]
pub fn file_word(name: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let word: String = name.chars().map(|letter| if kept(letter) { letter } else { '_' }).collect();
    let word = word.trim_start_matches('.');
    if word.is_empty() { "machine".into() } else { word.into() }
}
