//! The kernel under test: Debian's newest PREEMPT_RT kernel, unpacked and never installed on the host.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::archive::{Archive, mirror};
use crate::cache::Cache;
use crate::command::{command, piped, told};

/// Where kernel and root come from.
pub const SUITE: &str = "trixie";
/// Depends on the newest kernel of its kind.
const NEWEST: &str = "linux-image-rt-amd64";

/// Modules that are kept, of some four thousand: folders, or single files without `.ko.xz`.
const MODULES: [&str; 14] = [
    "fs/9p",
    "net/9p",
    "fs/netfs",
    "fs/overlayfs",
    "drivers/block/virtio_blk",
    "drivers/net/veth",
    "drivers/net/dummy",
    "drivers/net/tun",
    "drivers/watchdog/softdog",
    "net/sched",
    "net/bridge",
    "net/802",
    "net/llc",
    "net/packet",
];

/// A kernel ready to be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    folder: PathBuf,
    /// Its release, as `uname -r` says it.
    pub release: String,
    /// The package's version.
    pub package_version: String,
}

impl Kernel {
    /// The kernel in the cache; fetched when there is none. One that is there stays until the cache is renewed.
    ///
    /// # Errors
    /// It cannot be fetched or unpacked.
    pub fn of(cache: &Cache) -> anyhow::Result<Self> {
        let ingredients = [SUITE, NEWEST, &mirror(), &MODULES.join(" ")];
        let make = |place: &Path| make(place, &cache.scratch("kernel-package")?);
        let folder = cache.entry("kernel", &ingredients, make)?;
        let told = |file: &str| {
            let path = folder.join(file);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let (release, package_version) = (told("release")?, told("version")?);
        Ok(Self { folder, release, package_version })
    }

    /// The image, as an ELF file that a machine starts at once.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// A tree with its modules, laid out as in a root file system.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }
}

fn make(place: &Path, scratch: &Path) -> anyhow::Result<()> {
    let suites = [SUITE, &format!("{SUITE}-updates"), &format!("{SUITE}-security")];
    let archive = Archive::fetched(scratch, &suites)?;
    let names = archive.dependencies(NEWEST)?;
    let package = names.iter().find(|name| name.starts_with("linux-image-"));
    let package = package.with_context(|| format!("{NEWEST} of {SUITE} depends on no kernel"))?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    println!("lab: fetching {package} of {SUITE}");
    let file = archive.download(package)?;
    let unpacked = scratch.join("unpacked");
    let path = |path: &Path| path.display().to_string();
    told(&mut command("dpkg-deb", &["-x", &path(&file), &path(&unpacked)])?)?;
    let version = told(&mut command("dpkg-deb", &["-f", &path(&file), "Version"])?)?;

    fs::create_dir(place)?;
    let compressed = fs::read(unpacked.join(format!("boot/vmlinuz-{release}")))?;
    let stream = scratch.join("vmlinux.zst");
    fs::write(&stream, payload(&compressed)?)?;
    let image = place.join("vmlinux");
    told(&mut command("zstd", &["-dqf", &path(&stream), "-o", &path(&image)])?)?;
    keep_modules(&unpacked, place, &release)?;
    fs::write(place.join("version"), version.trim())?;
    fs::write(place.join("release"), release)?;
    Ok(())
}

/// The compressed kernel inside a bzImage (Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`,
/// `payload_length`).
fn payload(image: &[u8]) -> anyhow::Result<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    ensure!(image.get(0x202..0x206) == Some(b"HdrS"), "the kernel is no bzImage");
    let (setup, offset, length) =
        (usize::from(image[0x1f1]), word(0x248).unwrap_or(0), word(0x24c).unwrap_or(0));
    let begin = (setup + 1) * 512 + offset;
    // Its last four bytes are the unpacked length.
    let found = image.get(begin..(begin + length).saturating_sub(4));
    match found {
        Some(stream) if stream.starts_with(b"\x28\xb5\x2f\xfd") => Ok(stream),
        _ => bail!("the kernel is not compressed with zstd"),
    }
}

/// Copies the modules that the lab needs, unpacked, and indexes them.
fn keep_modules(unpacked: &Path, place: &Path, release: &str) -> anyhow::Result<()> {
    let words = r#"
        from=$1/usr/lib/modules/$3 to=$2/modules/usr/lib/modules/$3
        [ -d "$from" ] || from=$1/lib/modules/$3
        mkdir -p "$to"; cp "$from"/modules.* "$to"
        shift 3
        cd "$from/kernel"
        for one in "$@"; do
            for file in $(find "$one" "$one.ko.xz" -name '*.ko.xz' 2>/dev/null || true); do
                mkdir -p "$to/kernel/${file%/*}"
                xz -dc "$file" > "$to/kernel/${file%.xz}"
            done
        done
    "#;
    let place_text = place.display().to_string();
    let mut arguments =
        vec![unpacked.display().to_string(), place_text.clone(), release.to_owned()];
    arguments.extend(MODULES.map(str::to_owned));
    piped(Path::new("/"), words, &arguments)?;
    // depmod knows /lib/modules alone.
    let modules = format!("{place_text}/modules");
    let link = Path::new(&modules).join("lib");
    std::os::unix::fs::symlink("usr/lib", &link)?;
    told(&mut command("depmod", &["-b", &modules, release])?)?;
    fs::remove_file(link)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compressed_kernel_is_found_where_the_header_says() {
        let mut image = vec![0_u8; 0x2000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x1f1] = 3;
        image[0x248..0x24c].copy_from_slice(&0x10_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&12_u32.to_le_bytes());
        let begin = 4 * 512 + 0x10;
        image[begin..begin + 4].copy_from_slice(b"\x28\xb5\x2f\xfd");
        assert_eq!(payload(&image).unwrap().len(), 8);
        image[begin] = 0x1f;
        assert!(payload(&image).unwrap_err().to_string().contains("zstd"));
        assert!(payload(&image[..0x100]).is_err());
    }
}
