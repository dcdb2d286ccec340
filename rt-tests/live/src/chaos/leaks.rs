//! What is left behind: files in shared memory, the runtime directory, descriptors of processes that lived on.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nix::unistd::Pid;

/// Where POSIX shared memory lives on Linux.
pub const SHM_DIR: &str = "/dev/shm";
/// What names of the machine's shared memory begin with.
const OURS: &str = "kdz";

/// Names of the machine's files in shared memory.
#[must_use]
pub fn shared_memory() -> BTreeSet<String> {
    let entries = fs::read_dir(SHM_DIR).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(OURS)).collect()
}

/// What is there now and was not there `before`, and whatever is left in `dir`.
#[must_use]
pub fn left_since(before: &BTreeSet<String>, dir: &Path) -> Vec<String> {
    let dir_name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_new = |name: &String| !before.contains(name) && name != dir_name;
    let mut left: Vec<String> = shared_memory()
        .into_iter()
        .filter(is_new)
        .map(|name| format!("{SHM_DIR}/{name}"))
        .collect();
    if dir.exists() {
        left.push(dir.display().to_string());
        let inside = fs::read_dir(dir).into_iter().flatten().flatten();
        left.extend(inside.map(|entry| entry.path().display().to_string()));
    }
    left
}

/// Open descriptors of each process: number and what is behind it.
pub type Descriptors = BTreeMap<i32, BTreeMap<String, String>>;

/// Lists the open descriptors of `pids`; who is gone is left out.
#[must_use]
pub fn descriptors(pids: &[Pid]) -> Descriptors {
    let list = |pid: &Pid| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let behind = |entry: fs::DirEntry| {
            let place = fs::read_link(entry.path()).ok()?.display().to_string();
            Some((entry.file_name().to_string_lossy().into_owned(), place))
        };
        Some((pid.as_raw(), entries.filter_map(behind).collect()))
    };
    pids.iter().filter_map(list).collect()
}

/// What processes of both lists have open in excess of how many they had before.
#[must_use]
pub fn more_descriptors(before: &Descriptors, after: &Descriptors) -> Vec<String> {
    let mut more = Vec::new();
    for (pid, now) in after {
        let Some(then) = before.get(pid) else { continue };
        let excess = now.len().saturating_sub(then.len());
        let is_new = |(number, place): &(&String, &String)| then.get(*number) != Some(*place);
        let new = now.iter().filter(is_new).take(excess);
        more.extend(
            new.map(|(number, place)| format!("process {pid}, descriptor {number}: {place}")),
        );
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_file_a_left_directory_and_an_open_descriptor_are_found() {
        let before = shared_memory();
        let planted = Path::new(SHM_DIR).join(format!("kdzv{}_planted", std::process::id()));
        let dir = Path::new(SHM_DIR).join(format!("kdz-left-{}", std::process::id()));
        assert!(!left_since(&before, &dir).iter().any(|left| left.contains("planted")));
        fs::write(&planted, "x").unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("view.epoch"), "x").unwrap();
        let left = left_since(&before, &dir);
        fs::remove_dir_all(&dir).unwrap();
        fs::remove_file(&planted).unwrap();
        assert!(left.contains(&planted.display().to_string()), "{left:?}");
        assert!(left.contains(&dir.join("view.epoch").display().to_string()), "{left:?}");

        let before = descriptors(&[Pid::this()]);
        let open = fs::File::open("/dev/null").unwrap();
        let more = more_descriptors(&before, &descriptors(&[Pid::this()]));
        assert!(more.iter().any(|one| one.ends_with("/dev/null")), "{more:?}");
        drop(open);
        assert!(more_descriptors(&Descriptors::new(), &before).is_empty(), "a new process");
    }
}
