//! A check's findings in words: place, value, limit, and the remedy that helps.

use crate::check::{CheckReport, SPEED_MIN};
use crate::scan::{Quantity, Violation};
use std::fmt;

/// Violations printed; the rest are counted.
const PRINTED_MAX: usize = 20;
/// A position or stretch this many times too large suggests degrees or millimetres.
const WRONG_UNIT_FACTOR: f64 = 10.0;
/// Rows at either end that suggest a file which does not start or end at rest.
const END_ROWS: usize = 6;

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passes() {
            write!(f, "{}: within limits", self.file)?;
            for peak in &self.peaks {
                let percent = |share: f64| figure((share * 1000.0).round() / 10.0);
                write!(
                    f,
                    "\n  {}: {} % of velocity, {} % of acceleration, {} % of jerk",
                    peak.axis,
                    percent(peak.velocity_share),
                    percent(peak.acceleration_share),
                    percent(peak.jerk_share)
                )?;
            }
            return Ok(());
        }
        for violation in self.violations.iter().take(PRINTED_MAX) {
            writeln!(f, "{}:{}", self.file, self.in_words(violation))?;
        }
        let hidden = self.violation_count.saturating_sub(PRINTED_MAX);
        if hidden > 0 {
            writeln!(f, "and {hidden} more")?;
        }
        write!(f, "remedy: {}", self.remedies().join("; "))
    }
}

impl CheckReport {
    fn in_words(&self, v: &Violation) -> String {
        let (line, axis, unit) = (v.line, &v.axis, v.unit);
        let (t_s, value, limit) = (figure(v.t_s), figure(v.value), figure(v.limit));
        let (first, last) = (v.line_first, v.line_last);
        let headroom = figure(self.headroom * 100.0);
        let position = |bound: &str| {
            format!(
                "{line}: {axis} position {value} {unit} at t = {t_s} s (lines {first} to {last}), {bound} allowed {limit} {unit}"
            )
        };
        let motion = |what: &str, per: &str| {
            format!(
                "{line}: {axis} {what} {value} {unit}{per} at t = {t_s} s (lines {first} to {last}), allowed ±{limit} {unit}{per}, {headroom} % of the axis limit"
            )
        };
        match v.quantity {
            Quantity::PositionMin => position("lowest"),
            Quantity::PositionMax => position("highest"),
            Quantity::Velocity => motion("velocity", "/s"),
            Quantity::Acceleration => motion("acceleration", "/s²"),
            Quantity::Jerk => motion("jerk", "/s³"),
            Quantity::StopPathTime if v.value.is_infinite() => {
                format!(
                    "{line}: no room to brake on the path at t = {t_s} s (lines {first} to {last}), {axis} uses all of a limit"
                )
            }
            Quantity::StopPathTime => format!(
                "{line}: braking on the path at t = {t_s} s (lines {first} to {last}) takes {value} s of path time, allowed {limit} s, {axis} leaves least room"
            ),
        }
    }

    /// What helps, most effective first; empty when nothing is wrong.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        let mut remedies = Vec::new();
        let position =
            |v: &&Violation| matches!(v.quantity, Quantity::PositionMin | Quantity::PositionMax);
        if let Some(v) = self.violations.iter().find(position) {
            remedies.push(
                "move the rows named above inside the position limits; no speed helps".to_owned(),
            );
            if v.value.abs() > (WRONG_UNIT_FACTOR * v.limit.abs()).max(1.0) {
                let (wrong, right) = if v.unit == "rad" {
                    ("degrees", "radians")
                } else {
                    ("millimetres", "metres")
                };
                remedies.push(format!("if the file is in {wrong}, convert it to {right}"));
            }
        }
        if !self.violations.iter().any(|v| !position(&v)) {
            return remedies;
        }
        match (self.stretch, self.speed_remedy) {
            (Some(stretch), Some(speed)) => remedies.push(format!(
                "slow the file down by ×{} (`--speed {speed}`)",
                figure((stretch * 1000.0).ceil() / 1000.0)
            )),
            _ => remedies.push(format!(
                "even `--speed {SPEED_MIN}` is too fast: check the units of the values and of t_s"
            )),
        }
        let rough = |v: &&Violation| matches!(v.quantity, Quantity::Jerk | Quantity::StopPathTime);
        if self.violations.iter().all(|v| position(&v) || rough(&v)) {
            remedies.push(
                "or, where only rounding makes the rows rough, write more digits or fewer rows per second"
                    .to_owned(),
            );
        }
        let segments = self.row_count.saturating_sub(1);
        let at_ends =
            |v: &Violation| v.segment_last < END_ROWS || v.segment_first + END_ROWS >= segments;
        let few = segments > 2 * END_ROWS && self.violation_count == self.violations.len();
        if few && self.violations.iter().all(at_ends) {
            remedies.push(
                "or let the file start and end at rest: only its first or last rows are too fast"
                    .to_owned(),
            );
        }
        remedies
    }
}

/// A number with six significant digits and no needless zeros.
pub(crate) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let mut digits = 0_usize;
    let mut scaled = value.abs();
    while scaled < 1.0e5 && digits < 9 {
        scaled *= 10.0;
        digits += 1;
    }
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
