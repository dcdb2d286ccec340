//! The files in which the kernel tells of the host, under a root that a test may choose.
use std::fs;
use std::path::{Path, PathBuf};

/// Where `/proc`, `/sys` and `/dev` are looked for.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Those of this host.
    #[must_use]
    pub fn here() -> Self {
        Self::under("/")
    }

    /// Those below `root`.
    #[must_use]
    pub fn under(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_path_buf() }
    }

    /// Where the absolute `path` lies under this root.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file without white space around it; `None` when it cannot be read.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The number in a file; `None` when there is none.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<i64> {
        self.text(path)?.parse().ok()
    }

    /// The names in a directory, in order; none when it cannot be read.
    #[must_use]
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether something is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_apart_from_what_is_empty() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/cpu")).unwrap();
        fs::write(root.path().join("sys/cpu/isolated"), "\n").unwrap();
        fs::write(root.path().join("sys/cpu/count"), " 12\n").unwrap();
        let files = Files::under(root.path());
        assert_eq!(files.text("/sys/cpu/isolated").as_deref(), Some(""));
        assert_eq!(files.text("/sys/cpu/absent"), None);
        assert_eq!(files.number("/sys/cpu/count"), Some(12));
        assert_eq!(files.names("/sys/cpu"), ["count", "isolated"]);
        assert!(files.names("/nowhere").is_empty());
    }
}
