//! Judges every published record by the definitions of the architecture, worked out again here:
//! nothing of the island's own checks is used, and no state of the island is looked into.
//!
//! What it knows: the configured limits, what the lanes brought in (an input), what was published.
mod limits;
mod followed;
mod conduct;

use std::fmt;

use servo_core::ports::Intake;
use servo_core::setup::Setup;
use shm_layout::state::AxisState;

use crate::island::Record;
use crate::summary::Summary;
use followed::Followed;

/// A broken promise: which, where, with numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Axis index, if it is about one.
    pub axis: Option<usize>,
    /// The promise and the numbers.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.axis {
            Some(axis) => write!(f, "axis {axis}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Violation {}

/// Fails with a violation about `axis` unless `holds`.
fn demand(
    holds: bool,
    axis: Option<usize>,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { axis, what: what() }) }
}

fn has(flags: u32, bit: u32) -> bool {
    flags & bit != 0
}

fn is_enabled(axis: &AxisState) -> bool {
    has(axis.flags, shm_layout::code::axis_flag::ENABLED)
}

/// The checker of one run.
pub struct Checker {
    setup: Setup,
    counts_per_unit: Vec<f64>,
    previous: Option<Record>,
    followed: Followed,
    stopping_cycles: u64,
    /// What was seen so far.
    pub summary: Summary,
}

impl Checker {
    /// A checker that has seen nothing.
    #[must_use]
    pub fn new(setup: &Setup, counts_per_unit: Vec<f64>) -> Self {
        Self {
            setup: *setup,
            counts_per_unit,
            previous: None,
            followed: Followed::default(),
            stopping_cycles: 0,
            summary: Summary::default(),
        }
    }

    /// Judges the record of one cycle, given what the lanes had brought.
    ///
    /// # Errors
    /// The first promise that it breaks.
    pub fn check(&mut self, intake: &Intake, record: &Record) -> Result<(), Violation> {
        limits::check_finite(record)?;
        limits::check_counts(&self.counts_per_unit, record)?;
        if let Some(previous) = &self.previous {
            let pair = Pair { setup: &self.setup, before: previous, now: record };
            limits::check_steps(&pair, &mut self.summary)?;
            conduct::check(&pair)?;
            self.followed.check(&pair, intake, &mut self.summary)?;
        }
        self.stopping_cycles = conduct::stopping_cycles(&self.setup, record, self.stopping_cycles)?;
        self.summary.count(record, self.stopping_cycles);
        self.previous = Some(record.clone());
        Ok(())
    }

    /// Where every axis should be at path time `tau_s`, from the knots that were accepted; `None`
    /// when no path is known there.
    #[must_use]
    pub fn promised(&self, tau_s: f64) -> Option<Vec<f64>> {
        self.followed.promised(tau_s)
    }

    /// The knots accepted in the last cycle, with their path id and number.
    #[must_use]
    pub fn accepted_last(&self) -> &[followed::Accepted] {
        self.followed.accepted_last()
    }
}

/// Two consecutive records.
struct Pair<'a> {
    setup: &'a Setup,
    before: &'a Record,
    now: &'a Record,
}

impl<'a> Pair<'a> {
    /// Time that motion moved on by between them, s: one period, and one for each point it bridges.
    fn passed_s(&self) -> f64 {
        let skipped = self.now.header.skipped;
        let bridged = if skipped > self.setup.skips_bridged_max { 0 } else { skipped };
        self.setup.period_s() * f64::from(1 + bridged)
    }

    /// Axes with their state before and now.
    fn axes(&self) -> impl Iterator<Item = (usize, &'a AxisState, &'a AxisState)> {
        self.before.axes.iter().zip(&self.now.axes).enumerate().map(|(i, (b, n))| (i, b, n))
    }
}
