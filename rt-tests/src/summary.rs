//! What happened in a run, counted from published records alone.
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use shm_layout::code::{EventKind, KnotRefusal, Reason, Verdict, axis_flag, state_flag};

use crate::island::Record;

/// Counts and extremes of one run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Cycles passed.
    pub cycles: u64,
    /// Cycles in which some axis moved.
    pub cycles_moving: u64,
    /// Grid points skipped.
    pub skipped: u64,
    /// Frames lost.
    pub frames_lost: u64,
    /// Paths begun, ended, dropped.
    pub paths: [u64; 3],
    /// Knots accepted.
    pub knots_accepted: u64,
    /// Knots refused.
    pub knots_refused: u64,
    /// Stories of refusal, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Stops, by reason.
    pub stops: BTreeMap<&'static str, u64>,
    /// Holds, by reason.
    pub holds: BTreeMap<&'static str, u64>,
    /// Requests answered.
    pub requests: u64,
    /// Times the last stage had to step in.
    pub limit_enforced: u64,
    /// Leases that changed hands.
    pub leases: u64,
    /// Largest shares of velocity, acceleration and jerk limits used.
    pub used_max: [f64; 3],
    /// Smallest distance to a soft limit of an axis that was inside in the cycle before, rad or m.
    pub clearance_min: f64,
    /// Furthest off the promised path, relative to max(1, |p|).
    pub off_path_max: f64,
    /// Longest stop, cycles.
    pub stop_cycles_max: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            cycles: 0,
            cycles_moving: 0,
            skipped: 0,
            frames_lost: 0,
            paths: [0; 3],
            knots_accepted: 0,
            knots_refused: 0,
            refusals: BTreeMap::new(),
            stops: BTreeMap::new(),
            holds: BTreeMap::new(),
            requests: 0,
            limit_enforced: 0,
            leases: 0,
            used_max: [0.0; 3],
            clearance_min: f64::INFINITY,
            off_path_max: 0.0,
            stop_cycles_max: 0,
        }
    }
}

impl Summary {
    /// Notes shares of limits used by one axis in one cycle, and its distance to a soft limit.
    pub fn use_limits(&mut self, used: [f64; 3], clearance: f64) {
        for (max, used) in self.used_max.iter_mut().zip(used) {
            *max = max.max(used);
        }
        self.clearance_min = self.clearance_min.min(clearance);
    }

    /// Counts one record.
    pub fn count(&mut self, record: &Record, stopping_cycles: u64) {
        let header = &record.header;
        self.cycles += 1;
        self.cycles_moving += u64::from(header.flags & state_flag::AT_REST == 0);
        self.skipped += u64::from(header.skipped);
        self.frames_lost = header.buses[0].frames_lost;
        self.knots_accepted = header.knots_accepted;
        self.knots_refused = header.knots_refused;
        self.leases = header.lease_generation;
        self.stop_cycles_max = self.stop_cycles_max.max(stopping_cycles);
        let enforced = |axis: &&_| {
            let axis: &shm_layout::state::AxisState = axis;
            axis.flags & axis_flag::LIMIT_ENFORCED != 0
        };
        self.limit_enforced += record.axes.iter().filter(enforced).count() as u64;
        for event in &record.events {
            match EventKind::try_from(event.kind) {
                Ok(EventKind::PathBegun) => self.paths[0] += 1,
                Ok(EventKind::PathEnded) => self.paths[1] += 1,
                Ok(EventKind::PathDropped) => self.paths[2] += 1,
                Ok(EventKind::RequestAnswered) => self.requests += 1,
                Ok(EventKind::KnotRefused) => {
                    *self.refusals.entry(KnotRefusal::word_of(event.code)).or_default() += 1;
                }
                Ok(EventKind::VerdictChanged) => self.count_verdict(event.code, event.detail),
                _ => {}
            }
        }
    }

    fn count_verdict(&mut self, verdict: u32, reason: u32) {
        let by_reason = match Verdict::try_from(verdict) {
            Ok(Verdict::Stop) => &mut self.stops,
            Ok(Verdict::Hold) => &mut self.holds,
            _ => return,
        };
        *by_reason.entry(Reason::word_of(reason)).or_default() += 1;
    }

    /// The summary for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "cycles": self.cycles,
            "cycles_moving": self.cycles_moving,
            "skipped": self.skipped,
            "frames_lost": self.frames_lost,
            "paths": {"begun": self.paths[0], "ended": self.paths[1], "dropped": self.paths[2]},
            "knots": {"accepted": self.knots_accepted, "refused": self.knots_refused},
            "refusals": self.refusals,
            "stops": self.stops,
            "holds": self.holds,
            "requests": self.requests,
            "limit_enforced": self.limit_enforced,
            "leases": self.leases,
            "used_max": {"v": self.used_max[0], "a": self.used_max[1], "j": self.used_max[2]},
            "clearance_min": self.clearance_min,
            "off_path_max": self.off_path_max,
            "stop_cycles_max": self.stop_cycles_max,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [begun, ended, dropped] = self.paths;
        let [v, a, j] = self.used_max.map(|share| 100.0 * share);
        writeln!(
            f,
            "  {} cycles, {} moving, {} grid points skipped, {} frames lost",
            self.cycles, self.cycles_moving, self.skipped, self.frames_lost
        )?;
        writeln!(
            f,
            "  paths: {begun} begun, {ended} ended, {dropped} dropped; knots: {} accepted, {} refused {:?}",
            self.knots_accepted, self.knots_refused, self.refusals
        )?;
        writeln!(f, "  stops {:?}; longest {} cycles", self.stops, self.stop_cycles_max)?;
        writeln!(
            f,
            "  holds {:?}; {} requests answered, {} leases, last stage stepped in {} times",
            self.holds, self.requests, self.leases, self.limit_enforced
        )?;
        write!(
            f,
            "  used at most v {v:.2} %, a {a:.2} %, j {j:.2} % of the limits; clearance {:.3e}, off path {:.1e}",
            self.clearance_min, self.off_path_max
        )
    }
}
