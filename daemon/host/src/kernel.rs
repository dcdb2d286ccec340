//! The kernel that runs: whether it preempts itself, what it was told at boot, which clock it reads.
use anyhow::{Context, bail};

use crate::Files;

/// Whether the running kernel is PREEMPT_RT.
///
/// # Errors
/// It is not, with its version.
pub fn preempt_rt(files: &Files) -> anyhow::Result<()> {
    let version = version()?;
    if files.number("/sys/kernel/realtime") == Some(1) || version.contains("PREEMPT_RT") {
        return Ok(());
    }
    bail!("the kernel is `{version}`, not PREEMPT_RT; install an RT kernel")
}

/// How the kernel was built (`uname -v`).
///
/// # Errors
/// Whatever uname says.
pub fn version() -> anyhow::Result<String> {
    let name = nix::sys::utsname::uname().context("uname")?;
    Ok(name.version().to_string_lossy().into_owned())
}

/// Which kernel it is (`uname -r`).
///
/// # Errors
/// Whatever uname says.
pub fn release() -> anyhow::Result<String> {
    let name = nix::sys::utsname::uname().context("uname")?;
    Ok(name.release().to_string_lossy().into_owned())
}

/// The value of a parameter the kernel was booted with: `Some("")` for one without a value. The last one
/// given counts.
#[must_use]
pub fn parameter(files: &Files, name: &str) -> Option<String> {
    let line = files.text("/proc/cmdline")?;
    line.split_ascii_whitespace().rev().find_map(|word| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key == name).then(|| value.to_owned())
    })
}

/// The clock source in use; empty when the kernel does not say.
#[must_use]
pub fn clock_source(files: &Files) -> String {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    files.text(path).unwrap_or_default()
}

/// How much of a period real-time threads may run, µs of µs: `-1` for all of it. `None` when unreadable.
#[must_use]
pub fn rt_runtime_us(files: &Files) -> Option<(i64, i64)> {
    let runtime = files.number("/proc/sys/kernel/sched_rt_runtime_us")?;
    Some((runtime, files.number("/proc/sys/kernel/sched_rt_period_us").unwrap_or(1_000_000)))
}

/// The frequency governor of `cpu`; `None` where the host scales no frequency.
#[must_use]
pub fn governor(files: &Files, cpu: usize) -> Option<String> {
    files.text(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_parameter_counts_and_one_without_a_value_is_there() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let line = "BOOT_IMAGE=/vmlinuz quiet nohz_full=1 isolcpus=2 isolcpus=domain,1\n";
        std::fs::write(root.path().join("proc/cmdline"), line).unwrap();
        let files = Files::under(root.path());
        assert_eq!(parameter(&files, "isolcpus").as_deref(), Some("domain,1"));
        assert_eq!(parameter(&files, "quiet").as_deref(), Some(""));
        assert_eq!(parameter(&files, "nohz"), None);
    }

    #[test]
    fn a_kernel_that_says_it_is_real_time_is_believed() {
        let root = tempfile::tempdir().unwrap();
        let files = Files::under(root.path());
        let is_rt = version().unwrap().contains("PREEMPT_RT");
        assert_eq!(preempt_rt(&files).is_ok(), is_rt);
        std::fs::create_dir_all(root.path().join("sys/kernel")).unwrap();
        std::fs::write(root.path().join("sys/kernel/realtime"), "1\n").unwrap();
        assert!(preempt_rt(&files).is_ok());
    }
}
