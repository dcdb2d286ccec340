//! The gate on style: the rules of docs/STYLE.md that can be read off the text. Rules that need a
//! compiler are lints and live in the manifests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

mod rules;
mod hazards;

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// File, from the root of the tree.
    path: String,
    /// Line, from 1.
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

/// One file of the tree.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is a test, a benchmark or an example.
    fn is_proof(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples"))
            || self.path.ends_with("/tests.rs")
    }

    fn finding(&self, line_index: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: line_index + 1, what: what.into() }
    }
}

/// Reads the tree and applies every rule.
///
/// # Errors
/// Every finding, one per line; or the file that could not be read.
pub fn gate(workspace: &Workspace) -> Result<(), String> {
    let sources = read(&workspace.root)?;
    let mut found: Vec<Finding> = sources.iter().flat_map(rules::apply).collect();
    found.extend(hazards::check(&sources));
    if found.is_empty() {
        println!("{} files", sources.len());
        return Ok(());
    }
    let lines: Vec<String> =
        found.iter().map(|it| format!("{}:{}: {}", it.path, it.line, it.what)).collect();
    Err(lines.join("\n"))
}

/// Kinds of files that people write here.
const TEXT: [&str; 5] = ["rs", "toml", "md", "sh", "proto"];

fn read(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.extend(is_ours(&path).then_some(path));
            } else if path.extension().is_some_and(|kind| TEXT.iter().any(|text| kind == *text)) {
                sources.push(source(root, path)?);
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

/// Hidden folders and build results are not ours.
fn is_ours(folder: &Path) -> bool {
    let hidden = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && !folder.join("CACHEDIR.TAG").exists()
}

fn source(root: &Path, path: PathBuf) -> Result<Source, String> {
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let relative = path.strip_prefix(root).unwrap_or(&path);
    Ok(Source { path: relative.to_string_lossy().into_owned(), text })
}
