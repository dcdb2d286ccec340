//! What a process can reach of another's: through /proc, by tracing it, by taking its place. Run in processes of
//! their own.
use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use kadenz_handover::request;
use kadenz_link::paths::RuntimeDir;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, ftruncate};
use shm_layout::code::Role;

use super::crowd::Deed;

/// Holds the given threads until their process ends or the time is over.
pub(super) fn hang(threads: &[i32], until: Instant) -> anyhow::Result<Deed> {
    for thread in threads {
        let thread = Pid::from_raw(*thread);
        ptrace::seize(thread, ptrace::Options::empty()).context("PTRACE_SEIZE")?;
        ptrace::interrupt(thread).context("PTRACE_INTERRUPT")?;
    }
    let mut held = threads.len();
    while Instant::now() < until && held > 0 {
        // Their death must be taken note of, or their parent would wait for it for ever.
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => held -= 1,
            Err(nix::Error::ECHILD) => held = 0,
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
    // What is still held is let go with this process.
    Ok(Deed { did: threads.len() as u64, ..Deed::default() })
}

/// Tries every way into each of `pids`; all must be refused.
pub(super) fn reach(pids: &[i32]) -> Deed {
    let mut deed = Deed::default();
    for pid in pids {
        for folder in ["fd", "map_files", "fdinfo"] {
            // /proc/PID/fd of another user's process can be named but neither listed nor followed.
            let listed = fs::read_dir(format!("/proc/{pid}/{folder}"));
            let reached = listed.into_iter().flatten().flatten().any(|entry| touch(&entry.path()));
            note(&mut deed, format!("/proc/{pid}/{folder}"), reached);
        }
        for number in 0..64 {
            let place = format!("/proc/{pid}/fd/{number}");
            note(&mut deed, place.clone(), touch(place.as_ref()));
        }
        for file in ["mem", "pagemap", "environ"] {
            let place = format!("/proc/{pid}/{file}");
            let opened = OpenOptions::new().read(true).open(&place);
            let written = OpenOptions::new().write(file == "mem").read(true).open(&place);
            note(&mut deed, place, opened.is_ok() || written.is_ok());
        }
        let target = Pid::from_raw(*pid);
        let traced = ptrace::seize(target, ptrace::Options::empty()).is_ok();
        note(&mut deed, format!("tracing {pid}"), traced);
        let mut bytes = [0_u8; 8];
        let mut local = [std::io::IoSliceMut::new(&mut bytes)];
        let read = process_vm_readv(target, &mut local, &[RemoteIoVec { base: 0x1000, len: 8 }]);
        // Without permission it is EPERM whatever stands there.
        note(&mut deed, format!("memory of {pid}"), !matches!(read, Err(nix::Error::EPERM)));
    }
    deed
}

/// Whether the file behind `path` can be opened at all: then it could be punched as well.
fn touch(path: &std::path::Path) -> bool {
    fs::symlink_metadata(path).is_ok() && OpenOptions::new().read(true).open(path).is_ok()
}

fn note(deed: &mut Deed, place: String, reached: bool) {
    deed.did += 1;
    deed.refused += u64::from(!reached);
    if reached {
        deed.failures.push(format!("{place} was reached"));
    }
}

/// Claims roles that are another's or held, kills its own role's gateway, takes its place, and does to the lanes
/// whatever the kernel allows.
pub(super) fn usurp(
    dir: &RuntimeDir,
    role: Role,
    gateways: &[i32],
    until: Instant,
) -> anyhow::Result<Deed> {
    let mut deed = Deed::default();
    let answer_time = Duration::from_secs(1);
    for (claimed, word, _) in Role::ALL {
        let granted = request(dir, *claimed, answer_time).is_ok();
        note(&mut deed, format!("role {word}, claimed by the user of {}", role.word()), granted);
    }
    for gateway in gateways {
        let _not_ours_or_gone = kill(Pid::from_raw(*gateway), Signal::SIGKILL);
    }
    // BOUND: until the time is over; the set's own gateway may have been faster.
    let handover = loop {
        match request(dir, role, answer_time) {
            Ok(handover) => break handover,
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Err(_) => return Ok(deed),
        }
    };
    while Instant::now() < until {
        spoil(&handover.outbound, true, &mut deed);
        if let Some(inbound) = &handover.inbound {
            spoil(inbound, false, &mut deed);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(deed)
}

/// Cuts, grows, writes and punches a lane. An outbound lane must refuse all of it; an inbound one may be written and
/// punched by whoever holds it, and keeps its size.
fn spoil(lane: &OwnedFd, is_outbound: bool, deed: &mut Deed) {
    let place = |what: &str| format!("{what} a lane {}", if is_outbound { "out" } else { "in" });
    let anew = format!("/proc/self/fd/{}", lane.as_raw_fd());
    let opened = OpenOptions::new().read(true).write(true).open(anew).map(OwnedFd::from);
    let fd = opened.as_ref().unwrap_or(lane).as_fd();
    note(deed, place("cutting"), ftruncate(fd, 0).is_ok());
    note(deed, place("growing"), ftruncate(fd, 1 << 30).is_ok());
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let punched = fallocate(fd, hole, 0, 1 << 20).is_ok();
    let written = nix::sys::uio::pwrite(fd, &[0xff; 4096], 0).is_ok();
    if is_outbound {
        note(deed, place("punching"), punched);
        note(deed, place("writing"), written);
    } else {
        deed.did += 2;
        deed.refused += u64::from(!punched) + u64::from(!written);
    }
}
