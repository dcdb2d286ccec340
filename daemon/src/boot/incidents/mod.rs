//! Every breach of timing becomes an incident with a cause, off the RT thread, from what that thread
//! cheaply noted. What is read is in `evidence.rs`, the rule in `classify.rs`.
//!
//! A breach is a pass that woke later than `[overrun] late_wake_us`, one after which grid points were
//! skipped, or a system call that was denied. It is judged once evidence from after it exists. Incidents
//! are limited in rate; causes of missed cycles are counted without a limit.
use std::collections::VecDeque;

use kadenz_lanes::{BroadcastReader, BroadcastWriter, GaugeReader, GaugeWriter, Read};
use shm_layout::code::{Cause, IncidentKind};
use shm_layout::health::Health;
use shm_layout::incident::Incident;
use shm_layout::{INCIDENT_PASSES, INCIDENT_REACH, STAGES};

use crate::rt::lanes::Wish;
use crate::rt::stats::{PassNote, gauge};

mod classify;
mod evidence;

use classify::{Found, Judged, judge};
use evidence::{History, Look, Sources};

/// A breach is judged this long after it ended; steal is accounted at ticks.
const SETTLE_NS: u64 = 60_000_000;
/// Notes that are kept for what goes around a breach: 0.4 s at 20 kHz.
const NOTES_KEPT: usize = 8192;
/// Incidents told at once, and per second after that.
const BURST: u32 = 16;
const PER_S: u64 = 4;

/// What the mainland needs of the loop to find causes.
pub struct Watched {
    /// What the loop notes of each pass.
    pub notes: BroadcastReader<'static>,
    /// The mainland's gauges of `Health`.
    pub gauges: GaugeWriter<'static>,
    /// What the loop counts.
    pub health: GaugeReader<'static>,
    /// Where incidents go.
    pub incidents: BroadcastWriter<'static>,
    /// What the loop is told of its own thread.
    pub wish: &'static Wish,
    /// The loop's CPU.
    pub cpu: usize,
    /// The loop's thread.
    pub thread_id: i32,
    /// A wake-up later than this is a breach, ns.
    pub late_wake_ns: u64,
}

/// A breach that waits for its evidence.
#[derive(Clone, Copy)]
struct Breach {
    kind: IncidentKind,
    note: PassNote,
}

/// Usual times, as moving medians: each value steps towards what comes by a sixty-fourth of itself.
#[derive(Clone, Copy, Default)]
struct Usual {
    stage_ns: [u64; STAGES],
    cycle_ns: u64,
}

/// Watches one loop.
pub struct Incidents {
    watched: Watched,
    sources: Sources,
    baseline: Look,
    history: History,
    notes: VecDeque<PassNote>,
    waiting: VecDeque<Breach>,
    usual: Usual,
    allowance: Allowance,
    /// Numbers given out, those of incidents kept back included.
    numbered: u64,
    suppressed: u64,
    /// Kept back since one was told.
    suppressed_in_row: u32,
    denied_seen: u32,
    /// Missed cycles that were given a cause, or wait for one.
    booked: u64,
    has_lost_notes: bool,
}

/// How many incidents may be told now.
struct Allowance {
    left: u32,
    since_ns: u64,
}

impl Allowance {
    fn take(&mut self, now_ns: u64) -> bool {
        let earned = now_ns.saturating_sub(self.since_ns) * PER_S / 1_000_000_000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since_ns = now_ns;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

impl Incidents {
    /// Begins to watch; call it when the loop is about to begin.
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        let mut sources = Sources::new(watched.cpu, watched.thread_id);
        let first = sources.look();
        Self {
            sources,
            baseline: first,
            history: History::beginning_with(first),
            notes: VecDeque::new(),
            waiting: VecDeque::new(),
            usual: Usual::default(),
            allowance: Allowance { left: BURST, since_ns: first.at_ns },
            numbered: 0,
            suppressed: 0,
            suppressed_in_row: 0,
            denied_seen: crate::denied_calls(),
            booked: 0,
            has_lost_notes: false,
            watched,
        }
    }

    /// Takes one look at the evidence and judges what can be judged. Call it every few milliseconds.
    pub fn look(&mut self) {
        let look = self.sources.look();
        self.history.add(look);
        self.tell_counters(&look);
        self.take_notes();
        self.book_lost();
        self.take_denied();
        self.judge_settled(look.at_ns);
    }

    /// Judges what is left, settled or not. Call it after the loop has ended.
    pub fn finish(mut self) {
        self.look();
        self.judge_settled(u64::MAX);
        self.book_lost();
    }

    /// Cycles missed in passes whose notes were overwritten: nothing can be shown of them.
    fn book_lost(&mut self) {
        if std::mem::take(&mut self.has_lost_notes) {
            let missed = self.watched.health.get(gauge!(missed_cycles)).unwrap_or(0);
            let lost = missed.saturating_sub(self.booked);
            let place = Cause::Unattributed.code() as usize;
            self.watched.gauges.add(gauge!(missed_by_cause) + place, lost);
            self.booked += lost;
        }
    }

    fn tell_counters(&mut self, look: &Look) {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let minor = since(look.minor_faults, self.baseline.minor_faults);
        let major = since(look.major_faults, self.baseline.major_faults);
        let switches = since(look.involuntary_switches, self.baseline.involuntary_switches);
        let gauges = &mut self.watched.gauges;
        gauges.set(gauge!(minor_faults), minor);
        gauges.set(gauge!(major_faults), major);
        gauges.set(gauge!(involuntary_switches), switches);
        gauges.set(gauge!(allocations), look.allocations);
        gauges.set(gauge!(incidents), self.numbered);
        gauges.set(gauge!(incidents_suppressed), self.suppressed);
        self.watched.wish.tell_suffered(saturated(minor + major), saturated(switches));
    }

    fn take_notes(&mut self) {
        let mut words = [0u64; PassNote::WORDS];
        // BOUND: a look's worth of passes; the loop adds far fewer than are read here.
        for _ in 0..NOTES_KEPT {
            match self.watched.notes.read_next(&mut words) {
                Read::Record { words: PassNote::WORDS, .. } => {
                    self.take(PassNote::from_words(&words));
                }
                Read::Record { .. } => {}
                // What they missed is booked below, as nobody's.
                Read::Lost { .. } => {
                    self.notes.clear();
                    self.has_lost_notes = true;
                }
                Read::Empty => break,
            }
        }
    }

    fn take(&mut self, note: PassNote) {
        let kind = match note {
            _ if note.skipped > 0 && note.cycle_time_ns > note.wake_latency_ns() => {
                Some(IncidentKind::Overrun)
            }
            _ if note.skipped > 0 => Some(IncidentKind::MissedCycles),
            _ if note.wake_latency_ns() > self.watched.late_wake_ns => Some(IncidentKind::LateWake),
            _ => None,
        };
        self.booked += u64::from(note.skipped);
        match kind {
            Some(kind) => self.waiting.push_back(Breach { kind, note }),
            // Only passes that went well tell what is usual.
            None => self.usual.learn(&note),
        }
        if self.notes.len() == NOTES_KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    fn take_denied(&mut self) {
        let denied = crate::denied_calls();
        if let Some(note) = self.notes.back().copied().filter(|_| denied != self.denied_seen) {
            self.denied_seen = denied;
            self.waiting.push_back(Breach { kind: IncidentKind::DeniedCall, note });
        }
    }

    fn judge_settled(&mut self, now_ns: u64) {
        while let Some(breach) = self.waiting.front().copied() {
            if breach.note.end_ns().saturating_add(SETTLE_NS) > now_ns {
                break;
            }
            self.waiting.pop_front();
            let Some(found) = self.found(&breach.note) else { continue };
            let judged = judge(breach.kind, &found);
            if breach.note.skipped > 0 {
                let place = judged.cause.code() as usize;
                let missed = u64::from(breach.note.skipped);
                self.watched.gauges.add(gauge!(missed_by_cause) + place, missed);
            }
            self.tell(&breach, &found, judged);
        }
    }

    /// What changed across a pass; `None` before there is any evidence.
    fn found(&self, note: &PassNote) -> Option<Found> {
        let end_ns = note.end_ns();
        let newest = self.history.newest()?;
        let before = *self.history.before(note.grid_ns).unwrap_or(&self.baseline);
        let after = *self.history.after(end_ns).unwrap_or(newest);
        let settled = *self.history.after(end_ns.saturating_add(SETTLE_NS / 2)).unwrap_or(newest);
        let window_ns = after.at_ns.saturating_sub(before.at_ns);
        let usual = |counted| self.history.usual(before.at_ns, window_ns, counted);
        let rise = |counted: fn(&Look) -> u64| counted(&after).saturating_sub(counted(&before));
        let stages = stage_times(note);
        let mut stage_over_ns = [0; STAGES];
        for ((over, took), usual) in stage_over_ns.iter_mut().zip(stages).zip(self.usual.stage_ns) {
            *over = took.saturating_sub(usual);
        }
        // Interrupts are read at some looks only, so they have a window of their own.
        let served = *self.history.interrupts_after(end_ns).unwrap_or(&before);
        let served_ns = served.interrupts_at_ns.saturating_sub(before.interrupts_at_ns);
        let both = |look: &Look| look.interrupts + look.softirqs;
        let usually = self.history.usual(before.at_ns, served_ns, both);
        Some(Found {
            wake_latency_ns: note.wake_latency_ns(),
            cycle_time_ns: note.cycle_time_ns,
            cycle_usual_ns: self.usual.cycle_ns,
            bus_late_ns: u64::from(note.bus_late_ns),
            stage_over_ns,
            evidence: self.sources.readable(),
            window_ns,
            cpu_time_ns: rise(|look| look.cpu_time_ns),
            cpu_usual_ns: usual(|look| look.cpu_time_ns),
            run_delay_ns: rise(|look| look.run_delay_ns),
            own_threads_ns: rise(|look| look.own_threads_ns),
            steal_ns: settled.steal_ns.saturating_sub(before.steal_ns),
            steal_usual_ns: self.history.usual(
                before.at_ns,
                settled.at_ns.saturating_sub(before.at_ns),
                |look| look.steal_ns,
            ),
            busy_permille: self.history.busy_permille(end_ns),
            minor_faults: rise(|look| look.minor_faults),
            major_faults: rise(|look| look.major_faults),
            allocations: rise(|look| look.allocations),
            interrupts: served.interrupts.saturating_sub(before.interrupts),
            softirqs: served.softirqs.saturating_sub(before.softirqs),
            interrupts_over: both(&served).saturating_sub(both(&before) + usually),
            smi_count: rise(|look| look.smi_count),
            mainland_gap_ns: self.history.longest_gap_ns(note.grid_ns, end_ns),
        })
    }

    fn tell(&mut self, breach: &Breach, found: &Found, judged: Judged) {
        let sequence = self.numbered;
        self.numbered += 1;
        let newest_ns = self.history.newest().map_or(0, |look| look.at_ns);
        if !self.allowance.take(newest_ns) {
            self.suppressed += 1;
            self.suppressed_in_row = self.suppressed_in_row.saturating_add(1);
            return;
        }
        let mut incident = record(breach, found, judged);
        incident.sequence = sequence;
        incident.suppressed = std::mem::take(&mut self.suppressed_in_row);
        incident.stage_usual_ns = self.usual.stage_ns.map(saturated);
        let around = &mut incident.around_latency_ns.iter_mut().zip(&mut incident.around_time_ns);
        for (place, (latency, time)) in around.enumerate() {
            if let Some(note) = self.pass_beside(&breach.note, place) {
                (*latency, *time) =
                    (saturated(note.wake_latency_ns()), saturated(note.cycle_time_ns));
            }
        }
        match breach.kind {
            IncidentKind::LateWake => log::debug!("incident {sequence}: {incident}"),
            _ => log::warn!("incident {sequence}: {incident}"),
        }
        self.watched.incidents.publish(&[incident.as_words()]);
    }

    /// The pass that stands at `place` around `note`, which itself is in the middle.
    fn pass_beside(&self, note: &PassNote, place: usize) -> Option<&PassNote> {
        let cycle = (note.cycle + place as u64).checked_sub(INCIDENT_REACH as u64)?;
        let first = self.notes.front()?.cycle;
        let index = usize::try_from(cycle.checked_sub(first)?).ok()?;
        self.notes.get(index).filter(|found| found.cycle == cycle)
    }
}

impl Usual {
    fn learn(&mut self, note: &PassNote) {
        let step = |usual: &mut u64, took: u64| {
            if *usual == 0 {
                *usual = took;
            }
            let by = (*usual / 64).max(1);
            *usual = if took > *usual { *usual + by } else { *usual - by.min(*usual) };
        };
        for (usual, took) in self.stage_ns.iter_mut().zip(stage_times(note)) {
            step(usual, took);
        }
        step(&mut self.cycle_ns, note.cycle_time_ns);
    }
}

/// How long each stage ran. What comes behind the last one, the recorder, counts with it.
fn stage_times(note: &PassNote) -> [u64; STAGES] {
    let mut times = note.stage_end_ns.map(u64::from);
    if let Some(last) = times.last_mut() {
        *last = note.cycle_time_ns.max(*last);
    }
    let ends = times;
    for (time, begin) in times.iter_mut().skip(1).zip(ends) {
        *time = time.saturating_sub(begin);
    }
    times
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn record(breach: &Breach, found: &Found, judged: Judged) -> Incident {
    let note = &breach.note;
    let is_denied = breach.kind == IncidentKind::DeniedCall;
    Incident {
        cycle: note.cycle,
        grid_ns: note.grid_ns,
        wake_ns: note.wake_ns,
        cycle_time_ns: note.cycle_time_ns,
        kind: breach.kind.code(),
        cause: judged.cause.code(),
        finding: judged.finding.code(),
        stage: u32::try_from(judged.stage).unwrap_or(0),
        lost_ns: judged.lost_ns,
        skipped: note.skipped,
        evidence: found.evidence,
        system_call: if is_denied { crate::denied_last() } else { 0 },
        stage_ns: stage_times(note).map(saturated),
        window_ns: found.window_ns,
        cpu_time_ns: found.cpu_time_ns,
        run_delay_ns: found.run_delay_ns,
        own_threads_ns: found.own_threads_ns,
        steal_ns: found.steal_ns,
        bus_late_ns: found.bus_late_ns,
        interrupts: found.interrupts,
        softirqs: found.softirqs,
        minor_faults: saturated(found.minor_faults),
        major_faults: saturated(found.major_faults),
        allocations: saturated(found.allocations),
        busy_permille: found.busy_permille,
        smi_count: saturated(found.smi_count),
        ..Incident::zeroed()
    }
}

const _: () = assert!(core::mem::offset_of!(Health, missed_by_cause).is_multiple_of(8));
const _: () = assert!(INCIDENT_PASSES == 2 * INCIDENT_REACH + 1);
const _: () = assert!(Cause::ALL.len() == 5);
