//! The files of epochs: this life's root made, those of lives before cleared away. Runs before and
//! after the domain is in use, never while.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use kadenz_handover::Grant;
use kadenz_paths::{EpochPlace, RuntimeDir, Token};
use shm_layout::code::Role;

use crate::failure::Failure;

/// Where POSIX shared memory lives on Linux.
const SHM_DIR: &str = "/dev/shm";
/// Directories deep that a domain's tree can be; more is junk that a client made, and is left.
const DEPTH_MAX: usize = 16;

/// Clears away what earlier lives of this role left and makes the root of this one.
pub(crate) fn prepare(dir: &RuntimeDir, grant: &Grant) -> Result<EpochPlace, Failure> {
    let place = dir.epoch_place(grant.role, grant.token)?;
    clear_others(dir, grant.role, grant.token);
    fs::DirBuilder::new().mode(0o700).create(&place.root).map_err(|source| Failure::Place {
        place: place.root.display().to_string(),
        remedy: "kadenzd makes the role's directory for the role's user; run as that user",
        source,
    })?;
    Ok(place)
}

/// Keeps other users from truncating the one file of iceoryx2 0.10 that is open to all (0666): a
/// truncated one would hang every later node for ever (measured).
pub(crate) fn close_to_others(place: &EpochPlace) {
    for name in shm_names(|name| name.starts_with(&place.prefix)) {
        if name.ends_with(".global_mgmt") {
            let path = Path::new(SHM_DIR).join(name);
            if let Err(error) = fs::set_permissions(&path, fs::Permissions::from_mode(0o600)) {
                log::warn!("{}: {error}; other users can reach this domain", path.display());
            }
        }
    }
}

/// Removes every file of this life, after its end.
pub(crate) fn clear_own(dir: &RuntimeDir, grant: &Grant) {
    if grant.role == Role::Operate {
        let _gone_or_absent = fs::remove_file(kadenz_handover::own_operate_socket(dir));
    } else if let Ok(place) = dir.epoch_place(grant.role, grant.token) {
        clear_epoch(&place);
    }
}

/// Removes memory and tree of an epoch. Files that another user has put there stay (`/dev/shm` is sticky); then
/// the root of the tree stays as well: it names the epoch to whoever may remove them, in the end `kadenz up`.
fn clear_epoch(place: &EpochPlace) {
    clear_shm(|name| name.starts_with(&place.prefix));
    clear_tree(&place.root, DEPTH_MAX);
    if !shm_names(|name| name.starts_with(&place.prefix)).is_empty() {
        report(&place.root, fs::DirBuilder::new().mode(0o700).create(&place.root));
    }
}

/// The tree of an epoch is made before and removed after its shared memory, so the trees name all
/// tokens that can have left something; other machines' epochs on this host are not touched.
fn clear_others(dir: &RuntimeDir, role: Role, own: Token) {
    let role_dir = dir.role_dir(role);
    let Ok(entries) = fs::read_dir(&role_dir) else { return };
    let entries: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    let token_of = |name: &OsString| name.to_str()?.strip_prefix('e')?.parse::<Token>().ok();
    for name in entries {
        match token_of(&name).and_then(|token| dir.epoch_place(role, token).ok()) {
            Some(place) if place.token == own => clear_tree(&place.root, DEPTH_MAX),
            Some(place) => clear_epoch(&place),
            None => clear_tree(&role_dir.join(name), DEPTH_MAX),
        }
    }
}

fn shm_names(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(SHM_DIR) else { return Vec::new() };
    let names =
        entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| wanted(name)).collect()
}

fn clear_shm(wanted: impl Fn(&str) -> bool) {
    for name in shm_names(wanted) {
        // A client may have put a directory there.
        clear_tree(&Path::new(SHM_DIR).join(name), DEPTH_MAX);
    }
}

/// Removes whatever stands at `path`, made unreadable by a client or not. Follows no link.
fn clear_tree(path: &Path, depth: usize) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    if !found.is_dir() {
        return report(path, fs::remove_file(path));
    }
    let _failure_shows_below = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    if depth > 0 {
        for entry in fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
            clear_tree(&entry.path(), depth - 1);
        }
    }
    report(path, fs::remove_dir(path));
}

/// A leftover is no reason not to serve: it has another name than anything of this life.
fn report(path: &Path, result: io::Result<()>) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("leftover {}: {error}", path.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadenz_handover::Terms;

    fn grant(token: u32) -> Grant {
        let terms = Terms {
            axis_count: 1,
            period_ns: 1_000_000,
            out_offset_ns: 0,
            in_lead_ns: 0,
            gateway_priority_fifo: 0,
            loop_cpu: 0,
            daemon_id: 0,
        };
        Grant { token: Token::from_number(token), role: Role::View, terms }
    }

    #[test]
    fn a_new_life_clears_trees_and_memory_of_its_predecessors_and_of_nobody_else() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::at(parent.path()).unwrap();
        let role_dir = dir.role_dir(Role::View);
        // Tokens that only this test process can have, so that nobody else's files are in play.
        let base = std::process::id() << 4;
        let old = dir.epoch_place(Role::View, Token::from_number(base)).unwrap();
        let foreign = dir.epoch_place(Role::View, Token::from_number(base + 1)).unwrap();
        fs::create_dir_all(old.root.join("nodes/deep")).unwrap();
        fs::set_permissions(old.root.join("nodes"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::write(role_dir.join("junk"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", role_dir.join("link")).unwrap();
        let old_memory = Path::new(SHM_DIR).join(format!("{}node", old.prefix));
        let old_junk = Path::new(SHM_DIR).join(format!("{}junk", old.prefix));
        fs::create_dir_all(old_junk.join("deep")).unwrap();
        let foreign_memory = Path::new(SHM_DIR).join(format!("{}node", foreign.prefix));
        fs::write(&old_memory, "x").unwrap();
        fs::write(&foreign_memory, "x").unwrap();

        let own = prepare(&dir, &grant(base + 2)).unwrap();
        let left: Vec<_> =
            fs::read_dir(&role_dir).unwrap().map(|one| one.unwrap().path()).collect();
        let foreign_stands = foreign_memory.exists();
        fs::remove_file(&foreign_memory).unwrap();
        assert_eq!(left, std::slice::from_ref(&own.root));
        assert!(!old_memory.exists() && !old_junk.exists() && foreign_stands);
        assert!(Path::new("/etc/passwd").exists());
        clear_own(&dir, &grant(base + 2));
        assert!(!own.root.exists());
    }
}
