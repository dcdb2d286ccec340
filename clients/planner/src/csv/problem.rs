//! What can be wrong with a trajectory file, in words with place and remedy; no parsing.

use super::{FILE_BYTES_MAX, TIME_COLUMN};

/// Why a trajectory file cannot be used, with the place in it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct CsvError {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column of the value in characters, counted from 1.
    pub column: u32,
    /// What is wrong there.
    pub problem: Box<CsvProblem>,
}

/// What can be wrong with a trajectory file; each message ends with the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CsvProblem {
    /// The operating system refused.
    #[error("cannot be read: {0}; check the path and its permissions")]
    Unreadable(String),
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("larger than {} MiB, the most that is read; split the file", FILE_BYTES_MAX >> 20)]
    FileTooLarge,
    /// Not text, or text in another encoding.
    #[error("byte 0x{0:02X} is not UTF-8 text; save the file as UTF-8 CSV")]
    NotUtf8(u8),
    /// Nothing but comments and blank lines.
    #[error("no header; the first line must be `{TIME_COLUMN}` and axis columns, such as `{0}`")]
    NoHeader(String),
    /// Semicolons or tabs between fields.
    #[error(
        "fields are separated by {0}; separate them by `,` and write decimal fractions with `.`"
    )]
    Separator(&'static str),
    /// The first column is not time.
    #[error("the first column is `{0}`; it must be `{TIME_COLUMN}`, the time in seconds")]
    NoTimeColumn(String),
    /// The header names no axis.
    #[error("no axis column; add at least one of: {0}")]
    NoAxisColumn(String),
    /// The machine has no such axis.
    #[error("unknown column `{name}`{}; this machine has: {known}", did_you_mean(.suggestion.as_deref()))]
    UnknownColumn {
        /// As written in the header.
        name: String,
        /// The nearest valid column, if one is near.
        suggestion: Option<String>,
        /// All valid columns.
        known: String,
    },
    /// A known axis in a unit that is not its own.
    #[error(
        "column `{name}`: {axis} is a {kind} axis; convert its values to {unit} and name the column `{expected}`"
    )]
    WrongUnit {
        /// As written in the header.
        name: String,
        /// The axis meant.
        axis: String,
        /// `rotary` or `linear`.
        kind: &'static str,
        /// Its unit in words.
        unit: &'static str,
        /// The right header.
        expected: String,
    },
    /// The same column twice.
    #[error("column `{0}` appears twice; keep one of them")]
    DuplicateColumn(String),
    /// A row with more or fewer fields than the header.
    #[error("{found} fields where the header has {expected}; give every row {expected}")]
    FieldCount {
        /// In this row.
        found: usize,
        /// In the header.
        expected: usize,
    },
    /// A field that is no number.
    #[error("`{value}` in column `{name}` is not a number; write it like -0.125 or 1.5e-3")]
    NotANumber {
        /// As written, shortened.
        value: String,
        /// The column's header.
        name: String,
    },
    /// A number outside what any machine or program can mean.
    #[error(
        "`{value}` in column `{name}` is outside {min} to {max} {unit}; correct the value or its unit"
    )]
    OutOfRange {
        /// As written, shortened.
        value: String,
        /// The column's header.
        name: String,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
        /// Unit of both.
        unit: &'static str,
    },
    /// The first row is not at time 0.
    #[error("time starts at {0} s; it must start at 0: subtract {0} from every time")]
    TimeStart(f64),
    /// Time stands still or runs backwards.
    #[error(
        "time {t_s} s does not rise above {previous_s} s of the row before; sort the rows and remove repeated times"
    )]
    TimeOrder {
        /// This row's time.
        t_s: f64,
        /// The time of the row before.
        previous_s: f64,
    },
    /// Fewer than two rows.
    #[error("{0} row(s) of numbers; a trajectory needs at least 2")]
    TooFewRows(usize),
    /// More than [`ROWS_MAX`](super::ROWS_MAX) rows or [`VALUES_MAX`](super::VALUES_MAX) values.
    #[error("more than {0} rows; split the file or write fewer rows per second")]
    TooManyRows(usize),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |s| format!(", did you mean `{s}`?"))
}
