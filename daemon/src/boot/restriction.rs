//! The RT thread's filter of system calls: what is listed in `rt/mod.rs` passes, all else is denied,
//! counted and stops the machine. Prepared on the mainland, installed last, on that thread alone.
use std::collections::BTreeMap;

use anyhow::Context;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::rt::LISTED_CALLS;
use crate::sys;

/// A filter that is ready to be installed.
pub struct Restriction {
    program: BpfProgram,
}

impl Restriction {
    /// Prepares the filter and sees to it that denied calls are counted.
    ///
    /// # Errors
    /// An architecture without such filters, or the kernel refuses a signal handler.
    pub fn prepare() -> anyhow::Result<Self> {
        sys::count_denied_calls().context("sigaction(SIGSYS)")?;
        Self::of_calls(LISTED_CALLS.iter().map(|(_, number)| *number))
    }

    /// A filter that lets through `calls` alone (tests take entries off the list).
    ///
    /// # Errors
    /// An architecture without such filters.
    pub fn of_calls(calls: impl IntoIterator<Item = i64>) -> anyhow::Result<Self> {
        let rules = calls.into_iter().map(|number| (number, Vec::new())).collect();
        // Never Errno: whoever is denied must be noticed. Never a kill: drives hold torque.
        Ok(Self { program: program(rules, SeccompAction::Trap, SeccompAction::Allow)? })
    }

    /// Installs it on the calling thread, for the rest of that thread's life. The thread cannot end
    /// by itself any more, nor wake others: it parks when its work is done.
    ///
    /// # Errors
    /// The kernel has no seccomp filters.
    pub fn install(&self) -> anyhow::Result<()> {
        seccompiler::apply_filter(&self.program)
            .context("installing the filter of system calls (CONFIG_SECCOMP_FILTER)")
    }
}

fn program(
    rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>>,
    others: SeccompAction,
    listed: SeccompAction,
) -> anyhow::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH.try_into().context("seccomp filter")?;
    let filter = SeccompFilter::new(rules, others, listed, architecture).context("filter")?;
    filter.try_into().context("seccomp filter")
}
