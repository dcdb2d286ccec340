//! A machine whose roles have users of their own: `kadenz up` as root, and ways to meet it as somebody.
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kadenz_link::paths::{RuntimeDir, Token};
use live_tests::{binary, ends_with_us};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shm_layout::code::Role;

use crate::people::People;

/// One machine at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// Turns of a loop that waits for other processes: a guard against hanging, not a limit in time.
const TURNS_MAX: u32 = 6000;
const TURN: Duration = Duration::from_millis(10);
const PROGRAMS: [&str; 6] =
    ["kadenz", "kadenzd", "kadenz-gateway", "kadenz-planner", "kadenz-logger", "kadenz-monitor"];

/// Users, programs they can reach, and a place for the machine; no process yet.
pub struct Site {
    pub people: People,
    pub dir: RuntimeDir,
    pub home: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    pub fn make() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let home = PathBuf::from(format!("/tmp/kdz-t-{}", std::process::id()));
        let _none_left = fs::remove_dir_all(&home);
        let bin = home.join("bin");
        fs::create_dir_all(&bin).expect("a folder for programs");
        open_to_all(&home);
        open_to_all(&bin);
        // The folder of the build may be closed to these users.
        for program in PROGRAMS {
            place(&binary(program).expect("built programs"), &bin.join(program));
        }
        place(&std::env::current_exe().expect("own path"), &bin.join("rights"));
        let dir = RuntimeDir::at(format!("/dev/shm/kdzt{}", std::process::id())).expect("absolute");
        let site = Self { people: People::make(), dir, home, _alone: alone };
        fs::write(site.home.join("machine.toml"), site.machine()).expect("a machine file");
        fs::write(site.home.join("short.csv"), "t_s,j1_rad\n0.0,0.0\n0.5,0.1\n1.0,0.0\n")
            .expect("a trajectory");
        fs::write(site.home.join("long.csv"), live_tests::kills::fast_csv()).expect("a trajectory");
        site
    }

    /// The embedded arm, its roles given to users.
    fn machine(&self) -> String {
        let text = kadenz_config::demo("demo-arm").expect("embedded");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("\"one-user\""));
        let user = |who| self.people.user(who);
        format!(
            "{}\n[roles]\nview = \"{}\"\nplan = \"{}\"\noperate = \"{}\"\noperate_group = \"{}\"\n",
            lines.collect::<Vec<_>>().join("\n"),
            user("view"),
            user("plan"),
            user("operate"),
            self.people.group()
        )
    }

    pub fn program(&self, name: &str) -> String {
        self.home.join("bin").join(name).display().to_string()
    }

    pub fn file(&self, name: &str) -> String {
        self.home.join(name).display().to_string()
    }

    /// `kadenz` with `args`, run by `who`.
    pub fn kadenz(&self, who: &str, args: &[&str]) -> Said {
        self.finish(self.people.run_as(who, &self.program("kadenz")), args)
    }

    /// The same of somebody whose session is older than his membership.
    pub fn kadenz_of_old(&self, who: &str, args: &[&str]) -> Said {
        self.finish(self.people.run_as_of_old(who, &self.program("kadenz")), args)
    }

    /// The same of root.
    pub fn kadenz_as_root(&self, args: &[&str]) -> Said {
        self.finish(Command::new(self.program("kadenz")), args)
    }

    fn finish(&self, mut command: Command, args: &[&str]) -> Said {
        command.arg("--runtime-dir").arg(self.dir.as_path()).args(args).stdin(Stdio::null());
        Said::of(&command.output().expect("kadenz runs; setpriv is of the package `util-linux`"))
    }

    /// A client started as root, on this machine.
    pub fn as_root(&self, program: &str, args: &[&str]) -> Running {
        let mut command = Command::new(self.program(program));
        command.arg("--runtime-dir").arg(self.dir.as_path()).args(args);
        let log = File::create(self.home.join(format!("{program}.log"))).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        Running(ends_with_us(&mut command).process_group(0).spawn().expect("a client"))
    }

    /// One of the ignored tests of doors.rs, run by `who`; what it found.
    pub fn door_command(&self, who: &str, name: &str) -> Command {
        let mut command = self.people.run_as(who, &self.program("rights"));
        command.args(["--exact", name, "--ignored", "--nocapture"]);
        command.env("RIGHTS_DIR", self.dir.as_path()).stdin(Stdio::null());
        command
    }

    /// Starts the set without the clients named.
    pub fn up(&self, without: &[&str]) -> Machine<'_> {
        let log = File::create(self.home.join("up.log")).expect("a log");
        let mut command = Command::new(self.program("kadenz"));
        command.arg("--runtime-dir").arg(self.dir.as_path()).arg("up").arg("--config");
        command.arg(self.home.join("machine.toml")).arg("--out").arg(self.home.join("recordings"));
        if !without.is_empty() {
            command.arg("--without").arg(without.join(","));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let up = ends_with_us(&mut command).process_group(0).spawn().expect("kadenz up");
        let machine = Machine { site: self, up: Running(up) };
        machine.wait("the machine to be up", || self.kadenz_as_root(&["status"]).code == 0);
        machine
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _left_for_the_next = fs::remove_dir_all(&self.home);
        }
    }
}

/// What a program said at its end.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A process of ours; asked to end when dropped.
pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"))
    }

    /// Asks it to end and waits for it.
    pub fn end(&mut self) -> i32 {
        let _ended_already = kill(self.pid(), Signal::SIGTERM);
        self.0.wait().expect("wait").code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// A running set.
pub struct Machine<'s> {
    pub site: &'s Site,
    pub up: Running,
}

impl Machine<'_> {
    /// Waits until `done`.
    pub fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..TURNS_MAX {
            if done() {
                return;
            }
            std::thread::sleep(TURN);
        }
        let log = fs::read_to_string(self.site.home.join("up.log")).unwrap_or_default();
        panic!("waited in vain for {what}\n{log}");
    }

    /// The process of the set whose command line holds all of `words`.
    pub fn pid(&self, words: &[&str]) -> Pid {
        self.pid_if(words).unwrap_or_else(|| panic!("{words:?} does not run"))
    }

    pub fn pid_if(&self, words: &[&str]) -> Option<Pid> {
        let own = self.up.pid().as_raw();
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = pids.filter_map(|one| one.file_name().to_string_lossy().parse::<i32>().ok());
        pids.filter(|pid| parent(*pid) == Some(own))
            .find(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                words.iter().all(|word| line.contains(word))
            })
            .map(Pid::from_raw)
    }

    pub fn gateway(&self, role: &str) -> Pid {
        self.pid(&["kadenz-gateway", &format!("--role {role}")])
    }

    pub fn epoch(&self, role: Role) -> Option<Token> {
        self.site.dir.read_epoch(role).expect("an announcement")
    }

    /// The machine as root sees it; `None` while a gateway is away.
    pub fn status(&self) -> Option<serde_json::Value> {
        let said = self.site.kadenz_as_root(&["--json", "status"]);
        (said.code == 0).then(|| said.json())
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The numbers after `field` in the status of a process.
pub fn ids(pid: Pid, field: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Puts a program where everybody can run it.
fn place(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    }
    open_to_all(to);
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("mode");
}
