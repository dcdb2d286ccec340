//! When files begin, are flushed, rotated and given up: the writer thread. A failing disk costs
//! records, which are counted, and never the logger.
use crate::clock::UnixOffset;
use crate::convert::Machine;
use crate::file::{GivenUp, Recording};
use crate::plan::Plan;
use crate::queue::{Entry, Outlet, Page};
use crate::schema::{Topic, message};
use crate::tally::{Counts, Tally, add};
use anyhow::{Context, Result};
use prost::Message as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Age of flushed records at which they are synced: what a power cut costs.
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// Records of one topic in doubt or lost: how many, and between which numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    count: u64,
    first: u64,
    last: u64,
}

impl Span {
    fn add(&mut self, number: u64) {
        self.join(Span { count: 1, first: number, last: number });
    }

    fn join(&mut self, other: Span) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.first = other.first;
        }
        self.count += other.count;
        self.last = other.last;
    }
}

/// Spans of the topics that have numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Spans {
    state: Span,
    events: Span,
}

impl Spans {
    fn add(&mut self, entry: Entry) {
        match entry.topic {
            Topic::State => self.state.add(entry.number),
            Topic::Events => self.events.add(entry.number),
            Topic::Health | Topic::Catalog | Topic::Gaps | Topic::Incidents => {}
        }
    }

    fn join(&mut self, other: Spans) {
        self.state.join(other.state);
        self.events.join(other.events);
    }
}

/// The file under way and what of it is not yet safe.
struct Open {
    recording: Recording,
    begun: Instant,
    /// Written, not flushed: gone if the process is killed.
    unflushed: Spans,
    /// Flushed, not synced: gone if the power goes.
    unsynced: Spans,
    /// Losses that a marker in this file names, until the marker itself is flushed.
    marked: Spans,
    flush_due: Option<Instant>,
    sync_due: Option<Instant>,
}

impl Open {
    fn flush(&mut self) -> Result<()> {
        self.recording.flush()?;
        self.unsynced.join(std::mem::take(&mut self.unflushed));
        self.marked = Spans::default();
        Ok(())
    }
}

/// The writer: takes pages until the queue closes.
pub struct FileWriter<F: FnMut(&Path)> {
    plan: Plan,
    offset: UnixOffset,
    tally: Arc<Tally>,
    finished: F,
    machine: Option<Arc<Machine>>,
    open: Option<Open>,
    number: u32,
    /// When to try again, while the disk fails.
    retry_at: Option<Instant>,
    lost: Spans,
    log_ns: u64,
}

impl<F: FnMut(&Path)> FileWriter<F> {
    /// A writer that calls `finished` with the path of each finished file.
    pub fn new(plan: Plan, offset: UnixOffset, tally: Arc<Tally>, finished: F) -> Self {
        Self {
            plan,
            offset,
            tally,
            finished,
            machine: None,
            open: None,
            number: 0,
            retry_at: None,
            lost: Spans::default(),
            log_ns: 0,
        }
    }

    /// Writes until the queue closes, then finishes the last file.
    pub fn run(mut self, outlet: &Outlet) {
        loop {
            match outlet.pages.recv_timeout(self.pause()) {
                Ok(page) => {
                    self.page(&page);
                    // Fails only when reading has ended: nobody needs the page then.
                    let _ = outlet.spare.send(page);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_promises(Instant::now());
        }
        self.finish();
    }

    /// Time until the next thing is due.
    fn pause(&self) -> Duration {
        let open = self.open.as_ref();
        [open.and_then(|open| open.flush_due), open.and_then(|open| open.sync_due), self.retry_at]
            .into_iter()
            .flatten()
            .min()
            .map_or(self.plan.flush_every, |due| due.saturating_duration_since(Instant::now()))
    }

    fn page(&mut self, page: &Page) {
        if self.machine.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &page.machine)) {
            self.change_machine(&page.machine);
        }
        for (entry, bytes) in page.records() {
            self.log_ns = entry.log_ns;
            if self.open.is_none() {
                self.begin(Instant::now());
            }
            let Some(open) = &mut self.open else {
                self.loses(entry);
                continue;
            };
            open.unflushed.add(entry);
            let outcome = open.recording.write(entry.topic, entry.number, entry.log_ns, bytes);
            if let Err(error) = outcome {
                self.gives_up(&error);
            }
        }
        if let Some(open) = &mut self.open {
            open.flush_due.get_or_insert_with(|| Instant::now() + self.plan.flush_every);
        }
    }

    /// A new machine or daemon life: a new file, or with one file only a new description in it.
    fn change_machine(&mut self, machine: &Arc<Machine>) {
        self.machine = Some(Arc::clone(machine));
        if self.plan.rotate.is_some() {
            self.finish();
        } else if let Some(open) = &mut self.open
            && let Err(error) = open.recording.describe(machine, self.offset, self.log_ns)
        {
            self.gives_up(&error);
        }
    }

    /// Begins a file, unless the last try is too recent.
    fn begin(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let Some(machine) = self.machine.clone() else { return };
        match self.create(&machine) {
            Ok(recording) => {
                self.retry_at = None;
                log::info!("recording to {}", recording.target().display());
                self.open = Some(Open {
                    recording,
                    begun: now,
                    unflushed: Spans::default(),
                    unsynced: Spans::default(),
                    marked: std::mem::take(&mut self.lost),
                    flush_due: None,
                    sync_due: None,
                });
                self.mark_lost(machine.header.daemon_id);
            }
            Err(error) => self.fails(&error),
        }
    }

    fn create(&mut self, machine: &Machine) -> Result<Recording> {
        let dir = &self.plan.dir;
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot create directory {}", dir.display()))?;
        let target = self.plan.target(machine, &mut self.number)?;
        let created = Recording::create(&target, machine, self.offset, self.log_ns);
        if created.is_err() {
            // The number was not used.
            self.number = self.number.saturating_sub(1);
        }
        created
    }

    /// Writes gap markers for what the disk did not take, now that it takes something.
    fn mark_lost(&mut self, daemon_id: u64) {
        let Some(lost) = self.open.as_ref().map(|open| open.marked) else { return };
        for (topic, span) in [(Topic::State, lost.state), (Topic::Events, lost.events)] {
            if span.count == 0 {
                continue;
            }
            let gap = message::Gap {
                topic: topic.name().into(),
                number_first: span.first,
                number_last: span.last,
                never_received: 0,
                queue_full: 0,
                disk_failed: span.count,
                daemon_id,
            };
            let log_ns = self.log_ns;
            let Some(open) = &mut self.open else { return };
            let outcome = open.recording.write(Topic::Gaps, 0, log_ns, &gap.encode_to_vec());
            if let Err(error) = outcome {
                self.gives_up(&error);
            }
        }
    }

    /// Flushes, syncs and rotates what is due.
    fn keep_promises(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let Some(open) = &mut self.open else {
            if due(self.retry_at) {
                self.begin(now);
            }
            return;
        };
        let mut outcome = Ok(());
        if due(open.flush_due) {
            outcome = open.flush();
            if outcome.is_ok() {
                open.flush_due = None;
                open.sync_due.get_or_insert(now + SYNC_EVERY);
            }
        }
        if outcome.is_ok() && due(open.sync_due) {
            outcome = open.recording.sync();
            if outcome.is_ok() {
                open.sync_due = None;
                count_written(&self.tally, std::mem::take(&mut open.unsynced));
            }
        }
        let full = self.plan.rotate.is_some_and(|rotate| {
            now.duration_since(open.begun) >= rotate.age
                || open.recording.size_bytes() >= rotate.size_bytes
        });
        match outcome {
            Err(error) => self.gives_up(&error),
            Ok(()) if full => self.finish(),
            Ok(()) => {}
        }
    }

    /// Finishes the file under way.
    fn finish(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        // Flushed first, so that a disk which has room for the records but not for the summary
        // costs only the summary.
        if let Err(error) = open.flush() {
            self.open = Some(open);
            self.gives_up(&error);
            return;
        }
        match open.recording.finish() {
            Ok((path, size_bytes)) => {
                count_written(&self.tally, open.unsynced);
                add(&self.tally.files, 1);
                add(&self.tally.file_bytes, size_bytes);
                (self.finished)(&path);
            }
            Err(given_up) => self.left(given_up, Spans::default(), open.unsynced),
        }
    }

    /// Leaves the file under way to recovery.
    fn gives_up(&mut self, error: &anyhow::Error) {
        let Some(open) = self.open.take() else { return };
        self.lost.join(open.marked);
        let given_up = open.recording.give_up(error);
        self.left(given_up, open.unflushed, open.unsynced);
    }

    /// Settles the account of a file that was given up.
    fn left(&mut self, given_up: GivenUp, unflushed: Spans, unsynced: Spans) {
        let mut lost = Spans::default();
        if given_up.flushed_is_safe {
            count_written(&self.tally, unsynced);
        } else {
            lost.join(unsynced);
        }
        lost.join(unflushed);
        add(&self.tally.state.disk_failed, lost.state.count);
        add(&self.tally.events.disk_failed, lost.events.count);
        self.lost.join(lost);
        self.fails(&given_up.error);
    }

    fn loses(&mut self, entry: Entry) {
        let counts: Option<&Counts> = match entry.topic {
            Topic::State => Some(&self.tally.state),
            Topic::Events => Some(&self.tally.events),
            Topic::Health | Topic::Catalog | Topic::Gaps | Topic::Incidents => None,
        };
        if let Some(counts) = counts {
            // ORDERING: a statistic.
            counts.disk_failed.fetch_add(1, Ordering::Relaxed);
        }
        self.lost.add(entry);
    }

    /// Says once per outage what is wrong, and tries again later.
    fn fails(&mut self, error: &anyhow::Error) {
        if self.retry_at.is_none() {
            log::error!(
                "not recording: {error:#}. Free space or make {} writable; trying again every {} s, \
                 what comes meanwhile is counted as lost",
                self.plan.dir.display(),
                self.plan.retry_every.as_secs_f64()
            );
        }
        self.retry_at = Some(Instant::now() + self.plan.retry_every);
    }
}

fn count_written(tally: &Tally, spans: Spans) {
    add(&tally.state.written, spans.state.count);
    add(&tally.events.written, spans.events.count);
}
