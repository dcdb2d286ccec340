//! What a check comes to: its name, its verdict, what was measured, why it matters and what mends it.
use kadenz_config::Exemption;

/// Declares every check with the name people read and why it matters.
macro_rules! checks {
    ($( $variant:ident = $name:literal, $why:literal; )*) => {
        /// A check, in the order in which findings are told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Check { $( #[doc = $why] $variant, )* }

        impl Check {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The name in text, JSON and docs/HOST.md.
            pub(crate) const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// Why it matters, one sentence.
            pub(crate) const fn why(self) -> &'static str {
                match self { $( Self::$variant => $why, )* }
            }
        }
    };
}

checks! {
    PreemptRt = "preempt-rt", "a kernel that does not preempt itself delays a wake-up by as long as its longest work, milliseconds";
    IsolatedCpu = "isolated-cpu", "on a CPU that is not isolated the scheduler puts other tasks before and beside the loop";
    CpusetPartition = "cpuset-partition", "the kernel accepts an impossible partition and then isolates nothing";
    LoopCpuTasks = "loop-cpu-tasks", "every task that runs on the loop's CPU costs it a switch and its caches";
    LoopCpuInterrupts = "loop-cpu-interrupts", "an interrupt of a device on the loop's CPU delays the cycle it falls into";
    LoopCpuTick = "loop-cpu-tick", "the scheduler's tick interrupts a busy loop some hundred times a second";
    NohzFull = "nohz-full", "without it the tick goes on while the loop is the only task of its CPU";
    RcuNocbs = "rcu-nocbs", "callbacks of the kernel's RCU run on the loop's CPU unless they are moved away";
    IrqAffinity = "irq-affinity", "new interrupts go to every CPU that they are not kept from, the loop's as well";
    SmtSibling = "smt-sibling", "two hardware threads share one core: whatever runs on the other slows the loop";
    Governor = "governor", "a governor that lowers the frequency between cycles makes every wake-up slow";
    IdleStates = "idle-states", "leaving a deep idle state takes up to a millisecond";
    CpuDmaLatency = "cpu-dma-latency", "kadenzd keeps CPUs out of deep idle states by holding this file";
    RtThrottling = "rt-throttling", "the kernel stops real-time threads that run for longer than their share";
    TimerMigration = "timer-migration", "with nohz_full the loop's timer is armed on another CPU unless timers stay where they are set";
    Scheduler = "scheduler", "without SCHED_FIFO any busy program delays a cycle";
    RtGroupBudget = "rt-group-budget", "a control group with a budget of zero refuses SCHED_FIFO to whoever has the right to it";
    RtprioLimit = "rtprio-limit", "the limit, or CAP_SYS_NICE, gives the right to SCHED_FIFO";
    MemlockLimit = "memlock-limit", "the limit, or CAP_IPC_LOCK, gives the right to lock memory";
    Capabilities = "capabilities", "they give the rights of a real-time process without being root";
    MemoryLock = "memory-lock", "memory that is not locked may be paged out and read back in a cycle";
    PageFaults = "page-faults", "a page fault in a cycle costs from a microsecond to a disk access";
    TimerSlack = "timer-slack", "the kernel may put off a timer by as much, by default 50 µs";
    HugePages = "huge-pages", "the kernel gathers huge pages by itself: it stops whoever uses the memory meanwhile";
    Swap = "swap", "a host that swaps waits for its disk, and clients of the loop wait with it";
    VdsoClock = "vdso-clock", "every reading of the clock is a system call where the source has no vDSO";
    RuntimeDir = "runtime-dir", "shared memory on a disk faults at every write-back";
    SharedMemory = "shared-memory", "a full tmpfs ends whoever writes to its memory";
    OneUser = "one-user", "a gateway's unix user decides what its clients may do";
    OtherDaemons = "other-daemons", "two loops on one CPU take it from each other, and one directory serves one daemon";
    RecordingSpace = "recording-space", "recordings stop when their disk is full";
    NicDriver = "nic-driver", "the driver decides how soon a frame leaves and arrives";
    NicInterrupts = "nic-interrupts", "a bus answers through its interrupts: they belong beside the loop, not on its CPU";
    NicCoalescing = "nic-coalescing", "a network card that gathers frames delays each by the time it waits for the next";
    SerialLatency = "serial-latency", "a USB serial converter holds bytes back for as long, by default 16 ms";
    WakeLatency = "wake-latency", "what the loop will see: how late a thread of its priority wakes up on its CPU";
    StolenTime = "stolen-time", "a hypervisor or firmware that takes the CPU does so at any priority";
    Fingerprint = "fingerprint", "a verdict holds for the host it was passed on: kadenzd compares at every start";
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// The machine runs, less well than it could.
    Warn,
    /// kadenzd refuses such a host, or its cycles are missed.
    Error,
    /// Nothing to judge here; what was measured says why.
    NotApplicable,
}

impl Status {
    /// The word in text and JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::NotApplicable => "not-applicable",
        }
    }
}

/// One thing that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// A parameter for the kernel's command line.
    Boot(String),
    /// A command for root's shell.
    Run(String),
    /// A line of the machine's file or of a unit.
    Line {
        /// In which file and section.
        place: &'static str,
        /// The line.
        line: String,
    },
    /// What no line of text can do.
    Hand(&'static str),
}

impl Remedy {
    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Boot(parameter) => format!("boot with {parameter}"),
            Self::Run(command) => format!("`{command}`"),
            Self::Line { place, line } => format!("{place}: `{line}`"),
            Self::Hand(deed) => (*deed).to_owned(),
        }
    }
}

/// What one check found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) status: Status,
    /// The machine's file exempts it: the error does not count.
    pub(crate) is_exempt: bool,
    /// What was found, with its unit.
    pub(crate) measured: String,
    pub(crate) remedies: Vec<Remedy>,
}

impl Finding {
    fn new(check: Check, status: Status, measured: impl Into<String>) -> Self {
        let measured = measured.into();
        Self { check, status, is_exempt: false, measured, remedies: Vec::new() }
    }

    pub(crate) fn ok(check: Check, measured: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, measured)
    }

    pub(crate) fn warn(check: Check, measured: impl Into<String>) -> Self {
        Self::new(check, Status::Warn, measured)
    }

    pub(crate) fn error(check: Check, measured: impl Into<String>) -> Self {
        Self::new(check, Status::Error, measured)
    }

    pub(crate) fn not_applicable(check: Check, why: impl Into<String>) -> Self {
        Self::new(check, Status::NotApplicable, why)
    }

    /// Ok, or an error with what was found.
    pub(crate) fn of(check: Check, outcome: Result<String, anyhow::Error>) -> Self {
        match outcome {
            Ok(measured) => Self::ok(check, measured),
            Err(error) => Self::error(check, format!("{error:#}")),
        }
    }

    /// The finding with one more thing that mends it; what is ok needs none.
    pub(crate) fn mend(mut self, remedy: Remedy) -> Self {
        if matches!(self.status, Status::Warn | Status::Error) {
            self.remedies.push(remedy);
        }
        self
    }

    pub(crate) fn boot(self, parameter: impl Into<String>) -> Self {
        self.mend(Remedy::Boot(parameter.into()))
    }

    pub(crate) fn run(self, command: impl Into<String>) -> Self {
        self.mend(Remedy::Run(command.into()))
    }

    pub(crate) fn line(self, place: &'static str, line: impl Into<String>) -> Self {
        self.mend(Remedy::Line { place, line: line.into() })
    }

    pub(crate) fn hand(self, deed: &'static str) -> Self {
        self.mend(Remedy::Hand(deed))
    }

    /// The finding as the machine's file lets it stand: exempt by any of `names`.
    pub(crate) fn exempt_by(mut self, exempt: &[Exemption], names: &[Exemption]) -> Self {
        self.is_exempt =
            self.status == Status::Error && names.iter().any(|name| exempt.contains(name));
        self
    }

    /// Whether it keeps the host from being fit for the machine.
    pub(crate) fn counts(&self) -> bool {
        self.status == Status::Error && !self.is_exempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_the_machines_file_exempts_does_not_count_and_stays_an_error() {
        let finding = || Finding::error(Check::PreemptRt, "none").boot("x");
        let exempt = [Exemption::PreemptRt];
        let let_stand =
            finding().exempt_by(&exempt, &[Exemption::IsolatedCpu, Exemption::PreemptRt]);
        assert!(!let_stand.counts() && let_stand.status == Status::Error);
        assert!(finding().exempt_by(&exempt, &[Exemption::Tmpfs]).counts());
        let warn = Finding::warn(Check::Swap, "on").exempt_by(&exempt, &exempt);
        assert!(!warn.is_exempt && !warn.counts());
    }

    #[test]
    fn every_check_is_in_the_documentation_and_names_are_unique() {
        let page = include_str!("../../../../docs/HOST.md");
        for check in Check::ALL {
            assert!(page.contains(&format!("`{}`", check.name())), "{}", check.name());
            let same = Check::ALL.iter().filter(|other| other.name() == check.name());
            assert_eq!(same.count(), 1, "{}", check.name());
        }
    }

    #[test]
    fn the_cases_of_the_lab_name_checks_and_verdicts_that_exist() {
        let cases = include_str!("../../../../rt-tests/lab/doctor-cases.toml");
        let cases: toml::Table = toml::from_str(cases).unwrap();
        let cases = cases["case"].as_array().unwrap();
        assert!(!cases.is_empty());
        let statuses = [Status::Ok, Status::Warn, Status::Error, Status::NotApplicable];
        for case in cases {
            for (name, expected) in case["expect"].as_table().unwrap() {
                assert!(Check::ALL.iter().any(|check| check.name() == name), "{name}");
                let status = expected[0].as_str().unwrap();
                assert!(statuses.iter().any(|one| one.word() == status), "{name}: {status}");
                assert!(expected[1].is_str(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_ok_has_nothing_to_mend() {
        assert!(Finding::ok(Check::Swap, "off").run("swapoff -a").remedies.is_empty());
        assert_eq!(Finding::warn(Check::Swap, "on").run("swapoff -a").remedies.len(), 1);
    }
}
