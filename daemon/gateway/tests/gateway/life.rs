//! How gateways begin and end, and what other processes can reach of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;

use kadenz_handover::{Happening, RoleTable};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use shm_layout::code::Role;

use crate::domain::join;
use crate::machine::{Machine, allowed_cpus, loop_cpu};

const NOBODY: u32 = 65534;

#[test]
fn a_gateway_ends_in_order_when_its_daemon_does() {
    for role in ["view", "plan", "operate"] {
        let mut machine = Machine::start(RoleTable::one_user());
        let mut gateway = machine.gateway(role);
        machine.wait_ready(1);
        machine.end();
        assert_eq!(gateway.exit_code(), Some(0), "{role}");
    }
}

#[test]
fn a_second_gateway_of_a_role_is_refused_with_its_own_exit_code() {
    let machine = Machine::start(RoleTable::one_user());
    let _first = machine.gateway("view");
    machine.wait_ready(1);
    assert_eq!(machine.gateway("view").exit_code(), Some(3));
    machine.wait_for("refusal", |seen| {
        seen.happenings.iter().any(|one| matches!(one, Happening::Refused { .. })).then_some(())
    });
}

#[test]
fn a_gateway_that_waits_for_a_daemon_ends_when_asked_to() {
    let parent = tempfile::tempdir().unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_kadenz-gateway"))
        .args(["--role", "view", "--runtime-dir"])
        .arg(parent.path().join("nobody-there"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(gateway.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
    assert!(said.contains("waiting for kadenzd"), "{said}");
    kill(Pid::from_raw(gateway.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(gateway.wait().unwrap().success());
}

#[test]
fn the_service_manager_is_told_ready_with_200_ms_to_be_watched_by_and_then_alive() {
    let manager = Manager::bind();
    let machine = Machine::start(RoleTable::one_user());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kadenz-gateway"));
    let _gateway = machine.gateway_by(manager.watches(&mut command), "operate");
    assert_eq!(manager.hear(), "READY=1\nWATCHDOG_USEC=200000");
    let status = manager.hear();
    assert!(status.starts_with("STATUS=serving, epoch "), "{status}");
    for _ in 0..3 {
        assert_eq!(manager.hear(), "WATCHDOG=1");
    }
}

#[test]
fn a_gateway_that_waits_for_a_daemon_says_that_it_lives_and_what_it_waits_for() {
    let manager = Manager::bind();
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kadenz-gateway"));
    command.args(["--role", "view", "--runtime-dir"]).arg(nowhere.path());
    let mut gateway = manager.watches(&mut command).spawn().unwrap();
    assert_eq!(manager.hear(), "STATUS=waiting for kadenzd");
    for _ in 0..3 {
        assert_eq!(manager.hear(), "WATCHDOG=1");
    }
    kill(Pid::from_raw(gateway.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(gateway.wait().unwrap().success());
}

/// A service manager that watches from the first moment on.
struct Manager {
    socket: UnixDatagram,
    home: tempfile::TempDir,
}

impl Manager {
    fn bind() -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        Self { socket, home }
    }

    fn watches<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", self.home.path().join("notify"));
        command.env_remove("WATCHDOG_PID").env("WATCHDOG_USEC", "3000000")
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 64];
        let count = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }
}

#[test]
fn every_thread_of_a_gateway_leaves_the_loops_cpu_to_the_loop() {
    let machine = Machine::start(RoleTable::one_user());
    let mut left = allowed_cpus(Pid::from_raw(0));
    if left.len() > 1 {
        left.retain(|cpu| *cpu != usize::from(loop_cpu()));
    }
    for (count, role) in ["view", "plan", "operate"].into_iter().enumerate() {
        let gateway = machine.gateway(role);
        machine.wait_ready(count + 1);
        for thread in fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap() {
            let thread = thread.unwrap().file_name().to_string_lossy().parse().unwrap();
            assert_eq!(allowed_cpus(Pid::from_raw(thread)), left, "{role}, thread {thread}");
        }
    }
}

fn status(pid: u32, field: &str) -> String {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc of a living process");
    let line =
        status.lines().find(|line| line.starts_with(field)).expect("/proc of a living process");
    line.split_whitespace().nth(1).expect("/proc of a living process").to_owned()
}

/// Names of the lane memory that `pid` has mapped, with how.
fn lane_maps(pid: u32) -> Vec<(String, String)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("/proc of a living process");
    let lanes = maps.lines().filter(|line| line.contains("/memfd:"));
    let mut found: Vec<_> = lanes
        .map(|line| {
            let mode =
                line.split_whitespace().nth(1).expect("/proc of a living process").to_owned();
            let name = line.split("/memfd:").nth(1).expect("/proc of a living process");
            (name.split_whitespace().next().expect("/proc of a living process").to_owned(), mode)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_view_gateway_has_no_inbound_lane_and_no_gateway_keeps_a_descriptor_of_one() {
    let machine = Machine::start(RoleTable::one_user());
    let named = |name: &str, mode: &str| (name.to_owned(), mode.to_owned());
    let roles = [
        ("view", vec![named("out", "r--s")]),
        ("plan", vec![named("out", "r--s"), named("plan", "rw-s")]),
        ("operate", vec![named("operate", "rw-s"), named("out", "r--s")]),
    ];
    for (count, (role, lanes)) in roles.into_iter().enumerate() {
        let gateway = machine.gateway(role);
        machine.wait_ready(count + 1);
        if geteuid().is_root() {
            assert_eq!(lane_maps(gateway.pid()), lanes, "{role}");
            let fds = fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
            let targets = fds.filter_map(|one| fs::read_link(one.unwrap().path()).ok());
            let open: Vec<_> =
                targets.filter(|one| one.to_string_lossy().contains("memfd:")).collect();
            assert!(open.is_empty(), "{role}: {open:?}");
        } else {
            eprintln!("SKIPPED for {role}: only root may look into a gateway's maps");
        }
        assert_eq!(status(gateway.pid(), "Seccomp:"), "2", "{role}: a filter is in force");
        assert_eq!(status(gateway.pid(), "NoNewPrivs:"), "1", "{role}");
    }
}

/// What a process of `uid` can open of `pid`, and who owns its entry in /proc.
fn reach(uid: u32, pid: u32) -> String {
    let script = format!(
        "for f in fd map_files; do ls /proc/{pid}/$f/ >/dev/null 2>&1 && echo open:$f; done; \
         for f in mem maps; do (: </proc/{pid}/$f) 2>/dev/null && echo open:$f; done; \
         echo uid:$(stat -c %u /proc/{pid}/fd)"
    );
    let output =
        Command::new("/bin/sh").args(["-c", &script]).uid(uid).gid(uid).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn another_process_of_the_same_user_cannot_reach_a_gateways_memory_or_descriptors() {
    if !geteuid().is_root() {
        let machine = Machine::start(RoleTable::one_user());
        let gateway = machine.gateway("view");
        machine.wait_ready(1);
        assert_eq!(reach(geteuid().as_raw(), gateway.pid()), "uid:0");
        return;
    }
    let roles = RoleTable { view: Some(NOBODY), ..RoleTable::one_user() };
    let machine = Machine::start(roles);
    // The test's target directory may be closed to that user; the runtime directory is not.
    let binary = machine.dir.as_path().join("gateway");
    fs::copy(env!("CARGO_BIN_EXE_kadenz-gateway"), &binary).unwrap();
    let mut command = Command::new(&binary);
    let gateway = machine.gateway_by(command.uid(NOBODY).gid(NOBODY), "view");
    machine.wait_ready(1);
    assert_eq!(status(gateway.pid(), "Uid:"), NOBODY.to_string());
    assert_eq!(reach(NOBODY, gateway.pid()), "uid:0", "nothing is open");

    // The check itself can fail: a plain process of that user is an open book to its own kind.
    let mut plain = Command::new("/bin/sleep").arg("1000").uid(NOBODY).gid(NOBODY).spawn().unwrap();
    let seen = reach(NOBODY, plain.id());
    plain.kill().unwrap();
    plain.wait().unwrap();
    assert!(seen.contains("open:fd") && seen.contains("open:mem"), "{seen}");

    let token = machine.dir.read_epoch(Role::View).unwrap().unwrap();
    let place = machine.dir.epoch_place(Role::View, token).unwrap();
    let root = fs::metadata(&place.root).unwrap();
    assert_eq!((root.uid(), root.mode() & 0o777), (NOBODY, 0o700));
    for entry in fs::read_dir("/dev/shm").unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(&place.prefix) {
            let mode = entry.metadata().unwrap().mode() & 0o077;
            assert_eq!(mode, 0, "{:?} is open to others", entry.file_name());
        }
    }
}

#[test]
fn a_domain_that_nobody_can_join_any_more_ends_its_gateway_for_a_new_epoch() {
    let machine = Machine::start(RoleTable::one_user());
    let mut gateway = machine.gateway("view");
    let (place, node) = join(&machine.dir, Role::View, None);
    drop(node);
    // A client has destroyed the descriptions of all services.
    fs::remove_dir_all(place.root.join("services")).unwrap();
    assert_eq!(gateway.exit_code(), Some(4));
    let _next = machine.gateway("view");
    let (next, _node) = join(&machine.dir, Role::View, Some(place.token));
    assert!(next.root.exists() && !place.root.exists());
}

#[test]
fn a_single_stream_that_nobody_can_join_any_more_ends_its_gateway_for_a_new_epoch() {
    let machine = Machine::start(RoleTable::one_user());
    let mut before = None;
    for stream in ["events/v1", "incidents/v1", "catalog/v1"] {
        let mut gateway = machine.gateway("view");
        let (place, node) = join(&machine.dir, Role::View, before);
        drop(node);
        before = Some(place.token);
        // A client has written over the description of this one.
        let described = fs::read_dir(place.root.join("services")).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read(&path).unwrap_or_default();
            text.windows(stream.len()).any(|part| part == stream.as_bytes()).then_some(path)
        });
        fs::write(described.expect("a description"), "scribbled").unwrap();
        assert_eq!(gateway.exit_code(), Some(4), "{stream}");
    }
}

#[test]
fn a_domain_that_hangs_its_clients_ends_its_gateway_for_a_new_epoch() {
    let machine = Machine::start(RoleTable::one_user());
    let mut gateway = machine.gateway("view");
    let (place, node) = join(&machine.dir, Role::View, None);
    drop(node);
    // Measured with iceoryx2 0.10: from then on every new node waits for ever.
    for entry in fs::read_dir("/dev/shm").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(&place.prefix) && name.ends_with(".global_mgmt") {
            fs::File::create(std::path::Path::new("/dev/shm").join(name)).unwrap();
        }
    }
    assert_eq!(gateway.exit_code(), Some(4));
    let _next = machine.gateway("view");
    join(&machine.dir, Role::View, Some(place.token));
}
