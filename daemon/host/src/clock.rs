//! What reading the clock costs here: found out by trying, for no file tells.
use std::collections::BTreeMap;

use anyhow::{Context, bail};
use nix::time::{ClockId, clock_gettime};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::Files;
use crate::kernel::clock_source;

/// How many readings of the clock tell whether one enters the kernel.
const CLOCK_READINGS: usize = 8;

/// Whether reading CLOCK_MONOTONIC enters the kernel here, found out by trying on a thread of its own, to which
/// the call is denied.
///
/// # Errors
/// No thread or no filter can be had.
pub fn enters_kernel() -> anyhow::Result<bool> {
    let denied = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let rules = BTreeMap::from([(libc::SYS_clock_gettime, Vec::new())]);
    let architecture = std::env::consts::ARCH.try_into().context("seccomp filter")?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)
        .context("seccomp filter")?;
    let program: BpfProgram = filter.try_into().context("seccomp filter")?;
    let probe = std::thread::spawn(move || {
        seccompiler::apply_filter(&program)?;
        // Where the C library finds the answer without the kernel, nothing is denied.
        let readings = (0..CLOCK_READINGS).map(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
        Ok::<bool, seccompiler::Error>(readings.filter(Result::is_err).count() > 0)
    });
    let Ok(tried) = probe.join() else { bail!("the thread that tries the clock panicked") };
    tried.context("trying the clock under a filter (CONFIG_SECCOMP_FILTER)")
}

/// What is wrong with the clock where reading it enters the kernel.
#[must_use]
pub fn slow(files: &Files) -> String {
    format!("clock source `{}` has no vDSO; boot with clocksource=tsc", clock_source(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_can_still_be_read_after_it_was_tried() {
        let before = enters_kernel().unwrap();
        assert!(clock_gettime(ClockId::CLOCK_MONOTONIC).is_ok());
        assert_eq!(enters_kernel().unwrap(), before);
    }
}
