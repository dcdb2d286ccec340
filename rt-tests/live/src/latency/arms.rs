//! The company a loop is given: clients that come, go and do harm, load, and processes that install filters.
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kadenz_link::paths::RuntimeDir;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shm_layout::code::Role;

use super::compare::SplitMix;
use crate::{Set, binary, ends_with_us};

/// What goes on beside the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its name on the command line and in the JSON.
    pub name: &'static str,
    /// The same for people.
    pub about: &'static str,
    /// The company is not ours: it stands beside the floor as well, and the ratio says what the daemon adds.
    pub beside_both: bool,
}

/// All arms.
pub const ARMS: [Arm; 6] = [
    arm("idle", "gateways and a planner", false),
    arm("clients", "eight clients", false),
    arm("churn", "ten clients a second come and are killed", false),
    arm("hostile", "a client scribbles over, cuts off and unlinks the shared memory", false),
    arm("load", "stress-ng: CPU, memory bandwidth, context switches; beside the floor too", true),
    arm("filters", "twenty processes a second install a seccomp filter", false),
];

const fn arm(name: &'static str, about: &'static str, beside_both: bool) -> Arm {
    Arm { name, about, beside_both }
}

/// Monitors of the `clients` arm; planner and logger make eight.
const MONITORS: usize = 6;
/// Clients of the `churn` arm alive at a time.
const ALIVE: usize = 3;
/// Guard against waiting for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Processes beside the loop; they are gone when this is dropped.
#[derive(Default)]
pub struct Company {
    /// With the name of its program.
    children: Vec<(String, Child)>,
}

impl Drop for Company {
    fn drop(&mut self) {
        // Asked first: stress-ng takes its workers along, and would leave them behind if it were killed.
        for (_, child) in &self.children {
            let _ = i32::try_from(child.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        }
        let begun = Instant::now();
        for (_, child) in &mut self.children {
            while begun.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Company {
    /// What stands beside the loop for a whole block.
    ///
    /// # Errors
    /// Something cannot be started; a missing package is named.
    pub fn of(arm: &Arm, set: Option<&Set>) -> anyhow::Result<Self> {
        let mut company = Self::default();
        match (arm.name, set) {
            ("clients", Some(set)) => {
                for _ in 0..MONITORS {
                    company.monitor(set)?;
                }
            }
            ("load", _) => company.load()?,
            _ => {}
        }
        Ok(company)
    }

    /// Whether all that was started is still there, apart from what was killed here: a block beside a company that
    /// has died measured something else than its arm says.
    ///
    /// # Errors
    /// The first that has ended, and how.
    pub fn all_alive(&mut self) -> anyhow::Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("{name} (process {}) ended within the block: {status}", child.id());
            }
        }
        Ok(())
    }

    /// A client comes; the oldest of too many is killed.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn churn(&mut self, set: &Set) -> anyhow::Result<()> {
        self.monitor(set)?;
        if self.children.len() > ALIVE {
            self.all_alive()?;
            let (_, mut oldest) = self.children.remove(0);
            let killed = oldest.kill();
            oldest.wait()?;
            killed?;
        }
        Ok(())
    }

    fn monitor(&mut self, set: &Set) -> anyhow::Result<()> {
        let mut command = Command::new(binary("kadenz-monitor")?);
        command.args(["--json", "--runtime-dir"]).arg(set.dir().as_path());
        self.start(&mut command)
    }

    fn load(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("stress-ng");
        command.args([
            "--quiet",
            "--cpu",
            "0",
            "--stream",
            "1",
            "--switch",
            "1",
            "--timeout",
            "600",
        ]);
        self.start(&mut command).context("the load arm needs the package `stress-ng`")
    }

    fn start(&mut self, command: &mut Command) -> anyhow::Result<()> {
        let quiet = ends_with_us(command).stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(Stdio::null()).spawn()?;
        self.children.push((command.get_program().to_string_lossy().into_owned(), child));
        Ok(())
    }
}

/// A process that installs a filter as a confined client does, and ends.
///
/// # Errors
/// It cannot be started, or the kernel refuses the filter.
pub fn filtered_process() -> anyhow::Result<()> {
    let status = Command::new(std::env::current_exe()?).arg("--install-filter").status()?;
    if !status.success() {
        bail!("a process could not install a seccomp filter: {status}");
    }
    Ok(())
}

/// Installs a filter that denies nothing anybody calls; what [`filtered_process`] starts does only this.
///
/// # Errors
/// The kernel refuses it.
pub fn install_filter() -> anyhow::Result<()> {
    let architecture =
        std::env::consts::ARCH.try_into().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let rules = [(UNUSED_CALL, Vec::new())].into();
    let (others, this) = (seccompiler::SeccompAction::Allow, seccompiler::SeccompAction::Trap);
    let filter = seccompiler::SeccompFilter::new(rules, others, this, architecture)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program).context("installing a seccomp filter")
}

/// A number no kernel gives to a system call.
const UNUSED_CALL: i64 = 4_000;

/// What a hostile process of the view user does to its domain, a burst at a time.
pub struct Scribbler {
    random: SplitMix,
    turn: usize,
}

/// Kinds of bursts, in turn; each says whether it has done a deed.
const BURSTS: [fn(&mut SplitMix, &Path) -> bool; 5] =
    [few_words, many_words, cut_off, unlinked, closed];
/// Words of a heavy burst, per file.
const HEAVY_WORDS: u64 = 20_000;
/// How long one burst goes on.
const BURST: Duration = Duration::from_millis(150);

impl Scribbler {
    /// The same seed does the same harm, as far as the same files are there.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { random: SplitMix(seed), turn: 0 }
    }

    /// One burst over every file of the view domain. For moments not a file of it may be there, while its gateway
    /// is on its way back; within the whole burst one must have been.
    ///
    /// # Errors
    /// The domain's place cannot be told, or the burst has done no harm to any file.
    pub fn burst(&mut self, dir: &RuntimeDir) -> anyhow::Result<()> {
        let number = self.turn;
        let kind = BURSTS[number % BURSTS.len()];
        self.turn += 1;
        let (begun, mut deeds) = (Instant::now(), 0);
        while begun.elapsed() < BURST || deeds == 0 {
            for file in files_of_view(dir)? {
                deeds += u64::from(kind(&mut self.random, &file));
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "burst {number} did {deeds} deeds: the view domain of {} has no files for {PATIENCE:?}",
                dir.as_path().display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn files_of_view(dir: &RuntimeDir) -> anyhow::Result<Vec<PathBuf>> {
    let Some(token) = dir.read_epoch(Role::View)? else { return Ok(Vec::new()) };
    let place = dir.epoch_place(Role::View, token)?;
    let mut files = Vec::new();
    for entry in fs::read_dir("/dev/shm")?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&place.prefix) {
            files.push(entry.path());
        }
    }
    let mut folders = vec![place.root];
    while let Some(folder) = folders.pop() {
        // Gone already: a gateway that died of the last words took it along.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    Ok(files)
}

/// Overwrites words of a file; one that is gone meanwhile needs none. Whether a word was written.
fn overwrite(random: &mut SplitMix, path: &Path, words: u64) -> bool {
    let Ok(file) = fs::OpenOptions::new().write(true).open(path) else { return false };
    let mut written = false;
    let length = file.metadata().map_or(0, |data| data.len());
    for _ in 0..words {
        let place = random.bits() % length.max(8) / 8 * 8;
        written |= file.write_at(&random.bits().to_le_bytes(), place).is_ok();
    }
    written
}

fn few_words(random: &mut SplitMix, path: &Path) -> bool {
    overwrite(random, path, 4)
}

/// Up to 30 % of a file's words, or as many as a burst allows.
fn many_words(random: &mut SplitMix, path: &Path) -> bool {
    let words = fs::metadata(path).map_or(0, |data| data.len() / 8 * 3 / 10);
    overwrite(random, path, words.min(HEAVY_WORDS))
}

fn cut_off(random: &mut SplitMix, path: &Path) -> bool {
    let Ok(file) = fs::OpenOptions::new().write(true).open(path) else { return false };
    let length = file.metadata().map_or(0, |data| data.len());
    file.set_len(random.bits() % length.max(1)).is_ok()
}

fn unlinked(_random: &mut SplitMix, path: &Path) -> bool {
    fs::remove_file(path).is_ok()
}

/// Nobody may open it any more.
fn closed(_random: &mut SplitMix, path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::daemon::scratch;

    #[test]
    fn a_company_of_which_one_has_died_is_named() {
        let mut company = Company::default();
        company.start(Command::new("sleep").arg("600")).unwrap();
        company.all_alive().unwrap();
        company.start(&mut Command::new("false")).unwrap();
        // Waited for here; its status is kept for whoever asks next.
        company.children[1].1.wait().unwrap();
        let said = company.all_alive().unwrap_err().to_string();
        assert!(said.starts_with("false (process ") && said.ends_with("exit status: 1"), "{said}");
    }

    #[test]
    fn a_deed_that_could_not_be_done_is_none() {
        let folder = scratch("deeds").unwrap();
        let (file, mut random) = (folder.join("file"), SplitMix(1));
        for kind in BURSTS {
            assert!(!kind(&mut random, &file));
            fs::write(&file, [0; 4096]).unwrap();
            assert!(kind(&mut random, &file));
            let _ = fs::remove_file(&file);
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
