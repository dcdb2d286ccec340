//! The machine that was measured on, as far as it says something about the figures; nothing that names it.
use std::fs;

use serde_json::{Value, json};

/// CPU, kernel and settings. What the kernel does not say is null.
#[must_use]
pub fn fingerprint() -> Value {
    let read = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let version = read("/proc/sys/kernel/version");
    let is_rt = read("/sys/kernel/realtime").as_deref() == Some("1")
        || version.as_ref().is_some_and(|version| version.contains("PREEMPT_RT"));
    json!({
        "cpu": field(&cpuinfo, "model name"),
        "cores": std::thread::available_parallelism().ok().map(core::num::NonZero::get),
        "virtualised": field(&cpuinfo, "flags")
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "kernel_version": version,
        "preempt_rt": is_rt,
        "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "isolated": read("/sys/devices/system/cpu/isolated"),
        "nohz_full": read("/sys/devices/system/cpu/nohz_full"),
    })
}

/// The first value of `key` in a `/proc/cpuinfo`.
fn field(cpuinfo: &str, key: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_names_cpu_and_kernel_and_no_host() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU @ 3 GHz\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(cpuinfo, "model name").as_deref(), Some("A CPU @ 3 GHz"));
        assert_eq!(field(cpuinfo, "bogus"), None);
        let found = fingerprint();
        assert!(found["kernel"].is_string());
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(host.trim().len() < 4 || !found.to_string().contains(host.trim()));
    }
}
