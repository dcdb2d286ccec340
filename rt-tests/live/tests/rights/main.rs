//! Rights, with real users of this host on real processes: who may look, who may command, and who
//! neither. Takes root and the programs (`cargo build --workspace --bins`).
mod doors;
mod machine;
mod people;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use kadenz_link::Operate;
use nix::sys::signal::{Signal, kill};
use shm_layout::code::{Outcome, RequestKind, Role};

use machine::{Machine, Said, Site, ids};

/// sysexits EX_NOPERM.
const NO_PERMISSION: i32 = 77;
const REQUESTS: [&[&str]; 7] = [
    &["status"],
    &["enable"],
    &["hold"],
    &["resume"],
    &["override", "0.5"],
    &["stop"],
    &["disable"],
];

/// Refused for want of permission, and told what helps.
fn is_shown_the_way(said: &Said, remedy: &str) {
    assert_eq!(said.code, NO_PERMISSION, "{said:?}");
    assert!(said.err.contains(remedy), "{remedy:?} is not in {said:?}");
}

fn done(said: &Said) -> &Said {
    assert_eq!(said.code, 0, "{said:?}");
    said
}

#[test]
fn membership_of_one_group_is_all_a_person_needs_to_look_and_to_command() {
    if !people::can_be_made() {
        return;
    }
    let site = Site::make();
    let _machine = site.up(&[]);
    let short = site.file("short.csv");
    let way_in = |who: &str| {
        let (group, user) = (site.people.group(), site.people.user(who));
        format!("`usermod -aG {group} {user}`, then {user} logs in again")
    };
    for verb in REQUESTS {
        is_shown_the_way(&site.kadenz("alice", verb), &way_in("alice"));
    }
    is_shown_the_way(&site.kadenz("alice", &["run", &short]), &way_in("alice"));

    site.people.admit("alice");
    is_shown_the_way(&site.kadenz_of_old("alice", &["status"]), "log in again");

    let said = site.kadenz("alice", &["status"]);
    assert!(done(&said).out.starts_with("demo-arm: disabled"), "{said:?}");
    let status = site.kadenz("alice", &["--json", "status"]).json();
    let as_view = site.kadenz("view", &["--json", "status"]).json();
    let keys = |json: &serde_json::Value| {
        json.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&status), keys(&as_view), "one schema, whichever way");
    assert_eq!(status["axes"].as_array().map(Vec::len), Some(6));
    assert!(status["loop"]["cycles"].as_u64() > Some(0), "{status}");

    let said = site.kadenz("alice", &["enable"]);
    assert!(done(&said).out.contains("; standstill"), "{said:?}");
    let run = site.kadenz("alice", &["--json", "run", &short]);
    assert_eq!(done(&run).json()["end"], "followed", "{run:?}");
    for verb in [&["override", "0.5"][..], &["override", "1"], &["hold"], &["resume"]] {
        done(&site.kadenz("alice", verb));
    }
    done(&site.kadenz("alice", &["run", "--detach", &site.file("long.csv")]));
    done(&site.kadenz("alice", &["stop"]));
    done(&site.kadenz("alice", &["enable"]));
    let said = site.kadenz("alice", &["disable"]);
    assert!(done(&said).out.contains("; disabled"), "{said:?}");

    // Somebody else's membership is nobody's but his.
    for verb in REQUESTS {
        is_shown_the_way(&site.kadenz("mallory", verb), &way_in("mallory"));
    }
}

/// Starts one of the programs of doors.rs and gives what it found behind each door: empty for an open
/// one, else why it was shut.
fn doors(machine: &Machine<'_>, who: &str, program: &str) -> BTreeMap<String, String> {
    let mut command = machine.site.door_command(who, program);
    let daemon = machine.pid(&["kadenzd"]).to_string();
    let output = command.env("RIGHTS_DAEMON", daemon).output().expect("setpriv");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let found = text.lines().filter_map(|line| line.split_once("door ")).map(|(_, door)| door);
    found
        .map(|door| match (door.strip_suffix(" open"), door.split_once(" shut ")) {
            (Some(name), _) => (name.to_owned(), String::new()),
            (None, Some((name, why))) => (name.to_owned(), why.to_owned()),
            (None, None) => panic!("{door}"),
        })
        .collect()
}

fn open(doors: &BTreeMap<String, String>) -> Vec<&str> {
    doors.iter().filter(|(_, why)| why.is_empty()).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_stranger_finds_every_door_shut_and_a_member_only_the_two_sockets_open() {
    if !people::can_be_made() {
        return;
    }
    let site = Site::make();
    let machine = site.up(&[]);
    done(&site.kadenz_as_root(&["enable"]));
    done(&site.kadenz_as_root(&["run", "--detach", &site.file("long.csv")]));
    site.people.admit("alice");
    let stranger = doors(&machine, "mallory", "doors::a_stranger_tries_everything");
    assert!(stranger.len() > 15, "{stranger:?}");
    assert_eq!(open(&stranger), Vec::<&str>::new(), "{stranger:?}");
    for role in ["view", "plan", "operate"] {
        let why = &stranger[&format!("{role} role")];
        assert!(why.contains("may hold no role of this machine"), "{why}");
    }
    let member = doors(&machine, "alice", "doors::a_stranger_tries_everything");
    assert_eq!(open(&member), ["operate socket", "planner socket"], "{member:?}");
    // The doors can be found open: the role's own user stands in its own domain.
    let own = doors(&machine, "plan", "doors::a_stranger_tries_everything");
    let expected = ["journal", "plan domain", "plan memory", "planner dir", "planner socket"];
    assert_eq!(open(&own), expected, "{own:?}");
}

#[test]
fn a_view_gateway_that_was_taken_over_can_look_and_nothing_else() {
    if !people::can_be_made() {
        return;
    }
    let site = Site::make();
    let machine = site.up(&["planner", "logger"]);
    // Its supervisor stands still, so the role stays free for whoever comes as its user.
    kill(machine.up.pid(), Signal::SIGSTOP).expect("the supervisor");
    kill(machine.gateway("view"), Signal::SIGKILL).expect("the gateway");
    machine.wait("the role to be free", || machine.epoch(Role::View).is_none());
    let found = doors(&machine, "view", "doors::a_view_gateway_tries_everything");
    kill(machine.up.pid(), Signal::SIGCONT).expect("the supervisor");

    assert_eq!(found["inbound lane"], "none was given");
    for role in ["plan", "operate"] {
        let why = &found[&format!("{role} role")];
        assert!(why.contains(&format!("may not hold role {role}")), "{why}");
    }
    let open = open(&found);
    // Its own domain is its user's; the lane can be read.
    assert_eq!(open, ["lane as it is", "lane for reading", "view domain"], "{found:?}");
    machine.wait("the machine to serve again", || site.kadenz_as_root(&["status"]).code == 0);
}

#[test]
fn clients_started_as_root_become_their_roles_users_even_before_the_machine_is_up() {
    if !people::can_be_made() {
        return;
    }
    let site = Site::make();
    let out = site.file("root/recordings");
    let closed = site.file("closed");
    fs::create_dir(&closed).expect("a folder of root's");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("mode");
    let mut logger = site.as_root("kadenz-logger", &["--out", &out]);
    let planner = site.as_root("kadenz-planner", &[]);
    let monitor = site.as_root("kadenz-monitor", &["--json"]);
    let machine = site.up(&["planner", "logger"]);
    for (client, role) in [(&logger, "view"), (&planner, "plan"), (&monitor, "view")] {
        let uid = site.people.uid(role);
        machine.wait("a client to step down", || ids(client.pid(), "Uid:") == [uid; 4]);
        let gid = ids(client.pid(), "Gid:");
        assert!(gid.len() == 4 && !gid.contains(&0), "{gid:?}");
        assert_eq!(ids(client.pid(), "Groups:"), Vec::<u32>::new(), "no group is kept");
    }
    // They do their work as those users.
    done(&site.kadenz_as_root(&["enable"]));
    machine
        .wait("the planner", || site.kadenz_as_root(&["run", &site.file("short.csv")]).code == 0);
    let shown = || fs::read_to_string(site.home.join("kadenz-monitor.log")).unwrap_or_default();
    machine.wait("the monitor to show it", || shown().contains("\"phase\":\"standstill\""));
    assert_eq!(logger.end(), 0);
    let log = fs::read_to_string(site.home.join("kadenz-logger.log")).expect("a log");
    let recording = log.lines().find_map(|line| line.strip_prefix("recording: "));
    let recording = recording.unwrap_or_else(|| panic!("{log}"));
    let owner = |path: &str| fs::metadata(path).map(|meta| meta.uid()).expect("it is there");
    assert_eq!(owner(recording), site.people.uid("view"));
    assert_eq!(owner(&out), site.people.uid("view"));
    assert_eq!(owner(&site.file("root")), 0, "parents stay root's");

    // A folder that is there stays as it is: closed to the role's user, and said so.
    let mut refused = site.as_root("kadenz-logger", &["--out", &closed]);
    assert_eq!(refused.0.wait().expect("it ends by itself").code(), Some(2));
    let log = fs::read_to_string(site.home.join("kadenz-logger.log")).expect("a log");
    let remedy = format!("`chown {} {closed}`", site.people.user("view"));
    assert!(log.contains(&remedy), "{log}");
}

#[test]
fn the_crash_of_one_roles_gateway_leaves_the_others_alone() {
    if !people::can_be_made() {
        return;
    }
    const ROLES: [(&str, Role); 2] = [("view", Role::View), ("plan", Role::Plan)];
    let site = Site::make();
    let machine = site.up(&["logger"]);
    let monitor = site.as_root("kadenz-monitor", &["--json"]);
    done(&site.kadenz_as_root(&["enable"]));
    done(&site.kadenz_as_root(&["run", "--detach", &site.file("long.csv")]));
    // One connection for all the time: it breaks when its gateway does, and not before.
    let mut operate = Operate::connect(&site.dir).expect("root may connect");
    let shown = || {
        let log = fs::read_to_string(site.home.join("kadenz-monitor.log")).unwrap_or_default();
        let line = log.lines().rfind(|line| line.ends_with('}') && line.contains("\"cycle\""));
        line.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok())
    };
    machine.wait("the monitor", || shown().is_some());

    for crashed in ["plan", "operate", "view"] {
        let others: Vec<&str> =
            ["view", "plan", "operate"].into_iter().filter(|role| *role != crashed).collect();
        let pids = || others.iter().map(|role| machine.gateway(role)).collect::<Vec<_>>();
        let epochs = || ROLES.map(|(name, role)| (name != crashed).then(|| machine.epoch(role)));
        let clients = || [machine.pid(&["kadenz-planner"]), monitor.pid()];
        let before = (pids(), epochs(), clients());
        let seen = shown().expect("it has shown something");
        let victim = machine.gateway(crashed);
        kill(victim, Signal::SIGKILL).expect("a gateway");
        let is_back = || {
            machine
                .pid_if(&["kadenz-gateway", &format!("--role {crashed}")])
                .is_some_and(|pid| pid != victim)
                && machine.status().is_some()
        };
        machine.wait("the gateway to be back", is_back);
        // Long enough for anything that went along to be missed: a show of the monitor is a second.
        let cycle = seen["cycle"].as_u64().expect("a cycle");
        machine.wait("the stream to go on", || {
            shown().and_then(|now| now["cycle"].as_u64()) > Some(cycle + 2000)
        });
        assert_eq!((pids(), epochs(), clients()), before, "{crashed}");
        let now = shown().expect("it goes on");
        assert_eq!(now["daemon_id"], seen["daemon_id"]);
        if crashed != "view" {
            assert_eq!(
                now["link"], seen["link"],
                "{crashed}: nothing was missed, nobody reconnected"
            );
        }
        if crashed != "plan" {
            assert_eq!(
                now["source"]["id"], seen["source"]["id"],
                "{crashed}: the source is the same"
            );
            assert_eq!(now["source"]["lease_generation"], seen["source"]["lease_generation"]);
        }
        assert_eq!(now["reason"], "none", "{crashed}: motion has not noticed: {now}");
        let answer = operate.request(RequestKind::Override, 1.0, Duration::from_secs(2));
        match answer {
            Ok(answer) => assert!(
                crashed != "operate"
                    && matches!(answer.outcome, Outcome::Accepted | Outcome::Already)
            ),
            Err(error) => {
                assert_eq!(crashed, "operate", "{error}");
                operate = Operate::connect(&site.dir).expect("its successor");
            }
        }
    }
}

#[test]
fn a_member_who_floods_the_operate_socket_keeps_no_other_from_a_stop() {
    if !people::can_be_made() {
        return;
    }
    let site = Site::make();
    let _machine = site.up(&["planner", "logger"]);
    site.people.admit("alice");
    site.people.admit("bob");
    done(&site.kadenz("alice", &["enable"]));
    let mut command: Command =
        site.door_command("bob", "doors::a_member_floods_the_operate_socket");
    let mut flood = command.stdout(Stdio::piped()).spawn().expect("setpriv");
    let mut lines = BufReader::new(flood.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.expect("UTF-8").contains("door flood open")));
    let stops: Vec<Said> = (0..20).map(|_| site.kadenz("alice", &["stop"])).collect();
    let looks: Vec<Said> = (0..5).map(|_| site.kadenz("alice", &["status"])).collect();
    let is_still_there = matches!(flood.try_wait(), Ok(None));
    flood.kill().expect("the flood");
    flood.wait().expect("the flood");
    assert!(is_still_there, "the flood went on all the time");
    for said in stops.iter().chain(&looks) {
        done(said);
    }
    let status = site.kadenz("alice", &["--json", "status"]).json();
    assert!(status["gateway"]["refused"].as_u64() > Some(40), "there was a flood: {status}");
}
