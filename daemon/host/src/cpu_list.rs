//! Sets of CPUs as the kernel writes and reads them: `0-3,8`.
use std::collections::BTreeSet;
use std::fmt;

/// Numbers of CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuList(BTreeSet<usize>);

/// More CPUs than any kernel is built for: a hostile list may not fill the memory.
const CPUS_MAX: usize = 1 << 16;

impl CpuList {
    /// Reads a list; what is no list in it names no CPU.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse::<usize>()) {
                cpus.extend(first..=last.min(CPUS_MAX));
            }
        }
        Self(cpus)
    }

    /// Whether `cpu` is in it.
    #[must_use]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many it names.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those of both.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).copied().collect())
    }

    /// Those that are not `cpu`.
    #[must_use]
    pub fn without(&self, cpu: usize) -> Self {
        Self(self.0.iter().copied().filter(|other| *other != cpu).collect())
    }

    /// In rising order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|next| *next == last + 1) {
                last = next;
            }
            match first == last {
                true => write!(out, "{separator}{first}")?,
                false => write!(out, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_cpu_lists_are_read_as_the_kernel_writes_them() {
        for (list, cpu, inside) in [
            ("", 0, false),
            ("1", 1, true),
            ("0-3,8", 8, true),
            ("0-3,8", 4, false),
            ("2-3\n", 3, true),
            ("(null)", 0, false),
        ] {
            assert_eq!(CpuList::of(list).contains(cpu), inside, "{list} {cpu}");
        }
    }

    #[test]
    fn what_was_read_is_written_the_same_way_and_a_hostile_list_ends() {
        for list in ["", "0", "0-3,8", "1,3,5-6"] {
            assert_eq!(CpuList::of(list).to_string(), list);
        }
        assert_eq!(CpuList::of("0-1").with(&CpuList::of("2,7")).without(1).to_string(), "0,2,7");
        assert!(CpuList::of("0-18446744073709551615").count() <= CPUS_MAX + 1);
    }
}
