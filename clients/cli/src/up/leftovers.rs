//! What a set leaves in its runtime directory and in shared memory once all its processes have ended, and its removal.
use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use kadenz_paths::{RuntimeDir, Token};
use shm_layout::code::Role;

use super::notify::{NOTIFY_PREFIX, NOTIFY_SUFFIX};

/// Where POSIX shared memory lives on Linux.
const SHM_DIR: &str = "/dev/shm";
/// What kadenzd keeps in the directory besides sockets: its lock and its flight recorder; a ring with
/// something appended to its name is that of a daemon before.
const LOCK: &str = "kadenzd.lock";
const RING: &str = "flight.ring";
const UNFINISHED_RING: &str = "flight.ring.new";

/// A set's right to clear its runtime directory.
#[derive(Debug)]
pub(crate) struct Leftovers {
    dir: RuntimeDir,
    made_by_us: bool,
}

impl Leftovers {
    /// Makes `dir` if it is not there: what one makes one may remove.
    pub(crate) fn make(dir: &RuntimeDir) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let made_by_us = !dir.as_path().exists();
        fs::DirBuilder::new().recursive(true).mode(0o755).create(dir.as_path())?;
        Ok(Self { dir: dir.clone(), made_by_us })
    }

    /// Removes it again before anything was started in it.
    pub(crate) fn unmake(&self) {
        if self.made_by_us {
            let _stays_if_used = fs::remove_dir(self.dir.as_path());
        }
    }

    /// Removes what dead processes left. The flight recorder stays when `keep_ring`: it holds the
    /// last seconds before a crash. One that a restart put aside stays in any case. Gives what is left, for a
    /// message.
    pub(crate) fn clear(&self, keep_ring: bool) -> Option<String> {
        let at = self.dir.as_path();
        if UnixStream::connect(self.dir.handover_socket()).is_ok() {
            return Some(format!(
                "{}: another kadenzd serves there by now, left alone",
                at.display()
            ));
        }
        for role in [Role::View, Role::Plan, Role::Operate] {
            self.clear_role(role);
            remove(&self.dir.epoch_file(role));
        }
        for socket in [self.dir.handover_socket(), self.dir.operate_socket()] {
            remove(&socket);
        }
        let _gone_or_absent = fs::remove_dir_all(self.dir.planner_dir());
        clear_notify_sockets(at);
        remove(&at.join(UNFINISHED_RING));
        if !keep_ring {
            remove(&at.join(RING));
        }
        if self.made_by_us {
            if !keep_ring {
                // Nobody holds it any more, or it would be served above.
                remove(&at.join(LOCK));
            }
            let _stays_if_used = fs::remove_dir(at);
        }
        let rings: Vec<String> = rings(at).iter().map(|ring| ring.display().to_string()).collect();
        (!rings.is_empty()).then(|| {
            let rings = rings.join(", ");
            format!("{rings}: the last seconds before a crash, kept; see `kadenz recorder dump`")
        })
    }

    fn clear_role(&self, role: Role) {
        let role_dir = self.dir.role_dir(role);
        let Ok(entries) = fs::read_dir(&role_dir) else { return };
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let token = |path: &PathBuf| -> Option<Token> {
            path.file_name()?.to_str()?.strip_prefix('e')?.parse().ok()
        };
        // A gateway that was killed leaves the shared memory its tree names.
        for token in paths.iter().filter_map(token) {
            if let Ok(place) = self.dir.epoch_place(role, token) {
                clear_shm(&place.prefix);
            }
        }
        for path in &paths {
            remove(path);
        }
        if self.made_by_us {
            let _stays_if_used = fs::remove_dir(&role_dir);
        }
    }
}

/// The flight recorder's rings in `dir`.
fn rings(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_ring = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(RING);
    let mut rings: Vec<PathBuf> = entries.filter(is_ring).map(|entry| entry.path()).collect();
    rings.sort();
    rings
}

/// Removes the notify sockets of sets that were killed; a living one's can be connected.
fn clear_notify_sockets(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(NOTIFY_PREFIX) && name.ends_with(NOTIFY_SUFFIX));
        let is_dead =
            || UnixDatagram::unbound().and_then(|probe| probe.connect(entry.path())).is_err();
        if is_ours && is_dead() {
            remove(&entry.path());
        }
    }
}

fn clear_shm(prefix: &str) {
    for entry in fs::read_dir(SHM_DIR).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            remove(&entry.path());
        }
    }
}

/// Removes a file, or a directory with what is in it; follows no link. What cannot be removed stays:
/// the next set clears it, and no name of it is used twice.
fn remove(path: &Path) {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let _stays_or_gone = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static MADE: AtomicU32 = AtomicU32::new(0);

    fn left_behind(parent: &Path) -> (RuntimeDir, Leftovers, PathBuf) {
        // Short: an epoch's names must fit a socket.
        let dir = RuntimeDir::at(parent.join("r")).unwrap();
        let leftovers = Leftovers::make(&dir).unwrap();
        // ORDERING: relaxed, only the numbers must differ: tests run side by side.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let token = Token::from_number((std::process::id() << 4 | number) ^ 0x5a5a_0000);
        let place = dir.epoch_place(Role::View, token).unwrap();
        fs::create_dir_all(place.root.join("nodes")).unwrap();
        let memory = Path::new(SHM_DIR).join(format!("{}node", place.prefix));
        fs::write(&memory, "x").unwrap();
        fs::create_dir_all(dir.planner_dir()).unwrap();
        for name in ["handover.sock", "planner/planner.sock", "view.epoch", LOCK, RING] {
            fs::write(dir.as_path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("operate/operate.sock", dir.operate_socket()).unwrap();
        drop(UnixDatagram::bind(dir.as_path().join("notify-1.sock")).unwrap());
        (dir, leftovers, memory)
    }

    #[test]
    fn after_an_orderly_end_nothing_is_left() {
        let parent = tempfile::tempdir_in("/dev/shm").unwrap();
        let (dir, leftovers, memory) = left_behind(parent.path());
        assert_eq!(leftovers.clear(false), None);
        assert!(!dir.as_path().exists() && !memory.exists());
    }

    #[test]
    fn after_a_crash_the_flight_recorder_is_left_and_named() {
        let parent = tempfile::tempdir_in("/dev/shm").unwrap();
        let (dir, leftovers, memory) = left_behind(parent.path());
        assert!(leftovers.clear(true).unwrap().contains(RING));
        assert!(dir.as_path().join(RING).exists() && !memory.exists());
        assert!(!dir.handover_socket().exists());
    }

    #[test]
    fn a_ring_that_a_restart_put_aside_stays_and_is_named_after_an_orderly_end() {
        let parent = tempfile::tempdir_in("/dev/shm").unwrap();
        let (dir, leftovers, _) = left_behind(parent.path());
        let kept = dir.as_path().join("flight.ring.0000000000000001");
        for name in [kept.clone(), dir.as_path().join(UNFINISHED_RING)] {
            fs::write(name, "x").unwrap();
        }
        assert!(leftovers.clear(false).unwrap().contains("flight.ring.0000000000000001"));
        assert_eq!(rings(dir.as_path()), [kept]);
    }

    #[test]
    fn a_directory_that_was_there_before_keeps_its_lock_and_its_role_directories() {
        let parent = tempfile::tempdir_in("/dev/shm").unwrap();
        let (dir, _, _) = left_behind(parent.path());
        let second = Leftovers::make(&dir).unwrap();
        let living = dir.as_path().join("notify-2.sock");
        let _living = UnixDatagram::bind(&living).unwrap();
        second.clear(false);
        assert!(living.exists() && !dir.as_path().join("notify-1.sock").exists());
        assert!(dir.as_path().join(LOCK).exists() && dir.role_dir(Role::View).exists());
        assert_eq!(fs::read_dir(dir.role_dir(Role::View)).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_another_daemon_serves_is_left_alone() {
        let parent = tempfile::tempdir_in("/dev/shm").unwrap();
        let (dir, leftovers, memory) = left_behind(parent.path());
        fs::remove_file(dir.handover_socket()).unwrap();
        let server = std::os::unix::net::UnixListener::bind(dir.handover_socket()).unwrap();
        assert!(leftovers.clear(false).unwrap().contains("another kadenzd"));
        assert!(memory.exists() && dir.as_path().join(RING).exists());
        drop(server);
        fs::remove_file(dir.handover_socket()).unwrap();
        leftovers.clear(false);
    }
}
