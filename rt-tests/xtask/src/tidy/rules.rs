//! The rules that look at one file at a time. Each is a function from a file to its findings.

use super::{Finding, Source};

/// Lines of a file that is one room; its tests do not count.
const LINES_MAX: usize = 400;
/// How far above an operation its justification may stand.
const SAFETY_REACH: usize = 6;
const ORDERING_REACH: usize = 3;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[];

/// Files beside `sys.rs` that may hold unsafe code, and why.
const UNSAFE: &[(&str, &str)] =
    &[("rt-tests/panic-proof/src/main.rs", "an undefined symbol can only be named in unsafe code")];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "misc", "manager", "types", "shared"];

/// Every rule, applied to one file.
pub(super) fn apply(source: &Source) -> Vec<Finding> {
    let mut found: Vec<Finding> = name_of(source).into_iter().collect();
    if !source.path.ends_with(".md") {
        found.extend(marks(source));
    }
    if source.is_rust() {
        found.extend(opening(source));
        found.extend(length(source));
        found.extend(allows(source));
        found.extend(unsafe_blocks(source));
        found.extend(orderings(source));
    }
    found
}

fn name_of(source: &Source) -> Option<Finding> {
    let mut parts = source.path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    let empty = parts.find(|part| EMPTY_NAMES.contains(part))?;
    Some(source.finding(0, format!("`{empty}` names no idea; call it by what is in it")))
}

fn marks(source: &Source) -> Vec<Finding> {
    // Joined here, so that this file passes its own rule.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let macros = [concat!("todo", "!("), concat!("unimplemented", "!(")];
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let mark = marks.iter().find(|mark| has_word(line, mark));
            let mark = mark.or_else(|| macros.iter().find(|one| line.contains(*one)))?;
            Some(source.finding(index, format!("`{mark}`: finish it, or take it out")))
        })
        .collect()
}

/// Whether `word` stands in `line` by itself.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn opening(source: &Source) -> Option<Finding> {
    let opens = source.text.lines().next().is_some_and(|line| line.starts_with("//! "));
    let what = "open the file with one `//!` sentence: what lives here, what may not";
    (!opens).then(|| source.finding(0, what))
}

fn length(source: &Source) -> Option<Finding> {
    let exempt = LONG.iter().any(|(path, _)| *path == source.path);
    let lines = first_test(source);
    let what = format!("{lines} lines; above {LINES_MAX} it is two rooms: split it by idea");
    (lines > LINES_MAX && !source.is_proof() && !exempt).then(|| source.finding(LINES_MAX, what))
}

fn allows(source: &Source) -> Vec<Finding> {
    let attribute = |line: &str| {
        let line = line.trim_start();
        (line.starts_with("#[") || line.starts_with("#![")) && line.contains("allow(")
    };
    let lines = source.text.lines().enumerate().filter(|(_, line)| attribute(line));
    lines
        .map(|(index, _)| {
            source.finding(index, "`allow` never expires: #[expect(LINT, reason = \"…\")]")
        })
        .collect()
}

/// Lines with their code alone: comments do not count.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source.text.lines().enumerate().filter_map(|(index, line)| {
        let code = line.split("//").next().unwrap_or("");
        (!code.trim().is_empty()).then_some((index, code))
    })
}

/// Lines before a file's own tests: all of them when it has none.
fn first_test(source: &Source) -> usize {
    source.text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

/// Whether `mark` stands in a line or at most `reach` lines above it.
fn is_justified(source: &Source, index: usize, reach: usize, mark: &str) -> bool {
    let first = index.saturating_sub(reach);
    source.text.lines().skip(first).take(index - first + 1).any(|line| line.contains(mark))
}

fn unsafe_blocks(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let home = source.path.ends_with("/sys.rs")
        || source.is_proof()
        || UNSAFE.iter().any(|(path, _)| *path == source.path);
    let first_test = first_test(source);
    for (index, code) in code(source) {
        let operation = [concat!("unsafe", " {"), concat!("unsafe", " impl")];
        if !operation.iter().any(|one| code.contains(one)) {
            continue;
        }
        if !is_justified(source, index, SAFETY_REACH, "SAFETY:") {
            found.push(source.finding(index, "unsafe without a `SAFETY:` comment above it"));
        }
        if !home && index < first_test {
            found.push(source.finding(index, "unsafe outside sys.rs; move it there"));
        }
    }
    found
}

fn orderings(source: &Source) -> Vec<Finding> {
    // In a proof the ordering is part of the set-up, not of what is shipped.
    if source.is_proof() {
        return Vec::new();
    }
    let orderings = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
    let uses = |code: &str| {
        orderings.iter().any(|ordering| {
            code.split_once("Ordering::").is_some_and(|(_, rest)| rest.starts_with(ordering))
        })
    };
    let first_test = first_test(source);
    code(source)
        .take_while(|(index, _)| *index < first_test)
        .filter(|(index, code)| {
            uses(code) && !is_justified(source, *index, ORDERING_REACH, "ORDERING:")
        })
        .map(|(index, _)| source.finding(index, "atomic access without an `ORDERING:` comment"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        apply(&source).into_iter().map(|it| format!("{}: {}", it.line, it.what)).collect()
    }

    fn said(path: &str, text: &str, word: &str) -> bool {
        at(path, text).iter().any(|line| line.contains(word))
    }

    const HEAD: &str = "//! A file.\n";

    #[test]
    fn a_tidy_file_says_nothing() {
        let text = "//! A file.\nfn f(word: &AtomicU64) -> u64 {\n    // ORDERING: relaxed, alone.\n    word.load(Ordering::Relaxed)\n}\n";
        assert_eq!(at("daemon/src/rt/clock.rs", text), Vec::<String>::new());
    }

    #[test]
    fn an_unfinished_mark_is_found_and_a_word_that_contains_it_is_not() {
        let mark = concat!("TO", "DO");
        assert!(said("a.rs", &format!("{HEAD}// {mark} later\n"), "finish it"));
        assert!(said("a.sh", &format!("# {mark}: later\n"), "finish it"));
        assert!(!said("a.rs", &format!("{HEAD}// {mark}S of others\n"), "finish it"));
        assert!(said("a.rs", &format!("{HEAD}{}\"\")\n", concat!("todo", "!(")), "finish it"));
    }

    #[test]
    fn a_long_file_is_found_unless_the_length_is_tests() {
        let body = "fn f() {}\n".repeat(LINES_MAX);
        assert!(said("a.rs", &format!("{HEAD}{body}"), "two rooms"));
        assert!(!said("tests/a.rs", &format!("{HEAD}{body}"), "two rooms"));
        assert!(!said("a.rs", &format!("{HEAD}#[cfg(test)]\n{body}"), "two rooms"));
    }

    #[test]
    fn a_file_without_an_opening_sentence_is_found() {
        assert!(said("a.rs", "use core::fmt;\n", "what lives here"));
    }

    #[test]
    fn allow_is_found_in_attributes_and_not_in_words() {
        let attribute = concat!("#[", "allow(dead_code)]\n");
        assert!(said("a.rs", &format!("{HEAD}{attribute}"), "never expires"));
        assert!(!said("a.rs", &format!("{HEAD}// may allow(this)\n"), "never expires"));
    }

    #[test]
    fn unsafe_needs_its_reason_and_its_room() {
        let block = concat!("    unsafe", " { f() }\n");
        let safe = format!("{HEAD}    // SAFETY: f asks for nothing.\n{block}");
        assert!(said("crate/src/sys.rs", &format!("{HEAD}{block}"), "SAFETY:"));
        assert_eq!(at("crate/src/sys.rs", &safe), Vec::<String>::new());
        assert!(said("crate/src/lib.rs", &safe, "sys.rs"));
        let test = safe.replace(HEAD, "//! A file.\n#[cfg(test)]\n");
        assert_eq!(at("crate/src/lib.rs", &test), Vec::<String>::new());
    }

    #[test]
    fn an_atomic_without_its_ordering_explained_is_found_in_shipped_code_alone() {
        let text = format!("{HEAD}let x = word.load(Ordering::Acquire);\n");
        assert!(said("crate/src/lib.rs", &text, "ORDERING:"));
        assert!(!said("crate/tests/lib.rs", &text, "ORDERING:"));
        let compared = format!("{HEAD}match one.cmp(&other) {{ Ordering::Less => {{}} }}\n");
        assert!(!said("crate/src/lib.rs", &compared, "ORDERING:"));
    }

    #[test]
    fn a_file_or_folder_with_an_empty_name_is_found() {
        assert!(said("crate/src/utils.rs", HEAD, "names no idea"));
        assert!(said("crate/src/common/mod.rs", HEAD, "names no idea"));
        assert!(!said("crate/src/commons_license.rs", HEAD, "names no idea"));
    }
}
