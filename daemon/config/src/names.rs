//! The names that tables of the file are given, and what refers to them.

use crate::report::Report;
use crate::schema;
use crate::spot::Given;
use crate::walk::Section;
use crate::wording::nearest;

/// The names given to the tables of one array, so that others can refer to them.
pub(crate) struct Names<'a> {
    table: &'static str,
    given: Vec<Option<Given<&'a str>>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(table: &'static str) -> Self {
        Self { table, given: Vec::new() }
    }

    /// Reads the `name` of the next table; refuses one that is malformed or taken.
    pub(crate) fn read(&mut self, section: &mut Section<'a>) -> Option<String> {
        let report = section.report();
        let given = section.text(&schema::NAME);
        let name = given.as_ref().and_then(|given| checked_name(given, report));
        if let Some(given) = &given {
            let earlier = self.given.iter().flatten().find(|other| other.value == given.value);
            if let Some(earlier) = earlier {
                let line = report.line(earlier.spot.span.start);
                let table = self.table;
                let why = format!("taken by the [[{table}]] of line {line}; choose another");
                given.spot.refuse(report, &why);
            }
        }
        self.given.push(given);
        name
    }

    /// The index of the table that `reference` names; refuses a name that is not there.
    pub(crate) fn index(&self, reference: &Given<&str>, report: &Report<'_>) -> Option<usize> {
        let is_meant = |given: &Option<Given<&str>>| {
            given.as_ref().is_some_and(|given| given.value == reference.value)
        };
        let found = self.given.iter().position(is_meant);
        // With a name or all of them unreadable, the reference may well be right.
        let are_readable = !self.given.is_empty() && self.given.iter().all(Option::is_some);
        if found.is_none() && are_readable {
            let names: Vec<_> = self.given.iter().flatten().map(|given| given.value).collect();
            let table = self.table;
            let why = match nearest(reference.value, names) {
                Some(name) => format!("there is no such [[{table}]]; did you mean `{name}`?"),
                None => format!("there is no such [[{table}]]; add one with this name"),
            };
            reference.spot.refuse(report, &why);
        }
        found
    }

    pub(crate) fn refuse_unused(&self, used: &[usize], report: &Report<'_>) {
        let used: Vec<_> = used.iter().filter_map(|index| self.given.get(*index)).collect();
        for given in self.given.iter().flatten() {
            // A second one of the same name has been refused for that.
            if !used.iter().any(|used| used.as_ref().is_some_and(|used| used.value == given.value))
            {
                let why = format!("no [[axis]] uses this {}; remove it or use it", self.table);
                given.spot.refuse(report, &why);
            }
        }
    }
}

/// The name itself, if it is one of this file; else it is refused.
pub(crate) fn checked_name(given: &Given<&str>, report: &Report<'_>) -> Option<String> {
    let is_fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let length = given.value.len();
    if (1..=schema::NAME_CHARS_MAX).contains(&length) && given.value.bytes().all(is_fit) {
        return Some(given.value.to_owned());
    }
    let why = format!("is no name of this file; {}", schema::NAME.remedy);
    given.spot.refuse(report, &why);
    None
}
