//! Whether what the logger wrote can be read: every message of every finished file, by the format's own reader.
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

/// What the recordings of a folder hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Finished files.
    pub files: usize,
    /// Cycles in them.
    pub states: u64,
    /// Events in them.
    pub events: u64,
}

/// Reads every finished recording in `folder` from its first to its last message.
///
/// # Errors
/// A file that cannot be read to its end, or an unfinished one that nobody recovered.
pub fn read_all(folder: &Path) -> anyhow::Result<Recorded> {
    let mut recorded = Recorded::default();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        ensure!(!name.ends_with(".part"), "{name}: left unfinished");
        if path.extension().is_none_or(|extension| extension != "mcap") {
            continue;
        }
        let bytes = fs::read(&path)?;
        for message in mcap::MessageStream::new(&bytes).with_context(|| name.clone())? {
            let message = message.with_context(|| name.clone())?;
            match message.channel.topic.as_str() {
                "/state" => recorded.states += 1,
                "/events" => recorded.events += 1,
                _ => {}
            }
        }
        recorded.files += 1;
    }
    Ok(recorded)
}
