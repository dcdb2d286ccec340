//! What a gateway gives up before it touches iceoryx2, so that a client that takes it over gains
//! little; no lane, no service.

use std::collections::BTreeMap;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::failure::Failure;
use crate::sys;

/// CPU time without a pause after which the kernel sends SIGXCPU, µs. A pass needs less than 1 ms;
/// corruption can make iceoryx2 spin for ever, and FIFO would then starve the core's supervisors.
const RTTIME_US_SOFT: u64 = 80_000;
/// The same for SIGKILL. Apart, so that the death is told by its signal.
const RTTIME_US_HARD: u64 = 4 * RTTIME_US_SOFT;
/// Timer slack, ns: the default of 50 µs would delay every pass under the ordinary scheduler.
const TIMER_SLACK_NS: u64 = 1;

fn host(step: &'static str, remedy: &'static str) -> impl FnOnce(nix::Error) -> Failure {
    move |errno| Failure::Host { step, remedy, source: errno.into() }
}

/// Takes this process out of reach of others of the same user: no /proc/PID/{fd,mem,map_files},
/// no ptrace.
pub(crate) fn hide_from_proc() -> Result<(), Failure> {
    prctl::set_dumpable(false).map_err(host("PR_SET_DUMPABLE", "this is a kernel error"))
}

/// Keeps off the loop's CPU; takes `SCHED_FIFO` at `priority` where permitted (0 asks for none), with a bound on
/// runaway. Threads that are started later inherit it.
pub(crate) fn schedule(priority: u8, loop_cpu: u16) -> Result<(), Failure> {
    leave_to_the_loop(loop_cpu)?;
    prctl::set_timerslack(TIMER_SLACK_NS)
        .map_err(host("PR_SET_TIMERSLACK", "this is a kernel error"))?;
    if priority == 0 {
        return Ok(());
    }
    // An inherited hard limit below ours can only be kept.
    if let Err(errno) = setrlimit(Resource::RLIMIT_RTTIME, RTTIME_US_SOFT, RTTIME_US_HARD) {
        log::warn!("RLIMIT_RTTIME {RTTIME_US_SOFT} µs: {errno}; set LimitRTTIME no lower");
    }
    if let Err(error) = sys::set_fifo(priority) {
        log::warn!(
            "SCHED_FIFO {priority}: {error}; running as an ordinary thread, passes come late under \
             load; grant LimitRTPRIO={priority} to this unit"
        );
    }
    Ok(())
}

/// Keeps this thread, and those it starts, off the loop's CPU where there is another: in a kernel that does not
/// preempt itself a system call there holds the loop up, whatever the priorities.
fn leave_to_the_loop(loop_cpu: u16) -> Result<(), Failure> {
    let refused = || host("CPU affinity", "allow sched_setaffinity, and a CPU beside the loop's");
    let mut others = sched_getaffinity(Pid::from_raw(0)).map_err(refused())?;
    others.unset(usize::from(loop_cpu)).map_err(refused())?;
    if (0..CpuSet::count()).all(|other| !others.is_set(other).unwrap_or(false)) {
        return Ok(());
    }
    sched_setaffinity(Pid::from_raw(0), &others).map_err(refused())
}

/// Denies this thread and those it starts later every call that could break a lane's promises.
///
/// Whoever calls one of these is not this program any more: nothing here or in iceoryx2 ever does.
/// So the answer is the end of the process (SIGSYS, told apart in the journal), not an error that
/// an intruder could try again around; an ended gateway is restarted in a new epoch.
pub(crate) fn deny_system_calls() -> Result<(), Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::Host {
        step: "seccomp filter",
        remedy: "a kernel with CONFIG_SECCOMP_FILTER is needed",
        source: std::io::Error::other(error.to_string()),
    };
    let program = filter().map_err(|error| broken(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| broken(&error))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let when = |argument: u8, value: i32| {
        let value = u64::from(value.unsigned_abs());
        SeccompRule::new(vec![SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            value,
        )?])
    };
    // Zeroing a lane's pages, moving them from under the loop's locked mapping (a mapping for reading
    // is enough for that), sealing a lane against its own writer, reaching into other processes of the
    // same user, and io_uring, which would do the first two without a call of that name.
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
        (libc::SYS_fallocate, vec![]),
        (libc::SYS_madvise, vec![when(2, libc::MADV_REMOVE)?, when(2, libc::MADV_COLLAPSE)?]),
        (libc::SYS_process_madvise, vec![]),
        (libc::SYS_fcntl, vec![when(1, libc::F_ADD_SEALS)?]),
        (libc::SYS_ptrace, vec![]),
        (libc::SYS_process_vm_readv, vec![]),
        (libc::SYS_process_vm_writev, vec![]),
        (libc::SYS_pidfd_getfd, vec![]),
        (libc::SYS_io_uring_setup, vec![]),
    ]
    .into();
    if cfg!(target_arch = "x86_64") {
        // The same calls by their x32 numbers, where a kernel offers that ABI (same audit arch).
        const X32: i64 = 0x4000_0000;
        const X32_PTRACE_AND_PROCESS_VM: [i64; 3] = [521, 539, 540];
        let renumbered: Vec<_> =
            rules.iter().map(|(call, rule)| (call | X32, rule.clone())).collect();
        rules.extend(renumbered);
        rules.extend(X32_PTRACE_AND_PROCESS_VM.map(|call| (call | X32, vec![])));
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, architecture)?
        .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
    use nix::sys::uio::process_vm_readv;

    /// CPUs that this thread may use.
    fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
    }

    #[test]
    fn a_thread_keeps_every_cpu_but_the_loops_and_the_loops_where_it_is_the_only_one() {
        // On a thread of its own: affinities are a thread's.
        std::thread::spawn(|| {
            let mut cpus = allowed();
            let absent = (0..CpuSet::count()).find(|cpu| !cpus.contains(cpu)).unwrap();
            leave_to_the_loop(u16::try_from(absent).unwrap()).unwrap();
            assert_eq!(allowed(), cpus);
            // BOUND: one CPU fewer each time.
            while let [others @ .., last] = cpus.as_slice()
                && !others.is_empty()
            {
                leave_to_the_loop(u16::try_from(*last).unwrap()).unwrap();
                let inherited = std::thread::spawn(allowed).join().unwrap();
                assert_eq!(inherited, others);
                cpus = inherited;
            }
            leave_to_the_loop(u16::try_from(cpus[0]).unwrap()).unwrap();
            assert_eq!(allowed(), cpus);
        })
        .join()
        .unwrap();
    }

    const CALL_ENV: &str = "CONFINE_TEST_CALL";

    #[expect(unsafe_code, reason = "advice on a page of our own that nobody uses")]
    fn advise(advice: libc::c_int) {
        let pages = vec![0_u8; 3 * 4096];
        let address = pages.as_ptr().addr().next_multiple_of(4096) - pages.as_ptr().addr();
        let page = std::ptr::from_ref(&pages[address]).cast_mut().cast();
        // SAFETY: a whole page inside a vector that is not read again.
        let _refused_is_fine = unsafe { libc::madvise(page, 4096, advice) };
    }

    #[test]
    #[ignore = "run in a process of its own by denied_calls_end_the_process_and_their_kin_do_not"]
    fn child_makes_a_call() {
        let file = tempfile::tempfile().unwrap();
        deny_system_calls().unwrap();
        match std::env::var(CALL_ENV).unwrap().as_str() {
            "fallocate" => drop(fallocate(&file, FallocateFlags::empty(), 0, 1)),
            "add_seals" => drop(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL))),
            "process_vm_readv" => drop(process_vm_readv(Pid::this(), &mut [], &[])),
            "madvise_remove" => advise(libc::MADV_REMOVE),
            "madvise_collapse" => advise(libc::MADV_COLLAPSE),
            "get_seals" => drop(fcntl(&file, FcntlArg::F_GET_SEALS)),
            "madvise_normal" => advise(libc::MADV_NORMAL),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn denied_calls_end_the_process_and_their_kin_do_not() {
        let child = |call: &str| {
            let test = "confine::tests::child_makes_a_call";
            let mut command = Command::new("/proc/self/exe");
            command.args(["--exact", test, "--ignored"]).env(CALL_ENV, call);
            command.output().unwrap().status
        };
        let denied =
            ["fallocate", "add_seals", "process_vm_readv", "madvise_remove", "madvise_collapse"];
        for denied in denied {
            assert_eq!(child(denied).signal(), Some(libc::SIGSYS), "{denied}");
        }
        for allowed in ["get_seals", "madvise_normal"] {
            assert!(child(allowed).success(), "{allowed}");
        }
    }
}
