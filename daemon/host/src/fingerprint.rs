//! What a host was when it was judged: written down by `kadenz doctor`, compared by `kadenzd` at every start.
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::isolation::Isolation;
use crate::{CpuList, Files, kernel};

/// Environment variable that names the directory of the stored fingerprint.
pub const STATE_DIR_ENV: &str = "KADENZ_STATE_DIR";
/// The directory where that says nothing: root's alone, unlike that of the recordings, which is the logger's.
const SYSTEM_DIR: &str = "/var/lib/kadenz-host";
const FILE_NAME: &str = "host.json";
/// Version of the file; a reader refuses another.
const SCHEMA_VERSION: u32 = 1;
/// Larger is no fingerprint.
const BYTES_MAX: u64 = 64 * 1024;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What of a host bears on its timing. What could not be read is `None` and is compared with nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Version of the file.
    pub schema_version: u32,
    /// Release and version of the kernel.
    pub kernel: Option<String>,
    /// What it was booted with.
    pub command_line: Option<String>,
    /// Model of the CPU.
    pub cpu_model: Option<String>,
    /// Revision of its microcode.
    pub microcode: Option<String>,
    /// CPUs that are online.
    pub cpus: Option<String>,
    /// CPUs that are isolated, by command line or partition.
    pub isolated: Option<String>,
    /// Frequency governor; one word when all CPUs have the same.
    pub governor: Option<String>,
    /// Clock source.
    pub clock_source: Option<String>,
    /// Version of the BIOS.
    pub bios: Option<String>,
    /// Share of a period that real-time threads may run, µs of µs.
    pub rt_throttling: Option<String>,
    /// 99 % of the probe's wake-ups were earlier, ns. For people: it is compared with nothing.
    pub wake_ns_p99: Option<u64>,
}

/// One thing that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is, in words.
    pub what: &'static str,
    /// When the host was judged.
    pub before: String,
    /// Now.
    pub now: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} was `{}`, is `{}`", self.what, self.before, self.now)
    }
}

impl Fingerprint {
    /// The host as it is now; without a probe.
    #[must_use]
    pub fn of(files: &Files) -> Self {
        let cpu_info = files.text("/proc/cpuinfo").unwrap_or_default();
        let of_cpu = |name: &str| {
            let line = cpu_info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let kernel = kernel::release().and_then(|release| {
            let version = kernel::version()?;
            Ok(format!("{release} {version}"))
        });
        let throttling = kernel::rt_runtime_us(files);
        Self {
            schema_version: SCHEMA_VERSION,
            kernel: kernel.ok(),
            command_line: files.text("/proc/cmdline"),
            cpu_model: of_cpu("model name"),
            microcode: of_cpu("microcode"),
            cpus: files.text("/sys/devices/system/cpu/online"),
            isolated: Some(Isolation::of(files).cpus().to_string()),
            governor: governors(files),
            clock_source: Some(kernel::clock_source(files)).filter(|name| !name.is_empty()),
            bios: files.text("/sys/class/dmi/id/bios_version"),
            rt_throttling: throttling.map(|(runtime, period)| format!("{runtime} of {period}")),
            wake_ns_p99: None,
        }
    }

    /// What differs from how the host was when `self` was taken.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        let pairs = [
            ("kernel", &self.kernel, &now.kernel),
            ("kernel command line", &self.command_line, &now.command_line),
            ("CPU model", &self.cpu_model, &now.cpu_model),
            ("microcode", &self.microcode, &now.microcode),
            ("online CPUs", &self.cpus, &now.cpus),
            ("isolated CPUs", &self.isolated, &now.isolated),
            ("frequency governor", &self.governor, &now.governor),
            ("clock source", &self.clock_source, &now.clock_source),
            ("BIOS", &self.bios, &now.bios),
            ("real-time throttling", &self.rt_throttling, &now.rt_throttling),
        ];
        let differing = pairs.into_iter().filter_map(|(what, before, now)| {
            let (before, now) = (before.as_ref()?, now.as_ref()?);
            (before != now).then(|| Change { what, before: before.clone(), now: now.clone() })
        });
        differing.collect()
    }

    /// Writes it to `file`, which is then whole or as it was; its directory is made if it is missing.
    ///
    /// # Errors
    /// Place and reason.
    pub fn store(&self, file: &Path) -> anyhow::Result<()> {
        let at = || file.display().to_string();
        let directory = file.parent().with_context(at)?;
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        // A new file under a new name: whoever else may write in the directory cannot lead this elsewhere.
        let mut new = tempfile::NamedTempFile::new_in(directory).with_context(at)?;
        let mut text = serde_json::to_string_pretty(self).with_context(at)?;
        text.push('\n');
        new.write_all(text.as_bytes()).with_context(at)?;
        // kadenzd reads it as a user of its own.
        new.as_file().set_permissions(fs::Permissions::from_mode(0o644)).with_context(at)?;
        new.as_file().sync_all().with_context(at)?;
        new.persist(file).with_context(at)?;
        Ok(())
    }

    /// Reads what was stored; `None` when nothing was.
    ///
    /// # Errors
    /// It cannot be read, is no fingerprint of this version, or somebody else than root and this user could
    /// have written it.
    pub fn load(file: &Path) -> anyhow::Result<Option<Self>> {
        let remedy = "run `kadenz doctor` again, or remove the file";
        let at = || file.display().to_string();
        let meta = match fs::symlink_metadata(file) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(at),
        };
        let own = nix::unistd::geteuid().as_raw();
        let is_trusted = meta.is_file()
            && (meta.uid() == 0 || meta.uid() == own)
            && meta.mode() & WRITABLE_BY_OTHERS == 0
            && meta.len() <= BYTES_MAX;
        if !is_trusted {
            bail!(
                "{}: uid {}, mode {:03o}, {} bytes: not written by root or this user alone; {remedy}",
                at(),
                meta.uid(),
                meta.mode() & 0o777,
                meta.len()
            );
        }
        let text = fs::read_to_string(file).with_context(at)?;
        let stored: Self = serde_json::from_str(&text)
            .with_context(|| format!("{}: no fingerprint of a host; {remedy}", at()))?;
        if stored.schema_version != SCHEMA_VERSION {
            bail!(
                "{}: schema_version {}, not {SCHEMA_VERSION}; {remedy}",
                at(),
                stored.schema_version
            );
        }
        Ok(Some(stored))
    }
}

/// The file of the stored fingerprint: in `$KADENZ_STATE_DIR`, else in `/var/lib/kadenz-host`.
#[must_use]
pub fn file() -> PathBuf {
    let named = std::env::var_os(STATE_DIR_ENV).filter(|dir| !dir.is_empty());
    named.map_or_else(|| PathBuf::from(SYSTEM_DIR), PathBuf::from).join(FILE_NAME)
}

/// What has changed on this host since it was judged; `None` when it never was.
///
/// A stored fingerprint that cannot be read is itself such a change.
#[must_use]
pub fn changes_since_judged(files: &Files, file: &Path) -> Option<Vec<Change>> {
    match Fingerprint::load(file) {
        Ok(None) => None,
        Ok(Some(stored)) => Some(stored.changes(&Fingerprint::of(files))),
        Err(error) => Some(vec![Change {
            what: "the stored fingerprint",
            before: "readable".to_owned(),
            now: format!("{error:#}"),
        }]),
    }
}

fn governors(files: &Files) -> Option<String> {
    let cpus = CpuList::of(&files.text("/sys/devices/system/cpu/online")?);
    let each: Vec<(usize, String)> =
        cpus.iter().filter_map(|cpu| Some((cpu, kernel::governor(files, cpu)?))).collect();
    let (_, first) = each.first()?;
    if each.iter().all(|(_, governor)| governor == first) {
        return Some(first.clone());
    }
    let words: Vec<String> =
        each.iter().map(|(cpu, governor)| format!("{cpu}: {governor}")).collect();
    Some(words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_only_the_host_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept").join(FILE_NAME);
        assert_eq!(Fingerprint::load(&file).unwrap(), None);
        let now = Fingerprint { wake_ns_p99: Some(7), ..Fingerprint::of(&Files::here()) };
        now.store(&file).unwrap();
        assert_eq!(Fingerprint::load(&file).unwrap().as_ref(), Some(&now));
        assert_eq!(changes_since_judged(&Files::here(), &file), Some(Vec::new()));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn every_change_is_named_and_what_was_unreadable_is_none() {
        let before = Fingerprint {
            kernel: Some("6.12.1 PREEMPT_RT".to_owned()),
            isolated: Some("1".to_owned()),
            bios: Some("1.0".to_owned()),
            ..Fingerprint::default()
        };
        let now = Fingerprint {
            kernel: Some("6.12.2 PREEMPT_RT".to_owned()),
            isolated: Some(String::new()),
            microcode: Some("0x2".to_owned()),
            ..Fingerprint::default()
        };
        let changes = before.changes(&now);
        let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "kernel was `6.12.1 PREEMPT_RT`, is `6.12.2 PREEMPT_RT`",
                "isolated CPUs was `1`, is ``"
            ]
        );
    }

    #[test]
    fn a_file_that_is_damaged_foreign_or_writable_for_others_is_a_change_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        let told = || {
            let changes = changes_since_judged(&Files::here(), &file).unwrap();
            assert_eq!(changes.len(), 1);
            changes[0].now.clone()
        };
        fs::write(&file, "{\"schema_version\":1").unwrap();
        assert!(told().contains("no fingerprint of a host"), "{}", told());
        fs::write(&file, "{\"schema_version\":9}").unwrap();
        assert!(told().contains("schema_version 9"), "{}", told());
        Fingerprint::of(&Files::here()).store(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(told().contains("mode 666"), "{}", told());
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/proc/cpuinfo", &file).unwrap();
        assert!(told().contains("not written by root"), "{}", told());
    }
}
