//! The Debian package as dpkg and an administrator meet it: what is in it, that it comes and goes, and what stays.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::geteuid;

/// What is in the package: mode, owner, place.
const CONTENTS_GOLDEN: &str = include_str!("contents.txt");
const WITHOUT_ROOT: &str = "KADENZ_TESTS_WITHOUT_ROOT";

/// A package made of the binaries that were built beside this test's.
struct Package {
    home: tempfile::TempDir,
}

impl Package {
    fn build() -> Self {
        let home = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_deb"))
            .args(["--uncompressed", "--out"])
            .arg(home.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", err(&output));
        Self { home }
    }

    fn path(&self) -> PathBuf {
        let listed = fs::read_dir(self.home.path()).unwrap();
        let paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(paths.len(), 1, "one package and nothing else: {paths:?}");
        paths[0].clone()
    }

    fn told(&self, arguments: &[&str], more: &[&str]) -> String {
        let output = Command::new("dpkg-deb").args(arguments).arg(self.path()).args(more).output();
        let output = output.expect("dpkg-deb is there (apt-get install dpkg)");
        assert!(output.status.success(), "{}", err(&output));
        out(&output)
    }

    /// What is in it, without sizes and times.
    fn contents(&self) -> String {
        let lines = self.told(&["--contents"], &[]);
        let lines = lines.lines().map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (mode, owner) = (words.next().unwrap(), words.next().unwrap());
            let place: Vec<&str> = words.skip(3).collect();
            format!("{mode} {owner} {}\n", place.join(" "))
        });
        lines.collect()
    }

    fn control(&self, field: &str) -> String {
        self.told(&["--field"], &[field]).trim().to_owned()
    }

    /// Unpacks the scripts and lists of the package.
    fn scripts(&self) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let output =
            Command::new("dpkg-deb").arg("--control").arg(self.path()).arg(place.path()).output();
        assert!(output.unwrap().status.success());
        place
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_package_holds_what_is_listed_and_nothing_else() {
    let contents = Package::build().contents();
    if std::env::var_os("KADENZ_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contents.txt");
        fs::write(path, &contents).unwrap();
        return;
    }
    assert_eq!(contents, CONTENTS_GOLDEN, "set KADENZ_BLESS to accept the new list");
}

#[test]
fn the_package_is_what_debian_asks_of_one() {
    let package = Package::build();
    assert_eq!(package.control("Package"), "kadenz");
    assert_eq!(package.control("Version"), env!("CARGO_PKG_VERSION"));
    let depends = package.control("Depends");
    assert!(depends.starts_with("libc6 (>= 2."), "{depends}");
    let described = package.control("Description");
    assert!(described.lines().skip(1).all(|line| line.starts_with(' ')), "{described}");

    let contents = package.contents();
    for line in contents.lines() {
        let mode = line.split(' ').next().unwrap();
        assert!(line.contains(" root/root ./"), "everything is root's: {line}");
        assert_eq!(&mode[8..9], "-", "nothing may be written by all: {line}");
        assert!(!mode.contains(['s', 'S', 't']), "no special bits: {line}");
        assert!(!line.contains("/usr/local/"), "not a package's place: {line}");
        let is_page = line.contains("/usr/share/man/man");
        assert!(!is_page || line.ends_with('/') || line.ends_with(".gz"), "compressed: {line}");
    }
    for program in contents.lines().filter_map(|line| line.split("./usr/bin/").nth(1)) {
        let has = |page: String| contents.contains(&page);
        let has_page = has(format!("man1/{program}.1.gz")) || has(format!("man8/{program}.8.gz"));
        assert!(program.is_empty() || has_page, "{program} has no manual page");
        assert!(program.is_empty() || has(format!("completions/{program}\n")), "{program}");
    }

    let scripts = package.scripts();
    let conffiles = fs::read_to_string(scripts.path().join("conffiles")).unwrap();
    assert_eq!(conffiles, "/etc/kadenz/machine.toml\n");
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let path = scripts.path().join(script);
        let output = Command::new("sh").arg("-n").arg(&path).output().unwrap();
        assert!(output.status.success(), "{script}: {}", err(&output));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{script}");
    }
}

/// A system of its own, on top of this one: what is changed in it is seen by nobody and gone in the end.
const SYSTEM: &str = r#"
set -e
home=$1 script=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$home"
mkdir "$home/new" "$home/work" "$home/root"
mount -t overlay -o "lowerdir=/,upperdir=$home/new,workdir=$home/work" none "$home/root"
for place in dev proc run tmp; do mount -t tmpfs -o mode=755 none "$home/root/$place"; done
mount --rbind /proc "$home/root/proc"
for node in null zero urandom; do touch "$home/root/dev/$node"; mount --bind "/dev/$node" "$home/root/dev/$node"; done
cp "$3" "$home/root/tmp/kadenz.deb"
exec chroot "$home/root" /bin/sh -c "$script"
"#;

/// Runs `script` in such a system, with the package at /tmp/kadenz.deb.
fn in_a_system(package: &Path, script: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--ipc", "--net", "sh", "-c", SYSTEM, "system"])
        .arg(home.path())
        .args([script.as_ref(), package.as_os_str()])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .expect("unshare is there (apt-get install util-linux)")
}

#[test]
fn the_package_comes_and_goes_and_recordings_stay() {
    if !geteuid().is_root() {
        let excused = std::env::var_os(WITHOUT_ROOT).is_some();
        assert!(excused, "installing takes root; set {WITHOUT_ROOT}=1 to go without");
        println!("not root: showed nothing");
        return;
    }
    let package = Package::build();
    // Packages that it depends on may be missing here; that they are named is another test's.
    let output = in_a_system(
        &package.path(),
        r#"
set -eu
# This system has no service manager that runs, as a container has none.
test ! -e /run/systemd/system
dpkg --force-depends -i /tmp/kadenz.deb
kadenz --version
for user in kadenzd kadenz-view kadenz-plan kadenz-operate; do getent passwd $user; done
getent group kadenz
test "$(stat -c '%U %G %a' /run/kadenz/operate)" = 'kadenz-operate kadenz 2755'
test "$(stat -c '%U %G %a' /run/kadenz/view)" = 'kadenz-view kadenz-view 700'
test -z "$(find /etc/systemd -name 'kadenz*')" # installed, not enabled
kadenz check /etc/kadenz/machine.toml

mkdir -p /var/lib/kadenz/recordings/main
echo recorded >/var/lib/kadenz/recordings/main/a.mcap
echo '# changed' >>/etc/kadenz/machine.toml
dpkg --force-depends --force-confold -i /tmp/kadenz.deb # as an upgrade does
grep -q '# changed' /etc/kadenz/machine.toml

dpkg -r kadenz
test ! -e /usr/bin/kadenzd
test ! -e /usr/lib/systemd/system/kadenzd.service
grep -q '# changed' /etc/kadenz/machine.toml
dpkg -P kadenz
test ! -e /etc/kadenz
test ! -e /run/kadenz
test "$(cat /var/lib/kadenz/recordings/main/a.mcap)" = recorded
echo all of it
"#,
    );
    let told = format!("{}{}", out(&output), err(&output));
    assert!(output.status.success() && told.contains("all of it"), "{told}");
    assert!(told.contains("recordings stay in /var/lib/kadenz"), "{told}");
    assert!(!Path::new("/usr/bin/kadenzd").exists(), "nothing of it happened outside");
}
