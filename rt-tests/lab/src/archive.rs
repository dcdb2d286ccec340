//! Debian's archive, reached by the host's own apt with lists and settings of the lab: nothing of the host's apt is
//! changed, and nothing of a foreign suite is ever installed on the host.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::command::{command, told};

/// The mirror, when the host's own sources name none.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
/// Signs the archive; comes with every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A view of Debian's archive: some suites of one mirror.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Fetches the package lists of `suites` into `folder`.
    ///
    /// # Errors
    /// The mirror cannot be reached, or its signature is not Debian's.
    pub fn fetched(folder: &Path, suites: &[&str]) -> anyhow::Result<Self> {
        ensure!(
            Path::new(KEYRING).exists(),
            "{KEYRING} is missing; install the package `debian-archive-keyring`"
        );
        for inner in ["lists/partial", "archives/partial"] {
            let inner = folder.join(inner);
            fs::create_dir_all(&inner).with_context(|| inner.display().to_string())?;
        }
        let mut sources = String::new();
        for suite in suites {
            let mirror = if suite.ends_with("-security") { security_mirror() } else { mirror() };
            sources += &format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        }
        fs::write(folder.join("sources.list"), sources)?;
        let archive = Self { folder: folder.to_owned() };
        archive.apt("apt-get", &["update", "-qq"])?;
        Ok(archive)
    }

    /// Runs a program of apt over these suites alone; gives what it printed.
    ///
    /// # Errors
    /// As the program says.
    pub fn apt(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let at = |inner: &str| self.folder.join(inner).display().to_string();
        let settings = [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache::archives={}", at("archives")),
            format!("Dir::Cache::pkgcache={}", at("packages.bin")),
            format!("Dir::Cache::srcpkgcache={}", at("sources.bin")),
            // Lists that root fetched into a closed folder cannot be read by apt's own user.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        let mut words: Vec<&str> = Vec::new();
        for setting in &settings {
            words.extend(["-o", setting]);
        }
        words.extend(arguments);
        let mut apt = command(program, &words)?;
        apt.env("DEBIAN_FRONTEND", "noninteractive").current_dir(&self.folder);
        told(&mut apt)
    }

    /// What `package` depends on by name, newest version.
    ///
    /// # Errors
    /// There is no such package.
    pub fn dependencies(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let said = self.apt("apt-cache", &["show", "--no-all-versions", package])?;
        Ok(names_in(&said))
    }

    /// Fetches `package` as a file; gives its path.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn download(&self, package: &str) -> anyhow::Result<PathBuf> {
        self.apt("apt-get", &["download", "-qq", package])?;
        let begins = format!("{package}_");
        let files = fs::read_dir(&self.folder)?.flatten().map(|entry| entry.path());
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&begins) && name.ends_with(".deb")
        };
        files.into_iter().find(is_it).with_context(|| format!("apt-get downloaded no {package}"))
    }
}

/// Names in the `Depends` of a package's description, versions and alternatives left out.
fn names_in(description: &str) -> Vec<String> {
    let depends = description.lines().find_map(|line| line.strip_prefix("Depends:"));
    let names = depends.unwrap_or_default().split(',').filter_map(|one| {
        one.split(['(', '|', ':']).next().map(str::trim).filter(|name| !name.is_empty())
    });
    names.map(str::to_owned).collect()
}

/// The mirror that packages come from: `$KADENZ_LAB_MIRROR`, or the host's own, or Debian's.
#[must_use]
pub fn mirror() -> String {
    if let Some(named) = std::env::var("KADENZ_LAB_MIRROR").ok().filter(|named| !named.is_empty()) {
        return named;
    }
    let uris = host_uris();
    let main = uris.iter().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    main.cloned().unwrap_or_else(|| DEFAULT_MIRROR.to_owned())
}

fn security_mirror() -> String {
    let security = host_uris().into_iter().find(|uri| uri.contains("debian-security"));
    security.unwrap_or_else(|| format!("{}-security", mirror().trim_end_matches('/')))
}

/// Every place the host's apt fetches from.
fn host_uris() -> Vec<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(parts);
    files.iter().flat_map(|file| uris_in(&fs::read_to_string(file).unwrap_or_default())).collect()
}

/// Places in a sources file of either form.
fn uris_in(text: &str) -> Vec<String> {
    let mut uris = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(listed) = line.strip_prefix("URIs:") {
            uris.extend(listed.split_ascii_whitespace().map(str::to_owned));
        } else if line.starts_with("deb ") {
            uris.extend(
                line.split_ascii_whitespace().find(|word| word.contains("://")).map(str::to_owned),
            );
        }
    }
    uris
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read_from_both_forms_of_sources() {
        let new = "Types: deb\n# http://old.example/debian\nURIs: http://a.example/debian http://b.example/x\nSuites: bookworm\n";
        assert_eq!(uris_in(new), ["http://a.example/debian", "http://b.example/x"]);
        let old = "# deb http://no.example/debian x main\ndeb [signed-by=/k arch=amd64] https://c.example/debian/ bookworm main\ndeb-src http://d.example/debian x main\n";
        assert_eq!(uris_in(old), ["https://c.example/debian/"]);
    }

    #[test]
    fn dependencies_are_read_without_versions() {
        let said = "Package: linux-image-rt-amd64\nDepends: linux-image-6.12.1+deb13-rt-amd64 (= 6.12.1-1), kmod | x\n";
        assert_eq!(names_in(said), ["linux-image-6.12.1+deb13-rt-amd64", "kmod"]);
        assert!(names_in("Package: x\n").is_empty());
    }
}
