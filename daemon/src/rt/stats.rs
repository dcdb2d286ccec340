//! What the loop counts about itself, kept in gauges that anyone may read at any time.

use kadenz_lanes::{BroadcastWriter, GaugeWriter};
use servo_core::ports::{Stage, Stopwatch};

use shm_layout::histogram::bucket_of;
use shm_layout::{LAYOUT_HASH, STAGES};

use super::clock::now_ns;

/// Gauge of a field of `Health`.
macro_rules! gauge {
    ($field:ident) => {
        core::mem::offset_of!(shm_layout::health::Health, $field) / 8
    };
}
pub(crate) use gauge;

/// What one pass cheaply noted, for the mainland to find the cause of breaches from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassNote {
    /// Number of the pass.
    pub cycle: u64,
    /// When it should have woken, ns.
    pub grid_ns: u64,
    /// When it woke, ns.
    pub wake_ns: u64,
    /// How long it ran, ns.
    pub cycle_time_ns: u64,
    /// Grid points without a pass: those it woke too late for, and those it ran past.
    pub skipped: u32,
    /// How late the bus answered beyond its bound, ns.
    pub bus_late_ns: u32,
    /// Ends of its stages after its wake, ns.
    pub stage_end_ns: [u32; STAGES],
}

impl PassNote {
    /// Words of a note.
    pub const WORDS: usize = 5 + STAGES / 2;

    fn words(&self) -> [u64; Self::WORDS] {
        let [a, b, c, d, e, f, g, h] = self.stage_end_ns;
        let pair = |high: u32, low: u32| (u64::from(high) << 32) | u64::from(low);
        [
            self.cycle,
            self.grid_ns,
            self.wake_ns,
            self.cycle_time_ns,
            pair(self.skipped, self.bus_late_ns),
            pair(a, b),
            pair(c, d),
            pair(e, f),
            pair(g, h),
        ]
    }

    /// The note behind its words.
    #[must_use]
    pub fn from_words(words: &[u64; Self::WORDS]) -> Self {
        let [cycle, grid_ns, wake_ns, cycle_time_ns, counts, ab, cd, ef, gh] = *words;
        #[expect(clippy::cast_possible_truncation, reason = "halves of a packed pair")]
        let halves = |word: u64| ((word >> 32) as u32, word as u32);
        let ((skipped, bus_late_ns), (a, b), (c, d)) = (halves(counts), halves(ab), halves(cd));
        let ((e, f), (g, h)) = (halves(ef), halves(gh));
        let stage_end_ns = [a, b, c, d, e, f, g, h];
        Self { cycle, grid_ns, wake_ns, cycle_time_ns, skipped, bus_late_ns, stage_end_ns }
    }

    /// How late it woke, ns.
    #[must_use]
    pub const fn wake_latency_ns(&self) -> u64 {
        self.wake_ns.saturating_sub(self.grid_ns)
    }

    /// When it ended, ns.
    #[must_use]
    pub const fn end_ns(&self) -> u64 {
        self.wake_ns.saturating_add(self.cycle_time_ns)
    }
}

/// Counters and histograms of the loop. Every call is a few stores.
pub struct Stats {
    gauges: GaugeWriter<'static>,
    notes: BroadcastWriter<'static>,
    wake_latency_ns_max: u64,
    cycle_time_ns_max: u64,
    overruns: u32,
}

impl Stats {
    /// Starts to count.
    #[must_use]
    pub fn new(
        mut gauges: GaugeWriter<'static>,
        notes: BroadcastWriter<'static>,
        daemon_id: u64,
    ) -> Self {
        gauges.set(gauge!(layout_hash), LAYOUT_HASH);
        gauges.set(gauge!(daemon_id), daemon_id);
        Self { gauges, notes, wake_latency_ns_max: 0, cycle_time_ns_max: 0, overruns: 0 }
    }

    /// Counts one pass, and notes it for the mainland.
    pub fn count_pass(&mut self, pass: &PassNote, next_due_ns: u64) {
        let latency_ns = pass.wake_latency_ns();
        let gauges = &mut self.gauges;
        gauges.add(gauge!(cycles), 1);
        gauges.add(gauge!(wake_latency) + bucket_of(latency_ns), 1);
        gauges.add(gauge!(cycle_time) + bucket_of(pass.cycle_time_ns), 1);
        if latency_ns > self.wake_latency_ns_max {
            self.wake_latency_ns_max = latency_ns;
            gauges.set(gauge!(wake_latency_ns_max), latency_ns);
        }
        if pass.cycle_time_ns > self.cycle_time_ns_max {
            self.cycle_time_ns_max = pass.cycle_time_ns;
            gauges.set(gauge!(cycle_time_ns_max), pass.cycle_time_ns);
        }
        if pass.end_ns() > next_due_ns {
            self.overruns = self.overruns.saturating_add(1);
            gauges.set(gauge!(overruns), u64::from(self.overruns));
        }
        if pass.skipped > 0 {
            gauges.add(gauge!(missed_cycles), u64::from(pass.skipped));
        }
        self.notes.publish(&[&pass.words()]);
    }

    /// Passes that published after the next grid point.
    #[must_use]
    pub const fn overruns(&self) -> u32 {
        self.overruns
    }

    /// Tells the thread's system calls: those it made, and those it was denied.
    pub fn set_calls(&mut self, made: u64, denied: u32) {
        self.gauges.set(gauge!(system_calls), made);
        self.gauges.set(gauge!(denied_calls), u64::from(denied));
    }

    /// Tells what else was lost since start.
    pub fn set_losses(&mut self, requests: u64, overtaken: u64, recorder: u64) {
        self.gauges.set(gauge!(requests_lost), requests);
        self.gauges.set(gauge!(mailbox_overtaken), overtaken);
        self.gauges.set(gauge!(recorder_drops), recorder);
    }
}

/// A stopwatch that the loop starts anew in every pass.
pub trait StageClock: Stopwatch {
    /// A pass began at `wake_ns`.
    fn begin(&mut self, wake_ns: u64);
    /// Ends of the stages after that, ns.
    fn ends_ns(&self) -> [u32; STAGES];
}

/// Stamps the ends of the stages, counted from wake.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageTimes {
    wake_ns: u64,
    end_ns: [u32; STAGES],
}

impl StageClock for StageTimes {
    fn begin(&mut self, wake_ns: u64) {
        *self = Self { wake_ns, end_ns: [0; STAGES] };
    }
    fn ends_ns(&self) -> [u32; STAGES] {
        self.end_ns
    }
}

impl Stopwatch for StageTimes {
    fn stage_ended(&mut self, stage: Stage) {
        let elapsed_ns = now_ns().saturating_sub(self.wake_ns);
        if let Some(slot) = self.end_ns.get_mut(stage as usize) {
            *slot = u32::try_from(elapsed_ns).unwrap_or(u32::MAX);
        }
    }
}
