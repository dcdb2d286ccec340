//! Programs of the host that the lab drives; what is missing is installed, or named in one message.
use std::fs;

use anyhow::{bail, ensure};
use nix::unistd::geteuid;

use crate::archive::Archive;
use crate::cache::Cache;
use crate::command::{command, find, told};

/// A program and the Debian package it comes from.
struct Program {
    name: &'static str,
    package: &'static str,
}

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";
/// Snapshots are kept in a form that older ones do not know (mapped-ram).
const QEMU_MAJOR_MIN: u32 = 9;

const PROGRAMS: [Program; 9] = [
    program(QEMU, QEMU_PACKAGE),
    program("mmdebstrap", "mmdebstrap"),
    program("cpio", "cpio"),
    program("zstd", "zstd"),
    program("xz", "xz-utils"),
    program("depmod", "kmod"),
    program("dpkg-deb", "dpkg"),
    program("strip", "binutils"),
    program("unshare", "util-linux"),
];

/// Sees to it that every program is there.
///
/// # Errors
/// Something is missing and cannot be installed from here: the packages' names.
pub fn ensure_programs(cache: &Cache) -> anyhow::Result<()> {
    let missing: Vec<&Program> = PROGRAMS.iter().filter(|one| find(one.name).is_none()).collect();
    if !missing.is_empty() {
        install(cache, &missing)?;
    }
    let version = qemu_version()?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= QEMU_MAJOR_MIN),
        "{QEMU} is {version}; the lab's snapshots need {QEMU_MAJOR_MIN} or newer: on Debian 12 \
         `apt-get install -t bookworm-backports {QEMU_PACKAGE}`"
    );
    Ok(())
}

/// Version of the emulator, as it prints it.
///
/// # Errors
/// It is not installed.
pub fn qemu_version() -> anyhow::Result<String> {
    let said = told(&mut command(QEMU, &["--version"])?)?;
    let mut words = said.split_ascii_whitespace();
    let version = words.find(|word| word.starts_with(|digit: char| digit.is_ascii_digit()));
    Ok(version.unwrap_or_default().to_owned())
}

fn install(cache: &Cache, missing: &[&Program]) -> anyhow::Result<()> {
    let packages: Vec<&str> = missing.iter().map(|one| one.package).collect();
    let by_hand = packages.join(" ");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let Some(suite) = debian_suite(&release) else {
        bail!(
            "the lab needs programs that this host lacks and installs them by itself on Debian only; \
             install the equivalents of: {by_hand} ({QEMU_PACKAGE} {QEMU_MAJOR_MIN} or newer)"
        );
    };
    if !geteuid().is_root() {
        bail!(
            "the lab needs packages that are not installed, and this is not root; as root: \
             apt-get install {by_hand} (on Debian 12 with -t bookworm-backports)"
        );
    }
    let backports = format!("{suite}-backports");
    let is_old = suite == "bookworm";
    let mut suites = vec![suite.as_str()];
    if is_old {
        suites.push(&backports);
    }
    println!("lab: installing {by_hand} from {}", suites.join(", "));
    let archive = Archive::fetched(&cache.scratch("apt")?, &suites)?;
    // Nothing of the host makes way for the lab.
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends", "--no-remove"];
    words.extend(packages.iter().filter(|name| **name != QEMU_PACKAGE));
    archive.apt("apt-get", &words)?;
    if packages.contains(&QEMU_PACKAGE) {
        words.truncate(5);
        if is_old {
            words.extend(["-t", &backports]);
        }
        words.push(QEMU_PACKAGE);
        archive.apt("apt-get", &words)?;
    }
    match missing.iter().find(|one| find(one.name).is_none()) {
        Some(one) => bail!("{} was installed, and `{}` is still not there", one.package, one.name),
        None => Ok(()),
    }
}

/// The suite of an `os-release`, if it is Debian's.
fn debian_suite(release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    if value("ID")? == "debian" { value("VERSION_CODENAME") } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_has_a_suite_to_install_from() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(debian_suite(debian).as_deref(), Some("bookworm"));
        assert_eq!(debian_suite("ID=fedora\nVERSION_CODENAME=\"\"\n"), None);
        assert_eq!(debian_suite("ID=ubuntu\nVERSION_CODENAME=noble\nID_LIKE=debian\n"), None);
    }
}
