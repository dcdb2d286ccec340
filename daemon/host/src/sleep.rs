//! How deep CPUs may sleep: held off through the kernel's power management, and which states they have.
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};

use anyhow::{Context, bail};

use crate::Files;

/// Keeps CPUs out of deep sleep for as long as the file stays open (PM QoS, 0 µs).
///
/// # Errors
/// The file cannot be had, or says something else than was asked.
pub fn hold_off(files: &Files) -> anyhow::Result<File> {
    let path = "/dev/cpu_dma_latency";
    let mut file =
        OpenOptions::new().read(true).write(true).open(files.path(path)).context(path)?;
    file.write_all(&0i32.to_ne_bytes()).with_context(|| format!("writing 0 to {path}"))?;
    let mut told = [0u8; 4];
    file.rewind().ok();
    file.read_exact(&mut told).with_context(|| format!("reading {path} back"))?;
    if i32::from_ne_bytes(told) != 0 {
        bail!("{path} says {} µs after 0 was asked for", i32::from_ne_bytes(told));
    }
    Ok(file)
}

/// One state in which a CPU may idle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleState {
    /// Its name, e.g. `C6`.
    pub name: String,
    /// What leaving it takes, µs.
    pub exit_latency_us: u64,
    /// Whether it has been switched off.
    pub is_disabled: bool,
}

/// The idle states of `cpu`, shallowest first; none where the kernel manages none.
#[must_use]
pub fn idle_states(files: &Files, cpu: usize) -> Vec<IdleState> {
    let base = format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle");
    let mut numbers: Vec<usize> = files
        .names(&base)
        .iter()
        .filter_map(|name| name.strip_prefix("state")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let state = |number: usize| {
        let text = |name: &str| files.text(&format!("{base}/state{number}/{name}"));
        let latency = text("latency").and_then(|us| us.parse().ok()).unwrap_or(0);
        let is_disabled = text("disable").is_some_and(|word| word != "0");
        Some(IdleState { name: text("name")?, exit_latency_us: latency, is_disabled })
    };
    numbers.into_iter().filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn idle_states_come_in_order_with_their_exit_latency() {
        let root = tempfile::tempdir().unwrap();
        for (number, name, latency, disable) in
            [(0, "POLL", "0", "0"), (10, "C10", "890", "1"), (2, "C6", "133", "0")]
        {
            let at = root.path().join(format!("sys/devices/system/cpu/cpu1/cpuidle/state{number}"));
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("name"), name).unwrap();
            fs::write(at.join("latency"), latency).unwrap();
            fs::write(at.join("disable"), disable).unwrap();
        }
        let states = idle_states(&Files::under(root.path()), 1);
        let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
        assert_eq!(names, ["POLL", "C6", "C10"]);
        assert_eq!((states[1].exit_latency_us, states[2].is_disabled), (133, true));
        assert!(idle_states(&Files::under(root.path()), 0).is_empty());
    }

    #[test]
    fn a_host_without_the_file_is_told_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let words = format!("{:#}", hold_off(&Files::under(root.path())).unwrap_err());
        assert!(words.contains("/dev/cpu_dma_latency"), "{words}");
    }
}
