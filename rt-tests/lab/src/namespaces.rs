//! systemd as PID 1 in namespaces of the host: the same root file system, the host's kernel, up in a fraction of a
//! second. No cpuset or memory controller, no unlimited memory lock where the host has none, no RT kernel.
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, mkfifo};

use crate::cache::Cache;
use crate::command::command;
use crate::guest::Guest;
use crate::machine::Boot;
use crate::root::{self, RootKind};

const ENTER: &str = include_str!("guest/enter.sh");
/// Begins the name of every cgroup that the lab makes; the process that made it ends it.
const CGROUP: &str = "kadenz-lab-";
/// How long the kernel may take to be done with what was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts it, and waits until its agent listens.
pub(crate) fn start(cache: &Cache, boot: &Boot) -> anyhow::Result<Guest> {
    ensure!(geteuid().is_root(), "`namespaces` mounts, and wants root; `warm` and `cold` do not");
    let (tree, additions) = (root::tree(cache)?, root::additions(cache, RootKind::Pruned)?);
    let scratch = cache.scratch("namespaces")?;
    let lab = scratch.join("lab");
    fs::create_dir(&lab)?;
    let cgroup = Cgroup::make()?;
    let (terminal, terminal_name) = console(&scratch.join("console"))?;
    let fifo = |name: &str| {
        let path = lab.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| path.display().to_string())?;
        // Both ways, so that opening it waits for nobody.
        File::options()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())
    };
    let (input, output) = (fifo("in")?, fifo("out")?);
    let script = scratch.join("enter.sh");
    fs::write(&script, ENTER)?;
    let mut enter = command("bash", &[script.as_os_str(), "outside".as_ref()])?;
    let host_dir = boot.host_dir.as_deref().map(Path::canonicalize).transpose()?;
    enter
        .env("CGROUP", &cgroup.folder)
        .env("LOWER", format!("{}:{}", additions.display(), tree.display()))
        .env("SCRATCH", &scratch)
        .env("CONSOLE", terminal_name)
        .env("HOST_DIR", host_dir.unwrap_or_default())
        .stdout(Stdio::null())
        .stderr(File::options().append(true).open(scratch.join("console"))?);
    let child = enter.spawn().context("starting systemd in namespaces")?;
    let (input, output) = (Box::new(input), Box::new(output));
    let mut guest = Guest::new(child, input, output, scratch.join("console"), boot.patience);
    guest.keep((cgroup, terminal));
    guest.await_ready()?;
    Ok(guest)
}

/// A terminal that systemd takes for its console, and its name. What is written there goes to `log`.
fn console(log: &Path) -> anyhow::Result<(OwnedFd, String)> {
    let ours =
        posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).context("a terminal")?;
    grantpt(&ours).context("a terminal")?;
    unlockpt(&ours).context("a terminal")?;
    let name = ptsname_r(&ours).context("a terminal")?;
    // Kept open by us too, so that reading does not end when systemd closes it.
    let theirs: OwnedFd = File::options().read(true).write(true).open(&name)?.into();
    let mut log = File::create(log)?;
    thread::spawn(move || drain(ours, &mut log));
    Ok((theirs, name))
}

fn drain(mut terminal: PtyMaster, log: &mut File) {
    let mut buffer = [0_u8; 4096];
    // BOUND: until nobody has the terminal open any more, or the disk is full.
    while let Ok(count) = terminal.read(&mut buffer) {
        if log.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// A cgroup of this process; what is in it ends with it.
struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    fn make() -> anyhow::Result<Self> {
        let hierarchy = hierarchy()?;
        sweep(&hierarchy);
        for number in 0_u32.. {
            let folder = hierarchy.join(format!("{CGROUP}{}-{number}", std::process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { folder }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| folder.display().to_string()),
            }
        }
        anyhow::bail!("{}: no name is free", hierarchy.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        end(&self.folder);
    }
}

/// Kills all that is in a cgroup and removes it, with what stands below it.
fn end(folder: &Path) {
    let _without_it_all_die_with_their_first = fs::write(folder.join("cgroup.kill"), "1");
    let begun = Instant::now();
    while folder.exists() && begun.elapsed() < PATIENCE {
        remove(folder);
        thread::sleep(Duration::from_millis(2));
    }
}

fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _busy_is_tried_again = fs::remove_dir(folder);
}

/// Ends the cgroups of labs that were killed.
fn sweep(hierarchy: &Path) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(CGROUP).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|id| kill(Pid::from_raw(id), None).is_err()) {
            end(&entry.path());
        }
    }
}

fn hierarchy() -> anyhow::Result<PathBuf> {
    let list = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    unified_in(&list).context("this host has no cgroup v2 mounted")
}

/// The cgroups of the lab with the process id `owner` that are there.
///
/// # Errors
/// The host has no cgroup v2.
pub fn cgroups_of(owner: u32) -> anyhow::Result<Vec<PathBuf>> {
    let begins = format!("{CGROUP}{owner}-");
    let entries = fs::read_dir(hierarchy()?)?.flatten();
    let theirs = entries.filter(|one| one.file_name().to_string_lossy().starts_with(&begins));
    Ok(theirs.map(|entry| entry.path()).collect())
}

/// Where the unified hierarchy is mounted, in a list of mounts (proc_pid_mountinfo(5)).
fn unified_in(list: &str) -> Option<PathBuf> {
    list.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let is_unified = kind.split(' ').next() == Some("cgroup2");
        is_unified.then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_beside_older_ones() {
        let list = "31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    33 24 0:29 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(unified_in(list), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(unified_in("1 2 0:3 / / rw - ext4 /dev/vda rw\n"), None);
    }
}
