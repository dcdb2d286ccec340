//! Which CPUs the scheduler leaves alone: by the kernel's command line or by a cpuset partition.
use anyhow::bail;

use crate::{CpuList, Files};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Depth to which partitions are looked for; a slice in a slice of a user is at 4.
const DEPTH_MAX: usize = 6;
/// Groups looked at, at most: a host full of containers has some thousands.
const GROUPS_MAX: usize = 20_000;

/// A control group whose CPUs are to be a partition of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its directory.
    pub group: String,
    /// What the kernel says of it: `isolated`, `root`, or either with `invalid (reason)`.
    pub state: String,
    /// CPUs it has, or was to have.
    pub cpus: CpuList,
}

impl Partition {
    /// Whether its CPUs are really isolated.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.state == "isolated"
    }

    /// Why the kernel does not make it a partition; `None` when it is one.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.state.contains("invalid").then_some(self.state.as_str())
    }
}

/// The isolated CPUs of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// By `isolcpus=` on the kernel's command line.
    pub by_boot: CpuList,
    /// By valid cpuset partitions.
    pub by_partition: CpuList,
    /// Partitions, valid or not.
    pub partitions: Vec<Partition>,
}

impl Isolation {
    /// What the kernel says now.
    #[must_use]
    pub fn of(files: &Files) -> Self {
        let list = |path: &str| CpuList::of(&files.text(path).unwrap_or_default());
        let partitions = partitions(files);
        // The root group of cgroup v2 tells them all (Linux 6.7); older kernels tell group by group.
        let told = list(&format!("{CGROUPS}/cpuset.cpus.isolated"));
        let by_partition = partitions
            .iter()
            .filter(|partition| partition.is_isolated())
            .fold(told, |all, partition| all.with(&partition.cpus));
        Self { by_boot: list("/sys/devices/system/cpu/isolated"), by_partition, partitions }
    }

    /// All of them.
    #[must_use]
    pub fn cpus(&self) -> CpuList {
        self.by_boot.with(&self.by_partition)
    }

    /// How `cpu` is isolated.
    ///
    /// # Errors
    /// It is not, with the remedy; and with the kernel's reason if a partition was to do it.
    pub fn check(&self, cpu: usize) -> anyhow::Result<String> {
        if self.by_boot.contains(cpu) {
            return Ok(format!("CPU {cpu} is isolated by the kernel's command line"));
        }
        if self.by_partition.contains(cpu) {
            return Ok(format!("CPU {cpu} is isolated by a cpuset partition"));
        }
        let wanted = self.partitions.iter().find(|one| one.cpus.contains(cpu));
        if let Some((partition, fault)) = wanted.and_then(|one| Some((one, one.fault()?))) {
            bail!(
                "CPU {cpu} is not isolated: {} is `{fault}`; with isolcpus= on the command line leave the \
                 partition out, without it give the CPU to this group alone",
                partition.group
            );
        }
        bail!("CPU {cpu} is not isolated (isolated: `{}`); boot with isolcpus={cpu}", self.cpus())
    }
}

/// Every group that is, or was to be, a partition.
fn partitions(files: &Files) -> Vec<Partition> {
    let mut found = Vec::new();
    let mut to_do = vec![(CGROUPS.to_owned(), 0)];
    let mut looked_at = 0;
    // BOUND: depth and number of groups.
    while let Some((group, depth)) = to_do.pop() {
        looked_at += 1;
        if looked_at > GROUPS_MAX {
            break;
        }
        let text = |name: &str| files.text(&format!("{group}/{name}"));
        if let Some(state) = text("cpuset.cpus.partition").filter(|state| state != "member") {
            let is_valid = !state.contains("invalid");
            // An invalid partition has what its parent has: what it was to have is told elsewhere.
            let effective = if is_valid { text("cpuset.cpus.effective") } else { None };
            let wanted = || text("cpuset.cpus.exclusive").filter(|list| !list.is_empty());
            let cpus = effective.or_else(wanted).or_else(|| text("cpuset.cpus"));
            let cpus = CpuList::of(&cpus.unwrap_or_default());
            found.push(Partition { group: group.clone(), state, cpus });
        }
        if depth < DEPTH_MAX {
            let inner = files.names(&group).into_iter().map(|name| format!("{group}/{name}"));
            let inner = inner.filter(|path| files.path(path).is_dir());
            to_do.extend(inner.map(|path| (path, depth + 1)));
        }
    }
    found.sort_by(|one, other| one.group.cmp(&other.group));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn host(entries: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in entries {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = Files::under(root.path());
        (root, files)
    }

    #[test]
    fn a_cpu_is_isolated_by_command_line_or_by_a_partition_and_else_not() {
        let (_root, files) = host(&[
            ("sys/devices/system/cpu/isolated", "3\n"),
            ("sys/fs/cgroup/kadenz.slice/cpuset.cpus.partition", "isolated\n"),
            ("sys/fs/cgroup/kadenz.slice/cpuset.cpus.effective", "1-2\n"),
            ("sys/fs/cgroup/system.slice/cpuset.cpus.partition", "member\n"),
        ]);
        let isolation = Isolation::of(&files);
        assert!(isolation.check(3).unwrap().contains("command line"));
        assert!(isolation.check(2).unwrap().contains("partition"));
        let words = isolation.check(0).unwrap_err().to_string();
        assert!(words.contains("`1-3`") && words.contains("isolcpus=0"), "{words}");
        assert_eq!(isolation.partitions.len(), 1);
    }

    #[test]
    fn the_root_group_alone_may_tell_what_is_isolated() {
        let (_root, files) = host(&[("sys/fs/cgroup/cpuset.cpus.isolated", "1\n")]);
        assert!(Isolation::of(&files).check(1).is_ok());
    }

    #[test]
    fn an_invalid_partition_is_told_with_the_kernels_reason() {
        let state = "isolated invalid (partition config conflicts with housekeeping setup)";
        let (_root, files) = host(&[
            ("sys/fs/cgroup/kadenz.slice/rt.slice/cpuset.cpus.partition", state),
            ("sys/fs/cgroup/kadenz.slice/rt.slice/cpuset.cpus.effective", "0-1"),
            ("sys/fs/cgroup/kadenz.slice/rt.slice/cpuset.cpus", "1"),
        ]);
        let words = Isolation::of(&files).check(1).unwrap_err().to_string();
        assert!(words.contains("housekeeping") && words.contains("rt.slice"), "{words}");
        assert!(Isolation::of(&files).cpus().is_empty());
    }
}
