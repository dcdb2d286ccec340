//! The operate socket itself: made so that nobody can connect before its mode is right.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::{Mode, umask};

use crate::failure::Failure;

/// Listens at `path` for this user and the socket's group. The group is that of the directory, which
/// kadenzd makes.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let place =
        |remedy| move |source| Failure::Place { place: path.display().to_string(), remedy, source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(place("remove it")(error));
        }
        _ => {}
    }
    // Closed to all until its mode is right.
    let before = umask(Mode::from_bits_truncate(0o777));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(place(
        "kadenzd makes that directory for the role's user; run as that user, with a short path",
    ))?;
    listener.set_nonblocking(true).map_err(place("this is a kernel error"))?;
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(place("check its owner"))?;
    Ok(listener)
}
