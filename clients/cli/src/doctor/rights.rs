//! What this process may do, tried: real-time priority, locked memory, exact timers.
use anyhow::{Context, anyhow};
use kadenz_config::Exemption;
use kadenz_host::{memory, thread};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::finding::{Check, Finding};
use super::subject::Subject;

/// Memory touched to count faults, bytes: far above what an allocator keeps ready.
const TOUCHED_BYTES: usize = 16 << 20;

/// Every finding about them. Memory is locked afterwards, if it can be.
pub(crate) fn findings(subject: &Subject) -> Vec<Finding> {
    let status = memory::own_status().unwrap_or_default();
    let mut findings = scheduling(subject, &status).to_vec();
    findings.extend(limits(subject, &status));
    findings.push(capabilities(&status));
    findings.extend(memory_findings(subject));
    findings.push(timer_slack());
    findings
}

/// Whether the right to SCHED_FIFO is there: by limit or capability.
fn may_be_fifo(subject: &Subject, status: &str) -> bool {
    let limit = getrlimit(Resource::RLIMIT_RTPRIO).map_or(0, |(soft, _)| soft);
    limit >= u64::from(subject.priority_fifo)
        || memory::has_capability(status, memory::CAP_SYS_NICE)
}

fn scheduling(subject: &Subject, status: &str) -> [Finding; 2] {
    let priority = subject.priority_fifo;
    let tried = on_a_thread(move || thread::fifo(priority));
    let is_refused_with_the_right = tried.is_err() && may_be_fifo(subject, status);
    let tried = tried.map(|()| format!("SCHED_FIFO {priority}, tried and read back"));
    let fifo = Finding::of(Check::Scheduler, tried)
        .line("kadenzd.service [Service]", format!("LimitRTPRIO={}", priority.saturating_add(1)))
        .line("kadenzd.service [Service]", "AmbientCapabilities=CAP_SYS_NICE");
    [
        subject.judged(fifo, &[Exemption::Scheduler]),
        rt_group_budget(subject, is_refused_with_the_right),
    ]
}

/// A control group of version 1 with a scheduler of its own has a budget; that of a new one is zero.
fn rt_group_budget(subject: &Subject, is_refused_with_the_right: bool) -> Finding {
    let check = Check::RtGroupBudget;
    let own = subject.text_or("/proc/self/cgroup", "");
    let group = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|one| one == "cpu").then(|| parts.next()).flatten()
    });
    let file = group.map(|group| {
        format!("/sys/fs/cgroup/cpu{}/cpu.rt_runtime_us", group.trim_end_matches('/'))
    });
    let budget = file.as_ref().and_then(|file| subject.files.number(file));
    let finding = match (budget, is_refused_with_the_right) {
        (Some(budget), false) => Finding::ok(check, format!("{budget} µs in {}", words_of(&file))),
        (Some(budget), true) => {
            Finding::error(check, format!("{budget} µs in {}, and refused", words_of(&file)))
        }
        (None, false) => {
            Finding::not_applicable(check, "this kernel gives control groups no budget")
        }
        (None, true) => Finding::error(
            check,
            "SCHED_FIFO is refused to a process that has the right to it, and no budget is told",
        ),
    };
    let runtime = file.unwrap_or_else(|| "/sys/fs/cgroup/cpu/GROUP/cpu.rt_runtime_us".to_owned());
    let finding = finding.run(format!("echo 950000 > {runtime}")).boot("rt_group_sched=0");
    subject.judged(finding, &[Exemption::Scheduler])
}

fn words_of(file: &Option<String>) -> &str {
    file.as_deref().unwrap_or("its control group")
}

fn limits(subject: &Subject, status: &str) -> [Finding; 2] {
    let limit = |resource| match getrlimit(resource) {
        Ok((RLIM_INFINITY, _)) => "unlimited".to_owned(),
        Ok((soft, hard)) => format!("{soft} (hard {hard})"),
        Err(errno) => format!("unreadable ({errno})"),
    };
    let judge = |check, is_fit: bool, capability: &str, bit, words: String| {
        let by_capability = memory::has_capability(status, bit);
        match (is_fit, by_capability) {
            (true, _) => Finding::ok(check, words),
            (false, true) => Finding::ok(check, format!("{words}, but {capability} is there")),
            (false, false) => Finding::warn(check, format!("{words}, and {capability} is missing")),
        }
    };
    let rtprio = getrlimit(Resource::RLIMIT_RTPRIO).map_or(0, |(soft, _)| soft);
    let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    let priority = subject.priority_fifo;
    let told = format!("this process: {} for {priority}", limit(Resource::RLIMIT_RTPRIO));
    let is_fit = rtprio >= u64::from(priority);
    let bit = memory::CAP_SYS_NICE;
    let rtprio = judge(Check::RtprioLimit, is_fit, "CAP_SYS_NICE", bit, told)
        .line("/etc/security/limits.d/kadenz.conf", format!("@kadenz - rtprio {priority}"));
    let told = format!("this process: {} bytes", limit(Resource::RLIMIT_MEMLOCK));
    let is_fit = memlock == RLIM_INFINITY;
    let bit = memory::CAP_IPC_LOCK;
    let memlock = judge(Check::MemlockLimit, is_fit, "CAP_IPC_LOCK", bit, told)
        .line("/etc/security/limits.d/kadenz.conf", "@kadenz - memlock unlimited");
    [rtprio, memlock]
}

fn capabilities(status: &str) -> Finding {
    let wanted = [("CAP_SYS_NICE", memory::CAP_SYS_NICE), ("CAP_IPC_LOCK", memory::CAP_IPC_LOCK)];
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|(_, bit)| !memory::has_capability(status, *bit))
        .map(|(name, _)| name)
        .collect();
    let finding = match missing.is_empty() {
        true => Finding::ok(Check::Capabilities, "CAP_SYS_NICE and CAP_IPC_LOCK are there"),
        false => {
            let words = format!("this process lacks {}", missing.join(" and "));
            Finding::warn(Check::Capabilities, words)
        }
    };
    finding.line("kadenzd.service [Service]", "AmbientCapabilities=CAP_SYS_NICE CAP_IPC_LOCK")
}

fn memory_findings(subject: &Subject) -> [Finding; 2] {
    let unlocked = memory::faults_when_touched(TOUCHED_BYTES);
    let locked = memory::lock();
    let faults = match &locked {
        Ok(()) => touched_when_locked(unlocked),
        Err(_) => Finding::not_applicable(Check::PageFaults, "memory cannot be locked"),
    };
    let locked = locked.map(|()| "all of it, tried and read back".to_owned());
    let locked = Finding::of(Check::MemoryLock, locked)
        .line("kadenzd.service [Service]", "LimitMEMLOCK=infinity")
        .line("kadenzd.service [Service]", "AmbientCapabilities=CAP_IPC_LOCK");
    let exempt = [Exemption::MemoryLock];
    [subject.judged(locked, &exempt), subject.judged(faults, &exempt)]
}

fn touched_when_locked(unlocked: anyhow::Result<u64>) -> Finding {
    let check = Check::PageFaults;
    let counted = memory::faults_when_touched(TOUCHED_BYTES)
        .and_then(|locked| Ok((locked, unlocked?)))
        .context("counting faults");
    let (locked, unlocked) = match counted {
        Ok(counted) => counted,
        Err(error) => return Finding::error(check, format!("{error:#}")),
    };
    let words = format!(
        "{locked} when {} MB of locked memory are touched, {unlocked} when they are not locked",
        TOUCHED_BYTES >> 20
    );
    match locked {
        0 => Finding::ok(check, words),
        _ => Finding::error(check, words).hand("see memory-lock"),
    }
}

fn timer_slack() -> Finding {
    let tried = on_a_thread(thread::tighten_timers);
    let told = tried.map(|()| "1 ns, asked for and read back".to_owned());
    Finding::of(Check::TimerSlack, told).hand("let the process set its timer slack (prctl)")
}

/// What `deed` comes to on a thread of its own, whose scheduling it may change.
fn on_a_thread(deed: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    std::thread::spawn(deed)
        .join()
        .map_err(|_panic| anyhow!("the thread that tried it panicked"))?
}
