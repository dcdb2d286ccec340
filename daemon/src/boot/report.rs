//! What the daemon prints when it ends: the loop's own account of itself.
use core::fmt;

use kadenz_lanes::GaugeReader;
use shm_layout::code::Cause;
use shm_layout::histogram::{BUCKETS, percentile_ns};

use crate::rt::stats::gauge;

/// Counters and percentiles of a run.
pub struct Report<'a> {
    /// Where they stand.
    pub health: &'a GaugeReader<'static>,
}

impl Report<'_> {
    fn get(&self, gauge: usize) -> u64 {
        self.health.get(gauge).unwrap_or(0)
    }

    fn histogram(&self, gauge: usize) -> Vec<u64> {
        (gauge..gauge + BUCKETS).map(|bucket| self.get(bucket)).collect()
    }

    fn line(&self, name: &str, counts: &[u64], max_ns: u64) -> String {
        let us = |permille| percentile_ns(counts, permille) as f64 / 1e3;
        format!(
            "{name}: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, max {:.1} µs",
            us(500),
            us(990),
            us(999),
            max_ns as f64 / 1e3
        )
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wake = self.histogram(gauge!(wake_latency));
        let time = self.histogram(gauge!(cycle_time));
        let causes: Vec<String> = Cause::ALL
            .iter()
            .map(|(cause, word, _)| {
                let place = gauge!(missed_by_cause) + cause.code() as usize;
                format!("{word} {}", self.get(place))
            })
            .collect();
        writeln!(f, "cycles: {}", self.get(gauge!(cycles)))?;
        writeln!(
            f,
            "{}",
            self.line("wake-up latency", &wake, self.get(gauge!(wake_latency_ns_max)))
        )?;
        writeln!(f, "{}", self.line("cycle time", &time, self.get(gauge!(cycle_time_ns_max))))?;
        writeln!(
            f,
            "missed cycles: {} ({}); overruns: {}",
            self.get(gauge!(missed_cycles)),
            causes.join(", "),
            self.get(gauge!(overruns))
        )?;
        write!(
            f,
            "RT thread: allocations {}, minor faults {}, major faults {}, involuntary switches {}; \
             requests lost {}, mailbox overtaken {}, recorder drops {}, unsaved {}",
            self.get(gauge!(allocations)),
            self.get(gauge!(minor_faults)),
            self.get(gauge!(major_faults)),
            self.get(gauge!(involuntary_switches)),
            self.get(gauge!(requests_lost)),
            self.get(gauge!(mailbox_overtaken)),
            self.get(gauge!(recorder_drops)),
            self.get(gauge!(recorder_unsaved))
        )
    }
}
