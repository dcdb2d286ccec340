//! Whether this process may enter a role's domain, asked before any iceoryx2 call: a foreign user would
//! create files in it before failing, and root would silently get no samples (measured 2026-11-21).
use std::fs;
use std::os::unix::fs::MetadataExt;

use kadenz_paths::{RuntimeDir, Token};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Gid, Uid, User, faccessat, geteuid, setgid, setgroups, setuid};
use shm_layout::code::Role;

use crate::error::{LinkError, domain_word};

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
        let owner_name = User::from_uid(Uid::from_raw(owner))
            .ok()
            .flatten()
            .map_or_else(|| format!("#{owner}"), |user| user.name);
        return Err(LinkError::WrongUser { dir: domain, owner, owner_name, uid });
    }
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, &domain, all, AtFlags::AT_EACCESS)
        .map_err(|errno| LinkError::Denied { dir: domain, cause: errno.desc().to_owned() })
}

/// Makes a root process the user of the role's domain, for good; does nothing for others.
///
/// Call it before threads, files and any iceoryx2 call.
///
/// # Errors
/// When the domain is missing or the kernel refuses the change.
pub fn step_down(dir: &RuntimeDir, role: Role) -> Result<(), LinkError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    match check(dir, role) {
        Err(LinkError::WrongUser { dir: domain, owner, .. }) => {
            let group = fs::metadata(&domain).map_or(owner, |meta| meta.gid());
            setgroups(&[])
                .and_then(|()| setgid(Gid::from_raw(group)))
                .and_then(|()| setuid(Uid::from_raw(owner)))
                .map_err(|errno| LinkError::Denied { dir: domain, cause: errno.desc().to_owned() })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_missing_machine_is_told_from_a_missing_gateway() {
        let nowhere = RuntimeDir::at("/dev/shm/kdz-no-such-machine").unwrap();
        assert!(matches!(check(&nowhere, Role::View), Err(LinkError::NoMachine { .. })));
        assert!(matches!(check(&nowhere, Role::Operate), Err(LinkError::NotADomain { .. })));
    }
}
