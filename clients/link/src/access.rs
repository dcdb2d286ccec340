//! Whether this process may enter a role's domain, asked before any iceoryx2 call: a foreign user would
//! create files in it before failing, and root would silently get no samples (measured 2026-11-21).
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use kadenz_paths::{RuntimeDir, Token};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, faccessat, geteuid, getuid, setgid, setgroups, setuid,
};
use shm_layout::code::Role;

use crate::error::{LinkError, domain_word};
use crate::text::printable;

/// What the hand-over socket tells: kadenzd makes it at start and removes it at an orderly end.
fn daemon_words(dir: &RuntimeDir) -> &'static str {
    if dir.handover_socket().exists() {
        "is up (or was killed)"
    } else {
        "is not up (no handover.sock)"
    }
}

/// No epoch is announced for `role`: says what is missing.
pub(crate) fn not_announced(dir: &RuntimeDir, role: Role) -> LinkError {
    LinkError::NotAnnounced {
        file: dir.epoch_file(role),
        daemon: daemon_words(dir),
        role: role.word(),
    }
}

/// No sample comes: either nothing is announced, or what is announced stands still.
pub(crate) fn not_announced_or_silent(
    dir: &RuntimeDir,
    role: Role,
    announced: Option<Token>,
) -> LinkError {
    match announced {
        None => not_announced(dir, role),
        Some(epoch) => LinkError::Silent { role: role.word(), epoch, daemon: daemon_words(dir) },
    }
}

/// Checks that the domain of `role` is there and that its owner is us.
///
/// # Errors
/// When it is missing, or belongs to somebody else, in words.
pub fn check(dir: &RuntimeDir, role: Role) -> Result<(), LinkError> {
    check_as(dir, role, geteuid().as_raw())
}

fn check_as(dir: &RuntimeDir, role: Role, uid: u32) -> Result<(), LinkError> {
    let word = domain_word(role)?;
    let domain = dir.role_dir(role);
    let Ok(meta) = fs::metadata(&domain) else {
        if !dir.as_path().exists() {
            return Err(LinkError::NoMachine { dir: dir.as_path().to_path_buf() });
        }
        return Err(LinkError::NoDomain { dir: domain, daemon: daemon_words(dir), role: word });
    };
    if meta.uid() != uid {
        let owner = meta.uid();
        let owner_name = user_name(owner);
        return Err(LinkError::WrongUser { dir: domain, owner, owner_name, uid });
    }
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, &domain, all, AtFlags::AT_EACCESS)
        .map_err(|errno| LinkError::Denied { dir: domain, cause: errno.desc().to_owned() })
}

/// The user that a client started as root has to become before it touches the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    domain: PathBuf,
    uid: Uid,
    gid: Gid,
    name: String,
}

/// Who has to take over from a client of `role` that was started as root: the user of the role's
/// domain. `None` for everybody else, and where the domain is root's own.
///
/// The domain may not be there yet: then `waits` is told why, pauses, and says whether to look again.
///
/// # Errors
/// The last trouble once `waits` gives up, and at once what waiting does not heal.
pub fn successor(
    dir: &RuntimeDir,
    role: Role,
    mut waits: impl FnMut(&LinkError) -> bool,
) -> Result<Option<Successor>, LinkError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    // BOUND: as long as the caller waits.
    loop {
        match check(dir, role) {
            Ok(()) => return Ok(None),
            Err(LinkError::WrongUser { dir: domain, owner, owner_name, .. }) => {
                let uid = Uid::from_raw(owner);
                // Of a user that is in no database the group is unknown; it is not root's in any case.
                let gid = User::from_uid(uid).ok().flatten().map(|user| user.gid);
                let gid = gid.unwrap_or(Gid::from_raw(owner));
                return Ok(Some(Successor { domain, uid, gid, name: owner_name }));
            }
            Err(error) if error.heals() && waits(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a client that was started as root the user of the role's domain, for good; does nothing for
/// others. Call it before threads, files and any iceoryx2 call; `waits` as for [`successor`].
///
/// # Errors
/// As [`successor`], and when the kernel refuses the change.
pub fn step_down(
    dir: &RuntimeDir,
    role: Role,
    waits: impl FnMut(&LinkError) -> bool,
) -> Result<(), LinkError> {
    successor(dir, role, waits)?.map_or(Ok(()), |successor| successor.take_over())
}

impl Successor {
    /// Its name, or its number with a `#`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes `path` with all its parents and gives it, not them, to the successor. What is there
    /// already stays as it is.
    ///
    /// # Errors
    /// When the directory cannot be made or given away.
    pub fn give_dir(&self, path: &Path) -> std::io::Result<()> {
        give_dir(path, self.uid.as_raw(), self.gid.as_raw())
    }

    /// This process becomes the successor, with its primary group and no other.
    ///
    /// # Errors
    /// When the kernel refuses, or would let the process go back.
    pub fn take_over(&self) -> Result<(), LinkError> {
        let refused = |cause: &str| LinkError::StaysRoot {
            dir: self.domain.clone(),
            user: self.name.clone(),
            cause: cause.to_owned(),
        };
        setgroups(&[])
            .and_then(|()| setgid(self.gid))
            .and_then(|()| setuid(self.uid))
            .map_err(|errno| refused(errno.desc()))?;
        if setuid(Uid::from_raw(0)).is_ok() {
            return Err(refused("the way back to root stays open"));
        }
        Ok(())
    }
}

/// Makes `path` with all its parents, for `uid` and `gid`, unless it is there. Takes root where that is
/// another user.
///
/// # Errors
/// When the directory cannot be made or given away.
pub fn give_dir(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(path)?;
    give_away(path, uid, gid)
}

/// Gives a directory away, and nothing that somebody has put in its place: whoever may write to its
/// parent can swap it for a link at any time.
fn give_away(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    let only_a_dir = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let dir = fs::OpenOptions::new().read(true).custom_flags(only_a_dir).open(path)?;
    fchown(dir, Some(uid), Some(gid))
}

/// What somebody can do who may not connect to `socket`, in words.
#[must_use]
pub fn way_in(dir: &RuntimeDir, socket: &Path) -> String {
    let uid = getuid();
    let us = known_name(uid).unwrap_or_else(|| {
        // A user database that is closed to us, or remote and away: for words this will do.
        let named = std::env::var("USER").ok().filter(|name| !name.is_empty());
        named.map_or_else(|| format!("#{uid}"), |name| printable(&name))
    });
    let Ok(meta) = fs::metadata(socket) else {
        return format!("{us} cannot reach it; give the directories above it mode 0755");
    };
    let owner = user_name(meta.uid());
    let domain = fs::metadata(dir.role_dir(Role::View));
    if domain.is_ok_and(|domain| domain.uid() == meta.uid()) {
        return format!(
            "this machine is {owner}'s alone: run as that user (sudo -u {owner} ...), or name users \
             for its roles (table [roles] of its file)"
        );
    }
    let group = Group::from_gid(Gid::from_raw(meta.gid())).ok().flatten();
    let is_listed = group.as_ref().is_some_and(|group| group.mem.contains(&us));
    let group = group.map_or_else(|| format!("#{}", meta.gid()), |group| group.name);
    if is_listed {
        return format!(
            "{us} has become a member of group {group} since this session began: log in again"
        );
    }
    format!(
        "{us} is no member of group {group}: an administrator runs `usermod -aG {group} {us}`, then \
         {us} logs in again"
    )
}

fn user_name(uid: u32) -> String {
    known_name(Uid::from_raw(uid)).unwrap_or_else(|| format!("#{uid}"))
}

fn known_name(uid: Uid) -> Option<String> {
    User::from_uid(uid).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::getegid;

    fn temporary() -> RuntimeDir {
        let path = format!("/dev/shm/kdzaccess{}", std::process::id());
        fs::create_dir_all(format!("{path}/view")).unwrap();
        RuntimeDir::at(path).unwrap()
    }

    #[test]
    fn a_foreign_domain_is_refused_naming_owner_us_and_remedy() {
        let dir = temporary();
        let owner = geteuid().as_raw();
        assert!(check_as(&dir, Role::View, owner).is_ok());
        let words = check_as(&dir, Role::View, owner + 1).unwrap_err().to_string();
        assert!(words.contains(&format!("belongs to uid {owner}")), "{words}");
        assert!(words.contains(&format!("we are uid {}", owner + 1)), "{words}");
        assert!(words.contains("sudo -u"), "{words}");
        fs::remove_dir_all(dir.as_path()).unwrap();
    }

    #[test]
    fn a_directory_is_given_away_and_what_a_link_leads_to_is_not() {
        let parent = PathBuf::from(format!("/dev/shm/kdzgive{}", std::process::id()));
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let given = parent.join("deep/given");
        give_dir(&given, uid, gid).unwrap();
        assert!(given.is_dir());
        let link = parent.join("link");
        std::os::unix::fs::symlink(&given, &link).unwrap();
        give_away(&link, uid, gid).expect_err("a link");
        fs::write(parent.join("file"), "").unwrap();
        give_away(&parent.join("file"), uid, gid).expect_err("a file");
        fs::remove_dir_all(parent).unwrap();
    }

    #[test]
    fn a_missing_machine_is_told_from_a_missing_gateway() {
        let nowhere = RuntimeDir::at("/dev/shm/kdz-no-such-machine").unwrap();
        assert!(matches!(check(&nowhere, Role::View), Err(LinkError::NoMachine { .. })));
        assert!(matches!(check(&nowhere, Role::Operate), Err(LinkError::NotADomain { .. })));
    }
}
