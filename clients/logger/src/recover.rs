//! Left-over and damaged recordings made whole: every chunk whose checksum holds is copied into a new,
//! finished file. Any bytes may stand in the original; it goes only after its copy is on the disk.
use crate::file::{PART, Tail, publish, write_options};
use anyhow::{Context, Result, bail};
use mcap::records::{Record, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};
use mcap::{Attachment, MAGIC, Writer};
use std::fs::{File, TryLockError};
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Largest record believed, compressed or not: far above any chunk a recorder makes, far below what
/// a forged length could make us allocate.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Extension of a copy under way.
const COPYING: &str = "recovering";
/// Extension of a left-over that gave less than all of its whole chunks.
const DAMAGED: &str = "damaged";
/// Names tried for a copy.
const NAMES_MAX: u32 = 1_000;

/// What a recovery gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Messages copied.
    pub messages: u64,
    /// Chunks and records left out because they are not what their checksum or length says.
    pub damaged: u64,
    /// Bytes at the end that were not read: what the crash cut off, or follows unreadable bytes.
    pub unread_bytes: u64,
    /// True when the original ended in a clean cut or a proper end, so that nothing more is in it.
    pub complete: bool,
}

/// Recovers a file the user names into a new file next to it; the original stays.
///
/// # Errors
/// When it cannot be read, is still being written, holds no whole message, or the copy cannot be
/// written.
pub fn recover_file(original: &Path) -> Result<(PathBuf, Recovered)> {
    let name = original.file_name().context("not a file name")?.to_string_lossy().into_owned();
    let stem = name.strip_suffix(&format!(".{PART}")).unwrap_or(&name);
    let stem = stem.strip_suffix(&format!(".{DAMAGED}")).unwrap_or(stem);
    let stem = stem.strip_suffix(".mcap").unwrap_or(stem);
    copy_whole(original, stem, &AtomicBool::new(false))
}

/// Recovers every left-over of a directory. Failures are reported and do not end the others; with
/// `stop` set it ends early and leaves the rest for the next start.
pub fn recover_leftovers(dir: &Path, stop: &AtomicBool) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            log::warn!("cannot look for left-over recordings in {}: {error}", dir.display());
            return;
        }
    };
    let suffix = format!(".mcap.{PART}");
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(&suffix) else { continue };
        // ORDERING: a flag that publishes nothing else.
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match copy_whole(&path, stem, stop) {
            Ok((copy, recovered)) => settle(&path, &copy, &recovered),
            Err(error) => match error.downcast_ref::<Kept>() {
                Some(Kept::InUse | Kept::Stopped) => {}
                Some(Kept::Empty) => set_aside(&path, &error),
                None => log::warn!("left-over {} stays: {error:#}", path.display()),
            },
        }
    }
}

/// Why an original is not copied although the disk is well.
#[derive(Debug)]
enum Kept {
    InUse,
    Stopped,
    Empty,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kept::InUse => "it is being written: end its logger first",
            Kept::Stopped => "the logger is ending",
            Kept::Empty => "it holds no whole message",
        })
    }
}

impl std::error::Error for Kept {}

fn settle(original: &Path, copy: &Path, recovered: &Recovered) {
    log::info!(
        "recovered {}: {} messages, {} damaged, {} bytes cut off at the end",
        copy.display(),
        recovered.messages,
        recovered.damaged,
        recovered.unread_bytes
    );
    if recovered.complete && recovered.damaged == 0 {
        if let Err(error) = std::fs::remove_file(original) {
            log::warn!("cannot remove {} after recovery: {error}", original.display());
        }
    } else {
        set_aside(original, &anyhow::anyhow!("parts of it cannot be read"));
    }
}

/// Renames an original so that the next start does not try it again; its bytes stay.
fn set_aside(original: &Path, why: &anyhow::Error) {
    let aside = original.with_extension(DAMAGED);
    match publish(original, &aside) {
        Ok(()) => log::warn!("kept as {}: {why:#}", aside.display()),
        Err(error) => log::warn!("left-over {} stays ({why:#}): {error:#}", original.display()),
    }
}

fn copy_whole(original: &Path, stem: &str, stop: &AtomicBool) -> Result<(PathBuf, Recovered)> {
    let at = || original.display().to_string();
    let source = File::open(original).with_context(|| format!("cannot open {}", at()))?;
    match source.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Kept::InUse).with_context(at),
        Err(TryLockError::Error(error)) => return Err(error).with_context(at),
    }
    let copying = original.with_file_name(format!("{stem}.mcap.{COPYING}"));
    let file =
        File::create(&copying).with_context(|| format!("cannot create {}", copying.display()))?;
    let outcome = copy_into(&source, file, stop).with_context(at).and_then(|recovered| {
        let target = free_name(original, stem)?;
        publish(&copying, &target)?;
        Ok((target, recovered))
    });
    if outcome.is_err() {
        // An unfinished copy helps nobody, and the next try begins anew.
        let _ = std::fs::remove_file(&copying);
    }
    outcome
}

fn free_name(original: &Path, stem: &str) -> Result<PathBuf> {
    let names = std::iter::once(format!("{stem}.mcap"))
        .chain((1..=NAMES_MAX).map(|number| format!("{stem}.recovered-{number}.mcap")));
    for name in names {
        let target = original.with_file_name(name);
        if !target.try_exists()? {
            return Ok(target);
        }
    }
    bail!("no free name for the copy of {}", original.display())
}

fn copy_into(source: &File, copy: File, stop: &AtomicBool) -> Result<Recovered> {
    let size_bytes = source.metadata()?.len();
    let (tail, _) = Tail::new(copy.try_clone()?);
    let mut writer = write_options().create(tail)?;
    let outcome = copy_records(BufReader::new(source), size_bytes, &mut writer, stop);
    match outcome {
        Ok(recovered) if recovered.messages > 0 => {
            writer.finish()?;
            copy.sync_all()?;
            Ok(recovered)
        }
        Ok(_) => Err(Kept::Empty.into()),
        Err(error) => Err(error),
    }
}

/// Copies what is whole in `source`, which holds `size_bytes`, and never fails for what it holds.
fn copy_records(
    mut source: impl Read,
    size_bytes: u64,
    writer: &mut Writer<Tail>,
    stop: &AtomicBool,
) -> Result<Recovered> {
    let mut recovered = Recovered { unread_bytes: size_bytes, ..Recovered::default() };
    let mut magic = [0; MAGIC.len()];
    if !fills(&mut source, &mut magic)? || magic != *MAGIC {
        return Ok(recovered);
    }
    recovered.unread_bytes -= MAGIC.len() as u64;
    let mut frame = Vec::new();
    // BOUND: each turn takes nine bytes and more of a file that does not grow (it is locked).
    loop {
        // ORDERING: a flag that publishes nothing else.
        if stop.load(Ordering::Relaxed) {
            return Err(Kept::Stopped.into());
        }
        frame.resize(FRAME_HEAD, 0);
        if recovered.unread_bytes < FRAME_HEAD as u64 || !fills(&mut source, &mut frame)? {
            recovered.complete = true;
            return Ok(recovered);
        }
        let Some((opcode, length)) = frame_head(&frame) else { return Ok(recovered) };
        if length > recovered.unread_bytes - FRAME_HEAD as u64 {
            // A cut. Only a recorder's own opcode makes it a plausible one.
            recovered.complete = (op::HEADER..=op::DATA_END).contains(&opcode);
            return Ok(recovered);
        }
        let Ok(wanted) = usize::try_from(length) else { return Ok(recovered) };
        if wanted > RECORD_BYTES_MAX || opcode == 0 {
            return Ok(recovered);
        }
        frame.resize(FRAME_HEAD + wanted, 0);
        if !fills(&mut source, frame.split_at_mut(FRAME_HEAD).1)? {
            return Ok(recovered);
        }
        recovered.unread_bytes -= frame.len() as u64;
        match opcode {
            op::DATA_END => {
                // Only the summary follows, and the copy gets its own.
                recovered.unread_bytes = 0;
                recovered.complete = true;
                return Ok(recovered);
            }
            op::CHUNK => copy_chunk(&frame, writer, &mut recovered)?,
            op::HEADER | op::MESSAGE_INDEX => {}
            _ => copy_record(opcode, frame.split_at(FRAME_HEAD).1, writer, &mut recovered)?,
        }
    }
}

const FRAME_HEAD: usize = 9;

fn frame_head(frame: &[u8]) -> Option<(u8, u64)> {
    let (opcode, rest) = frame.split_first()?;
    Some((*opcode, u64::from_le_bytes(*rest.first_chunk()?)))
}

/// Fills `buffer`; false when the source ends before.
fn fills(source: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Copies the records of one chunk, all or none: its checksum is proved before the first.
fn copy_chunk(frame: &[u8], writer: &mut Writer<Tail>, recovered: &mut Recovered) -> Result<()> {
    let options = LinearReaderOptions::default()
        .with_skip_start_magic(true)
        .with_skip_end_magic(true)
        .with_prevalidate_chunk_crcs(true)
        .with_record_length_limit(RECORD_BYTES_MAX);
    let mut reader = LinearReader::new_with_options(options);
    let mut rest = frame;
    while let Some(event) = reader.next_event() {
        match event {
            Ok(LinearReadEvent::ReadRequest(wanted)) => {
                let (now, later) = rest.split_at(wanted.min(rest.len()));
                if let Some(room) = reader.insert(now.len()).get_mut(..now.len()) {
                    room.copy_from_slice(now);
                }
                reader.notify_read(now.len());
                rest = later;
            }
            Ok(LinearReadEvent::Record { opcode, data }) => {
                copy_record(opcode, data, writer, recovered)?;
            }
            Err(error) => {
                log::debug!("a chunk is left out: {error}");
                recovered.damaged += 1;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Copies one record; a record that contradicts earlier ones counts as damaged.
fn copy_record(
    opcode: u8,
    body: &[u8],
    writer: &mut Writer<Tail>,
    recovered: &mut Recovered,
) -> Result<()> {
    let Ok(record) = mcap::parse_record(opcode, body) else {
        recovered.damaged += 1;
        return Ok(());
    };
    let copied = match record {
        Record::Schema { header, data } => {
            writer.add_schema_with_id(header.id, &header.name, &header.encoding, &data).map(|_| ())
        }
        Record::Channel(channel) => writer
            .add_channel_with_id(
                channel.id,
                channel.schema_id,
                &channel.topic,
                &channel.message_encoding,
                &channel.metadata,
            )
            .map(|_| ()),
        Record::Message { header, data } => {
            let written = writer.write_to_known_channel(&header, &data);
            recovered.messages += u64::from(written.is_ok());
            written
        }
        Record::Metadata(metadata) => writer.write_metadata(&metadata),
        Record::Attachment { header, data, .. } => writer.attach(&Attachment {
            log_time: header.log_time,
            create_time: header.create_time,
            name: header.name,
            media_type: header.media_type,
            data,
        }),
        _ => Ok(()),
    };
    match copied {
        Ok(()) => Ok(()),
        Err(mcap::McapError::Io(error)) => Err(error).context("cannot write the copy"),
        Err(mcap::McapError::AttemptedWriteAfterFailure) => bail!("cannot write the copy"),
        Err(error) => {
            log::debug!("a record is left out: {error}");
            recovered.damaged += 1;
            Ok(())
        }
    }
}
