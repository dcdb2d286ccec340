//! What other users try: ignored tests that main.rs starts as processes of those users. Each prints a
//! line per door, `door NAME open` or `door NAME shut ERROR`; main.rs judges.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use kadenz_handover::{Handover, contract, request};
use kadenz_lanes::{Lanes, Sealing};
use kadenz_link::paths::RuntimeDir;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::signal::kill;
use nix::unistd::{Pid, ftruncate};
use shm_layout::code::Role;

/// How long the daemon may take to answer; a guard.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that the flood holds at a time: more than there are places.
const CROWD: usize = 40;

fn told<T, E: std::fmt::Display>(name: &str, result: Result<T, E>) {
    match result {
        Ok(_) => println!("door {name} open"),
        Err(error) => println!("door {name} shut {error}"),
    }
}

fn dir() -> RuntimeDir {
    RuntimeDir::at(std::env::var("RIGHTS_DIR").expect("started by main.rs")).expect("absolute")
}

/// Everything around the machine that any process could try.
fn try_surroundings(dir: &RuntimeDir) {
    told("operate socket", UnixStream::connect(dir.operate_socket()));
    told("planner socket", UnixStream::connect(dir.planner_socket()));
    told("runtime dir", File::create(dir.as_path().join("mine")));
    told("planner dir", File::create(dir.planner_dir().join("mine")));
    told("operate dir", File::create(dir.role_dir(Role::Operate).join("mine")));
    told("journal", File::open(dir.planner_dir().join("journal.json")));
    for role in [Role::View, Role::Plan] {
        let word = role.word();
        told(&format!("{word} domain"), fs::read_dir(dir.role_dir(role)));
        told(&format!("{word} epoch"), OpenOptions::new().write(true).open(dir.epoch_file(role)));
        told(&format!("{word} memory"), open_memory(dir, role));
    }
    let daemon = std::env::var("RIGHTS_DAEMON").expect("started by main.rs");
    told("daemon descriptors", fs::read_dir(format!("/proc/{daemon}/fd")));
    told("daemon memory", File::open(format!("/proc/{daemon}/mem")));
    told("daemon signal", kill(Pid::from_raw(daemon.parse().expect("a pid")), None));
    told("flight recorder", OpenOptions::new().write(true).open(dir.as_path().join("flight.ring")));
}

/// Opens every shared memory of a role's domain; an error if one is shut, or there is none.
fn open_memory(dir: &RuntimeDir, role: Role) -> io::Result<()> {
    let token = dir.read_epoch(role).map_err(io::Error::other)?;
    let token = token.ok_or(io::ErrorKind::NotFound)?;
    let prefix = dir.epoch_place(role, token).map_err(io::Error::other)?.prefix;
    let entries = fs::read_dir("/dev/shm")?.flatten();
    let names = entries.filter(|one| one.file_name().to_string_lossy().starts_with(&prefix));
    let files: Vec<File> = names
        .map(|one| OpenOptions::new().read(true).write(true).open(one.path()))
        .collect::<Result<_, _>>()?;
    if files.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
}

#[test]
#[ignore = "a process of another user, started by main.rs"]
fn a_stranger_tries_everything() {
    try_surroundings(&dir());
    for role in [Role::View, Role::Plan, Role::Operate] {
        told(&format!("{} role", role.word()), request(&dir(), role, PATIENCE));
    }
}

#[test]
#[ignore = "a process of another user, started by main.rs"]
fn a_view_gateway_tries_everything() {
    let dir = dir();
    let Handover { outbound, inbound, tether, .. } =
        request(&dir, Role::View, PATIENCE).expect("the view role, which is free");
    println!(
        "door inbound lane {}",
        if inbound.is_some() { "open" } else { "shut none was given" }
    );
    told("plan role", request(&dir, Role::Plan, PATIENCE));
    told("operate role", request(&dir, Role::Operate, PATIENCE));
    try_surroundings(&dir);

    // What it was given can be read and nothing else, however it is opened.
    let own = format!("/proc/self/fd/{}", outbound.as_raw_fd());
    told("lane for reading", File::open(&own));
    told("lane write", File::from(outbound.try_clone().expect("a descriptor")).write(&[0; 8]));
    let again = OpenOptions::new().read(true).write(true).open(Path::new(&own));
    match again {
        Ok(mut again) => told("lane write anew", again.write(&[0; 8])),
        Err(error) => told::<(), _>("lane write anew", Err(error)),
    }
    told("lane truncation", ftruncate(outbound.as_fd(), 0));
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    told("lane hole", fallocate(outbound.as_fd(), hole, 0, 4096));
    let seal = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE);
    told("lane seal", fcntl(outbound.as_fd(), seal));
    let copy = outbound.try_clone().expect("a descriptor");
    told(
        "lane as an inbound one",
        Lanes::open("out", copy, Sealing::Inbound, contract()).map(drop),
    );
    told("lane as it is", Lanes::open("out", outbound, Sealing::Outbound, contract()).map(drop));
    assert!(tether.holds(), "the role was held all the time");
}

#[test]
#[ignore = "a process of another user, started by main.rs"]
fn a_member_floods_the_operate_socket() {
    let (dir, mut crowd) = (dir(), std::collections::VecDeque::new());
    println!("door flood open");
    io::stdout().flush().expect("a parent that listens");
    // BOUND: main.rs ends this process.
    for id in 0_u64.. {
        let Ok(mut stream) = UnixStream::connect(dir.operate_socket()) else { continue };
        stream.set_nonblocking(true).expect("a socket");
        // Some ask for something, some for the status, some for nothing at all.
        let line = match id % 3 {
            0 => format!("{{\"id\":{id},\"request\":\"override\",\"value\":1}}\n"),
            1 => format!("{{\"id\":{id},\"request\":\"status\"}}\n"),
            _ => String::new(),
        };
        let _hung_up_is_fine = stream.write_all(line.as_bytes());
        crowd.push_back(stream);
        if crowd.len() > CROWD
            && let Some(mut oldest) = crowd.pop_front()
        {
            let _unread = oldest.read(&mut [0; 4096]);
        }
    }
}
