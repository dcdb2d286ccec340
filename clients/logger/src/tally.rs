//! What was recorded and what was not, counted by the side that knows; read at the end by `main`.
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one numbered topic.
#[derive(Debug, Default)]
pub struct Counts {
    /// Records that a sync has brought to the disk.
    pub written: AtomicU64,
    /// Records that never reached the logger.
    pub never_received: AtomicU64,
    /// Records dropped because the disk fell behind by more than the queue holds.
    pub queue_full: AtomicU64,
    /// Records queued but lost to a full or failing disk.
    pub disk_failed: AtomicU64,
}

impl Counts {
    /// Records that exist but are not in the recording.
    #[must_use]
    pub fn lost(&self) -> u64 {
        get(&self.never_received) + get(&self.queue_full) + get(&self.disk_failed)
    }
}

/// Counters of one life of the logger.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cycles.
    pub state: Counts,
    /// Events.
    pub events: Counts,
    /// Files finished.
    pub files: AtomicU64,
    /// Bytes in finished files.
    pub file_bytes: AtomicU64,
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, count: u64) {
    // ORDERING: a statistic; nothing else is published through it.
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Reads a counter.
#[must_use]
pub fn get(counter: &AtomicU64) -> u64 {
    // ORDERING: a statistic; the final read follows the join of the writer thread.
    counter.load(Ordering::Relaxed)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, counts) in [("cycles", &self.state), ("events", &self.events)] {
            write!(
                f,
                "{} {word} written, {} lost ({} never received, {} queue full, {} disk); ",
                get(&counts.written),
                counts.lost(),
                get(&counts.never_received),
                get(&counts.queue_full),
                get(&counts.disk_failed),
            )?;
        }
        write!(f, "{} files, {} bytes", get(&self.files), get(&self.file_bytes))
    }
}
