//! What dpkg is told about the package: who it is, what it needs, what is an administrator's own, and the
//! scripts of its coming and going.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::PROGRAMS;
use crate::tree::{directory, entries};

/// The scripts, by the name dpkg knows.
const SCRIPTS: [(&str, &str); 4] = [
    ("preinst", include_str!("../debian/preinst")),
    ("postinst", include_str!("../debian/postinst")),
    ("prerm", include_str!("../debian/prerm")),
    ("postrm", include_str!("../debian/postrm")),
];

/// Writes the folder DEBIAN of the staged tree at `root`.
pub(crate) fn write(root: &Path, architecture: &str) -> anyhow::Result<()> {
    let size_kib = size_bytes(root)?.div_ceil(1024);
    let libc = libc_needed(root)?;
    let conffiles = conffiles(root)?;
    let place = directory(root, "DEBIAN")?;
    let file = |name: &str, text: &str, mode: u32| {
        let path = place.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .with_context(|| path.display().to_string())
    };
    let version = env!("CARGO_PKG_VERSION");
    let control = format!(
        "Package: kadenz\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The Kadenz developers <kadenz@localhost>\n\
         Installed-Size: {size_kib}\n\
         Depends: libc6 (>= {libc}), libgcc-s1, systemd | systemd-standalone-sysusers, \
         systemd | systemd-standalone-tmpfiles\n\
         Recommends: systemd, udev\n\
         Suggests: ethtool, linux-image-rt-amd64\n\
         Section: electronics\n\
         Priority: optional\n\
         Description: real-time motion controller\n \
         A servo loop that no client can hurt, its gateways, and the clients of one\n \
         machine: planner, logger, monitor and a command line. Units are installed and\n \
         not enabled; `systemctl enable --now kadenz.target` starts the machine.\n"
    );
    file("control", &control, 0o644)?;
    file("conffiles", &conffiles, 0o644)?;
    for (name, text) in SCRIPTS {
        file(name, text, 0o755)?;
    }
    Ok(())
}

/// Everything beneath etc: what an administrator changes stays changed.
fn conffiles(root: &Path) -> anyhow::Result<String> {
    let mut lines = String::new();
    let mut folders = vec![root.join("etc")];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else {
                let beneath = path.strip_prefix(root).context("beneath the root")?;
                lines.push_str(&format!("/{}\n", beneath.display()));
            }
        }
    }
    Ok(lines)
}

fn size_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for path in entries(folder)? {
        bytes += match path.is_dir() {
            true => size_bytes(&path)?,
            false => path.metadata().with_context(|| path.display().to_string())?.len(),
        };
    }
    Ok(bytes)
}

/// The oldest C library that every program runs with: the newest version of it that one of them names.
fn libc_needed(root: &Path) -> anyhow::Result<String> {
    let mut newest = None;
    for program in PROGRAMS {
        let path = root.join("usr/bin").join(program);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        newest = newest.max(newest_glibc(&bytes));
    }
    match newest {
        Some((major, minor)) => Ok(format!("{major}.{minor}")),
        None => bail!("no program names a version of glibc; is it linked to another C library?"),
    }
}

/// The newest version among the names `GLIBC_MAJOR.MINOR` in an executable's table of strings.
fn newest_glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"\0GLIBC_";
    let starts = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let versions = starts.filter_map(|(at, _)| {
        let rest = bytes.get(at + MARK.len()..)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        let mut numbers = std::str::from_utf8(name).ok()?.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_c_library_named_is_the_oldest_that_will_do() {
        let table = b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.3.4\0GLIBC_PRIVATE\0GLIBC_9\0libc.so.6\0";
        assert_eq!(newest_glibc(table), Some((2, 34)));
        assert_eq!(newest_glibc(b"musl"), None);
    }
}
