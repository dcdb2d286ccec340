//! Reads a trajectory CSV into numbers, and says exactly where and why it cannot; knows columns and
//! rows, nothing of motion.

mod place;
mod problem;

pub use problem::{CsvError, CsvProblem};

use crate::axis::{AxisInfo, AxisKind};
use place::{Place, saturate, shorten};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More rows than this are refused.
pub const ROWS_MAX: usize = 2_000_000;
/// More axis values (rows times axis columns) than this are refused: they must fit in memory.
pub const VALUES_MAX: usize = 12_000_000;
/// Larger files are refused before they are read.
pub const FILE_BYTES_MAX: u64 = 1 << 29;
/// A trajectory may last one day.
pub const DURATION_S_MAX: f64 = 86_400.0;
/// No machine is larger than this in rad or m; a value beyond it is a mistake.
pub const POSITION_MAX: f64 = 1.0e6;
/// The first column's header.
pub const TIME_COLUMN: &str = "t_s";

/// The numbers of one trajectory file.
#[derive(Debug, Clone, PartialEq)]
pub struct TrajectoryRows {
    /// For each axis column, left to right: the index of its axis in the machine's list.
    pub axes: Vec<usize>,
    /// Time of each row in s: the first is 0, strictly rising, at least two.
    pub t_s: Vec<f64>,
    /// `positions[column][row]` in rad or m, finite.
    pub positions: Vec<Vec<f64>>,
    /// Line of each row in the file, counted from 1.
    pub lines: Vec<u32>,
}

/// The bytes of a trajectory file.
///
/// # Errors
/// When the file cannot be read or exceeds [`FILE_BYTES_MAX`].
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, CsvError> {
    let fail = |problem| CsvError {
        file: path.display().to_string(),
        line: 1,
        column: 1,
        problem: Box::new(problem),
    };
    let unreadable = |e: std::io::Error| fail(CsvProblem::Unreadable(e.to_string()));
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fail(CsvProblem::FileTooLarge));
    }
    Ok(bytes)
}

/// The rows in `bytes`, for a machine with `axes`; `file` is only used in messages.
///
/// # Errors
/// The first thing that is wrong, with its place; never panics, whatever the bytes.
pub fn parse(file: &str, bytes: &[u8], axes: &[AxisInfo]) -> Result<TrajectoryRows, CsvError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut place = Place { bytes, offset: 0, line: 1 };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        place.advance_to(e.valid_up_to());
        let line_start = bytes[..e.valid_up_to()].iter().rposition(|b| *b == b'\n');
        let line = &bytes[line_start.map_or(0, |at| at + 1)..e.valid_up_to()];
        let column = 1 + String::from_utf8_lossy(line).chars().count();
        let bad = bytes.get(e.valid_up_to()).copied().unwrap_or(0);
        let (line, column) = (place.line, saturate(column));
        CsvError {
            file: file.to_owned(),
            line,
            column,
            problem: Box::new(CsvProblem::NotUtf8(bad)),
        }
    })?;
    let mut source = Source {
        file,
        place,
        reader: ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes()),
        record: ::csv::StringRecord::new(),
    };
    let names: Vec<String> = axes.iter().map(AxisInfo::column).collect();
    if !source.next()? {
        return Err(source.fail(0, CsvProblem::NoHeader(example_header(&names))));
    }
    let columns = header(&source, axes, &names)?;
    rows(&mut source, columns, axes, &names)
}

fn example_header(names: &[String]) -> String {
    std::iter::once(TIME_COLUMN)
        .chain(names.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(",")
}

/// The axis index of each axis column.
fn header(source: &Source, axes: &[AxisInfo], names: &[String]) -> Result<Vec<usize>, CsvError> {
    let first = source.field(0);
    if source.record.len() == 1 && first.contains(';') {
        return Err(source.fail(0, CsvProblem::Separator("`;`")));
    }
    if source.record.len() == 1 && first.contains('\t') {
        return Err(source.fail(0, CsvProblem::Separator("tabs")));
    }
    if first != TIME_COLUMN {
        return Err(source.fail(0, CsvProblem::NoTimeColumn(shorten(first))));
    }
    if source.record.len() < 2 {
        return Err(source.fail(0, CsvProblem::NoAxisColumn(names.join(", "))));
    }
    let mut columns: Vec<usize> = Vec::new();
    for index in 1..source.record.len() {
        let name = source.field(index);
        let Some(axis) = names.iter().position(|n| n == name) else {
            return Err(source.fail(index, diagnose_column(name, axes, names)));
        };
        if columns.contains(&axis) {
            return Err(source.fail(index, CsvProblem::DuplicateColumn(name.to_owned())));
        }
        columns.push(axis);
    }
    Ok(columns)
}

/// Why `name` is no column of this machine: a wrong or missing unit, or an unknown axis.
fn diagnose_column(name: &str, axes: &[AxisInfo], names: &[String]) -> CsvProblem {
    let stem = name.rsplit_once('_').map_or(name, |(stem, _)| stem);
    if let Some(axis) = axes.iter().find(|a| a.name == name || a.name == stem) {
        let kind = if axis.kind == AxisKind::Rotary { "rotary" } else { "linear" };
        return CsvProblem::WrongUnit {
            name: shorten(name),
            axis: axis.name.clone(),
            kind,
            unit: axis.kind.unit_in_words(),
            expected: axis.column(),
        };
    }
    let lowered = name.to_lowercase();
    let near = names
        .iter()
        .map(|n| (strsim::normalized_damerau_levenshtein(&lowered, &n.to_lowercase()), n))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.5);
    CsvProblem::UnknownColumn {
        name: shorten(name),
        suggestion: near.map(|(_, n)| n.clone()),
        known: names.join(", "),
    }
}

fn rows(
    source: &mut Source,
    columns: Vec<usize>,
    axes: &[AxisInfo],
    names: &[String],
) -> Result<TrajectoryRows, CsvError> {
    let fields = columns.len() + 1;
    let rows_max = ROWS_MAX.min(VALUES_MAX / columns.len());
    let mut rows = TrajectoryRows {
        positions: vec![Vec::new(); columns.len()],
        axes: columns,
        t_s: Vec::new(),
        lines: Vec::new(),
    };
    while source.next()? {
        let found = source.record.len();
        if found != fields {
            let at = fields.min(found - 1);
            return Err(source.fail(at, CsvProblem::FieldCount { found, expected: fields }));
        }
        if rows.t_s.len() == rows_max {
            return Err(source.fail(0, CsvProblem::TooManyRows(rows_max)));
        }
        let t_s = source.number(0, TIME_COLUMN, (0.0, DURATION_S_MAX), "s")?;
        match rows.t_s.last() {
            None if t_s > 0.0 => return Err(source.fail(0, CsvProblem::TimeStart(t_s))),
            Some(&previous_s) if t_s <= previous_s => {
                return Err(source.fail(0, CsvProblem::TimeOrder { t_s, previous_s }));
            }
            _ => {}
        }
        rows.t_s.push(t_s.abs());
        rows.lines.push(source.place.line);
        for (column, positions) in rows.positions.iter_mut().enumerate() {
            let axis = rows.axes[column];
            let range = (-POSITION_MAX, POSITION_MAX);
            let unit = axes[axis].kind.unit();
            positions.push(source.number(column + 1, &names[axis], range, unit)?);
        }
    }
    if rows.t_s.len() < 2 {
        return Err(source.fail(0, CsvProblem::TooFewRows(rows.t_s.len())));
    }
    Ok(rows)
}

/// The file as records, with the place of each.
struct Source<'a> {
    file: &'a str,
    /// Start of the current record.
    place: Place<'a>,
    reader: ::csv::Reader<&'a [u8]>,
    record: ::csv::StringRecord,
}

impl Source<'_> {
    /// Takes the next record; false at the end of the file.
    fn next(&mut self) -> Result<bool, CsvError> {
        let end_of_last = usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX);
        let mut start = Place { ..self.place };
        start.advance_to(end_of_last);
        start.skip_to_record();
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {
                self.place = start;
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(e) => Err(self.fail(0, CsvProblem::Unreadable(e.to_string()))),
        }
    }

    fn field(&self, index: usize) -> &str {
        self.record.get(index).unwrap_or("").trim()
    }

    fn number(
        &self,
        index: usize,
        name: &str,
        (min, max): (f64, f64),
        unit: &'static str,
    ) -> Result<f64, CsvError> {
        let field = self.field(index);
        let value = || shorten(field);
        let name = || name.to_owned();
        let Ok(number) = field.parse::<f64>() else {
            return Err(self.fail(index, CsvProblem::NotANumber { value: value(), name: name() }));
        };
        if !(min..=max).contains(&number) {
            let problem = CsvProblem::OutOfRange { value: value(), name: name(), min, max, unit };
            return Err(self.fail(index, problem));
        }
        Ok(number)
    }

    fn fail(&self, field: usize, problem: CsvProblem) -> CsvError {
        let (line, column) = self.place.field(field);
        CsvError { file: self.file.to_owned(), line, column, problem: Box::new(problem) }
    }
}
