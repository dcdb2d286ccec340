//! `kadenz doctor` on this host, whose conditions are really changed: each finding must turn as it says.
//!
//! Most changes take root. What this kind of host cannot be (PREEMPT_RT, isolated) the lab's cases show.
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kadenz_host::thread;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde_json::Value;

const KADENZ: &str = env!("CARGO_BIN_EXE_kadenz");
const WITHOUT_ROOT: &str = "KADENZ_TESTS_WITHOUT_ROOT";

/// One examination at a time: they measure, and change what others measure.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A place of one test: runtime directory on tmpfs, state directory of its own.
struct Ward {
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Ward {
    fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm takes directories");
        Self { dir, _alone: alone }
    }

    fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn state_file(&self) -> PathBuf {
        self.dir.path().join("state/host.json")
    }

    /// `kadenz doctor` behind `wrapper`, e.g. a program that takes rights away.
    fn examine_behind(&self, wrapper: &[&str], args: &[&str]) -> Examined {
        let runtime_dir = self.runtime_dir();
        fs::create_dir_all(&runtime_dir).expect("the ward works");
        let mut words: Vec<&str> = wrapper.to_vec();
        words.push(KADENZ);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["doctor", "--json", "--seconds", "1", "--runtime-dir"]);
        command.arg(&runtime_dir).args(args);
        command.env("KADENZ_STATE_DIR", self.dir.path().join("state"));
        Examined::of(&command.output().expect("built programs run"))
    }

    fn examine(&self, args: &[&str]) -> Examined {
        self.examine_behind(&[], args)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("the ward works");
        path.display().to_string()
    }
}

struct Examined {
    code: i32,
    reply: Value,
}

impl Examined {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let reply = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        Self { code: output.status.code().expect("it ended by itself"), reply }
    }

    fn finding(&self, name: &str) -> &Value {
        let findings = self.reply["findings"].as_array().expect("findings");
        findings.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"))
    }

    fn status(&self, name: &str) -> &str {
        self.finding(name)["status"].as_str().expect("the ward works")
    }

    fn measured(&self, name: &str) -> &str {
        self.finding(name)["measured"].as_str().expect("the ward works")
    }

    #[track_caller]
    fn expect(&self, name: &str, status: &str, word: &str) {
        let told = (self.status(name), self.measured(name));
        assert!(told.0 == status && told.1.contains(word), "{name}: {told:?}");
        let has_remedy =
            !self.finding(name)["remedies"].as_array().expect("the ward works").is_empty();
        assert_eq!(has_remedy, matches!(status, "warn" | "error"), "{name}: remedies");
    }
}

/// Whether this test can change what it has to; said aloud where somebody runs without root on purpose.
fn is_root() -> bool {
    if geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os(WITHOUT_ROOT).is_some_and(|value| value == "1"),
        "this test changes the host: run it as root, or set {WITHOUT_ROOT}=1 to go without"
    );
    eprintln!("shows nothing: not root");
    false
}

/// The CPU that the doctor examines unless told otherwise.
fn loop_cpu() -> usize {
    thread::loop_cpu(kadenz_config::machine::Cpu::Last).expect("the ward works")
}

/// Holds a text in a file of the kernel and puts back what was there.
struct Held {
    path: PathBuf,
    before: String,
}

impl Held {
    fn text(path: &str, text: &str) -> Self {
        let before = fs::read_to_string(path).expect("the kernel has this file");
        // A file that shows every choice marks the one that is made.
        let chosen = before.split_once('[').and_then(|(_, rest)| Some(rest.split_once(']')?.0));
        let before = chosen.unwrap_or(&before).trim().to_owned();
        fs::write(path, text).expect("root may write it");
        Self { path: PathBuf::from(path), before }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).expect("what was there may be written");
    }
}

/// A thread of this process on a CPU until it is dropped.
struct Occupant {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Occupant {
    fn start(
        name: &str,
        pass: impl Fn() + Send + 'static,
        begin: impl FnOnce() + Send + 'static,
    ) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let life = move || {
            begin();
            ready.send(()).expect("the ward works");
            while !told.load(Ordering::Relaxed) {
                pass();
            }
        };
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(life).expect("the ward works");
        is_ready.recv().expect("the ward works");
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Occupant {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn every_finding_says_what_was_measured_why_it_matters_and_what_mends_it() {
    let ward = Ward::new();
    let examined = ward.examine(&["--demo", "demo-arm"]);
    let findings = examined.reply["findings"].as_array().unwrap();
    assert!(findings.len() > 30, "{}", findings.len());
    for finding in findings {
        let name = finding["name"].as_str().unwrap();
        assert!(!finding["measured"].as_str().unwrap().is_empty(), "{name}");
        assert!(!finding["why"].as_str().unwrap().is_empty(), "{name}");
        let is_bad = matches!(finding["status"].as_str(), Some("warn" | "error"));
        assert_eq!(is_bad, !finding["remedies"].as_array().unwrap().is_empty(), "{name}");
    }
    assert!(examined.reply["probe"]["wake_ns"]["max"].as_u64().unwrap() > 0);
    assert!(examined.reply["probe"]["wake_ups"].as_u64().unwrap() > 0);
}

#[test]
fn the_same_host_is_refused_for_a_machine_that_exempts_nothing_and_passes_for_one_that_exempts_its_lacks()
 {
    let ward = Ward::new();
    let strict = ward.examine(&[]);
    let counts = |examined: &Examined| {
        let findings = examined.reply["findings"].as_array().unwrap().clone();
        findings.iter().filter(|one| one["status"] == "error" && one["is_exempt"] == false).count()
    };
    assert_eq!(strict.code, i32::from(counts(&strict) > 0));
    let lenient = ward.examine(&["--demo", "demo-arm", "--no-store"]);
    assert_eq!(lenient.code, i32::from(counts(&lenient) > 0));
    if strict.status("preempt-rt") == "error" {
        assert_eq!(lenient.finding("preempt-rt")["is_exempt"], true);
        assert_eq!(lenient.status("preempt-rt"), "error", "it is still told as what it is");
    }
}

#[test]
fn without_rights_every_right_that_is_missing_is_found_by_trying() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let drop = "-sys_nice,-ipc_lock,-sys_resource";
    let bounding = format!("--bounding-set={drop}");
    let inherited = format!("--inh-caps={drop}");
    let wrapper =
        ["prlimit", "--rtprio=0:0", "--memlock=65536:65536", "setpriv", &bounding, &inherited];
    let examined = ward.examine_behind(&wrapper, &[]);
    assert_eq!(examined.code, 1);
    examined.expect("scheduler", "error", "SCHED_FIFO 80");
    examined.expect("memory-lock", "error", "only 64 kB may be locked");
    examined.expect("rtprio-limit", "warn", "CAP_SYS_NICE is missing");
    examined.expect("memlock-limit", "warn", "CAP_IPC_LOCK is missing");
    examined.expect("capabilities", "warn", "CAP_SYS_NICE and CAP_IPC_LOCK");
    examined.expect("page-faults", "not-applicable", "cannot be locked");
    assert!(examined.measured("wake-latency").contains("not SCHED_FIFO"));

    let with = ward.examine(&[]);
    with.expect("memory-lock", "ok", "read back");
    with.expect("page-faults", "ok", "0 when 16 MB");
    with.expect("scheduler", "ok", "SCHED_FIFO 80");
}

#[test]
fn a_control_group_with_a_budget_of_zero_is_named_where_the_kernel_has_such_budgets() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let group = format!("/sys/fs/cgroup/cpu/kdz-doctor-{}", std::process::id());
    let is_made = fs::create_dir(&group).is_ok();
    if !is_made || !Path::new(&group).join("cpu.rt_runtime_us").exists() {
        let _none = fs::remove_dir(&group);
        ward.examine(&[]).expect("rt-group-budget", "not-applicable", "no budget");
        return;
    }
    let script = format!("echo $$ > {group}/cgroup.procs && exec \"$@\"");
    let examined = ward.examine_behind(&["sh", "-c", &script, "sh"], &[]);
    fs::remove_dir(&group).expect("the group is empty again");
    examined.expect("rt-group-budget", "error", "0 µs in");
    examined.expect("scheduler", "error", "SCHED_FIFO 80");
    assert_eq!(examined.code, 1);
}

#[test]
fn real_time_threads_with_a_small_share_are_an_error_and_the_usual_share_is_none() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    {
        // The root group's own budget, where the kernel has such, may not be above the whole.
        let group = "/sys/fs/cgroup/cpu/cpu.rt_runtime_us";
        let _group = Path::new(group).exists().then(|| Held::text(group, "400000"));
        let _held = Held::text("/proc/sys/kernel/sched_rt_runtime_us", "400000");
        let examined = ward.examine(&["--demo", "demo-arm"]);
        examined.expect("rt-throttling", "error", "400000 of 1000000 µs");
        assert_eq!(examined.code, 1, "no exemption covers it");
    }
    ward.examine(&["--demo", "demo-arm"]).expect(
        "rt-throttling",
        "ok",
        "real-time threads may run",
    );
}

#[test]
fn huge_pages_that_are_gathered_always_are_told() {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    if !is_root() || !Path::new(path).exists() {
        return;
    }
    let ward = Ward::new();
    {
        let _held = Held::text(path, "always");
        ward.examine(&[]).expect("huge-pages", "warn", "[always]");
    }
    let _held = Held::text(path, "madvise");
    ward.examine(&[]).expect("huge-pages", "ok", "[madvise]");
}

#[test]
fn swap_is_told_by_its_device_and_only_while_it_is_on() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let was_off = ward.examine(&[]).status("swap") == "ok";
    let file = std::env::temp_dir().join(format!("kdz-swap-{}", std::process::id()));
    fs::write(&file, vec![0u8; 8 << 20]).unwrap();
    let run = |program: &str| {
        Command::new(program).arg(&file).stderr(Stdio::null()).output().expect("util-linux")
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let is_on = run("mkswap").status.success() && run("swapon").status.success();
    let examined = is_on.then(|| ward.examine(&[]));
    run("swapoff");
    fs::remove_file(&file).unwrap();
    match examined {
        Some(examined) => {
            examined.expect("swap", "warn", "kdz-swap");
            assert!(!was_off || ward.examine(&[]).status("swap") == "ok");
        }
        None => eprintln!("shows nothing: this host lets nobody swap"),
    }
}

#[test]
fn a_runtime_directory_on_a_disk_or_on_a_full_tmpfs_is_an_error() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let good = ward.examine(&["--demo", "demo-arm"]);
    good.expect("runtime-dir", "ok", "is on tmpfs");
    good.expect("shared-memory", "ok", "MB free");

    let dir = ward.runtime_dir();
    let script = format!("mount -t tmpfs -o size=8m none {} && exec \"$@\"", dir.display());
    let small = ward.examine_behind(&["unshare", "-m", "sh", "-c", &script, "sh"], &[]);
    small.expect("shared-memory", "error", "8 MB free");

    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    let on_disk = Command::new(KADENZ)
        .args(["doctor", "--json", "--no-store", "--seconds", "1", "--runtime-dir"])
        .arg(disk.path())
        .output()
        .unwrap();
    let on_disk = Examined::of(&on_disk);
    // A host whose /var/tmp is a tmpfs has no disk to show it on.
    if on_disk.status("runtime-dir") != "ok" {
        on_disk.expect("runtime-dir", "error", "not on tmpfs");
    }
}

#[test]
fn roles_whose_users_do_not_exist_are_named_with_the_command_that_makes_them() {
    let ward = Ward::new();
    let text = kadenz_config::demo("demo-arm").unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("\"one-user\""));
    let text = lines.collect::<Vec<_>>().join("\n");
    let roles = "view = \"kdz-none-1\"\nplan = \"kdz-none-2\"\noperate = \"root\"\n";
    let machine = ward.write("roles.toml", &format!("{text}\n[roles]\n{roles}"));
    let examined = ward.examine(&["--config", &machine]);
    examined.expect("one-user", "error", "kdz-none-1, kdz-none-2");
    let remedies = examined.finding("one-user")["remedies"].to_string();
    assert!(remedies.contains("useradd") && !remedies.contains("root"), "{remedies}");
}

#[test]
fn recordings_that_may_grow_beyond_the_disk_are_told() {
    let ward = Ward::new();
    let text = kadenz_config::demo("demo-arm").unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("limit_mb"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let with = |limit_mb: u32| {
        let keys = format!("[recorder]\ndirectory = \"/var/tmp/kdz\"\nlimit_mb = {limit_mb}");
        ward.write("recorder.toml", &text.replace("\n[recorder]", &format!("\n{keys}")))
    };
    let small = with(8);
    ward.examine(&["--config", &small]).expect("recording-space", "ok", "8 MB needed");
    let large = with(1_048_576);
    ward.examine(&["--config", &large]).expect("recording-space", "warn", "1048576 MB needed");
}

#[test]
fn a_daemon_that_serves_the_directory_is_named_and_its_loop_is_not_disturbed() {
    let ward = Ward::new();
    let dir = ward.runtime_dir();
    fs::create_dir_all(&dir).unwrap();
    let cpu = loop_cpu();
    // What makes a kadenzd: the lock of its directory, and a thread of that name on the loop's CPU.
    let file = File::create(dir.join("kadenzd.lock")).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let occupant = Occupant::start(
        "kadenz-rt",
        || std::thread::park_timeout(Duration::from_millis(5)),
        move || thread::pin(cpu).unwrap(),
    );
    let examined = ward.examine(&["--demo", "demo-arm"]);
    let own = std::process::id().to_string();
    examined.expect("other-daemons", "ok", &format!("kadenzd {own} serves"));
    examined.expect("wake-latency", "not-applicable", &own);
    examined.expect("loop-cpu-tick", "not-applicable", "nothing was kept busy");
    assert!(examined.reply.get("probe").is_none());
    let told = examined.measured("loop-cpu-tasks");
    assert!(!told.contains("kadenz-rt"), "{told}");

    // Another directory's daemon on the same CPU, and none here.
    drop(lock);
    examined_as_stranger(&ward, "warn");
    // Two of them.
    let _second = Occupant::start(
        "kadenz-rt",
        || std::thread::park_timeout(Duration::from_millis(5)),
        move || thread::pin(cpu).unwrap(),
    );
    examined_as_stranger(&ward, "error");
    drop(occupant);
}

#[track_caller]
fn examined_as_stranger(ward: &Ward, status: &str) {
    let examined = ward.examine(&["--demo", "demo-arm"]);
    examined.expect("other-daemons", status, "no kadenzd serves");
    examined.expect("wake-latency", "not-applicable", "runs its loop on CPU");
}

#[test]
fn a_program_on_the_loops_cpu_is_told_by_its_name() {
    let ward = Ward::new();
    let cpu = loop_cpu();
    // So often that nobody else of a busy host comes before it in the list.
    let _guest = Occupant::start(
        "kdz-guest",
        || std::thread::park_timeout(Duration::from_micros(100)),
        move || thread::pin(cpu).expect("the loop's CPU is there"),
    );
    let examined = ward.examine(&["--demo", "demo-arm"]);
    let told = examined.measured("loop-cpu-tasks");
    assert!(told.contains("kdz-guest "), "{told}");
    assert!(matches!(examined.status("loop-cpu-tasks"), "warn" | "error"), "{told}");
}

#[test]
fn a_thread_that_takes_the_cpu_at_a_higher_priority_makes_the_probe_late() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let cpu = loop_cpu();
    const BUSY: Duration = Duration::from_millis(4);
    let _hog = Occupant::start(
        "hog",
        || {
            let begun = Instant::now();
            while begun.elapsed() < BUSY {
                std::hint::spin_loop();
            }
            std::thread::park_timeout(3 * BUSY);
        },
        move || {
            thread::pin(cpu).unwrap();
            thread::fifo(95).unwrap();
        },
    );
    let examined = ward.examine(&["--demo", "demo-arm"]);
    assert_eq!(examined.status("wake-latency"), "error", "{}", examined.measured("wake-latency"));
    let probe = &examined.reply["probe"];
    assert!(probe["wake_ns"]["max"].as_u64().unwrap() > 2_000_000, "{probe}");
    assert!(probe["missed"].as_u64().unwrap() > 50, "{probe}");
    // The probe is a real-time thread itself: nobody at its priority or above is a surprise to it.
    assert_eq!(probe["is_fifo"], true);
}

#[test]
fn interrupts_that_are_kept_off_the_loops_cpu_are_counted_so() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let cpu = loop_cpu();
    let others = kadenz_host::Files::here().text("/sys/devices/system/cpu/online").unwrap();
    let others = kadenz_host::CpuList::of(&others).without(cpu);
    if others.is_empty() {
        eprintln!("shows nothing: one CPU");
        return;
    }
    let count = |examined: &Examined| {
        let told = examined.measured("irq-affinity").to_owned();
        let (_, rest) = told.split_once(&format!("CPU {cpu}, ")).unwrap();
        rest.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    let before = count(&ward.examine(&[]));
    // Interrupts whose place the kernel does not keep to itself.
    let mut numbers = kadenz_host::Files::here().names("/proc/irq");
    numbers.retain(|number| number.parse::<u32>().is_ok());
    let moved = numbers.iter().find_map(|number| {
        let path = format!("/proc/irq/{number}/smp_affinity_list");
        let then = fs::read_to_string(&path).ok()?;
        let holds = kadenz_host::CpuList::of(&then).contains(cpu);
        (holds && fs::write(&path, others.to_string()).is_ok()).then_some((path, then))
    });
    let Some((path, then)) = moved else {
        eprintln!("shows nothing: no interrupt of this host can be moved");
        return;
    };
    let after = count(&ward.examine(&[]));
    fs::write(path, then).expect("what was there may be written");
    assert_eq!(after + 1, before);
}

#[test]
fn an_interface_without_hardware_and_one_that_is_not_there_are_told_apart() {
    if !is_root() {
        return;
    }
    let ward = Ward::new();
    let none = ward.examine(&[]);
    none.expect("nic-driver", "not-applicable", "--interface NAME");
    let absent = ward.examine(&["--interface", "kdznone0"]);
    absent.expect("nic-driver", "error", "no interface kdznone0");
    assert_eq!(absent.code, 1);
    let script =
        "mount -t sysfs none /sys && ip link add kdzv0 type veth peer name kdzv1 && exec \"$@\"";
    let wrapper = ["unshare", "-n", "-m", "sh", "-c", script, "sh"];
    let veth = ward.examine_behind(&wrapper, &["--interface", "kdzv0"]);
    veth.expect("nic-driver", "warn", "no hardware");
    veth.expect("nic-interrupts", "not-applicable", "no interrupts");
}

#[test]
fn the_host_that_was_judged_is_written_down_and_every_later_change_is_told() {
    let ward = Ward::new();
    let first = ward.examine(&["--demo", "demo-arm"]);
    if first.code != 0 {
        // Not fit even with the exemptions of the demo: nothing may be stored.
        first.expect("fingerprint", "ok", "the host is not fit");
        assert!(!ward.state_file().exists());
        return;
    }
    first.expect("fingerprint", "ok", "stored in");
    let text = fs::read_to_string(ward.state_file()).unwrap();
    let mut stored: Value = serde_json::from_str(&text).unwrap();
    assert!(stored["wake_ns_p99"].as_u64().is_some() && stored["kernel"].is_string());
    stored["clock_source"] = "sundial".into();
    stored["isolated"] = "62".into();
    fs::write(ward.state_file(), stored.to_string()).unwrap();
    let later = ward.examine(&["--demo", "demo-arm", "--no-store"]);
    later.expect("fingerprint", "warn", "clock source was `sundial`");
    later.expect("fingerprint", "warn", "isolated CPUs was `62`");
    let kept: Value =
        serde_json::from_str(&fs::read_to_string(ward.state_file()).unwrap()).unwrap();
    assert_eq!(kept["clock_source"], "sundial", "--no-store stores nothing");
}

#[test]
fn hints_are_a_list_to_paste_and_the_shell_takes_it() {
    let ward = Ward::new();
    let output = Command::new(KADENZ)
        .args(["doctor", "--fix-hints", "--no-store", "--seconds", "1", "--runtime-dir"])
        .arg(ward.dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with('#'), "{text}");
    let script = ward.write("hints.sh", &text);
    let checked = Command::new("sh").args(["-n", &script]).output().unwrap();
    assert!(checked.status.success(), "{text}\n{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_cpu_that_is_not_there_and_a_file_that_is_wrong_are_refused_before_anything_is_tried() {
    let ward = Ward::new();
    let refused = |args: &[&str]| {
        let output = Command::new(KADENZ).arg("doctor").args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, words) = refused(&["--cpu", "1023"]);
    assert!(code == Some(2) && words.contains("cpu = 1023"), "{words}");
    let bad = ward.write("bad.toml", "[machine]\n");
    let (code, words) = refused(&["--config", &bad]);
    assert!(code == Some(78) && words.contains("bad.toml:"), "{words}");
    assert_eq!(refused(&["--seconds", "0"]).0, Some(2));
}
