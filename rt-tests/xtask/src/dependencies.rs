//! The gate on what leans on what: the daemon without iceoryx2, the island without anything.

use crate::workspace::{Workspace, captured};

/// Packages that may stand beneath servo-core. zerocopy-derive and what follows it run in the
/// compiler and leave no code behind.
const ISLAND: [&str; 8] = [
    "servo-core",
    "shm-layout",
    "libm",
    "zerocopy",
    "zerocopy-derive",
    "proc-macro2",
    "quote",
    "syn",
];
/// A dependency of proc-macro2; in the compiler as well.
const ISLAND_COMPILER: &str = "unicode-ident";

/// Checks the trees of kadenzd and servo-core.
///
/// # Errors
/// Every package that should not be there.
pub fn gate(workspace: &Workspace) -> Result<(), String> {
    let tree = |package: &str| {
        let mut command = workspace.cargo(&["tree", "--edges", "normal", "--prefix", "none"]);
        captured(command.args(["--format", "{p}", "--package", package]))
    };
    let mut found = in_daemon(&tree("kadenzd")?);
    found.extend(in_island(&tree("servo-core")?));
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// Names of a `cargo tree` printed without prefix.
fn names(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter_map(|line| line.split_whitespace().next())
}

fn in_daemon(tree: &str) -> Vec<String> {
    let mut found: Vec<String> = names(tree)
        .filter(|name| name.starts_with("iceoryx2"))
        .map(|name| {
            format!("kadenzd depends on {name}; shared memory with the world is lanes alone")
        })
        .collect();
    found.dedup();
    found
}

fn in_island(tree: &str) -> Vec<String> {
    let mut found: Vec<String> = names(tree)
        .filter(|name| !ISLAND.contains(name) && *name != ISLAND_COMPILER)
        .map(|name| format!("servo-core depends on {name}; the island has its contract and libm"))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iceoryx2_anywhere_beneath_the_daemon_is_found() {
        let tree = "kadenzd v0.1.0 (/src/daemon)\nkadenz-lanes v0.1.0 (/src/daemon/lanes)\n";
        assert!(in_daemon(tree).is_empty());
        let worse = format!("{tree}iceoryx2-bb-elementary-traits v0.10.0\n");
        assert_eq!(in_daemon(&worse).len(), 1);
    }

    #[test]
    fn anything_new_beneath_the_island_is_found_once() {
        let tree = "servo-core v0.1.0 (/src)\nlibm v0.2.16\nshm-layout v0.1.0 (/src)\n";
        assert!(in_island(tree).is_empty());
        let worse = format!("{tree}heapless v0.8.0\nheapless v0.8.0 (*)\n");
        assert_eq!(in_island(&worse).len(), 1);
    }
}
