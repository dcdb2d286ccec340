//! The hand-over over real sockets and real lanes; the daemon's end is polled by the test itself.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use kadenz_handover::{
    ClientError, Happening, Offer, RoleTable, STATE_REGION, Server, Terms, contract,
    mailbox_region, operate_inbound_layout, outbound_layout, own_operate_socket,
    plan_inbound_layout, request,
};
use kadenz_lanes::{LaneError, Lanes, Read as LaneRead, Sealing};
use kadenz_paths::RuntimeDir;
use nix::unistd::geteuid;
use shm_layout::code::Role;

const AXES: u16 = 2;
/// Turns of a loop that waits for another thread: a guard against hanging, not a limit in time.
const TURNS_MAX: usize = 2000;
const TURN_MS: u16 = 20;
const PATIENCE: Duration = Duration::from_secs(60);
const NOBODY: u32 = 65534;

const TERMS: Terms = Terms {
    axis_count: AXES,
    period_ns: 1_000_000,
    out_offset_ns: 150_000,
    in_lead_ns: 50_000,
    gateway_priority_fifo: 0,
    loop_cpu: 0,
    daemon_id: 42,
};

struct Machine {
    outbound: Lanes,
    plan: Lanes,
    operate: Lanes,
}

impl Machine {
    fn new() -> Self {
        let axes = usize::from(AXES);
        let make = |name, layout, sealing| Lanes::create(name, layout, sealing).expect("lanes");
        Self {
            outbound: make("out", outbound_layout(axes).expect("layout"), Sealing::Outbound),
            plan: make("plan", plan_inbound_layout(axes).expect("layout"), Sealing::Inbound),
            operate: make("operate", operate_inbound_layout().expect("layout"), Sealing::Inbound),
        }
    }

    fn offer(&self) -> Offer {
        let fd = |lanes: &Lanes| lanes.peer_fd().expect("descriptor");
        Offer {
            terms: TERMS,
            outbound: fd(&self.outbound),
            plan_inbound: fd(&self.plan),
            operate_inbound: fd(&self.operate),
        }
    }
}

fn runtime_dir(parent: &tempfile::TempDir) -> RuntimeDir {
    RuntimeDir::at(parent.path().join("run")).expect("absolute")
}

fn bind(dir: &RuntimeDir, roles: RoleTable, machine: &Machine) -> Server {
    Server::bind(dir.clone(), roles, machine.offer()).expect("bind")
}

/// Polls until `wanted` happenings have come, or `done` says so.
fn poll_until(server: &mut Server, mut done: impl FnMut(&[Happening]) -> bool) -> Vec<Happening> {
    let mut all = Vec::new();
    for _ in 0..TURNS_MAX {
        if done(&all) {
            return all;
        }
        all.extend(server.poll(TURN_MS));
    }
    panic!("nothing more came after {all:?}");
}

/// Runs `client` on a thread while the server is polled, and gives what both saw.
fn serve<T: Send>(server: &mut Server, client: impl FnOnce() -> T + Send) -> (T, Vec<Happening>) {
    std::thread::scope(|scope| {
        let client = scope.spawn(client);
        let happenings = poll_until(server, |_| client.is_finished());
        (client.join().expect("client"), happenings)
    })
}

#[test]
fn a_gateway_gets_its_lanes_and_its_epoch_is_announced_once_it_is_ready() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let (handover, seen) = serve(&mut server, || request(&dir, Role::Plan, PATIENCE).unwrap());
    let token = handover.grant.token;
    assert_eq!(handover.grant.terms, TERMS);
    assert!(
        matches!(&seen[..], [Happening::Connected { role: Role::Plan, token: seen, .. }] if *seen == token)
    );
    assert_eq!(dir.read_epoch(Role::Plan).unwrap(), None);

    let outbound = Lanes::open("out", handover.outbound, Sealing::Outbound, contract()).unwrap();
    let inbound = handover.inbound.unwrap();
    let inbound = Lanes::open("plan", inbound, Sealing::Inbound, contract()).unwrap();
    let mut reader = outbound.ring_reader(STATE_REGION).unwrap();
    machine.outbound.ring_writer(STATE_REGION).unwrap().publish(&[&[7, 8]]);
    let mut record = [0; 256];
    assert_eq!(reader.read_next(&mut record), LaneRead::Record { sequence: 0, words: 2 });
    inbound.mailbox_writer(&mailbox_region(3)).unwrap().post(&[&[1, 2, 3]]);
    let mut mailbox = machine.plan.mailbox_reader(&mailbox_region(3)).unwrap();
    assert_eq!(mailbox.latest().unwrap().words(), 3);

    let mut tether = handover.tether;
    tether.ready().unwrap();
    let seen = poll_until(&mut server, |seen| !seen.is_empty());
    assert!(matches!(&seen[..], [Happening::Ready { role: Role::Plan, .. }]));
    assert_eq!(dir.read_epoch(Role::Plan).unwrap(), Some(token));
    let mode = fs::metadata(dir.epoch_file(Role::Plan)).unwrap().mode();
    assert_eq!(mode & 0o777, 0o644);

    assert!(tether.holds());
    drop(tether);
    let seen = poll_until(&mut server, |seen| !seen.is_empty());
    assert!(matches!(&seen[..], [Happening::Gone { role: Role::Plan, was_ready: true, .. }]));
    assert_eq!(dir.read_epoch(Role::Plan).unwrap(), None, "withdrawn with its gateway");
}

#[test]
fn a_view_gateway_is_given_no_inbound_lane_and_cannot_write_the_outbound_one() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let (handover, _) = serve(&mut server, || request(&dir, Role::View, PATIENCE).unwrap());
    assert!(handover.inbound.is_none());
    let outbound = Lanes::open("out", handover.outbound, Sealing::Outbound, contract()).unwrap();
    assert!(matches!(outbound.ring_writer(STATE_REGION), Err(LaneError::ReadOnly { .. })));
}

#[test]
fn a_role_has_one_living_gateway_and_is_free_again_when_that_ends() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let (first, _) = serve(&mut server, || request(&dir, Role::View, PATIENCE).unwrap());
    let (second, seen) = serve(&mut server, || request(&dir, Role::View, PATIENCE));
    let Err(ClientError::Refused(reason)) = second else { panic!("{second:?}") };
    assert!(reason.contains(&format!("held by pid {}", std::process::id())), "{reason}");
    assert!(matches!(&seen[..], [Happening::Refused { .. }]));
    assert!(first.tether.holds(), "the refusal does not disturb the holder");

    let before = first.grant.token;
    let (third, seen) = serve(&mut server, || {
        // No poll between the end of the one and the hello of the other.
        drop(first);
        request(&dir, Role::View, PATIENCE).unwrap()
    });
    assert!(matches!(&seen[..], [Happening::Gone { .. }, Happening::Connected { .. }]), "{seen:?}");
    assert_ne!(third.grant.token, before);
}

#[test]
fn the_end_of_the_daemon_is_seen_by_its_gateways() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let (handover, _) = serve(&mut server, || request(&dir, Role::Operate, PATIENCE).unwrap());
    assert!(handover.tether.holds());
    drop(server);
    assert!(!handover.tether.holds());
    assert!(matches!(request(&dir, Role::Operate, PATIENCE), Err(ClientError::Unreachable { .. })));
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused_and_named_and_a_dead_ones_leftovers_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    fs::create_dir(dir.as_path()).unwrap();
    fs::set_permissions(dir.as_path(), fs::Permissions::from_mode(0o755)).unwrap();
    // What a killed daemon leaves: socket file, link, announcement, lock file without a lock.
    drop(std::os::unix::net::UnixListener::bind(dir.handover_socket()).unwrap());
    std::os::unix::fs::symlink("nowhere", dir.operate_socket()).unwrap();
    fs::write(dir.epoch_file(Role::View), "12345678\n").unwrap();
    fs::write(dir.as_path().join("kadenzd.lock"), "1\n").unwrap();
    let server = bind(&dir, RoleTable::one_user(), &machine);
    assert_eq!(dir.read_epoch(Role::View).unwrap(), None);
    let Err(error) = Server::bind(dir.clone(), RoleTable::one_user(), machine.offer()) else {
        panic!("two daemons on one directory");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&format!("pid {};", std::process::id())), "{error}");
    drop(server);
    drop(bind(&dir, RoleTable::one_user(), &machine));
}

#[test]
fn nobody_else_can_open_the_lock_and_so_hold_it_against_the_next_daemon() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let lock = dir.as_path().join("kadenzd.lock");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    drop(bind(&dir, RoleTable::one_user(), &machine));
    assert_eq!(mode(&lock), 0o600);
    // What a daemon before this one, or another umask, left open to all is closed.
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o666)).unwrap();
    drop(bind(&dir, RoleTable::one_user(), &machine));
    assert_eq!(mode(&lock), 0o600);
}

#[test]
fn role_directories_are_private_and_the_operate_socket_is_found_through_the_link() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let _server = bind(&dir, RoleTable::one_user(), &machine);
    for (role, mode) in [(Role::View, 0o700), (Role::Plan, 0o700), (Role::Operate, 0o755)] {
        let found = fs::metadata(dir.role_dir(role)).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (mode, geteuid().as_raw()), "{role:?}");
    }
    let listener = std::os::unix::net::UnixListener::bind(own_operate_socket(&dir)).unwrap();
    let _client = UnixStream::connect(dir.operate_socket()).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    fs::create_dir(dir.as_path()).unwrap();
    fs::set_permissions(dir.as_path(), fs::Permissions::from_mode(0o777)).unwrap();
    let Err(error) = Server::bind(dir, RoleTable::one_user(), machine.offer()) else {
        panic!("a world-writable runtime directory was taken");
    };
    assert!(error.to_string().contains("mode 777"), "{error}");
}

#[test]
fn silent_garbage_and_half_lines_cost_others_nothing_and_are_told_why() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let connect = || UnixStream::connect(dir.handover_socket()).unwrap();
    let silent = connect();
    let mut half = connect();
    half.write_all(br#"{"role":"view","#).unwrap();
    let mut said = Vec::new();
    for garbage in [&b"\n"[..], b"\xff\xfe\n", b"{}\n", b"GET / HTTP/1.1\r\n", &[b'x'; 4000]] {
        let mut peer = connect();
        peer.write_all(garbage).unwrap();
        let seen = poll_until(&mut server, |seen| !seen.is_empty());
        assert!(matches!(&seen[..], [Happening::Refused { .. }]), "{seen:?}");
        let mut text = Vec::new();
        // The end may be a reset, since not all that was sent was read.
        let _end = peer.read_to_end(&mut text);
        said.push(String::from_utf8(text).unwrap());
    }
    assert!(said.iter().all(|text| text.starts_with(r#"{"refused":""#)), "{said:?}");
    assert!(said[4].contains("without a line feed"), "{said:?}");
    let (handover, _) = serve(&mut server, || request(&dir, Role::View, PATIENCE).unwrap());
    assert!(handover.tether.holds());
    // The two that say nothing more are dropped by and by.
    let seen = poll_until(&mut server, |seen| seen.len() == 2);
    assert!(seen.iter().all(|one| matches!(one, Happening::Refused { .. })), "{seen:?}");
    drop((silent, half));
}

#[test]
fn a_flood_of_silent_connections_is_bounded_per_user() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let flood: Vec<_> =
        (0..20).map(|_| UnixStream::connect(dir.handover_socket()).unwrap()).collect();
    let refused = server.poll(TURN_MS);
    assert_eq!(refused.len(), 12, "8 may wait, the rest is sent away");
    let text = format!("{:?}", refused[0]);
    assert!(text.contains("8 connections that ask for nothing"), "{text}");
    drop(flood);
    let (_handover, seen) = serve(&mut server, || request(&dir, Role::View, PATIENCE).unwrap());
    assert!(seen.iter().any(|one| matches!(one, Happening::Connected { .. })));
}

#[test]
fn words_nobody_asked_for_end_a_gateway() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    let (mut handover, _) = serve(&mut server, || request(&dir, Role::View, PATIENCE).unwrap());
    handover.tether.ready().unwrap();
    poll_until(&mut server, |seen| !seen.is_empty());
    handover.tether.ready().unwrap();
    let seen = poll_until(&mut server, |seen| {
        seen.iter().any(|one| matches!(one, Happening::Gone { .. }))
    });
    assert!(format!("{seen:?}").contains("nobody asked"), "{seen:?}");
    assert_eq!(server.holder(Role::View), None);
}

/// Runs one test of this file as another user, in a process of its own.
fn as_user(uid: u32, test: &str, dir: &RuntimeDir) -> std::process::Output {
    Command::new("/proc/self/exe")
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("HANDOVER_TEST_DIR", dir.as_path())
        .uid(uid)
        .output()
        .expect("this test binary can be run by that user")
}

#[test]
#[ignore = "run as another user by a_foreign_user_is_refused_and_each_role_belongs_to_its_own"]
fn child_asks_for_view_and_plan() {
    let dir = RuntimeDir::at(std::env::var_os("HANDOVER_TEST_DIR").unwrap()).unwrap();
    for role in [Role::View, Role::Plan] {
        match request(&dir, role, PATIENCE) {
            Ok(_) => println!("{}: granted", role.word()),
            Err(error) => println!("{}: {error}", role.word()),
        }
    }
}

#[test]
fn a_foreign_user_is_refused_and_each_role_belongs_to_its_own() {
    if !geteuid().is_root() {
        eprintln!(
            "SKIPPED: only root can start a process as another user; the rule itself is tested in role_table.rs"
        );
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let roles = RoleTable { view: Some(NOBODY), ..RoleTable::one_user() };
    let mut server = bind(&dir, roles, &machine);
    assert_eq!(fs::metadata(dir.role_dir(Role::View)).unwrap().uid(), NOBODY);
    let (output, seen) =
        serve(&mut server, || as_user(NOBODY, "child_asks_for_view_and_plan", &dir));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("view: granted"), "{text}");
    assert!(text.contains("plan: kadenzd refused: uid 65534 may not hold role plan"), "{text}");
    assert!(
        seen.iter().any(|one| matches!(one, Happening::Refused { uid: NOBODY, .. })),
        "{seen:?}"
    );

    let (output, _) = serve(&mut server, || as_user(65533, "child_asks_for_view_and_plan", &dir));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("uid 65533 may hold no role of this machine"), "{text}");
}

#[test]
fn the_two_sockets_lie_in_directories_that_give_them_the_members_group() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root may give directories away");
        return;
    }
    let parent = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = RuntimeDir::at(parent.path().join("run")).unwrap();
    let machine = Machine::new();
    let roles = RoleTable { members: Some(NOBODY), ..RoleTable::one_user() };
    let _server = bind(&dir, roles, &machine);
    for door in [dir.role_dir(Role::Operate), dir.planner_dir()] {
        let meta = fs::metadata(&door).unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (NOBODY, 0o2755), "{}", door.display());
        let socket = door.join("any.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().gid(), NOBODY, "though made by no member");
    }
    for domain in [Role::View, Role::Plan] {
        let meta = fs::metadata(dir.role_dir(domain)).unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (0, 0o700));
    }
}

#[test]
fn a_lane_that_its_holder_wrote_over_is_described_anew_for_the_next_gateway() {
    use std::os::unix::fs::FileExt;
    let parent = tempfile::tempdir().unwrap();
    let (dir, machine) = (runtime_dir(&parent), Machine::new());
    let mut server = bind(&dir, RoleTable::one_user(), &machine);
    for role in [Role::Plan, Role::Operate] {
        let (handover, _) = serve(&mut server, || request(&dir, role, PATIENCE).unwrap());
        let lane = std::fs::File::from(handover.inbound.unwrap().try_clone().unwrap());
        lane.write_all_at(&[0xff; 4096], 0).unwrap();
        drop(handover.tether);
        poll_until(&mut server, |seen| {
            seen.iter().any(|one| matches!(one, Happening::Gone { .. }))
        });
        let (handover, _) = serve(&mut server, || request(&dir, role, PATIENCE).unwrap());
        let inbound = handover.inbound.unwrap();
        let opened = Lanes::open("inbound", inbound, Sealing::Inbound, contract());
        assert!(opened.is_ok(), "{role:?}: {:?}", opened.err());
    }
}
