//! A program: the whole list of knots from where the axes are to the end of a file, made one by one
//! on demand; sending them is another's task.

use crate::approach::{self, Approach};
use crate::axis::{AxisInfo, AxisLimits};
use crate::check::{self, CheckOptions, CheckReport, SPEED_MAX, SPEED_MIN};
use crate::csv::{self, CsvError, DURATION_S_MAX, POSITION_MAX, TrajectoryRows};
use crate::quintic::State;
use crate::report::figure;
use crate::spline::{KNOT_SPACING_S_MIN, Spline};
use sha2::{Digest, Sha256};
use std::path::Path;

/// How a file is to be run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProgramOptions {
    /// Uniform speed factor, [`SPEED_MIN`] to [`SPEED_MAX`]: 0.5 takes twice the time.
    pub speed: f64,
    /// What the result is checked against.
    pub check: CheckOptions,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        Self { speed: 1.0, check: CheckOptions::default() }
    }
}

/// One axis at one knot, in rad or m and seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AxisKnot {
    /// Position in rad or m.
    pub position: f64,
    /// Velocity in rad/s or m/s.
    pub velocity: f64,
    /// Acceleration in rad/s² or m/s².
    pub acceleration: f64,
    /// Torque or force feed-forward in N·m or N; a trajectory file gives none, so 0.
    pub torque_ff: f64,
}

/// One timed setpoint of all axes of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Knot {
    /// Path time in s, 0 at the start of the program.
    pub tau_s: f64,
    /// One entry per axis of the machine, in the machine's order.
    pub axes: Vec<AxisKnot>,
    /// True for the final knot, at rest.
    pub last: bool,
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read or understood.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// The motion breaks limits; the report says where and what helps.
    #[error("{0}")]
    Refused(Box<CheckReport>),
    /// An axis description makes no sense.
    #[error("{0}")]
    Axis(String),
    /// The present position makes no sense.
    #[error("start position: {0}")]
    Start(String),
    /// An option is outside its range.
    #[error("{name} is {value}; it must be from {min} to {max}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// As given.
        value: f64,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
    },
    /// Two rows are closer than the loop takes knots.
    #[error(
        "{file}:{line}:1: at this speed only {step_s:.2e} s after the row before, at least {KNOT_SPACING_S_MIN:.0e} s are needed; write fewer rows per second or lower `--speed`"
    )]
    RowsTooDense {
        /// The file's name.
        file: String,
        /// Line of the later row.
        line: u32,
        /// Their distance in s, speed included.
        step_s: f64,
    },
    /// The program or its approach would last longer than a day.
    #[error(
        "{what} would last {duration_s:.0} s, at most {DURATION_S_MAX} s are supported; {remedy}"
    )]
    TooLong {
        /// The file or the approach to it.
        what: String,
        /// Computed duration in s.
        duration_s: f64,
        /// What helps.
        remedy: &'static str,
    },
}

/// All knots of one run of one file; the same file, start and options give the same bits.
#[derive(Debug, Clone)]
pub struct Program {
    spline: Spline,
    /// Column of each machine axis in the file, if it has one.
    columns: Vec<Option<usize>>,
    start: Vec<f64>,
    approach: Option<Approach>,
    axis_names: Vec<String>,
    units: Vec<&'static str>,
    /// Knots of the file before each segment, and after the last.
    knots_before: Vec<usize>,
    report: CheckReport,
    content_sha256: [u8; 32],
}

impl Program {
    /// Reads, checks and plans the file at `path` for a machine with `axes` that now stand at
    /// `start` (rad or m, in the order of `axes`).
    ///
    /// # Errors
    /// When the file is unreadable, breaks a limit, or an argument is out of range.
    pub fn from_csv(
        path: &Path,
        axes: &[AxisInfo],
        start: &[f64],
        options: &ProgramOptions,
    ) -> Result<Self, PlanError> {
        let bytes = csv::read_bytes(path)?;
        Self::from_bytes(&path.display().to_string(), &bytes, axes, start, options)
    }

    /// As [`Self::from_csv`], with the file's `bytes`; `file` names it in messages.
    ///
    /// # Errors
    /// As [`Self::from_csv`].
    pub fn from_bytes(
        file: &str,
        bytes: &[u8],
        axes: &[AxisInfo],
        start: &[f64],
        options: &ProgramOptions,
    ) -> Result<Self, PlanError> {
        verify_options(options)?;
        verify_machine(axes, start)?;
        let rows = csv::parse(file, bytes, axes)?;
        let t_s = retimed(file, &rows, options.speed)?;
        let mut columns = vec![None; axes.len()];
        let mut target = start.to_vec();
        for (column, &axis) in rows.axes.iter().enumerate() {
            columns[axis] = Some(column);
            target[axis] = rows.positions[column][0];
        }
        let spline = Spline::through(t_s, &rows.positions);
        let file_axes: Vec<&AxisInfo> = rows.axes.iter().map(|&axis| &axes[axis]).collect();
        let report =
            check::check(file, &spline, &rows.lines, &file_axes, options.speed, &options.check);
        if !report.passes() {
            return Err(PlanError::Refused(Box::new(report)));
        }
        let limits: Vec<AxisLimits> = axes.iter().map(|a| a.limits).collect();
        let approach_s = approach::duration_s(start, &target, &limits);
        if approach_s > DURATION_S_MAX {
            return Err(PlanError::TooLong {
                what: format!("the approach to the first row of {file}"),
                duration_s: approach_s,
                remedy: "bring the axes nearer or check the velocity limits",
            });
        }
        let mut knots_before = vec![0];
        let mut total = 0;
        for segment in 0..spline.segments() {
            total += spline.pieces(segment);
            knots_before.push(total);
        }
        Ok(Self {
            approach: Approach::between(start, &target, &limits),
            spline,
            columns,
            start: start.to_vec(),
            axis_names: axes.iter().map(|a| a.name.clone()).collect(),
            units: axes.iter().map(|a| a.kind.unit()).collect(),
            knots_before,
            report,
            content_sha256: Sha256::digest(bytes).into(),
        })
    }

    /// The knot at `index`, from 0 in steps of one; nothing past the end.
    #[must_use]
    pub fn knot(&self, index: usize) -> Option<Knot> {
        let approach_knots = self.approach_intervals();
        let last = index + 1 == self.knot_count();
        if let Some(approach) = self.approach.as_ref().filter(|_| index < approach_knots) {
            let state = |axis| approach.knot_state(axis, index);
            return Some(self.assemble(approach.knot_t_s(index), last, state));
        }
        let file_index = index - approach_knots;
        let intervals = *self.knots_before.last()?;
        if file_index > intervals {
            return None;
        }
        let segment = self.knots_before.partition_point(|&before| before <= file_index) - 1;
        let segment = segment.min(self.spline.segments() - 1);
        let piece = file_index - self.knots_before[segment];
        let tau_s = self.file_start_tau_s() + self.spline.knot_t_s(segment, piece);
        Some(self.assemble(tau_s, last, |axis| {
            let standing = State { p: self.start[axis], v: 0.0, a: 0.0 };
            let column = self.columns[axis];
            column.map_or(standing, |column| self.spline.knot_state(column, segment, piece))
        }))
    }

    fn assemble(&self, tau_s: f64, last: bool, state: impl Fn(usize) -> State) -> Knot {
        let axis = |axis| {
            let State { p, v, a } = state(axis);
            AxisKnot { position: p, velocity: v, acceleration: a, torque_ff: 0.0 }
        };
        Knot { tau_s, axes: (0..self.start.len()).map(axis).collect(), last }
    }

    /// The approach's last knot is the file's first and counts there.
    fn approach_intervals(&self) -> usize {
        self.approach.as_ref().map_or(0, |a| a.knot_count() - 1)
    }

    /// Number of knots, at least 2.
    #[must_use]
    pub fn knot_count(&self) -> usize {
        self.approach_intervals() + self.knots_before.last().copied().unwrap_or(0) + 1
    }

    /// Path time in s at which the file starts: the duration of the approach, or 0.
    #[must_use]
    pub fn file_start_tau_s(&self) -> f64 {
        self.approach.as_ref().map_or(0.0, Approach::duration_s)
    }

    /// Path time in s of the last knot.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.file_start_tau_s() + self.spline.duration_s()
    }

    /// How much of the program lies before path time `tau_s`, 0 to 1.
    #[must_use]
    pub fn progress(&self, tau_s: f64) -> f64 {
        let fraction = tau_s / self.duration_s();
        if fraction > 0.0 { fraction.min(1.0) } else { 0.0 }
    }

    /// SHA-256 of the file's bytes.
    #[must_use]
    pub fn content_sha256(&self) -> [u8; 32] {
        self.content_sha256
    }

    /// What the check found; it passed.
    #[must_use]
    pub fn report(&self) -> &CheckReport {
        &self.report
    }

    /// One sentence about the approach, or nothing when the axes stand on the first row.
    #[must_use]
    pub fn approach_in_words(&self) -> Option<String> {
        let approach = self.approach.as_ref()?;
        let first = self.knot(self.approach_intervals())?;
        let far = |axis: &usize| (first.axes[*axis].position - self.start[*axis]).abs();
        let farthest = (0..self.start.len()).max_by(|a, b| far(a).total_cmp(&far(b)))?;
        Some(format!(
            "the first row is {} {} from where {} stands: approaching it for {} s at {} % speed",
            figure(far(&farthest)),
            self.units[farthest],
            self.axis_names[farthest],
            figure(approach.duration_s()),
            figure(approach::APPROACH_SHARE * 100.0)
        ))
    }
}

fn verify_options(options: &ProgramOptions) -> Result<(), PlanError> {
    let check = &options.check;
    let ranges = [
        ("speed", options.speed, SPEED_MIN, SPEED_MAX),
        ("headroom", check.headroom, 0.05, 0.95),
        ("stop path time in s", check.stop_path_time_s, 0.01, 10.0),
    ];
    for (name, value, min, max) in ranges {
        if !(min..=max).contains(&value) {
            return Err(PlanError::Option { name, value, min, max });
        }
    }
    Ok(())
}

fn verify_machine(axes: &[AxisInfo], start: &[f64]) -> Result<(), PlanError> {
    if let Some(defect) = axes.iter().find_map(AxisInfo::defect) {
        return Err(PlanError::Axis(defect));
    }
    if start.len() != axes.len() {
        return Err(PlanError::Start(format!(
            "{} values for {} axes; give one per axis",
            start.len(),
            axes.len()
        )));
    }
    let absurd = |p: &f64| !(-POSITION_MAX..=POSITION_MAX).contains(p);
    if let Some(axis) = start.iter().position(absurd) {
        return Err(PlanError::Start(format!(
            "{} stands at {}, outside ±{POSITION_MAX}; check its feedback and scale",
            axes[axis].name, start[axis]
        )));
    }
    Ok(())
}

/// The rows' times divided by `speed`.
fn retimed(file: &str, rows: &TrajectoryRows, speed: f64) -> Result<Vec<f64>, PlanError> {
    let t_s: Vec<f64> = rows.t_s.iter().map(|t| t / speed).collect();
    for (pair, line) in t_s.windows(2).zip(&rows.lines[1..]) {
        let step_s = pair[1] - pair[0];
        // Decimal times one minimum apart may differ by a little less in binary.
        if step_s < KNOT_SPACING_S_MIN * (1.0 - 1.0e-6) {
            return Err(PlanError::RowsTooDense { file: file.to_owned(), line: *line, step_s });
        }
    }
    match t_s.last() {
        Some(&duration_s) if duration_s > DURATION_S_MAX => Err(PlanError::TooLong {
            what: file.to_owned(),
            duration_s,
            remedy: "raise `--speed` or split the file",
        }),
        _ => Ok(t_s),
    }
}
