//! The flight recorder's far end: the ring on tmpfs, and the file a recording is saved to.
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kadenz_lanes::{BroadcastReader, BroadcastWriter, Read, RingGeometry, View};
use servo_core::inputs::WORDS_MAX;
use servo_core::setup::Setup;
use shm_layout::LAYOUT_HASH;

/// "KADENZRC", first byte first in the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"KADENZRC");

/// A ring for the inputs of `seconds` of cycles, in a file of the runtime directory.
///
/// # Errors
/// No space for it, or no permission.
pub fn create_ring(
    dir: &Path,
    setup: &Setup,
    seconds: u32,
) -> anyhow::Result<(BroadcastWriter<'static>, BroadcastReader<'static>)> {
    let cycles = u64::from(seconds) * 1_000_000_000 / setup.period_ns;
    let slots = usize::try_from(cycles)?.next_power_of_two();
    let geometry = RingGeometry::new(slots, slot_words(setup.axis_count))?;
    let path = dir.join("flight.ring");
    let bytes = geometry.words() as u64 * 8;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    nix::fcntl::posix_fallocate(&file, 0, i64::try_from(bytes)?).with_context(|| {
        format!(
            "{}: no room for {} MB of flight recorder; lower [recorder] ring_s",
            path.display(),
            bytes >> 20
        )
    })?;
    let words = crate::sys::map_words(&file)?;
    let writer = BroadcastWriter::new(words, geometry)?;
    let reader = BroadcastReader::new(View::new(words), geometry)?.resume_at(0);
    Ok((writer, reader))
}

/// Words of the largest input record of a machine with `axis_count` axes.
fn slot_words(axis_count: usize) -> usize {
    WORDS_MAX * (axis_count + 8) / (shm_layout::AXES_MAX + 8) + 64
}

/// What stands before the first cycle in a recording: magic, layout hash, daemon id, length of the
/// configuration text in bytes, the text.
#[must_use]
pub fn file_header(setup: &Setup, config: &str) -> Vec<u8> {
    let mut header = Vec::new();
    for word in [MAGIC, LAYOUT_HASH, setup.daemon_id, config.len() as u64] {
        header.extend(word.to_le_bytes());
    }
    header.extend(config.as_bytes());
    header
}

/// Saves the inputs of a run to a file, from the first cycle on.
pub struct Saver {
    ring: BroadcastReader<'static>,
    file: BufWriter<File>,
    path: PathBuf,
    words: Vec<u64>,
    limit_bytes: u64,
    written_bytes: u64,
    full: bool,
}

impl Saver {
    /// Begins the file at `path`: magic, layout hash, daemon id, configuration text.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn begin(
        path: &Path,
        ring: BroadcastReader<'static>,
        setup: &Setup,
        config: &str,
        limit_mb: u32,
    ) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut file = BufWriter::new(file);
        file.write_all(&file_header(setup, config))?;
        Ok(Self {
            ring,
            file,
            path: path.to_owned(),
            words: vec![0; WORDS_MAX],
            limit_bytes: u64::from(limit_mb) << 20,
            written_bytes: 0,
            full: false,
        })
    }

    /// Saves what is new. A full disk ends the recording with one message, never the daemon.
    pub fn save(&mut self) {
        if self.full {
            return;
        }
        if let Err(error) = self.try_save() {
            self.full = true;
            log::error!("{}: recording of inputs ends here: {error:#}", self.path.display());
        }
    }

    fn try_save(&mut self) -> anyhow::Result<()> {
        loop {
            match self.ring.read_next(&mut self.words) {
                Read::Record { words, .. } => {
                    for word in &self.words[..words] {
                        self.file.write_all(&word.to_le_bytes())?;
                    }
                    self.written_bytes += words as u64 * 8;
                    if self.written_bytes > self.limit_bytes {
                        self.file.flush()?;
                        anyhow::bail!("[recorder] limit_mb is reached");
                    }
                }
                Read::Lost { count } => anyhow::bail!("{count} cycles were overwritten unsaved"),
                Read::Empty => {
                    self.file.flush()?;
                    return Ok(());
                }
            }
        }
    }
}
