//! The kernel: what it is, what it was told at boot, and what that comes to on the loop's CPU.
use kadenz_config::Exemption;
use kadenz_host::isolation::Isolation;
use kadenz_host::{CpuList, clock, kernel};

use super::finding::{Check, Finding};
use super::subject::Subject;

/// Below this share of a period real-time threads would be stopped in ordinary work, percent.
const RT_SHARE_LOW: i64 = 50;
/// From this share on only a thread that runs away is stopped, percent.
const RT_SHARE_USUAL: i64 = 90;

/// Every finding about the kernel.
pub(crate) fn findings(subject: &Subject) -> Vec<Finding> {
    let isolation = Isolation::of(&subject.files);
    vec![
        preempt_rt(subject),
        isolated(subject, &isolation),
        partition(subject, &isolation),
        nohz_full(subject),
        rcu_nocbs(subject),
        irq_affinity(subject),
        rt_throttling(subject),
        timer_migration(subject),
        huge_pages(subject),
        swap(subject),
        vdso_clock(subject),
    ]
}

fn preempt_rt(subject: &Subject) -> Finding {
    let told = kernel::preempt_rt(&subject.files)
        .and_then(|()| Ok(format!("{} {}", kernel::release()?, kernel::version()?)));
    let finding = Finding::of(Check::PreemptRt, told)
        .run("apt-get install linux-image-rt-amd64")
        .hand("boot the PREEMPT_RT kernel");
    subject.judged(finding, &[Exemption::PreemptRt])
}

fn isolated(subject: &Subject, isolation: &Isolation) -> Finding {
    let cpu = subject.cpu;
    let finding = Finding::of(Check::IsolatedCpu, isolation.check(cpu))
        .boot(format!("isolcpus=managed_irq,domain,{cpu}"));
    subject.judged(finding, &[Exemption::IsolatedCpu])
}

fn partition(subject: &Subject, isolation: &Isolation) -> Finding {
    let check = Check::CpusetPartition;
    let told = |one: &kadenz_host::isolation::Partition| {
        format!("{} is `{}`, CPUs `{}`", one.group, one.state, one.cpus)
    };
    if isolation.partitions.is_empty() {
        return Finding::not_applicable(check, "no control group is a partition");
    }
    let words: Vec<String> = isolation.partitions.iter().map(told).collect();
    let words = words.join("; ");
    let faulty = isolation.partitions.iter().find(|one| one.fault().is_some());
    match faulty {
        None => Finding::ok(check, words),
        // What isolates the loop's CPU otherwise makes the partition superfluous, not harmful.
        Some(faulty) => {
            let finding = match isolation.cpus().contains(subject.cpu) {
                true => Finding::warn(check, words),
                false => Finding::error(check, words),
            };
            let finding = finding
                .run(format!("echo member > {}/cpuset.cpus.partition", faulty.group))
                .hand("isolate by isolcpus= or by a partition, not by both");
            subject.judged(finding, &[Exemption::IsolatedCpu])
        }
    }
}

fn nohz_full(subject: &Subject) -> Finding {
    let path = "/sys/devices/system/cpu/nohz_full";
    // A kernel that was told none says `(null)`.
    let told = CpuList::of(&subject.text_or(path, ""));
    let finding = match told.contains(subject.cpu) {
        true => Finding::ok(Check::NohzFull, format!("CPUs `{told}`")),
        false => {
            Finding::warn(Check::NohzFull, format!("CPU {} is not among `{told}`", subject.cpu))
        }
    };
    finding.boot(format!("nohz_full={}", subject.cpu))
}

/// Told by the threads that take the callbacks over: the kernel has one for each CPU it relieves.
fn rcu_nocbs(subject: &Subject) -> Finding {
    let check = Check::RcuNocbs;
    let taker = format!("/{}", subject.cpu);
    let takes_over = subject.files.names("/proc").iter().any(|name| {
        name.parse::<u32>().is_ok()
            && subject.files.text(&format!("/proc/{name}/comm")).is_some_and(|comm| {
                comm.starts_with("rcuo") && !comm.starts_with("rcuog") && comm.ends_with(&taker)
            })
    });
    let finding = match takes_over {
        true => Finding::ok(check, format!("a thread takes the callbacks of CPU {}", subject.cpu)),
        false => {
            let words = format!("no thread takes the callbacks of CPU {}", subject.cpu);
            Finding::warn(check, words)
        }
    };
    finding.boot(format!("rcu_nocbs={}", subject.cpu))
}

fn irq_affinity(subject: &Subject) -> Finding {
    let check = Check::IrqAffinity;
    let cpu = subject.cpu;
    let numbers = subject.files.names("/proc/irq");
    let numbers: Vec<&String> = numbers.iter().filter(|name| name.parse::<u32>().is_ok()).collect();
    if numbers.is_empty() {
        return Subject::absent(check, "/proc/irq");
    }
    let list = |number: &str, name: &str| {
        let text = subject.text_or(&format!("/proc/irq/{number}/{name}"), "");
        CpuList::of(&text).contains(cpu)
    };
    let may = numbers.iter().filter(|number| list(number, "smp_affinity_list")).count();
    let are: Vec<&str> = numbers
        .iter()
        .filter(|number| list(number, "effective_affinity_list"))
        .map(|number| number.as_str())
        .collect();
    let by_default = mask_holds(&subject.text_or("/proc/irq/default_smp_affinity", ""), cpu);
    let words = format!(
        "{} interrupts are on CPU {cpu}, {may} of {} may be, new ones {}",
        are.len(),
        numbers.len(),
        if by_default { "may be as well" } else { "may not" }
    );
    let finding = match are.is_empty() && !by_default {
        true => Finding::ok(check, words),
        false => Finding::warn(check, words),
    };
    let others = subject.other_cpus();
    let finding = finding.boot(format!("irqaffinity={others}"));
    match are.is_empty() {
        true => finding,
        false => finding.run(format!(
            "for irq in {}; do echo {others} > /proc/irq/$irq/smp_affinity_list; done",
            are.join(" ")
        )),
    }
}

/// Whether a mask such as `ffffffff,00000003` holds `cpu`.
fn mask_holds(mask: &str, cpu: usize) -> bool {
    let digits: Vec<u32> = mask.chars().rev().filter_map(|digit| digit.to_digit(16)).collect();
    digits.get(cpu / 4).is_some_and(|digit| digit & (1 << (cpu % 4)) != 0)
}

fn rt_throttling(subject: &Subject) -> Finding {
    let check = Check::RtThrottling;
    let Some((runtime_us, period_us)) = kernel::rt_runtime_us(&subject.files) else {
        return Subject::absent(check, "/proc/sys/kernel/sched_rt_runtime_us");
    };
    let words = format!("real-time threads may run {runtime_us} of {period_us} µs");
    let share = match runtime_us {
        -1 => return Finding::ok(check, "real-time threads may run all the time"),
        _ => runtime_us.saturating_mul(100) / period_us.max(1),
    };
    let finding = match share {
        RT_SHARE_USUAL.. => Finding::ok(check, words),
        RT_SHARE_LOW.. => Finding::warn(check, words),
        _ => Finding::error(check, words),
    };
    let usual = period_us / 100 * 95;
    finding.run(format!("sysctl -w kernel.sched_rt_runtime_us={usual}"))
}

fn timer_migration(subject: &Subject) -> Finding {
    let check = Check::TimerMigration;
    let path = "/proc/sys/kernel/timer_migration";
    let Some(text) = subject.files.text(path) else { return Subject::absent(check, path) };
    let finding = match text.as_str() {
        "0" => Finding::ok(check, "timers stay on the CPU that sets them"),
        _ => Finding::warn(check, "timers may move to another CPU than the one that sets them"),
    };
    finding.run("sysctl -w kernel.timer_migration=0")
}

fn huge_pages(subject: &Subject) -> Finding {
    let check = Check::HugePages;
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Some(text) = subject.files.text(path) else { return Subject::absent(check, path) };
    let finding = match text.contains("[always]") {
        true => Finding::warn(check, text),
        false => Finding::ok(check, text),
    };
    finding.boot("transparent_hugepage=madvise").run(format!("echo madvise > {path}"))
}

fn swap(subject: &Subject) -> Finding {
    let check = Check::Swap;
    let Some(text) = subject.files.text("/proc/swaps") else {
        return Subject::absent(check, "/proc/swaps");
    };
    let devices: Vec<&str> =
        text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    let finding = match devices.is_empty() {
        true => Finding::ok(check, "off"),
        false => Finding::warn(check, format!("on {}", devices.join(", "))),
    };
    finding.run("swapoff -a").hand("take the swap lines out of /etc/fstab")
}

fn vdso_clock(subject: &Subject) -> Finding {
    let tried = clock::enters_kernel().and_then(|enters| match enters {
        false => Ok(format!("`{}`, read without the kernel", kernel::clock_source(&subject.files))),
        true => Err(anyhow::anyhow!(clock::slow(&subject.files))),
    });
    let finding = Finding::of(Check::VdsoClock, tried).boot("clocksource=tsc tsc=reliable");
    subject.judged(finding, &[Exemption::VdsoClock])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_cpus_are_read_from_their_end() {
        assert!(mask_holds("3", 1) && !mask_holds("3", 2));
        assert!(mask_holds("00000001,00000000", 32) && !mask_holds("00000001,00000000", 0));
        assert!(!mask_holds("", 0));
    }
}
