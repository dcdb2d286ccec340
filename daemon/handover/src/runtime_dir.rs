//! The runtime directory as kadenzd claims it: one living daemon, role directories with the right
//! owners, announcements made and withdrawn. No socket.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kadenz_paths::{RuntimeDir, Token};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, chown, geteuid};
use shm_layout::code::Role;

use crate::role_table::RoleTable;

const LOCK: &str = "kadenzd.lock";
/// What is made in a directory with this bit belongs to the directory's group.
const SET_GROUP_ID: u32 = 0o2000;

/// Where the operate gateway makes its socket: in its role's directory, the only one its user may
/// write. Clients find it under [`RuntimeDir::operate_socket`], a link that kadenzd makes.
#[must_use]
pub fn own_operate_socket(dir: &RuntimeDir) -> PathBuf {
    dir.role_dir(Role::Operate).join("operate.sock")
}

/// The directory, held by this daemon until it is dropped.
pub(crate) struct Claim {
    dir: RuntimeDir,
    _lock: Flock<File>,
}

impl Claim {
    /// Makes the directory and what belongs into it, and clears away what a dead daemon left.
    pub(crate) fn take(dir: RuntimeDir, roles: &RoleTable) -> io::Result<Self> {
        make_private(dir.as_path(), 0o755)?;
        let lock = lock(&dir.as_path().join(LOCK))?;
        let claim = Self { dir, _lock: lock };
        for (role, ..) in Role::ALL {
            claim.withdraw(*role);
            if let Some(owner) = roles.owner(*role, geteuid().as_raw()) {
                let path = claim.dir.role_dir(*role);
                match role {
                    Role::Operate => make_door_dir(&path, *role, owner, roles.members)?,
                    // A domain is nobody's but its role's.
                    Role::View | Role::Plan => make_dir(&path, *role, owner, None, 0o700)?,
                }
            }
        }
        if let Some(owner) = roles.owner(Role::Plan, geteuid().as_raw()) {
            make_door_dir(&claim.dir.planner_dir(), Role::Plan, owner, roles.members)?;
        }
        let link = claim.dir.operate_socket();
        remove(&link)?;
        symlink(Path::new(Role::Operate.word()).join("operate.sock"), &link)
            .map_err(|error| at(&link, &error))?;
        Ok(claim)
    }

    pub(crate) fn dir(&self) -> &RuntimeDir {
        &self.dir
    }

    pub(crate) fn announce(&self, role: Role, token: Token) -> io::Result<()> {
        self.dir.announce_epoch(role, token).map_err(io::Error::other)?;
        // Not left to the umask: every client reads it.
        let file = self.dir.epoch_file(role);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).map_err(|error| at(&file, &error))
    }

    /// No gateway of that role is ready: whoever looks for it shall see that at once. A file that
    /// is not there is as good.
    pub(crate) fn withdraw(&self, role: Role) {
        let _gone_or_absent = fs::remove_file(self.dir.epoch_file(role));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for (role, ..) in Role::ALL {
            self.withdraw(*role);
        }
        let _gone_or_absent = fs::remove_file(self.dir.handover_socket());
        let _gone_or_absent = fs::remove_file(self.dir.operate_socket());
    }
}

/// Makes a directory for a socket that `members` may connect to. Its set-group-ID bit gives the
/// socket to their group (inode(7)), so the process that makes the socket need not be one of them.
fn make_door_dir(path: &Path, role: Role, owner: u32, members: Option<u32>) -> io::Result<()> {
    make_dir(path, role, owner, members, if members.is_some() { 0o2755 } else { 0o755 })
}

fn make_dir(path: &Path, role: Role, owner: u32, group: Option<u32>, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path, &error)),
        _ => {}
    }
    if geteuid().is_root() {
        chown(path, Some(Uid::from_raw(owner)), group.map(Gid::from_raw))
            .map_err(|errno| at(path, &errno.into()))?;
        // Not left to the umask of whoever started the daemon.
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| at(path, &error))?;
    }
    let found = fs::symlink_metadata(path).map_err(|error| at(path, &error))?;
    let is_for_group =
        group.is_none_or(|group| found.gid() == group && found.mode() & SET_GROUP_ID != 0);
    if found.is_dir() && found.uid() == owner && is_for_group {
        return Ok(());
    }
    let wanted = group
        .map_or_else(String::new, |group| format!(", of group gid {group}, with mode {mode:04o}"));
    Err(io::Error::other(format!(
        "{}: owned by uid {}, group gid {}, mode {:04o}; role {} is uid {owner}'s and needs a \
         directory of its own there{wanted}; make it beforehand (systemd-tmpfiles), or run kadenzd \
         as root or for one user",
        path.display(),
        found.uid(),
        found.gid(),
        found.mode() & 0o7777,
        role.word()
    )))
}

/// Makes `path`, or takes it if only this user (or root) can change what is in it.
fn make_private(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| at(path, &error))?;
    let found = fs::metadata(path).map_err(|error| at(path, &error))?;
    let own = geteuid().as_raw();
    let trusted = found.uid() == own || found.uid() == 0;
    if trusted && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{}: owner uid {}, mode {:03o}; the runtime directory must belong to uid {own} and be \
         writable by nobody else, or others could replace what is in it; choose another with \
         --runtime-dir",
        path.display(),
        found.uid(),
        found.mode() & 0o777
    )))
}

/// Holds the lock file with this process's id in it.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| at(path, &error))?;
    // Whoever can open a file, for reading only, can lock it: any user could wait for this daemon's
    // end and keep every later one out.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| at(path, &error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut pid = String::new();
            let _unknown_stays_empty = (&mut file).take(20).read_to_string(&mut pid);
            Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!(
                    "{}: held by a living kadenzd, pid {}; stop that one, or give this one another \
                     --runtime-dir",
                    path.display(),
                    pid.trim()
                ),
            ))
        }
    }
}

/// Removes a file that may be absent.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, &error)),
        _ => Ok(()),
    }
}

pub(crate) fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
