//! The loop's CPU over the length of the probe: how late a thread like the loop's wakes up there, and who and
//! what else was on it.
use std::time::Duration;

use kadenz_config::Exemption;
use kadenz_host::isolation::Isolation;
use kadenz_host::thread;

use super::finding::{Check, Finding};
use super::places::loops_on;
use super::probe::{self, Demand, Probe};
use super::subject::Subject;
use super::watch::{Happened, Look};

/// A kernel thread that runs more often than this on an isolated CPU has work that can be moved, per second.
const KERNEL_SWITCHES_PER_S: u64 = 20;
/// A tick that is off still looks in once a second.
const TICKS_PER_S_OFF: u64 = 10;
/// Visitors and interrupts that are told by name.
const NAMED_MAX: usize = 5;

/// The findings, and what the probe measured if it ran.
pub(crate) fn findings(subject: &Subject) -> (Vec<Finding>, Option<Probe>) {
    let cpu = subject.cpu;
    let others = loops_on(subject, cpu);
    let left_out: Vec<u32> = others.iter().map(|one| one.thread).collect();
    // What the doctor itself does belongs elsewhere.
    let _stays_where_there_is_one_cpu = thread::leave_to_the_loop(cpu);
    let before = Look::at(&subject.files, cpu, &left_out);
    let probed = match (others.first(), &subject.kept_by) {
        (None, None) => probe::run(Demand {
            cpu,
            priority_fifo: subject.priority_fifo,
            period_ns: subject.period_ns,
            seconds: subject.seconds,
        })
        .map_err(|error| Finding::error(Check::WakeLatency, format!("{error:#}"))),
        (None, Some(group)) => {
            std::thread::sleep(Duration::from_secs(subject.seconds));
            Err(from_within(cpu, group))
        }
        (Some(running), _) => {
            std::thread::sleep(Duration::from_secs(subject.seconds));
            let words = format!(
                "kadenzd {} runs its loop on CPU {cpu}; `kadenz status` tells how late that one wakes",
                running.process
            );
            Err(Finding::not_applicable(Check::WakeLatency, words))
        }
    };
    let after = Look::at(&subject.files, cpu, &left_out);
    let happened = before.until(&after, cpu);
    let mut findings = vec![visitors(subject, &happened), interrupts(subject, &happened)];
    findings.push(stolen(subject, &happened));
    match probed {
        Ok(probe) => {
            findings.push(ticks(subject, &probe));
            findings.push(latency(subject, &probe));
            (findings, Some(probe))
        }
        Err(finding) => {
            let words = format!("nothing was kept busy on CPU {cpu}");
            findings.push(Finding::not_applicable(Check::LoopCpuTick, words));
            findings.push(finding);
            (findings, None)
        }
    }
}

/// What was not measured, since only processes of `group` may run on `cpu`.
fn from_within(cpu: usize, group: &str) -> Finding {
    let words = format!("not measured: only processes of {group} may run on CPU {cpu}");
    let finding = Finding::warn(Check::WakeLatency, words);
    match group.rsplit('/').next().filter(|name| name.ends_with(".slice")) {
        Some(slice) => finding.run(format!("systemd-run --pty --slice={slice} kadenz doctor")),
        None => finding.run(format!("echo $$ > {group}/cgroup.procs && kadenz doctor")),
    }
}

fn visitors(subject: &Subject, happened: &Happened) -> Finding {
    let check = Check::LoopCpuTasks;
    let seconds = subject.seconds.max(1);
    let cpu = subject.cpu;
    let named = |is_kernel: bool| {
        let of_kind = happened.visitors.iter().filter(|one| one.is_kernel == is_kernel);
        let words: Vec<String> = of_kind
            .clone()
            .take(NAMED_MAX)
            .map(|one| format!("{} {}×", one.name, one.switches))
            .collect();
        (of_kind.count(), words.join(", "))
    };
    let ((programs, program_words), (_, kernel_words)) = (named(false), named(true));
    let busiest = happened.visitors.iter().filter(|one| one.is_kernel);
    let busiest = busiest.map(|one| one.switches / seconds).max().unwrap_or(0);
    let words = match (program_words.is_empty(), kernel_words.is_empty()) {
        (true, true) => format!("none in {seconds} s"),
        (true, false) => format!("in {seconds} s: kernel threads {kernel_words}"),
        (false, true) => format!("in {seconds} s: {program_words}"),
        (false, false) => {
            format!("in {seconds} s: {program_words}; kernel threads {kernel_words}")
        }
    };
    let is_isolated = Isolation::of(&subject.files).cpus().contains(cpu);
    let finding = match (programs, busiest) {
        // Somebody put it there: the scheduler does not.
        (1.., _) if is_isolated => Finding::error(check, words),
        (0, ..=KERNEL_SWITCHES_PER_S) => Finding::ok(check, words),
        _ => Finding::warn(check, words),
    };
    let others = subject.other_cpus();
    let finding = match programs {
        0 => finding,
        _ => finding
            .boot(format!("isolcpus=managed_irq,domain,{cpu}"))
            .line("/etc/systemd/system.conf [Manager]", format!("CPUAffinity={others}")),
    };
    let finding = finding
        .boot(format!("nohz_full={cpu} rcu_nocbs={cpu} kthread_cpus={others}"))
        .run("echo 10 > /proc/sys/vm/stat_interval");
    subject.judged(finding, &[Exemption::IsolatedCpu])
}

fn interrupts(subject: &Subject, happened: &Happened) -> Finding {
    let check = Check::LoopCpuInterrupts;
    let some = |counts: &[(String, u64)]| {
        let words: Vec<String> =
            counts.iter().take(NAMED_MAX).map(|(name, count)| format!("{name} {count}×")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let words = format!(
        "in {} s: devices {}; timer {}×; between CPUs {}; softirqs {}",
        subject.seconds,
        some(&happened.devices),
        happened.timer,
        some(&happened.local),
        some(&happened.softirqs)
    );
    if happened.devices.is_empty() {
        return Finding::ok(check, words);
    }
    let numbers: Vec<&str> =
        happened.devices.iter().filter_map(|(name, _)| name.split(' ').next()).collect();
    let others = subject.other_cpus();
    Finding::warn(check, words).boot(format!("irqaffinity={others}")).run(format!(
        "for irq in {}; do echo {others} > /proc/irq/$irq/smp_affinity_list; done",
        numbers.join(" ")
    ))
}

fn stolen(subject: &Subject, happened: &Happened) -> Finding {
    let check = Check::StolenTime;
    let steal = happened.stolen_ms.map_or_else(
        || "steal is not told".to_owned(),
        |stolen| format!("{stolen} ms stolen in {} s", subject.seconds),
    );
    let smi = happened.smi.map_or_else(
        || "system management interrupts are not told".to_owned(),
        |count| format!("{count} system management interrupts"),
    );
    let words = format!("{steal}, {smi}");
    match (happened.stolen_ms.unwrap_or(0), happened.smi.unwrap_or(0)) {
        (0, 0) => Finding::ok(check, words),
        (0, _) => Finding::warn(check, words).hand(
            "switch off in the BIOS: USB legacy support, power management by SMI, ECC polling",
        ),
        _ => Finding::warn(check, words)
            .hand("run on hardware, or give the virtual CPU one of its own"),
    }
}

fn ticks(subject: &Subject, probe: &Probe) -> Finding {
    let check = Check::LoopCpuTick;
    let Some(ticks) = probe.ticks_per_s else {
        return Finding::not_applicable(check, "the kernel tells no timer interrupts");
    };
    let words = format!("{ticks} per second while one thread kept CPU {} busy", subject.cpu);
    let finding = match ticks {
        ..=TICKS_PER_S_OFF => Finding::ok(check, words),
        _ => Finding::warn(check, words),
    };
    finding.boot(format!("nohz_full={}", subject.cpu))
}

fn latency(subject: &Subject, probe: &Probe) -> Finding {
    let check = Check::WakeLatency;
    let us = |ns: u64| ns.div_ceil(1_000);
    let words = format!(
        "p50 {} p99 {} p99.9 {} max {} µs of a period of {} µs in {} wake-ups; {} later than {} µs, {} missed{}",
        us(probe.at(500)),
        us(probe.at(990)),
        us(probe.at(999)),
        us(probe.max_ns),
        us(subject.period_ns),
        probe.count(),
        probe.later_than(subject.late_wake_ns),
        us(subject.late_wake_ns),
        probe.missed,
        probe.no_fifo.as_ref().map_or(String::new(), |why| format!("; not SCHED_FIFO: {why}"))
    );
    let finding = if probe.missed > 0 || probe.at(999) > subject.late_wake_ns {
        Finding::error(check, words)
    } else if probe.max_ns > subject.late_wake_ns || probe.no_fifo.is_some() {
        Finding::warn(check, words)
    } else {
        Finding::ok(check, words)
    };
    let finding =
        finding.hand("mend what stands above first: kernel, isolation, interrupts, idle states");
    // What makes wake-ups late has been exempted: so is its consequence.
    let names = [Exemption::PreemptRt, Exemption::IsolatedCpu, Exemption::Scheduler];
    subject.judged(finding, &names)
}
