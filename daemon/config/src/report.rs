//! What was found wrong in a file, where, and how it is shown; knows text and positions, not keys.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use crate::asked::Asked;

/// How many findings one message shows; the rest is counted.
const FINDINGS_SHOWN_MAX: usize = 64;
/// How many characters of a source line a snippet shows.
const SNIPPET_CHARS_MAX: usize = 120;

/// One thing wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in that line in characters, from 1.
    pub column: usize,
    /// One sentence: key, value, what it must be, remedy.
    pub message: String,
    /// The source line with carets under the place, three lines without a final newline.
    pub snippet: String,
}

/// Everything wrong in one file, sorted by position; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The name of the file as given.
    pub file: String,
    /// The findings to show, at most 64.
    pub shown: Vec<Finding>,
    /// How many more there were.
    pub hidden_count: usize,
}

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file);
        for (index, finding) in self.shown.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            let Finding { line, column, message, snippet } = finding;
            write!(out, "{file}:{line}:{column}: {message}\n{snippet}")?;
        }
        if self.hidden_count > 0 {
            write!(out, "\n{file}: and {} more like these", self.hidden_count)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// The findings of a run in the making. Shared by all sections of a document, hence the cell.
pub(crate) struct Report<'t> {
    text: &'t str,
    /// Byte offset of the first character of each line.
    line_starts: Vec<usize>,
    found: RefCell<Vec<(Range<usize>, String)>>,
    asked: RefCell<Vec<Asked>>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        // A byte order mark takes no column.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let rest =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(first).chain(rest).collect();
        let (found, asked) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        Self { text, line_starts, found, asked }
    }

    pub(crate) fn add(&self, span: Range<usize>, message: String) {
        self.found.borrow_mut().push((span, message));
    }

    /// Notes what the reader asked for.
    pub(crate) fn note(&self, asked: Asked) {
        self.asked.borrow_mut().push(asked);
    }

    /// All that was asked for, in order.
    pub(crate) fn into_asked(self) -> Vec<Asked> {
        self.asked.into_inner()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The source text at `span`, short and safe to print.
    pub(crate) fn quote(&self, span: Range<usize>) -> String {
        short(&printable(self.text.get(span).unwrap_or_default()))
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    pub(crate) fn into_findings(self, file: &str) -> Findings {
        let mut found = self.found.take();
        found.sort_by_key(|(span, _)| span.start);
        let hidden_count = found.len().saturating_sub(FINDINGS_SHOWN_MAX);
        found.truncate(FINDINGS_SHOWN_MAX);
        let shown = found.into_iter().map(|(span, message)| self.finding(&span, message)).collect();
        Findings { file: file.to_owned(), shown, hidden_count }
    }

    fn finding(&self, span: &Range<usize>, message: String) -> Finding {
        let line = self.line(span.start);
        let start = self.line_starts[line - 1];
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let source = self.text.get(start..end).unwrap_or_default().trim_end_matches('\r');
        let chars_before = |offset: usize| {
            let inside = offset.saturating_sub(start).min(source.len());
            source.char_indices().take_while(|(at, _)| *at < inside).count()
        };
        let column = chars_before(span.start);
        let caret_count = (chars_before(span.end).saturating_sub(column)).max(1);
        // A long line is shown from shortly before the place on.
        let skipped = column.saturating_sub(SNIPPET_CHARS_MAX / 2);
        let window: String = source.chars().skip(skipped).take(SNIPPET_CHARS_MAX).collect();
        let caret_count = caret_count.min(SNIPPET_CHARS_MAX - (column - skipped));
        let number = line.to_string();
        let snippet = format!(
            "{0:1$} |\n{number} | {2}\n{0:1$} | {0:3$}{4}",
            "",
            number.len(),
            printable(&window),
            column - skipped,
            "^".repeat(caret_count),
        );
        let snippet = snippet.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        Finding { line, column: column + 1, message, snippet }
    }
}

/// `text` with every control character replaced one for one: a file must not steer a terminal,
/// and carets must stay under their place.
pub(crate) fn printable(text: &str) -> String {
    let safe = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || is_direction_mark(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// Marks that reorder the text around them on a terminal.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most 60 characters of `text`.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
