//! The findings about a host that a machine may start with, by name; how each is found out lives in the daemon.

/// A property that a production host has, and that a machine may explicitly do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exemption {
    /// The kernel is not PREEMPT_RT.
    PreemptRt,
    /// The loop's CPU is not isolated.
    IsolatedCpu,
    /// SCHED_FIFO is not permitted for the loop.
    Scheduler,
    /// Memory cannot be locked.
    MemoryLock,
    /// `/dev/cpu_dma_latency` cannot be held at zero.
    CpuDmaLatency,
    /// Reading the clock enters the kernel: the clock source has no vDSO.
    VdsoClock,
    /// The runtime directory is not on tmpfs.
    Tmpfs,
    /// Gateways and loop run as one unix user.
    OneUser,
    /// Gateways do not get their SCHED_FIFO priority.
    GatewayPriority,
}

impl Exemption {
    /// Every exemption, in the order in which the daemon checks the host.
    pub const ALL: [Self; 9] = [
        Self::PreemptRt,
        Self::IsolatedCpu,
        Self::Scheduler,
        Self::MemoryLock,
        Self::CpuDmaLatency,
        Self::VdsoClock,
        Self::Tmpfs,
        Self::OneUser,
        Self::GatewayPriority,
    ];

    /// The name in `host.exempt` and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreemptRt => "preempt-rt",
            Self::IsolatedCpu => "isolated-cpu",
            Self::Scheduler => "scheduler",
            Self::MemoryLock => "memory-lock",
            Self::CpuDmaLatency => "cpu-dma-latency",
            Self::VdsoClock => "vdso-clock",
            Self::Tmpfs => "tmpfs",
            Self::OneUser => "one-user",
            Self::GatewayPriority => "gateway-priority",
        }
    }

    /// One line: what is missing on the host, and what that costs.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::PreemptRt => "the kernel is not PREEMPT_RT: wake-ups may be late by milliseconds",
            Self::IsolatedCpu => "the loop's CPU is not isolated: other tasks may delay a cycle",
            Self::Scheduler => "no permission for SCHED_FIFO: any busy program may delay a cycle",
            Self::MemoryLock => "memory cannot be locked: paging may delay a cycle",
            Self::CpuDmaLatency => "deep CPU sleep states stay on: every wake-up may be late",
            Self::VdsoClock => "every reading of the clock is a system call: cycles cost more",
            Self::Tmpfs => {
                "the runtime directory is not on tmpfs: disk write-back may delay a cycle"
            }
            Self::OneUser => "gateways share one unix user: rights to command are not separated",
            Self::GatewayPriority => "gateways run without SCHED_FIFO: knots and state may be late",
        }
    }

    /// The exemption called `name`, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|exemption| exemption.name() == name)
    }
}

impl std::fmt::Display for Exemption {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}
