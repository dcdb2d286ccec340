//! The figures that were found when they were last looked at, and how far new ones may be from them.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What is kept of one company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// How much later than cyclictest kadenzd wakes at p50, ns of virtual time; negative when earlier.
    pub p50_added_ns: i64,
    /// The same at p99.
    pub p99_added_ns: i64,
    /// Instructions from a wake-up to the end of the pass, p50.
    pub pass_instructions: u64,
}

/// Figures by the name of the company.
pub type Golden = BTreeMap<String, Figures>;

/// How much later it may be at p50: fifty instructions. It moved by 20 ns between runs of 1,500 and of 3,000
/// cycles, which differ in where their parts begin (2026-11-25).
const P50_NS: u64 = 100;
/// The same at p99, where it moved by 200 ns: some thirty wake-ups that fall on a timer of the kernel's.
const P99_NS: u64 = 400;
/// How far the length of a pass may move, %.
const PASS_PERCENT: u64 = 5;

/// Where the checked-in figures are.
#[must_use]
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/latency.json")
}

/// Reads a golden file.
///
/// # Errors
/// It is not there or is none.
pub fn read(path: &Path) -> anyhow::Result<Golden> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Writes one.
///
/// # Errors
/// The file system.
pub fn write(path: &Path, golden: &Golden) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(golden)? + "\n";
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

/// What of `found` is not as it was.
#[must_use]
pub fn changed(arm: &str, found: &Figures, golden: Option<&Figures>) -> Vec<String> {
    let Some(golden) = golden else { return vec![format!("{arm}: no golden figures")] };
    let mut changed = Vec::new();
    let added = [
        ("added at p50", found.p50_added_ns, golden.p50_added_ns, P50_NS),
        ("added at p99", found.p99_added_ns, golden.p99_added_ns, P99_NS),
    ];
    for (what, is, was, may) in added {
        // Later only: a floor that falls on a timer of the kernel's in one phase makes kadenzd earlier by microseconds
        // (p99 -5.9 µs, its own p99 the same to 0.1 µs, on a root of another day; 2026-11-25).
        if is > was.saturating_add_unsigned(may) {
            changed.push(format!("{arm}: {what} is {is} ns and was {was} ns (+{may} ns at most)"));
        }
    }
    let (is, was) = (found.pass_instructions, golden.pass_instructions);
    if is.abs_diff(was) * 100 > was * PASS_PERCENT {
        changed
            .push(format!("{arm}: a pass is {is} instructions and was {was} (±{PASS_PERCENT} %)"));
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAS: Figures =
        Figures { p50_added_ns: -50, p99_added_ns: 400, pass_instructions: 10_000 };

    #[test]
    fn figures_within_their_tolerance_are_as_they_were() {
        let near =
            Figures { p50_added_ns: -50 + P50_NS.cast_signed(), pass_instructions: 10_500, ..WAS };
        assert!(changed("idle", &near, Some(&WAS)).is_empty());
    }

    #[test]
    fn each_figure_that_has_got_worse_is_named_and_so_is_a_pass_that_has_got_shorter() {
        let far = Figures { p50_added_ns: 51, p99_added_ns: 801, pass_instructions: 9_400 };
        let said = changed("idle", &far, Some(&WAS)).join("\n");
        for word in ["added at p50 is 51", "added at p99 is 801", "a pass is 9400"] {
            assert!(said.contains(word), "{said}");
        }
        assert!(!changed("idle", &WAS, None).is_empty());
    }
}
