//! One recording on disk, from `….mcap.part` to `….mcap`; knows nothing of queues or of when to rotate.
use crate::clock::UnixOffset;
use crate::convert::Machine;
use crate::schema::{DESCRIPTORS, Topic};
use anyhow::{Context, Result};
use mcap::records::{MessageHeader, Metadata};
use mcap::{Attachment, Compression, WriteOptions, Writer};
use prost::Message as _;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a file is called while it is being written.
pub const PART: &str = "part";

/// Uncompressed bytes after which a chunk is closed.
const CHUNK_BYTES: u64 = 256 * 1024;

/// zstd's fast level -2. For 32 axes at 4 kHz level 1 costs 5.4 to 5.9 % of a core, this one 3.3 %,
/// and files are 6 % larger (2026-11-21, shared 2-CPU virtual machine, examples/recording_cost.rs).
const ZSTD_LEVEL: i32 = -2;

/// How every recording is written. Seeking is off because a half-written chunk must leave a file
/// that reads cleanly up to it; compression threads are off because the default starts one per CPU,
/// which may be the loop's.
#[must_use]
pub fn write_options() -> WriteOptions {
    WriteOptions::new()
        .library(concat!("kadenz-logger ", env!("CARGO_PKG_VERSION")))
        .compression(Some(Compression::Zstd))
        .compression_level(ZSTD_LEVEL.cast_unsigned()) // read back as signed by the writer
        .compression_threads(0)
        .chunk_size(Some(CHUNK_BYTES))
        .disable_seeking(true)
}

/// A file that counts what passes and refuses to go back.
#[derive(Debug)]
pub struct Tail {
    file: BufWriter<File>,
    written_bytes: Arc<AtomicU64>,
}

impl Tail {
    /// Writes to `file` from its start; the counter tells the bytes accepted so far.
    #[must_use]
    pub fn new(file: File) -> (Self, Arc<AtomicU64>) {
        let written_bytes = Arc::new(AtomicU64::new(0));
        let tail = Self { file: BufWriter::new(file), written_bytes: Arc::clone(&written_bytes) };
        (tail, written_bytes)
    }

    /// Gives the file back without writing what is still buffered.
    fn abandon(self) {
        drop(self.file.into_parts());
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        // ORDERING: written and read by the same thread.
        self.written_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Tail {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            // ORDERING: written and read by the same thread.
            SeekFrom::Current(0) => Ok(self.written_bytes.load(Ordering::Relaxed)),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "a recording is never rewritten")),
        }
    }
}

/// A recording under way.
pub struct Recording {
    writer: Writer<Tail>,
    channels: [u16; Topic::ALL.len()],
    file: File,
    part: PathBuf,
    target: PathBuf,
    written_bytes: Arc<AtomicU64>,
    flushed_bytes: u64,
}

impl Recording {
    /// Creates `<target>.part`, locked against recovery, with schemas, channels, metadata and the
    /// catalog already flushed and synced.
    ///
    /// # Errors
    /// When the file cannot be created or written, naming it.
    pub fn create(
        target: &Path,
        machine: &Machine,
        offset: UnixOffset,
        log_ns: u64,
    ) -> Result<Self> {
        let part = part_of(target);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&part)
            .with_context(|| format!("cannot create {}", part.display()))?;
        let outcome = Self::begin(file, part.clone(), target.into(), machine, offset, log_ns);
        if outcome.is_err() {
            // Nothing has been recorded in it; leaving it would litter a full disk at every try.
            let _ = std::fs::remove_file(&part);
        }
        outcome.with_context(|| format!("cannot begin {}", part.display()))
    }

    fn begin(
        file: File,
        part: PathBuf,
        target: PathBuf,
        machine: &Machine,
        offset: UnixOffset,
        log_ns: u64,
    ) -> Result<Self> {
        file.try_lock().context("cannot lock it")?;
        let (tail, written_bytes) = Tail::new(file.try_clone()?);
        let mut writer = write_options().create(tail)?;
        let mut channels = [0; Topic::ALL.len()];
        for (channel, topic) in channels.iter_mut().zip(Topic::ALL) {
            let schema = writer.add_schema(topic.schema(), "protobuf", DESCRIPTORS)?;
            *channel = writer.add_channel(schema, topic.name(), "protobuf", &BTreeMap::new())?;
        }
        let mut recording =
            Self { writer, channels, file, part, target, written_bytes, flushed_bytes: 0 };
        recording.describe(machine, offset, log_ns)?;
        recording.flush()?;
        recording.sync()?;
        Ok(recording)
    }

    /// Writes what the machine is: metadata, JSON attachment and `/catalog` message.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn describe(&mut self, machine: &Machine, offset: UnixOffset, log_ns: u64) -> Result<()> {
        let header = &machine.header;
        let metadata = [
            ("machine_name", machine.name()),
            ("config_hash", machine.config_hash()),
            ("daemon_id", format!("{:016x}", header.daemon_id)),
            ("layout_hash", machine.layout_hash()),
            ("layout_version", format!("{}.{}", header.version_major, header.version_minor)),
            ("logger_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("unix_less_monotonic_ns", offset.offset_ns.to_string()),
        ];
        self.writer.write_metadata(&Metadata {
            name: "kadenz".into(),
            metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        })?;
        self.writer.attach(&Attachment {
            log_time: log_ns,
            create_time: log_ns,
            name: "catalog.json".into(),
            media_type: "application/json".into(),
            data: Cow::Owned(serde_json::to_vec_pretty(&machine.json())?),
        })?;
        self.write(Topic::Catalog, 0, log_ns, &machine.message().encode_to_vec())
    }

    /// Adds one message.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, topic: Topic, number: u64, log_ns: u64, message: &[u8]) -> Result<()> {
        let [state, events, health, catalog, gaps, incidents] = self.channels;
        let channel_id = match topic {
            Topic::State => state,
            Topic::Events => events,
            Topic::Health => health,
            Topic::Catalog => catalog,
            Topic::Gaps => gaps,
            Topic::Incidents => incidents,
        };
        let [b0, b1, b2, b3, ..] = number.to_le_bytes();
        // MCAP counts in 32 bits: the number wraps, the message holds all of it.
        let sequence = u32::from_le_bytes([b0, b1, b2, b3]);
        let header = MessageHeader { channel_id, sequence, log_time: log_ns, publish_time: log_ns };
        Ok(self.writer.write_to_known_channel(&header, message)?)
    }

    /// Closes the chunk and hands everything to the file system: from here a kill loses nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush()?;
        self.flushed_bytes = self.size_bytes();
        Ok(())
    }

    /// Brings what has been flushed to the disk: from here a power cut loses nothing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    /// Bytes written so far.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        // ORDERING: written and read by the same thread.
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Where the finished file will stand.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes summary and footer, syncs, and gives the file its final name.
    ///
    /// # Errors
    /// When the file cannot be finished: what was flushed stays in `….part` for recovery.
    pub fn finish(mut self) -> Result<(PathBuf, u64), GivenUp> {
        if let Err(error) = self.writer.finish().and_then(|_| Ok(self.file.sync_all()?)) {
            return Err(self.give_up(&error.into()));
        }
        let size_bytes = self.size_bytes();
        match publish(&self.part, &self.target) {
            Ok(()) => Ok((self.target, size_bytes)),
            Err(error) => Err(GivenUp { error, flushed_is_safe: true }),
        }
    }

    /// Gives the recording up after an error: cuts the file back to what the last flush promised
    /// and leaves it as `….part` for recovery.
    #[must_use]
    pub fn give_up(self, error: &anyhow::Error) -> GivenUp {
        self.writer.into_inner().abandon();
        let cut = self.file.set_len(self.flushed_bytes).and_then(|()| self.file.sync_data());
        let part = self.part.display();
        let error = match &cut {
            Ok(()) => anyhow::anyhow!("{error:#}; what was flushed before stays in {part}"),
            Err(second) => anyhow::anyhow!("{error:#}; and {part} may be damaged: {second}"),
        };
        GivenUp { error, flushed_is_safe: cut.is_ok() }
    }
}

/// Why a recording was given up, and what is left of it.
#[derive(Debug)]
pub struct GivenUp {
    /// What went wrong, naming the file.
    pub error: anyhow::Error,
    /// Whether all that was ever flushed is on the disk.
    pub flushed_is_safe: bool,
}

/// The name of a file while it is being written.
#[must_use]
pub fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    name.into()
}

/// Gives a complete, synced file its final name, lastingly; never replaces a file.
///
/// # Errors
/// When the name is taken or the directory cannot be written.
pub fn publish(from: &Path, to: &Path) -> Result<()> {
    anyhow::ensure!(
        !to.try_exists()?,
        "{} exists already: the recording stays in {}",
        to.display(),
        from.display()
    );
    std::fs::rename(from, to)
        .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot sync directory {}", dir.display()))
}
