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
/// Whoever else could write could put a socket of theirs in the place of the role's.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Members have to pass to the socket; others are kept out by the socket itself, which tells them why.
const PASSABLE: u32 = 0o011;

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
    // Looked for first: under RestrictSUIDSGID= the kernel refuses to make one with a set-group-ID bit, even
    // where it is there already.
    if fs::symlink_metadata(path).is_err() {
        fs::DirBuilder::new().mode(mode).create(path).map_err(|error| at(path, &error))?;
    }
    if geteuid().is_root() {
        chown(path, Some(Uid::from_raw(owner)), group.map(Gid::from_raw))
            .map_err(|errno| at(path, &errno.into()))?;
        // Not left to the umask of whoever started the daemon.
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| at(path, &error))?;
    }
    let found = fs::symlink_metadata(path).map_err(|error| at(path, &error))?;
    if found.is_dir() && found.uid() == owner && is_fit(found.mode(), found.gid(), group) {
        return Ok(());
    }
    let of_group = group.map_or_else(String::new, |group| format!(", of group gid {group}"));
    Err(io::Error::other(format!(
        "{}: owned by uid {}, group gid {}, mode {:04o}; role {} is uid {owner}'s and needs a \
         directory of its own there{of_group}, with mode {mode:04o}; make it beforehand \
         (systemd-tmpfiles), or run kadenzd as root or for one user",
        path.display(),
        found.uid(),
        found.gid(),
        found.mode() & 0o7777,
        role.word()
    )))
}

/// Whether a directory is its owner's alone to write, and one for a socket lets the `members` through.
fn is_fit(mode: u32, gid: u32, members: Option<u32>) -> bool {
    let lets_through = members.is_none_or(|members| {
        gid == members && mode & SET_GROUP_ID != 0 && mode & PASSABLE == PASSABLE
    });
    mode & WRITABLE_BY_OTHERS == 0 && lets_through
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_directory_that_others_may_write_or_members_may_not_pass_is_refused_in_words() {
        for (mode, fits) in [(0o2755, true), (0o2711, true), (0o2775, false), (0o2757, false)] {
            assert_eq!(is_fit(mode, 7, Some(7)), fits, "{mode:o}");
        }
        for (mode, gid) in [(0o2700, 7), (0o2744, 7), (0o0755, 7), (0o2755, 8)] {
            assert!(!is_fit(mode, gid, Some(7)), "{mode:o} {gid}");
        }
        assert!(is_fit(0o700, 8, None) && !is_fit(0o730, 8, None));

        let path = PathBuf::from(format!("/dev/shm/kdzrole{}", std::process::id()));
        let own = geteuid().as_raw();
        make_dir(&path, Role::View, own, None, 0o700).unwrap();
        if !geteuid().is_root() {
            // Root sets the mode itself.
            fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            let words = make_dir(&path, Role::View, own, None, 0o700).unwrap_err().to_string();
            assert!(words.contains("mode 0777") && words.contains("with mode 0700"), "{words}");
        }
        fs::remove_dir(path).unwrap();
    }
}
