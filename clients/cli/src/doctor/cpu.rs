//! The loop's CPU as hardware: its sibling, its frequency, its sleep.
use kadenz_config::Exemption;
use kadenz_host::{CpuList, kernel, sleep};

use super::finding::{Check, Finding};
use super::subject::Subject;

/// States that take no longer to leave are shallow, µs.
const EXIT_US_SHALLOW: u64 = 10;

/// Every finding about it.
pub(crate) fn findings(subject: &Subject) -> Vec<Finding> {
    let held = sleep::hold_off(&subject.files);
    let idle = idle_states(subject, held.is_ok());
    let told = held.map(|_file| "0 µs asked for and read back".to_owned());
    let held = Finding::of(Check::CpuDmaLatency, told)
        .hand("load the kernel's PM QoS (CONFIG_CPU_IDLE)")
        .run("chgrp kadenz /dev/cpu_dma_latency && chmod 660 /dev/cpu_dma_latency");
    let held = subject.judged(held, &[Exemption::CpuDmaLatency]);
    vec![sibling(subject), governor(subject), idle, held]
}

fn sibling(subject: &Subject) -> Finding {
    let check = Check::SmtSibling;
    let cpu = subject.cpu;
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let Some(text) = subject.files.text(&path) else { return Subject::absent(check, &path) };
    let others = CpuList::of(&text).without(cpu);
    let Some(sibling) = others.iter().next() else {
        return Finding::ok(check, format!("CPU {cpu} has its core for itself"));
    };
    Finding::warn(check, format!("CPU {cpu} shares its core with CPU {others}"))
        .run(format!("echo 0 > /sys/devices/system/cpu/cpu{sibling}/online"))
        .boot("nosmt")
}

fn governor(subject: &Subject) -> Finding {
    let check = Check::Governor;
    match kernel::governor(&subject.files, subject.cpu) {
        None => Finding::not_applicable(check, "the kernel scales no frequency here"),
        Some(governor) if governor == "performance" => Finding::ok(check, governor),
        Some(governor) => Finding::warn(check, governor)
            .run("for g in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $g; done")
            .boot("cpufreq.default_governor=performance"),
    }
}

fn idle_states(subject: &Subject, is_held: bool) -> Finding {
    let check = Check::IdleStates;
    let states = sleep::idle_states(&subject.files, subject.cpu);
    let Some(deepest) =
        states.iter().filter(|one| !one.is_disabled).max_by_key(|one| one.exit_latency_us)
    else {
        return Finding::not_applicable(check, "the kernel manages no idle states here");
    };
    let words = format!("the deepest is {}, {} µs to leave", deepest.name, deepest.exit_latency_us);
    if deepest.exit_latency_us <= EXIT_US_SHALLOW {
        return Finding::ok(check, words);
    }
    match is_held {
        true => Finding::ok(check, format!("{words}; held off while kadenzd runs")),
        false => Finding::warn(check, words).boot("processor.max_cstate=1 intel_idle.max_cstate=1"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::subject::tests::subject;
    use super::*;
    use kadenz_host::Files;

    /// CPU 1 of a host with these files below its directory.
    fn cpu1(entries: &[(&str, &str)]) -> (tempfile::TempDir, Subject) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in entries {
            let path = root.path().join("sys/devices/system/cpu/cpu1").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = Files::under(root.path());
        (root, Subject { files, ..subject() })
    }

    #[test]
    fn a_core_that_is_shared_is_told_with_its_other_half() {
        let siblings = "topology/thread_siblings_list";
        let (_root, shared) = cpu1(&[(siblings, "1,5\n")]);
        let finding = sibling(&shared);
        assert_eq!(finding.status.word(), "warn");
        assert!(finding.measured.contains("CPU 5"), "{}", finding.measured);
        assert!(finding.remedies[0].words().contains("cpu5/online"));
        let (_root, alone) = cpu1(&[(siblings, "1\n")]);
        assert_eq!(sibling(&alone).status.word(), "ok");
    }

    #[test]
    fn only_the_governor_that_keeps_the_frequency_up_is_in_order() {
        let file = "cpufreq/scaling_governor";
        for (word, status) in [("performance", "ok"), ("powersave", "warn"), ("schedutil", "warn")]
        {
            let (_root, subject) = cpu1(&[(file, word)]);
            assert_eq!(governor(&subject).status.word(), status, "{word}");
        }
        let (_root, none) = cpu1(&[]);
        assert_eq!(governor(&none).status.word(), "not-applicable");
    }

    #[test]
    fn a_deep_idle_state_is_in_order_only_where_it_is_off_or_held_off() {
        let deep = [("cpuidle/state1/name", "C6"), ("cpuidle/state1/latency", "133")];
        let (_root, subject) = cpu1(&deep);
        assert_eq!(idle_states(&subject, true).status.word(), "ok");
        assert_eq!(idle_states(&subject, false).status.word(), "warn");
        let (_root, off) = cpu1(&[deep[0], deep[1], ("cpuidle/state1/disable", "1")]);
        assert_eq!(idle_states(&off, false).status.word(), "not-applicable");
    }
}
