//! A recording as CSV: a row per cycle, what came in and what was made of it.
use kadenz_recorder::Recording;
use shm_layout::code::{Phase, Reason, Verdict};

use super::{AxisNames, story};

/// Columns before those of the axes.
const CYCLE_COLUMNS: [&str; 12] = [
    "cycle",
    "utc",
    "wake_ns",
    "late_ns",
    "skipped",
    "cycle_time_ns",
    "requests",
    "knots",
    "phase",
    "verdict",
    "reason",
    "tau_s",
];

/// The table; in SI units, times on CLOCK_MONOTONIC unless the column says otherwise.
///
/// # Errors
/// Never in memory; the writer's own words if it does.
pub(super) fn csv(recording: &Recording, names: &AxisNames) -> Result<Vec<u8>, csv::Error> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let mut columns: Vec<String> = CYCLE_COLUMNS.map(str::to_owned).to_vec();
    for (name, unit) in &names.axes {
        let of_axis = [
            format!("{name}_{unit}"),
            format!("{name}_sent_{unit}"),
            format!("{name}_{unit}_s"),
            format!("{name}_statusword"),
            format!("{name}_error"),
            format!("{name}_age_cycles"),
        ];
        columns.extend(of_axis);
    }
    table.write_record(&columns)?;
    for (cycle, inputs) in recording.cycles() {
        let Some(inputs) = inputs else { continue };
        let (wake, outcome) = (&inputs.wake, &inputs.outcome);
        let ended_ns = outcome.stage_end_ns.iter().max().copied().unwrap_or(0);
        let mut row = vec![
            cycle.to_string(),
            story::utc(recording.header(), wake.wake_ns),
            wake.wake_ns.to_string(),
            wake.wake_ns.saturating_sub(wake.grid_ns).to_string(),
            wake.skipped.to_string(),
            ended_ns.to_string(),
            inputs.intake.request_count.to_string(),
            inputs.intake.knot_count.to_string(),
            Phase::word_of(outcome.phase).to_owned(),
            Verdict::word_of(outcome.verdict).to_owned(),
            Reason::word_of(outcome.reason).to_owned(),
            outcome.tau_s.to_string(),
        ];
        for (told, sent) in
            inputs.feedback.axes.iter().zip(&outcome.positions).take(names.axes.len())
        {
            row.extend([
                told.position.to_string(),
                sent.to_string(),
                told.velocity.to_string(),
                format!("{:#06x}", told.statusword),
                format!("{:#06x}", told.error_code),
                told.age_cycles.to_string(),
            ]);
        }
        table.write_record(&row)?;
    }
    table.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}
