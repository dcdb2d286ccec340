//! Writing to stdout and stderr. A reader that has gone is no error: the exit code tells what was done.
use std::io::{IsTerminal, Write};

/// One text and a line end to stdout; nothing when the text is empty.
pub(crate) fn out(text: &str) {
    if !text.is_empty() {
        let _unread = writeln!(std::io::stdout().lock(), "{text}");
    }
}

/// One text and a line end to stderr.
pub(crate) fn err(text: &str) {
    let _unread = writeln!(std::io::stderr().lock(), "{text}");
}

/// A line on stderr that the next one replaces where a terminal shows it.
#[derive(Debug)]
pub(crate) struct LiveLine {
    is_terminal: bool,
    is_open: bool,
}

impl LiveLine {
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), is_open: false }
    }

    /// Whether a person watches the line change: it may then change often.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows `text` in place of what was shown before.
    pub(crate) fn show(&mut self, text: &str) {
        if self.is_terminal {
            let mut stderr = std::io::stderr().lock();
            // Without wrapping (DECAWM): a second row could not be replaced by the next text.
            let _unread =
                write!(stderr, "\r\x1b[K\x1b[?7l{text}\x1b[?7h").and_then(|()| stderr.flush());
            self.is_open = true;
        } else {
            err(text);
        }
    }

    /// Leaves what is shown and goes to the next line.
    pub(crate) fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            err("");
        }
    }
}
