//! The files that make systemd know Kadenz, as they stand in the tree, and where each belongs. Nothing is written here.
use std::path::{Path, PathBuf};

/// Where the shipped units say that the binaries are.
const SHIPPED_BINARIES: &str = "/usr/bin/";
/// Where the shipped units say that the documentation is.
const SHIPPED_DOCUMENTATION: &str = "/usr/share/doc/kadenz/";

/// What systemd is to do with a file, which decides where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unit,
    Sysusers,
    Tmpfiles,
    Udev,
    Sysctl,
    Documentation,
}

impl Kind {
    /// The directory of such files, beneath the prefix.
    fn directory(self) -> &'static str {
        match self {
            Self::Unit => "lib/systemd/system",
            Self::Sysusers => "lib/sysusers.d",
            Self::Tmpfiles => "lib/tmpfiles.d",
            Self::Udev => "lib/udev/rules.d",
            Self::Sysctl => "lib/sysctl.d",
            Self::Documentation => "share/doc/kadenz",
        }
    }
}

/// Names a file of the tree's folder systemd/ and takes it in.
macro_rules! shipped {
    ($kind:ident, $name:literal, $path:literal) => {
        (Kind::$kind, $name, include_str!(concat!("../../../../systemd/", $path)))
    };
    ($kind:ident, $name:literal) => {
        shipped!($kind, $name, $name)
    };
}

/// Every file, users first: what comes later needs them.
const SHIPPED: [(Kind, &str, &str); 15] = [
    shipped!(Sysusers, "kadenz.conf", "sysusers/kadenz.conf"),
    shipped!(Tmpfiles, "kadenz.conf", "tmpfiles/kadenz.conf"),
    shipped!(Udev, "60-kadenz.rules", "udev/60-kadenz.rules"),
    shipped!(Sysctl, "60-kadenz.conf", "sysctl/60-kadenz.conf"),
    shipped!(Unit, "kadenz.slice"),
    shipped!(Unit, "kadenz-rt.slice"),
    shipped!(Unit, "kadenz-gateways.slice"),
    shipped!(Unit, "kadenz-clients.slice"),
    shipped!(Unit, "kadenzd.service"),
    shipped!(Unit, "kadenz-gateway@.service"),
    shipped!(Unit, "kadenz-planner@.service"),
    shipped!(Unit, "kadenz-logger@.service"),
    shipped!(Unit, "kadenz-monitor.service"),
    shipped!(Unit, "kadenz.target"),
    shipped!(Documentation, "systemd.md", "README.md"),
];

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Where, beneath the root.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) text: String,
}

/// The files for binaries in `binaries`, beneath `prefix` (both absolute).
pub(crate) fn planned(prefix: &Path, binaries: &Path) -> Vec<Planned> {
    let with_slash = |path: &Path| format!("{}/", path.display().to_string().trim_end_matches('/'));
    let (binaries, documentation) =
        (with_slash(binaries), with_slash(&prefix.join(Kind::Documentation.directory())));
    let planned = SHIPPED.iter().map(|(kind, name, text)| Planned {
        path: prefix.join(kind.directory()).join(name),
        text: match kind {
            Kind::Unit => text
                .replace(SHIPPED_BINARIES, &binaries)
                .replace(SHIPPED_DOCUMENTATION, &documentation),
            _ => (*text).to_owned(),
        },
    });
    planned.collect()
}

/// Where the users are declared, beneath `prefix`.
pub(crate) fn sysusers(prefix: &Path) -> PathBuf {
    prefix.join(Kind::Sysusers.directory()).join("kadenz.conf")
}

/// Where the directories are declared, beneath `prefix`.
pub(crate) fn tmpfiles(prefix: &Path) -> PathBuf {
    prefix.join(Kind::Tmpfiles.directory()).join("kadenz.conf")
}

/// Where the kernel's settings are, beneath `prefix`.
pub(crate) fn sysctl(prefix: &Path) -> PathBuf {
    prefix.join(Kind::Sysctl.directory()).join("60-kadenz.conf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd"));
        let mut found = BTreeSet::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let shipped: BTreeSet<String> =
            SHIPPED.iter().map(|(_, _, text)| (*text).to_owned()).collect();
        assert_eq!(shipped.len(), SHIPPED.len(), "no file twice");
        assert!(found == shipped, "a file of systemd/ is missing in SHIPPED");
    }

    #[test]
    fn units_start_the_binaries_that_were_installed_with_them() {
        let planned = planned(Path::new("/usr/local"), Path::new("/opt/kadenz/bin/"));
        let unit = |name: &str| {
            let path = Path::new("/usr/local/lib/systemd/system").join(name);
            planned.iter().find(|one| one.path == path).unwrap().text.as_str()
        };
        assert!(unit("kadenzd.service").contains("\nExecStart=/opt/kadenz/bin/kadenzd --config"));
        for one in planned.iter().filter(|one| one.path.starts_with("/usr/local/lib/systemd")) {
            assert!(!one.text.contains("/usr/bin/"), "{}", one.path.display());
            assert!(!one.text.contains("/usr/share/"), "{}", one.path.display());
        }
    }
}
