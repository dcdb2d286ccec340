//! What the loop counts about itself, kept in gauges that anyone may read at any time.

use kadenz_lanes::{BroadcastWriter, GaugeWriter};
use servo_core::ports::{Stage, Stopwatch, Wake};

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

/// A gap in the grid, for the mainland to find the cause of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Wake of the cycle before the gap, ns.
    pub wake_ns: u64,
    /// How late that cycle woke, ns.
    pub wake_latency_ns: u64,
    /// How long that cycle ran, ns.
    pub cycle_time_ns: u64,
    /// Grid points without a pass.
    pub skipped: u64,
}

impl Gap {
    /// Words of a gap.
    pub const WORDS: usize = 4;

    const fn words(&self) -> [u64; Self::WORDS] {
        [self.wake_ns, self.wake_latency_ns, self.cycle_time_ns, self.skipped]
    }

    /// The gap behind its words.
    #[must_use]
    pub const fn from_words(words: &[u64; Self::WORDS]) -> Self {
        let [wake_ns, wake_latency_ns, cycle_time_ns, skipped] = *words;
        Self { wake_ns, wake_latency_ns, cycle_time_ns, skipped }
    }
}

/// Counters and histograms of the loop. Every call is a few stores.
pub struct Stats {
    gauges: GaugeWriter<'static>,
    gaps: BroadcastWriter<'static>,
    wake_latency_ns_max: u64,
    cycle_time_ns_max: u64,
}

impl Stats {
    /// Starts to count.
    #[must_use]
    pub fn new(
        mut gauges: GaugeWriter<'static>,
        gaps: BroadcastWriter<'static>,
        daemon_id: u64,
    ) -> Self {
        gauges.set(gauge!(layout_hash), LAYOUT_HASH);
        gauges.set(gauge!(daemon_id), daemon_id);
        Self { gauges, gaps, wake_latency_ns_max: 0, cycle_time_ns_max: 0 }
    }

    /// Counts one pass: how late it woke, how long it ran, what it skipped.
    pub fn count_pass(&mut self, wake: &Wake, end_ns: u64, next_due_ns: u64, skipped: u32) {
        let latency_ns = wake.wake_ns.saturating_sub(wake.grid_ns);
        let time_ns = end_ns.saturating_sub(wake.wake_ns);
        let gauges = &mut self.gauges;
        gauges.add(gauge!(cycles), 1);
        gauges.add(gauge!(wake_latency) + bucket_of(latency_ns), 1);
        gauges.add(gauge!(cycle_time) + bucket_of(time_ns), 1);
        if latency_ns > self.wake_latency_ns_max {
            self.wake_latency_ns_max = latency_ns;
            gauges.set(gauge!(wake_latency_ns_max), latency_ns);
        }
        if time_ns > self.cycle_time_ns_max {
            self.cycle_time_ns_max = time_ns;
            gauges.set(gauge!(cycle_time_ns_max), time_ns);
        }
        if end_ns > next_due_ns {
            gauges.add(gauge!(overruns), 1);
        }
        if skipped > 0 {
            gauges.add(gauge!(missed_cycles), u64::from(skipped));
            let gap = Gap {
                wake_ns: wake.wake_ns,
                wake_latency_ns: latency_ns,
                cycle_time_ns: time_ns,
                skipped: u64::from(skipped),
            };
            self.gaps.publish(&[&gap.words()]);
        }
    }

    /// Tells what else was lost since start.
    pub fn set_losses(&mut self, requests: u64, overtaken: u64, recorder: u64) {
        self.gauges.set(gauge!(requests_lost), requests);
        self.gauges.set(gauge!(mailbox_overtaken), overtaken);
        self.gauges.set(gauge!(recorder_drops), recorder);
    }
}

/// Stamps the ends of the stages, counted from wake.
#[derive(Clone, Copy, Debug)]
pub struct StageTimes {
    wake_ns: u64,
    /// End of each stage after wake, ns.
    pub end_ns: [u32; STAGES],
}

impl StageTimes {
    /// A pass that woke at `wake_ns`.
    #[must_use]
    pub const fn of(wake_ns: u64) -> Self {
        Self { wake_ns, end_ns: [0; STAGES] }
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
