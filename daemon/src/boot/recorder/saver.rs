//! The thread that saves the ring to disk. It alone waits for the disk: the mainland and the loop never do.
//!
//! **What a power loss costs**: the cycles since the last save, that is `[recorder] save_every_ms` and the
//! time that save takes (written and synchronised: `fdatasync`). What was saved is whole and readable to
//! its last record. A disk that is full or does not answer costs nothing as long as the ring reaches back;
//! then cycles are overwritten unsaved, and counted (`recorder_unsaved`). What could not be written is
//! tried again at the same place, so that nothing half-written stays in between.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use kadenz_lanes::{BroadcastReader, GaugeWriter, Read};
use kadenz_recorder::Header;
use servo_core::inputs::WORDS_MAX;

use super::disk::Disk;
use crate::rt::clock::now_ns;
use crate::rt::stats::gauge;

/// Most bytes of one write.
const BATCH_BYTES_MAX: u64 = 1 << 20;
/// The thread's stack; the memory of the daemon is locked.
const STACK_BYTES: usize = 256 << 10;
/// A save that takes longer is told.
const SLOW: Duration = Duration::from_secs(2);
/// Between two messages about cycles lost while the disk works.
const LOSS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// What there is to save.
pub struct Task {
    /// The ring, from its first cycle on.
    pub ring: BroadcastReader<'static>,
    /// What stands before the first cycle of every file.
    pub header: Header,
    /// How often to save.
    pub every: Duration,
    /// Where unsaved cycles are counted.
    pub gauges: GaugeWriter<'static>,
}

/// The thread, seen from the mainland.
pub struct Saver {
    /// Its end is the order to save what is left and end.
    _go_on: Sender<()>,
    ended: Receiver<()>,
    /// Since when a save is under way, CLOCK_MONOTONIC; 0 when none is.
    busy_since_ns: Arc<AtomicU64>,
    told_slow: bool,
}

impl Saver {
    /// Begins to save.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(task: Task, disk: impl Disk) -> anyhow::Result<Self> {
        let (go_on, stop) = mpsc::channel::<()>();
        let (tell, ended) = mpsc::channel();
        let busy_since_ns = Arc::new(AtomicU64::new(0));
        let busy = Arc::clone(&busy_since_ns);
        thread::Builder::new()
            .name("saver".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                run(task, disk, &stop, &busy);
                // Nobody may be there any more to hear it.
                let _unheard = tell.send(());
            })
            .context("starting the saver thread")?;
        Ok(Self { _go_on: go_on, ended, busy_since_ns, told_slow: false })
    }

    /// Tells once when the disk does not answer, and once when it does again. Never waits.
    pub fn look(&mut self) {
        // ORDERING: relaxed, a time that stands for itself.
        let since_ns = self.busy_since_ns.load(Ordering::Relaxed);
        let is_slow =
            since_ns != 0 && u128::from(now_ns().saturating_sub(since_ns)) > SLOW.as_nanos();
        if is_slow && !self.told_slow {
            log::error!(
                "the disk has not answered the flight recorder for {} s; its ring goes on in memory",
                SLOW.as_secs()
            );
        } else if !is_slow && self.told_slow {
            log::info!("the disk answers the flight recorder again");
        }
        self.told_slow = is_slow;
    }

    /// Has what is left saved, and waits for it no longer than `patience`; false when it took longer.
    pub fn finish(self, patience: Duration) -> bool {
        let Self { _go_on: go_on, ended, .. } = self;
        drop(go_on);
        let is_saved = ended.recv_timeout(patience).is_ok();
        if !is_saved {
            log::error!(
                "the disk has not answered the flight recorder for {} s: what it was not given is lost",
                patience.as_secs()
            );
        }
        is_saved
    }
}

fn run(task: Task, disk: impl Disk, stop: &Receiver<()>, busy: &AtomicU64) {
    let every = task.every;
    let mut saving = Saving::new(task, disk);
    loop {
        let is_last = stop.recv_timeout(every) == Err(RecvTimeoutError::Disconnected);
        // ORDERING: relaxed, a time that stands for itself.
        busy.store(now_ns(), Ordering::Relaxed);
        saving.save();
        // ORDERING: relaxed, as above.
        busy.store(0, Ordering::Relaxed);
        if is_last {
            saving.end();
            return;
        }
    }
}

/// A recording under way: what is in the file, what is on its way, what was lost.
pub(super) struct Saving<D: Disk> {
    ring: BroadcastReader<'static>,
    header: Header,
    gauges: GaugeWriter<'static>,
    disk: D,
    words: Vec<u64>,
    /// Bytes of the file under way that are on disk.
    offset: u64,
    /// What follows them, and how many cycles that is.
    batch: Vec<u8>,
    batch_cycles: u64,
    has_header: bool,
    is_failing: bool,
    unsaved: u64,
    unsaved_told: u64,
    told_at: Option<Instant>,
}

impl<D: Disk> Saving<D> {
    /// A recording of which nothing is on disk yet.
    pub(super) fn new(task: Task, disk: D) -> Self {
        Self {
            ring: task.ring,
            header: task.header,
            gauges: task.gauges,
            disk,
            words: vec![0; WORDS_MAX],
            offset: 0,
            batch: Vec::new(),
            batch_cycles: 0,
            has_header: false,
            is_failing: false,
            unsaved: 0,
            unsaved_told: 0,
            told_at: None,
        }
    }

    /// Saves what is in the ring, as far as the disk takes it.
    pub(super) fn save(&mut self) {
        // BOUND: each turn takes a batch off the ring or ends; the loop cannot outrun a disk that takes
        // less than it writes for longer than the ring is, since then cycles are lost and skipped.
        loop {
            let more = self.collect();
            if let Err(error) = self.write(more == More::NextFile) {
                return self.tell_failure(&error);
            }
            if more == More::Nothing {
                return self.tell_recovery();
            }
        }
    }

    /// Counts what stays unsaved at the end.
    pub(super) fn end(mut self) {
        let left = self.ring.head().saturating_sub(self.ring.cursor());
        self.count_unsaved(left.saturating_add(self.batch_cycles));
        if self.unsaved > 0 {
            log::error!(
                "{}: {} cycles of this run were not saved",
                self.disk.path().display(),
                self.unsaved
            );
        }
    }

    /// Puts cycles from the ring into the batch.
    fn collect(&mut self) -> More {
        if !self.has_header {
            let words = self.header.to_words();
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            // A new file is begun only once the batch is on disk, so this stands first.
            self.batch.extend(bytes);
            self.has_header = true;
        }
        // BOUND: every turn lengthens the batch, skips lost cycles or ends; the batch is bounded.
        loop {
            let batch_bytes = self.batch.len() as u64 + WORDS_MAX as u64 * 8;
            if self.offset + batch_bytes > self.disk.file_bytes_max() && self.offset > 0 {
                return More::NextFile;
            }
            if batch_bytes > BATCH_BYTES_MAX {
                return More::SameFile;
            }
            match self.ring.read_next(&mut self.words) {
                Read::Record { words, .. } => {
                    let record = &self.words[..words];
                    self.batch.extend(record.iter().flat_map(|word| word.to_le_bytes()));
                    self.batch_cycles += 1;
                }
                Read::Lost { count } => self.count_unsaved(count),
                Read::Empty => return More::Nothing,
            }
        }
    }

    /// Puts the batch on disk, and then begins the next file if this one `is_full`.
    fn write(&mut self, is_full: bool) -> std::io::Result<()> {
        if !self.batch.is_empty() {
            self.disk.write_at(&self.batch, self.offset)?;
            self.offset += self.batch.len() as u64;
            self.batch.clear();
            self.batch_cycles = 0;
        }
        if is_full {
            self.disk.begin_next()?;
            (self.offset, self.has_header) = (0, false);
        }
        Ok(())
    }

    fn count_unsaved(&mut self, count: u64) {
        self.unsaved = self.unsaved.saturating_add(count);
        self.gauges.set(gauge!(recorder_unsaved), self.unsaved);
    }

    fn tell_failure(&mut self, error: &std::io::Error) {
        if !self.is_failing {
            log::error!(
                "{}: the flight recorder cannot be saved: {error}; it is tried again, meanwhile its ring in \
                 memory goes on",
                self.disk.path().display()
            );
        }
        self.is_failing = true;
    }

    fn tell_recovery(&mut self) {
        let lost = self.unsaved - self.unsaved_told;
        let path = self.disk.path().display();
        if self.is_failing {
            log::info!(
                "{path}: the flight recorder is saved again; {lost} cycles were overwritten unsaved"
            );
        } else if lost > 0 && self.told_at.is_none_or(|at| at.elapsed() > LOSS_TOLD_EVERY) {
            log::error!(
                "{path}: the disk is too slow for the flight recorder: {lost} cycles were overwritten unsaved"
            );
            self.told_at = Some(Instant::now());
        } else {
            return;
        }
        self.is_failing = false;
        self.unsaved_told = self.unsaved;
    }
}

/// What is left to do after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    /// The ring was read to its end.
    Nothing,
    /// There is more for this file.
    SameFile,
    /// The file is full.
    NextFile,
}
