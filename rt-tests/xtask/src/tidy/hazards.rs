//! The rule that ties docs/HAZARDS.md to the tree: every reason of the contract has a row, and every
//! row names tests that exist.

use super::{Finding, Source};

const HAZARDS: &str = "docs/HAZARDS.md";
const CODES: &str = "shm-layout/src/code.rs";
/// How far above a test its mark may stand; other attributes may come between.
const MARK_REACH: usize = 4;

/// Checks the table against the tests and the reasons that are in the tree.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(hazards) = sources.iter().find(|source| source.path == HAZARDS) else {
        let what = "missing: every fault has a row: fault, detection, reaction, test".to_owned();
        return vec![Finding { path: HAZARDS.to_owned(), line: 1, what }];
    };
    let mut found = untested_rows(hazards, sources);
    if let Some(codes) = sources.iter().find(|source| source.path == CODES) {
        let missing = reasons(&codes.text).filter(|word| !hazards.text.contains(&quoted(word)));
        found.extend(missing.map(|word| hazards.finding(0, format!("no row tells of `{word}`"))));
    }
    found
}

fn quoted(word: &str) -> String {
    format!("`{word}`")
}

/// Rows whose last cell names no test, or one that is not in the tree.
fn untested_rows(hazards: &Source, sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in hazards.text.lines().enumerate() {
        let Some(cell) = last_cell(line) else { continue };
        let mut named = cell.split('`').skip(1).step_by(2).peekable();
        if named.peek().is_none() {
            found.push(hazards.finding(index, "the row names no test"));
        }
        for test in named.filter(|test| !exists(test, sources)) {
            found.push(hazards.finding(index, format!("there is no test `{test}`")));
        }
    }
    found
}

/// The last cell of a table's row; `None` for its head, its rule and other lines.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    let cell = row.rsplit('|').next()?.trim();
    (cell != "test" && !cell.starts_with("---")).then_some(cell)
}

/// Whether a function of this name stands in the tree, marked as a test.
fn exists(test: &str, sources: &[Source]) -> bool {
    let declared = format!("fn {test}(");
    sources.iter().filter(|source| source.is_rust()).any(|source| {
        let lines: Vec<&str> = source.text.lines().map(str::trim_start).collect();
        let at = lines.iter().position(|line| line.starts_with(&declared));
        at.is_some_and(|at| lines[at.saturating_sub(MARK_REACH)..at].contains(&"#[test]"))
    })
}

/// The words of the contract's `Reason` codes, without the one for none.
fn reasons(codes: &str) -> impl Iterator<Item = &str> {
    let lines = codes.lines().skip_while(|line| line.trim() != "Reason {");
    let lines = lines.take_while(|line| line.trim() != "}");
    lines.filter_map(|line| line.split('"').nth(1)).filter(|word| *word != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(hazards: &str) -> Vec<Source> {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        vec![
            source(HAZARDS, hazards),
            source(
                CODES,
                "codes! {\n    Reason {\n        None = 0, \"none\";\n        BusLost = 26, \"bus-lost\";\n    }\n}\n",
            ),
            source("daemon/tests/bus.rs", "#[test]\nfn a_lost_bus_stops() {}\nfn set_up() {}\n"),
            source("daemon/tests/far.rs", "fn not_a_test_at_all() {}\n"),
        ]
    }

    fn said(hazards: &str) -> String {
        check(&tree(hazards)).into_iter().map(|it| it.what).collect::<Vec<_>>().join("; ")
    }

    const HEAD: &str = "| fault | test |\n|---|---|\n";

    #[test]
    fn a_row_whose_test_exists_says_nothing() {
        assert_eq!(said(&format!("{HEAD}| `bus-lost` | `a_lost_bus_stops` |\n")), "");
    }

    #[test]
    fn a_test_that_is_not_in_the_tree_is_named() {
        let told = said(&format!("{HEAD}| `bus-lost` | `a_bus_stops` |\n"));
        assert!(told.contains("no test `a_bus_stops`"), "{told}");
    }

    #[test]
    fn a_function_that_is_no_test_proves_nothing() {
        let told = said(&format!("{HEAD}| `bus-lost` | `not_a_test_at_all` |\n"));
        assert!(told.contains("no test `not_a_test_at_all`"), "{told}");
    }

    #[test]
    fn a_row_without_a_test_and_a_reason_without_a_row_are_found() {
        let told = said(&format!("{HEAD}| host asleep | none |\n"));
        assert!(told.contains("names no test"), "{told}");
        assert!(told.contains("no row tells of `bus-lost`"), "{told}");
    }

    #[test]
    fn a_missing_table_is_found() {
        assert_eq!(check(&[]).len(), 1);
    }
}
