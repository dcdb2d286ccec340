//! The guests' root file systems: Debian in a folder, made once; from it two archives that a kernel unpacks at boot.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::unistd::geteuid;

use crate::archive::mirror;
use crate::cache::Cache;
use crate::command::{command, piped, told};
use crate::kernel::{Kernel, SUITE};

/// What a guest's root holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RootKind {
    /// systemd, a shell, and little that stirs by itself: for latency, and quick.
    Pruned,
    /// dpkg, udev, sysusers, dbus, logind, python: for what an installed package meets.
    Full,
}

impl RootKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Pruned => "root-pruned",
            Self::Full => "root-full",
        }
    }
}

/// Beside what every Debian has.
const PACKAGES: &str = "systemd,systemd-sysv,udev,dbus,rt-tests,iproute2,kmod,procps";

/// What nobody reads in a guest.
const NOT_UNPACKED: [&str; 3] = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"];

/// Units that do nothing for anybody here; masked in both roots.
const MASKED: [&str; 12] = [
    "getty.target",
    "serial-getty@.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "ldconfig.service",
    "systemd-firstboot.service",
    "systemd-pcrmachine.service",
    "systemd-ask-password-wall.path",
];

/// Units that the pruned root does without as well.
const MASKED_PRUNED: [&str; 31] = [
    "modprobe@.service",
    "kmod-static-nodes.service",
    "systemd-sysusers.service",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-clean.timer",
    "run-lock.mount",
    "tmp.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "systemd-modules-load.service",
    "systemd-ask-password-console.path",
    "systemd-random-seed.service",
    "systemd-update-utmp.service",
    "systemd-update-done.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-user-sessions.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "dbus.service",
    "dbus.socket",
    "systemd-hostnamed.socket",
];

/// Taken out of the pruned root, as the shell writes names.
const PRUNED: &str = "usr/lib/python3* usr/bin/python3* usr/share/python3 usr/share/perl5 usr/bin/perl* \
    usr/lib/x86_64-linux-gnu/perl-base usr/lib/x86_64-linux-gnu/gconv usr/lib/x86_64-linux-gnu/libapt* \
    usr/lib/apt usr/bin/apt* usr/bin/sqv usr/bin/dpkg* usr/lib/dpkg var/lib/dpkg usr/lib/udev usr/bin/udevadm \
    usr/lib/systemd/system-generators/* usr/lib/systemd/system-environment-generators/* usr/lib/locale \
    usr/share/info usr/share/zoneinfo usr/share/bash-completion usr/share/lintian usr/share/keyrings \
    usr/share/common-licenses usr/share/doc usr/share/man usr/share/locale";

/// The guest's own files, and whether they are programs.
const FILES: [(&str, &str, u32); 5] = [
    ("usr/local/sbin/lab-agent", include_str!("guest/agent.sh"), 0o755),
    ("etc/systemd/system/lab.target", include_str!("guest/lab.target"), 0o644),
    ("etc/systemd/system/lab-agent.service", include_str!("guest/lab-agent.service"), 0o644),
    ("etc/systemd/system/lab-bare.target", include_str!("guest/lab-bare.target"), 0o644),
    (
        "etc/systemd/system/lab-bare-agent.service",
        include_str!("guest/lab-bare-agent.service"),
        0o644,
    ),
];

/// Settings of every guest: it has no clock of its own, no disk, and always the same name.
const SETTINGS: [(&str, &str); 4] = [
    ("etc/hostname", "lab\n"),
    ("etc/fstab", ""),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=volatile\n"),
];

/// Writes `files` as an archive that the kernel unpacks over those before it (initramfs, newc format).
const ARCHIVE: &str =
    r#"cd "$1"; find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible >"$2""#;

/// The unpacked root, before anything of the lab is in it.
///
/// # Errors
/// It cannot be made: the mirror, or no root.
pub fn tree(cache: &Cache) -> anyhow::Result<PathBuf> {
    let mirror = mirror();
    let ingredients = [SUITE, &mirror, PACKAGES, &NOT_UNPACKED.join(" ")];
    cache.entry("tree", &ingredients, |place| {
        ensure!(
            geteuid().is_root(),
            "unpacking a root file system with its owners takes root; run the lab once as root, or \
             point $KADENZ_LAB_CACHE at a cache that root has filled"
        );
        println!("lab: making a root file system of {SUITE} (a minute or two)");
        // Everything it starts, and every mount it makes, ends with it.
        let mut words = vec!["--pid", "--fork", "--kill-child", "--mount", "mmdebstrap"];
        let excluded = NOT_UNPACKED.map(|path| format!("--dpkgopt=path-exclude={path}"));
        let include = format!("--include={PACKAGES}");
        words.extend(["--quiet", "--variant=minbase", "--format=directory", &include]);
        words.extend(excluded.iter().map(String::as_str));
        let at = place.display().to_string();
        words.extend([SUITE, &at, &mirror]);
        let mut bootstrap = command("unshare", &words)?;
        bootstrap.env("TMPDIR", cache.scratch("bootstrap")?);
        told(&mut bootstrap)?;
        piped(
            place,
            "rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc usr/share/locale",
            &[""; 0],
        )
    })
}

/// What the lab adds to a root: its agent, its settings, and units that stay quiet.
///
/// # Errors
/// The file system.
pub fn additions(cache: &Cache, kind: RootKind) -> anyhow::Result<PathBuf> {
    let written = format!("{FILES:?}{SETTINGS:?}{MASKED:?}{MASKED_PRUNED:?}");
    let name = format!("{}-additions", kind.name());
    cache.entry(&name, &[&written], |place| {
        let write = |path: &str, text: &str, mode: u32| {
            let file = place.join(path);
            fs::create_dir_all(file.parent().context("a file at the root")?)?;
            fs::write(&file, text)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            anyhow::Ok(())
        };
        FILES.iter().try_for_each(|(path, text, mode)| write(path, text, *mode))?;
        SETTINGS.iter().try_for_each(|(path, text)| write(path, text, 0o644))?;
        let units = place.join("etc/systemd/system");
        let more: &[&str] = if kind == RootKind::Pruned { &MASKED_PRUNED } else { &[] };
        MASKED.iter().chain(more).try_for_each(|unit| symlink("/dev/null", units.join(unit)))?;
        symlink("lab.target", units.join("default.target"))?;
        symlink("usr/lib/systemd/systemd", place.join("init"))?;
        ["host", "lab"].iter().try_for_each(|folder| fs::create_dir(place.join(folder)))?;
        anyhow::Ok(())
    })
}

/// The whole root as one archive for `kernel`, modules included.
///
/// # Errors
/// As [`tree`]; the file system.
pub fn image(cache: &Cache, kernel: &Kernel, kind: RootKind) -> anyhow::Result<PathBuf> {
    let (tree, additions) = (tree(cache)?, additions(cache, kind)?);
    let text = |path: &Path| path.display().to_string();
    let ingredients = [&text(&tree), &text(&additions), &text(&kernel.image()), PRUNED];
    cache.entry(kind.name(), &ingredients, |place| {
        println!("lab: packing {}", kind.name());
        let scratch = cache.scratch("pack")?;
        let copy = scratch.join("tree");
        told(&mut command("cp", &["-a", &text(&tree), &text(&copy)])?)?;
        if kind == RootKind::Pruned {
            piped(&copy, &format!("rm -rf {PRUNED}"), &[""; 0])?;
        }
        let mut parts = Vec::new();
        for (number, part) in [&copy, &kernel.modules(), &additions].into_iter().enumerate() {
            let archive = scratch.join(format!("{number}.cpio"));
            pack(part, &archive)?;
            parts.push(text(&archive));
        }
        parts.insert(0, text(place));
        piped(&scratch, r#"to=$1; shift; cat "$@" >"$to""#, &parts)
    })
}

/// Packs a folder for the kernel to unpack over what came before.
///
/// # Errors
/// The file system.
pub fn pack(folder: &Path, archive: &Path) -> anyhow::Result<()> {
    piped(Path::new("/"), ARCHIVE, &[folder, archive])
}
