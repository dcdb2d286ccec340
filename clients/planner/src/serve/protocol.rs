//! What is said on `planner.sock`: JSON lines, one question, one answer.
use serde::{Deserialize, Serialize};

/// Longest line, bytes: a trajectory file travels in one.
pub const LINE_BYTES_MAX: u64 = 256 << 20;

/// A question.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Check this trajectory file and run it.
    Run {
        /// Name of the file, for messages.
        name: String,
        /// Its content.
        csv: String,
        /// Uniform speed factor; 1 is as written.
        #[serde(default = "one")]
        speed: f64,
    },
    /// What the planner is doing.
    Status {},
}

fn one() -> f64 {
    1.0
}

/// An answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The file was checked in full and is being streamed.
    Accepted {
        /// Id of the path, 16 hex digits.
        path_id: String,
        /// Path time from start to end, s.
        duration_s: f64,
        /// Path time of the approach before the file's first row, s.
        approach_s: f64,
        /// Knots in all.
        knots: usize,
        /// What a person should know.
        says: Vec<String>,
    },
    /// Nothing moves; this is why.
    Refused(String),
    /// Answer to `status`.
    Planner {
        /// Name of the program, if any.
        program: Option<String>,
        /// Id of its path, 16 hex digits.
        path_id: Option<String>,
        /// `idle`, `waiting` (offered, not begun), `streaming` or `complete`.
        state: String,
        /// Path time reached, s.
        tau_s: f64,
        /// Path time of the program, s.
        duration_s: f64,
    },
}

/// A path id as people see it.
#[must_use]
pub fn hex(path_id: u64) -> String {
    format!("{path_id:016x}")
}
