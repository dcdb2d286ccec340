//! The virtual machine: how a guest is booted, and in whose time it lives.
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::cache::Cache;
use crate::command::{command, piped};
use crate::guest::{Guest, Output, last_lines, split_at_end};
use crate::kernel::Kernel;
use crate::root::{self, RootKind};

/// What keeps others off the loop's CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// The kernel's command line: `isolcpus`, `nohz_full`, `rcu_nocbs`, `irqaffinity`.
    Boot,
    /// The command line without `isolcpus`: scheduling domains are left to a cpuset partition. (With `isolcpus` a
    /// partition is `isolated invalid`: partition config conflicts with housekeeping setup; Linux 6.12.)
    Partition,
    /// Nothing.
    None,
}

/// What is booted.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The root file system.
    pub root: RootKind,
    /// How others are kept off the isolated CPUs.
    pub isolation: Isolation,
    /// CPUs, at least one more than are isolated.
    pub cpus: u32,
    /// The last so many CPUs are isolated; at least 1.
    pub isolated: u32,
    /// A folder whose content stands at `/host` in the guest.
    pub host_dir: Option<PathBuf>,
    /// Words put behind the kernel's command line.
    pub append: Vec<String>,
    /// Time is counted, as in [`crate::Lab::icount`]: a host that is slow or busy is not seen in the guest. For what
    /// is to keep a pace; ten times slower than a guest in the host's time.
    pub counted: bool,
    /// How long a boot, and each script, may take.
    pub patience: Duration,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            root: RootKind::Pruned,
            isolation: Isolation::Boot,
            cpus: 2,
            isolated: 1,
            host_dir: None,
            append: Vec::new(),
            counted: false,
            patience: Duration::from_secs(300),
        }
    }
}

/// In every guest. Nothing random in where things lie, no clock to be judged, no messages between ours; and no
/// interrupt given up for lost, as the second serial line's is after a megabyte in counted time (`noirqdebug`).
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr norandmaps random.trust_bootloader=on \
    mitigations=off tsc=reliable noirqdebug systemd.show_status=no systemd.log_target=null audit=0";

impl Boot {
    /// The kernel's command line, but for which target systemd starts.
    #[must_use]
    pub fn command_line(&self) -> String {
        let first = self.cpus.saturating_sub(self.isolated);
        let own = cpu_list(first, self.cpus.saturating_sub(1));
        let others = cpu_list(0, first.saturating_sub(1));
        let quiet = format!("nohz_full={own} rcu_nocbs={own} irqaffinity={others}");
        let isolation = match self.isolation {
            Isolation::Boot if self.isolated > 0 => {
                format!("isolcpus=managed_irq,domain,{own} {quiet}")
            }
            Isolation::Partition if self.isolated > 0 => quiet,
            _ => String::new(),
        };
        let words = [COMMAND_LINE.to_owned(), isolation, self.append.join(" ")];
        words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }
}

/// A range of CPUs as the kernel writes it.
fn cpu_list(first: u32, last: u32) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// CPUs of a machine in counted time take turns, and a turn lasts until the emulator's next timer, divided by their
/// number: up to milliseconds, in which another CPU stands still. This is a timer that nobody in the guest sees (a
/// filter on a network that leads nowhere, every so many microseconds): turns are short, and CPUs that are busy at the
/// same time share it evenly.
fn turns(longest_us: u32) -> String {
    format!("filter-buffer,id=turns,netdev=nowhere,interval={longest_us}")
}

/// Turns in which wake-ups are measured, µs.
const TURN_US: u32 = 25;
/// Turns of a guest that is talked to, µs: shorter ones take the emulator more time than the guest.
const TURN_TALKED_TO_US: u32 = 200;

/// How time passes in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// As fast as the host can; a thread per CPU.
    Host,
    /// Two nanoseconds per instruction, CPUs in turn, waiting skipped: the same run gives the same times, bit for bit.
    Counted,
}

/// A machine that is put together and not started yet.
pub(crate) struct Machine<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) kernel: &'a Kernel,
    pub(crate) boot: &'a Boot,
    scratch: PathBuf,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(
        cache: &'a Cache,
        kernel: &'a Kernel,
        boot: &'a Boot,
    ) -> anyhow::Result<Self> {
        ensure!(
            boot.cpus > boot.isolated,
            "{} CPUs of which {} are isolated: one is needed for the rest",
            boot.cpus,
            boot.isolated
        );
        Ok(Self { cache, kernel, boot, scratch: cache.scratch("machine")? })
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn console(&self) -> PathBuf {
        self.scratch.join("console")
    }

    /// A fresh boot whose agent listens.
    pub(crate) fn cold(&self) -> anyhow::Result<Guest> {
        let image = self.image(None)?;
        let time = if self.boot.counted { Time::Counted } else { Time::Host };
        let mut qemu = self.qemu(time, &image, "systemd.unit=lab.target")?;
        agent_port(&mut qemu);
        let child = qemu.spawn().context("starting the virtual machine")?;
        let mut guest = self.guest(child)?;
        guest.await_ready()?;
        Ok(guest)
    }

    /// A boot in counted time that runs `script` and ends.
    pub(crate) fn counted(&self, script: &str) -> anyhow::Result<Output> {
        let begun = Instant::now();
        let image = self.image(Some(script))?;
        let mut qemu =
            self.qemu(Time::Counted, &image, "systemd.unit=lab-bare.target lab.script")?;
        let printed = self.scratch.join("printed");
        qemu.arg("-serial").arg(file_device(&printed)).stdout(Stdio::null());
        let mut child = qemu.spawn().context("starting the virtual machine")?;
        await_end(&mut child, self.boot.patience)
            .with_context(|| format!("counted time{}", last_lines(&self.console())))?;
        let mut pending = fs::read(&printed).with_context(|| printed.display().to_string())?;
        let (said, code) = split_at_end(&mut pending, "script");
        let said = String::from_utf8_lossy(&said).into_owned();
        let code = code.with_context(|| {
            format!("the guest ended before its script did{}\n{said}", last_lines(&self.console()))
        })?;
        Ok(Output { said, code, took: begun.elapsed() })
    }

    pub(crate) fn guest(&self, mut child: Child) -> anyhow::Result<Guest> {
        let input = child.stdin.take().context("the machine's input")?;
        let output = child.stdout.take().context("the machine's output")?;
        let (input, output) = (Box::new(input), Box::new(output));
        Ok(Guest::new(child, input, output, self.console(), self.boot.patience))
    }

    /// The root's archive, with the host's folder and the script behind it.
    fn image(&self, script: Option<&str>) -> anyhow::Result<PathBuf> {
        let root = root::image(self.cache, self.kernel, self.boot.root)?;
        if self.boot.host_dir.is_none() && script.is_none() {
            return Ok(root);
        }
        let more = self.scratch.join("more");
        fs::create_dir(&more)?;
        if let Some(folder) = &self.boot.host_dir {
            piped(Path::new("/"), r#"cp -aL "$1" "$2""#, &[folder, &more.join("host")])
                .context("what is to stand at /host")?;
        }
        if let Some(script) = script {
            fs::create_dir(more.join("lab"))?;
            fs::write(more.join("lab/script"), script)?;
        }
        // Nothing of this moment may be in it: counted time must repeat.
        piped(&more, r"find . -exec touch -hd @1700000000 {} +", &[""; 0])?;
        let (archive, image) = (self.scratch.join("more.cpio"), self.scratch.join("image"));
        root::pack(&more, &archive)?;
        fs::remove_dir_all(&more)?;
        piped(Path::new("/"), r#"cat "$1" "$2" >"$3"; rm "$2""#, &[&root, &archive, &image])?;
        Ok(image)
    }

    /// The emulator with everything but a port for the agent.
    pub(crate) fn qemu(&self, time: Time, image: &Path, unit: &str) -> anyhow::Result<Command> {
        let mut qemu = command("qemu-system-x86_64", &["-M", "q35"])?;
        let cpus = self.boot.cpus.to_string();
        qemu.args(["-smp", &cpus, "-display", "none", "-no-reboot", "-nodefaults"]);
        qemu.args(["-no-user-config", "-net", "none"]);
        qemu.args(["-m", &memory_mib(image)?.to_string()]);
        match time {
            Time::Host => qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
            Time::Counted => qemu
                .args(["-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off"])
                .args(["-cpu", "max,-rdrand,-rdseed", "-seed", "1"]),
        };
        if time == Time::Counted && self.boot.cpus > 1 {
            let turns = turns(if self.boot.counted { TURN_TALKED_TO_US } else { TURN_US });
            qemu.args(["-netdev", "hubport,id=nowhere,hubid=0", "-object", &turns]);
        }
        qemu.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(image);
        qemu.args(["-append", &format!("{} {unit}", self.boot.command_line())]);
        qemu.arg("-serial").arg(file_device(&self.console()));
        let complaints = File::create(self.scratch.join("complaints"))?;
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints);
        qemu.current_dir(&self.scratch);
        Ok(qemu)
    }
}

/// The agent's port, at the machine's own input and output.
pub(crate) fn agent_port(qemu: &mut Command) {
    qemu.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=agent,signal=off"]);
    qemu.args(["-device", "virtserialport,chardev=agent,name=lab"]);
}

fn file_device(path: &Path) -> std::ffi::OsString {
    let mut device = std::ffi::OsString::from("file:");
    device.push(path);
    device
}

/// Memory for a root that is unpacked beside its archive, and for what runs in it, MiB.
pub(crate) fn memory_mib(image: &Path) -> anyhow::Result<u64> {
    let bytes = fs::metadata(image).with_context(|| image.display().to_string())?.len();
    // The root is a tmpfs, which takes half of all memory at most.
    Ok((3 * (bytes >> 20) + 512).next_multiple_of(128))
}

fn await_end(child: &mut Child, patience: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            bail!("the guest has not ended within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_isolation_says_what_it_is_to_the_kernel() {
        let line = |isolation, cpus| Boot { isolation, cpus, ..Boot::default() }.command_line();
        let boot = line(Isolation::Boot, 2);
        assert!(
            boot.ends_with("isolcpus=managed_irq,domain,1 nohz_full=1 rcu_nocbs=1 irqaffinity=0")
        );
        let partition = line(Isolation::Partition, 4);
        assert!(partition.ends_with("nohz_full=3 rcu_nocbs=3 irqaffinity=0-2"), "{partition}");
        assert!(!partition.contains("isolcpus"));
        assert!(!line(Isolation::None, 2).contains("nohz_full"));
        let two = Boot { cpus: 3, isolated: 2, ..Boot::default() }.command_line();
        assert!(two.ends_with("domain,1-2 nohz_full=1-2 rcu_nocbs=1-2 irqaffinity=0"), "{two}");
    }
}
