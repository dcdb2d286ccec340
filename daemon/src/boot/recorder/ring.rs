//! The ring on tmpfs: made anew at every start, and never over what a dead daemon left.
//!
//! A file of the runtime directory and no memory of the process, so that it outlives a kill. What is
//! found there may be anything: it is put aside under its daemon's number when it may be evidence, and is
//! never a reason not to start.
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use kadenz_config::Machine;
use kadenz_lanes::{BroadcastReader, BroadcastWriter, RingGeometry, View};
use kadenz_recorder::Header;
use servo_core::inputs::Shape;
use servo_core::setup::Setup;

/// The ring of the daemon that runs, or ran last.
pub const RING: &str = "flight.ring";
/// A ring that is not complete yet.
const UNFINISHED: &str = "flight.ring.new";
/// No header is longer than this many bytes.
const HEADER_BYTES_MAX: u64 = 1 << 23;

/// A ring for `[recorder] ring_s` seconds of cycles in the runtime directory `dir`; a predecessor's is kept
/// beside it.
///
/// # Errors
/// No space for it, or no permission.
pub fn create(
    dir: &Path,
    machine: &Machine,
    setup: &Setup,
) -> anyhow::Result<(BroadcastWriter<'static>, BroadcastReader<'static>)> {
    let path = dir.join(RING);
    let kept = put_aside(&path);
    if let Some(kept) = &kept {
        log::warn!(
            "{}: what the daemon before recorded last; look at it with `kadenz recorder dump`",
            kept.display()
        );
    }
    let cycles = u64::from(machine.recorder.ring_s) * 1_000_000_000 / setup.period_ns;
    let slots = usize::try_from(cycles)?.next_power_of_two().max(2);
    let geometry = RingGeometry::new(slots, Shape::of(setup).words_max())
        .context("[recorder] ring_s is too long for this machine; lower it")?;
    let header = Header { ring: Some(geometry), ..super::header(machine, setup) }.to_words();
    let bytes = (header.len() + geometry.words()) as u64 * 8;
    let unfinished = dir.join(UNFINISHED);
    let file = make(&unfinished, bytes)?;
    let first: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_all_at(&first, 0).with_context(|| unfinished.display().to_string())?;
    let words = crate::sys::map_words(&file)?;
    // Complete from the first instant on which it has its name.
    fs::rename(&unfinished, &path).with_context(|| path.display().to_string())?;
    let words = words.get(header.len()..).context("the ring is shorter than its header")?;
    let writer = BroadcastWriter::new(words, geometry)?;
    let reader = BroadcastReader::new(View::new(words), geometry)?.resume_at(0);
    Ok((writer, reader))
}

/// A file of `bytes`, all of them there: a write to a full tmpfs would end the loop. Kept rings give way,
/// also those of earlier starts, rather than keep the machine from starting.
fn make(path: &Path, bytes: u64) -> anyhow::Result<File> {
    remove(path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    let length = i64::try_from(bytes)?;
    let allocated = nix::fcntl::posix_fallocate(&file, 0, length).or_else(|error| {
        let kept = path.parent().map(kept_rings).unwrap_or_default();
        if kept.is_empty() {
            return Err(error);
        }
        for ring in kept {
            log::warn!("{}: dropped, there is no room for two rings", ring.display());
            remove(&ring);
        }
        nix::fcntl::posix_fallocate(&file, 0, length)
    });
    allocated.with_context(|| {
        let place = path.display();
        let megabytes = bytes >> 20;
        format!("{place}: no room for {megabytes} MB of flight recorder; lower [recorder] ring_s")
    })?;
    Ok(file)
}

/// Moves what stands at `path` out of the way; gives the new name when it may be evidence. One is kept:
/// the last that recorded anything.
fn put_aside(path: &Path) -> Option<PathBuf> {
    fs::symlink_metadata(path).ok()?;
    let name = match peek(path) {
        Found::Nothing => {
            remove(path);
            return None;
        }
        Found::Ring(daemon_id) => format!("{RING}.{daemon_id:016x}"),
        Found::Unreadable => format!("{RING}.unreadable"),
    };
    for earlier in kept_rings(path.parent()?) {
        remove(&earlier);
    }
    let kept = path.with_file_name(name);
    if fs::rename(path, &kept).is_err() {
        remove(path);
        return None;
    }
    Some(kept)
}

/// The rings of earlier daemons in `dir`.
fn kept_rings(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_kept = |name: &str| name.strip_prefix(RING).is_some_and(|rest| rest.starts_with('.'));
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_kept))
        .map(|entry| entry.path())
        .collect()
}

enum Found {
    /// A ring in which nothing was recorded, or an empty file.
    Nothing,
    /// A ring of this daemon.
    Ring(u64),
    /// Anything else.
    Unreadable,
}

/// Looks at no more than the header and the head of what stands at `path`.
fn peek(path: &Path) -> Found {
    // A file alone: opening a pipe would wait for its other end.
    let Ok(meta) = fs::symlink_metadata(path) else { return Found::Nothing };
    if !meta.is_file() {
        return Found::Unreadable;
    }
    if meta.len() == 0 {
        return Found::Nothing;
    }
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(HEADER_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        return Found::Unreadable;
    }
    let words: Vec<u64> =
        bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    match Header::parse(&words) {
        Ok((header, start)) if words.get(start) == Some(&0) && header.ring.is_some() => {
            Found::Nothing
        }
        Ok((header, _)) => Found::Ring(header.daemon_id),
        Err(_) => Found::Unreadable,
    }
}

/// Removes a file, or a directory with what is in it; follows no link. What cannot be removed is found by
/// whoever needs its name.
fn remove(path: &Path) {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let _gone_or_found = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
