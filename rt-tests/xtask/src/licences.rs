//! The gate on licences: every package's SPDX expression must be met by licences we accept.

use serde_json::Value;

use crate::workspace::Workspace;

/// Licences that let a dependency be linked and shipped with their text alone.
const ACCEPTED: [&str; 8] =
    ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "0BSD"];

/// Packages that are part of no program that is shipped, and what of their licence is accepted for that.
const TOOLS: [(&str, &str); 1] = [
    // libFuzzer itself: the University of Illinois licence, BSD and MIT in one.
    ("libfuzzer-sys", "(MIT OR Apache-2.0) AND NCSA"),
];

/// Checks every package that cargo resolved, for all platforms.
///
/// # Errors
/// Every package whose licence is missing or not accepted.
pub fn gate(workspace: &Workspace) -> Result<(), String> {
    let found: Vec<String> = workspace.packages()?.iter().filter_map(complaint).collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

fn complaint(package: &Value) -> Option<String> {
    let text = |key| package.get(key).and_then(Value::as_str).unwrap_or("");
    let (name, version, licence) = (text("name"), text("version"), text("license"));
    if accepts(licence) || TOOLS.contains(&(name, licence)) {
        return None;
    }
    let told = if licence.is_empty() { "no licence" } else { licence };
    Some(format!("{name} {version}: {told}; use another crate, or accept it in licences.rs"))
}

/// Whether an SPDX expression can be met. `/` is the old way to write OR.
fn accepts(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words).unwrap_or(false) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Whether one of the choices is met; `None` when they are no expression.
fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words)?;
    }
    Some(met)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    if words.next_if_eq(&"(").is_some() {
        let met = any_of(words)?;
        return words.next_if_eq(&")").map(|_| met);
    }
    let accepted = ACCEPTED.contains(&words.next()?);
    if words.next_if_eq(&"WITH").is_some() {
        // An exception only ever grants more.
        words.next()?;
    }
    Some(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_when_a_choice_of_accepted_licences_meets_it() {
        for met in [
            "MIT",
            "MIT OR Apache-2.0",
            "Unlicense/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
        ] {
            assert!(accepts(met), "{met}");
        }
    }

    #[test]
    fn an_expression_that_demands_more_or_makes_no_sense_is_not_met() {
        for unmet in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND SSPL-1.0",
            "MIT OR",
            "(MIT",
            "MIT Apache-2.0",
            "Proprietary",
        ] {
            assert!(!accepts(unmet), "{unmet}");
        }
    }

    #[test]
    fn a_package_without_a_licence_is_named() {
        let package =
            serde_json::json!({ "name": "left-pad", "version": "1.0.0", "license": null });
        assert!(complaint(&package).is_some_and(|said| said.contains("left-pad 1.0.0")));
    }

    #[test]
    fn a_tool_is_excepted_by_name_and_licence_together() {
        let package = |name: &str, licence: &str| {
            complaint(&serde_json::json!({ "name": name, "version": "1", "license": licence }))
        };
        let [(tool, licence)] = TOOLS;
        assert_eq!(package(tool, licence), None);
        assert!(package("another", licence).is_some() && package(tool, "GPL-3.0-only").is_some());
    }
}
