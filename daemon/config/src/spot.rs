//! A place in the file, and a value with the place it came from: what a later check can refuse.

use std::ops::Range;

use crate::report::Report;

/// A place in the file that a cross-check can refuse later.
#[derive(Clone)]
pub(crate) struct Spot {
    /// Key and value as shown, "key `a.b` = 3".
    pub(crate) shown: String,
    pub(crate) span: Range<usize>,
}

impl Spot {
    pub(crate) fn refuse(&self, report: &Report<'_>, why: &str) {
        report.add(self.span.clone(), format!("{}: {why}", self.shown));
    }
}

/// A value with the place it came from.
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) spot: Spot,
}
