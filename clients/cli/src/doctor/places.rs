//! Where a machine keeps things: its runtime directory, shared memory, the disk of its recordings; and who
//! else is there.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kadenz_config::Exemption;
use kadenz_config::machine::Machine;
use kadenz_host::{CpuList, counters, memory};
use nix::sys::stat;
use nix::sys::statvfs::statvfs;
use servo_core::inputs::Shape;

use super::finding::{Check, Finding};
use super::subject::Subject;

/// Shared memory that lanes, domains and their clients take beside the flight recorder, bytes.
const DOMAINS_BYTES: u64 = 64 << 20;
/// A logger fills this in minutes at the highest rates, bytes.
const RECORDINGS_BYTES_LOW: u64 = 1 << 30;
/// Where the logger of an installed machine records.
const LOGGER_DIR: &str = "/var/lib/kadenz";
/// Name of a loop's thread.
const LOOP_THREAD: &str = "kadenz-rt";

/// Every finding about them.
pub(crate) fn findings(subject: &Subject) -> Vec<Finding> {
    vec![
        runtime_dir(subject),
        shared_memory(subject),
        one_user(subject),
        other_daemons(subject),
        recording_space(subject),
    ]
}

/// The nearest directory above `path` that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|one| one.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

fn runtime_dir(subject: &Subject) -> Finding {
    let told = memory::tmpfs(&existing(&subject.runtime_dir))
        .map(|()| format!("{} is on tmpfs", subject.runtime_dir.display()));
    let finding = Finding::of(Check::RuntimeDir, told)
        .run("install -d -m 755 /run/kadenz")
        .line("the environment", "KADENZ_RUNTIME_DIR=/run/kadenz");
    subject.judged(finding, &[Exemption::Tmpfs])
}

/// What the flight recorder's ring takes, bytes.
fn ring_bytes(machine: &Machine) -> u64 {
    if !machine.recorder.enabled {
        return 0;
    }
    let shape = Shape { axis_count: machine.axes.len(), bus_count: machine.buses.len() };
    let cycles =
        u64::from(machine.recorder.ring_s) * 1_000_000 / u64::from(machine.period_us.max(1));
    cycles.next_power_of_two() * (shape.words_max() as u64 + 1) * 8
}

fn free_bytes(path: &Path) -> Result<u64, nix::Error> {
    let stat = statvfs(path)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

const fn megabytes(bytes: u64) -> u64 {
    bytes >> 20
}

fn shared_memory(subject: &Subject) -> Finding {
    let check = Check::SharedMemory;
    let ring = subject.machine.as_ref().map_or(0, ring_bytes);
    let needed = DOMAINS_BYTES + ring;
    let place = existing(&subject.runtime_dir);
    let free = match free_bytes(&place) {
        Ok(free) => free,
        Err(errno) => return Finding::error(check, format!("{}: {errno}", place.display())),
    };
    let words = format!(
        "{} MB free below {}, {} MB needed ({} MB of them for the flight recorder)",
        megabytes(free),
        place.display(),
        megabytes(needed),
        megabytes(ring)
    );
    let finding = match free {
        free if free < ring.max(DOMAINS_BYTES / 4) => Finding::error(check, words),
        free if free < needed => Finding::warn(check, words),
        _ => Finding::ok(check, words),
    };
    finding
        .run(format!(
            "mount -o remount,size={}M $(stat -c %m {})",
            2 * megabytes(needed),
            place.display()
        ))
        .line("machine file [recorder]", "ring_s = 5")
}

fn one_user(subject: &Subject) -> Finding {
    let check = Check::OneUser;
    let Some(machine) = &subject.machine else {
        return Finding::not_applicable(check, "no machine is named (--config or --demo)");
    };
    let Some(roles) = &machine.roles else {
        let finding = Finding::error(check, "[roles] names no users; gateways share one")
            .line("machine file", "[roles]");
        return subject.judged(finding, &[Exemption::OneUser]);
    };
    let users = [&roles.view, &roles.plan, &roles.operate];
    let missing: Vec<&str> = users
        .into_iter()
        .map(String::as_str)
        .filter(|name| !matches!(nix::unistd::User::from_name(name), Ok(Some(_))))
        .collect();
    if missing.is_empty() {
        return Finding::ok(check, format!("{}, {} and {}", roles.view, roles.plan, roles.operate));
    }
    let finding = missing.iter().fold(
        Finding::error(check, format!("no such user: {}", missing.join(", "))),
        |finding, name| finding.run(format!("useradd --system --no-create-home {name}")),
    );
    subject.judged(finding, &[Exemption::OneUser])
}

/// A loop's thread that runs on this host.
#[derive(Clone, Debug)]
pub(crate) struct LoopThread {
    pub(crate) process: u32,
    pub(crate) thread: u32,
    cpus: CpuList,
}

/// The loops of this host that may run on `cpu`.
pub(crate) fn loops_on(subject: &Subject, cpu: usize) -> Vec<LoopThread> {
    let files = &subject.files;
    let mut found = Vec::new();
    for process in files.names("/proc").iter().filter_map(|name| name.parse::<u32>().ok()) {
        let tasks = format!("/proc/{process}/task");
        for thread in files.names(&tasks).iter().filter_map(|name| name.parse::<u32>().ok()) {
            let text = |name: &str| files.text(&format!("{tasks}/{thread}/{name}"));
            if text("comm").as_deref() != Some(LOOP_THREAD) {
                continue;
            }
            let status = text("status").unwrap_or_default();
            let cpus = counters::of_status(&status, "Cpus_allowed_list").unwrap_or_default();
            let cpus = CpuList::of(cpus);
            if cpus.contains(cpu) {
                found.push(LoopThread { process, thread, cpus });
            }
        }
    }
    found
}

/// The process that holds the lock of the directory, if one does. The lock is looked up and never tried: a
/// daemon that starts meanwhile must get it.
fn holder(subject: &Subject) -> Option<String> {
    let meta = fs::metadata(subject.runtime_dir.join("kadenzd.lock")).ok()?;
    let (major, minor) = (stat::major(meta.dev()), stat::minor(meta.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    let locks = subject.files.text("/proc/locks")?;
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_exclusive = words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE");
        let (process, locked) = (words.next()?, words.next()?);
        (is_exclusive && locked == place).then(|| process.to_owned())
    })
}

fn other_daemons(subject: &Subject) -> Finding {
    let check = Check::OtherDaemons;
    let holder = holder(subject);
    let loops = loops_on(subject, subject.cpu);
    let here = match &holder {
        Some(pid) => format!("kadenzd {pid} serves {}", subject.runtime_dir.display()),
        None => format!("no kadenzd serves {}", subject.runtime_dir.display()),
    };
    let on_cpu: Vec<String> =
        loops.iter().map(|one| format!("{} (CPUs {})", one.process, one.cpus)).collect();
    let strangers =
        loops.iter().filter(|one| holder.as_deref() != Some(one.process.to_string().as_str()));
    let words = match on_cpu.is_empty() {
        true => format!("{here}; no loop runs on CPU {}", subject.cpu),
        false => format!("{here}; on CPU {} run the loops of {}", subject.cpu, on_cpu.join(", ")),
    };
    match strangers.count() {
        0 => Finding::ok(check, words),
        1 if holder.is_none() => Finding::warn(check, words)
            .hand("give --runtime-dir of the machine that runs, or stop its kadenzd"),
        _ => Finding::error(check, words)
            .line("machine file [host]", "cpu = N, another for each machine")
            .hand("or stop the other kadenzd"),
    }
}

/// What the files of this machine take already, bytes.
fn used_bytes(directory: &Path, machine: &str) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with(machine) && name.ends_with(".kdzrec"))
    });
    ours.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn recording_space(subject: &Subject) -> Finding {
    let check = Check::RecordingSpace;
    let recorder = subject.machine.as_ref().map(|machine| (&machine.name, &machine.recorder));
    let saved = recorder.and_then(|(name, recorder)| {
        let directory = recorder.directory.as_ref()?;
        Some((name, directory.clone(), u64::from(recorder.limit_mb) << 20))
    });
    let (directory, needed, used) = match &saved {
        Some((name, directory, limit)) => (directory.clone(), *limit, used_bytes(directory, name)),
        None => (PathBuf::from(LOGGER_DIR), RECORDINGS_BYTES_LOW, 0),
    };
    let place = existing(&directory);
    let free = match free_bytes(&place) {
        Ok(free) => free,
        Err(errno) => return Finding::error(check, format!("{}: {errno}", place.display())),
    };
    let words = format!(
        "{} MB free for {}, {} MB needed, {} MB of them used already",
        megabytes(free),
        directory.display(),
        megabytes(needed),
        megabytes(used)
    );
    let finding = match free + used < needed {
        true => Finding::warn(check, words),
        false => Finding::ok(check, words),
    };
    let room = megabytes(free / 2).max(8);
    finding
        .line("machine file [recorder]", format!("limit_mb = {room}"))
        .run(format!("du -sh {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::subject::tests::subject;
    use nix::fcntl::{Flock, FlockArg};

    #[test]
    fn the_lock_of_a_living_daemon_is_seen_and_that_of_a_dead_one_is_not() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let subject = Subject { runtime_dir: dir.path().to_path_buf(), ..subject() };
        assert_eq!(holder(&subject), None);
        let path = dir.path().join("kadenzd.lock");
        fs::write(&path, "4711\n").unwrap();
        assert_eq!(holder(&subject), None);
        let file = fs::File::open(&path).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        assert_eq!(holder(&subject), Some(std::process::id().to_string()));
        drop(lock);
        assert_eq!(holder(&subject), None);
    }

    #[test]
    fn the_ring_of_a_demo_machine_is_counted_in_megabytes_and_none_without_a_recorder() {
        let text = kadenz_config::demo("demo-arm").unwrap();
        let mut machine = Machine::from_toml("demo-arm", text).unwrap();
        assert!(ring_bytes(&machine) > 1 << 20);
        machine.recorder.enabled = false;
        assert_eq!(ring_bytes(&machine), 0);
    }
}
