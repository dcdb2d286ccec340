//! `kadenz up`: the set of processes of one machine without systemd. Here: what belongs to the set, and
//! the loop that gives it time, signals and notifications.

mod pulse;
mod notify;
mod roles;
mod member;
mod set;
mod leftovers;

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use kadenz_config::Machine;
use kadenz_link::access::give_dir;
use kadenz_link::clock;
use kadenz_paths::RuntimeDir;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};
use shm_layout::code::Role;

use self::leftovers::Leftovers;
use self::member::{Duty, Spec};
use self::notify::NotifySocket;
use self::roles::{Account, Accounts};
use self::set::{Set, Stage, Summary};
use crate::args::{Client, UpOptions};
use crate::check;
use crate::reply::{EXIT_REFUSED, EXIT_SYSTEM, EXIT_UNAVAILABLE, Failure, Reply};
use crate::signals::{ENDING, Signals};
use crate::terminal;

/// Where recordings go when nobody says and the roles have users: ours, root's, has a closed home.
const RECORDINGS_DIR: &str = "/var/lib/kadenz";
/// Passes come at least this often; children that end and speak wake us before.
const PASS_MS: u16 = 20;

/// Starts the set of `options` in `dir` and looks after it until it has ended.
pub(crate) fn up(dir: RuntimeDir, options: &UpOptions, json: bool) -> Result<Reply, Failure> {
    let machine = match (&options.config, &options.demo) {
        (Some(file), _) => Machine::load(file)
            .map_err(|error| Failure::new(kadenz_config::EXIT_CODE, error.to_string()))?,
        (None, name) => check::demo(name.as_deref().unwrap_or_default())?,
    };
    let accounts = Accounts::of(&machine)?;
    if UnixStream::connect(dir.handover_socket()).is_ok() {
        let text = format!(
            "{}: a kadenzd serves there already; stop it, or give another --runtime-dir",
            dir.as_path().display()
        );
        return Err(Failure::new(EXIT_REFUSED, text));
    }
    let specs = specs(&dir, options, &accounts, json)?;
    let mut wanted = ENDING.to_vec();
    wanted.push(Signal::SIGCHLD);
    let signals = Signals::take(&wanted)?;
    let at = |error: std::io::Error| {
        Failure::new(EXIT_SYSTEM, format!("{}: {error}", dir.as_path().display()))
    };
    let leftovers = Leftovers::make(&dir).map_err(at)?;
    let notify = NotifySocket::bind(dir.as_path(), machine.roles.is_some()).map_err(|error| {
        leftovers.unmake();
        at(error)
    })?;
    let door = dir.handover_socket();
    let accepts = move || is_listening(&door);
    let set = Set::start(specs, notify.path().to_path_buf(), clock::now_ns(), accepts, |text| {
        terminal::err(&format!("kadenz up: {text}"));
    });
    let summary = tend(set, &notify, &signals);
    drop(notify);
    let keep_ring = !summary.daemon_end.is_some_and(|status| status.success());
    if let Some(left) = leftovers.clear(keep_ring) {
        terminal::err(&format!("kadenz up: {left}"));
    }
    Ok(reply(&summary))
}

fn tend(mut set: Set, notify: &NotifySocket, signals: &Signals) -> Summary {
    // BOUND: the set ends when kadenzd does or somebody asks, each step of its end within its time.
    while set.stage() != Stage::Done {
        let mut polled = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(notify.as_fd(), PollFlags::POLLIN),
        ];
        // An interrupted wait is a short one.
        let _waited = poll(&mut polled, PollTimeout::from(PASS_MS));
        let heard = notify.heard();
        let now_ns = clock::now_ns();
        while let Some(signal) = signals.next() {
            if signal != Signal::SIGCHLD {
                set.end(signal.as_str(), now_ns);
            }
        }
        set.pass(&heard, now_ns);
    }
    set.summary()
}

/// Whether anybody listens on the socket at `door`. Asked of the kernel's list, not by knocking: the
/// daemon would log a visitor that says nothing. Before kadenzd is started nobody listens there.
fn is_listening(door: &Path) -> bool {
    let list = std::fs::read("/proc/net/unix").unwrap_or_default();
    listens_in(&list, door)
}

/// Reads the list of proc(5): number, reference count, protocol, flags, type, state, inode, path.
fn listens_in(list: &[u8], door: &Path) -> bool {
    /// `__SO_ACCEPTCON`: the socket listens.
    const LISTENING: u32 = 0x1_0000;
    let door = [b" ", door.as_os_str().as_bytes()].concat();
    list.split(|byte| *byte == b'\n').filter(|line| line.ends_with(&door)).any(|line| {
        let text = String::from_utf8_lossy(line);
        let flags = text.split_ascii_whitespace().nth(3);
        let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & LISTENING != 0)
    })
}

/// The processes of the set, kadenzd first.
fn specs(
    dir: &RuntimeDir,
    options: &UpOptions,
    accounts: &Accounts,
    json: bool,
) -> Result<Vec<Spec>, Failure> {
    let runtime_dir = ["--runtime-dir".into(), dir.as_path().as_os_str().to_owned()];
    let spec = |name, duty, binary: &str, account| {
        let program = beside_us(binary)?;
        let args = runtime_dir.to_vec();
        Ok(Spec { name, duty, program, args, account, stdout_to_stderr: json })
    };
    let mut daemon = spec("kadenzd", Duty::Daemon, "kadenzd", None)?;
    match (&options.config, &options.demo) {
        (Some(file), _) => daemon.args.extend(["--config".into(), file.as_os_str().to_owned()]),
        (None, Some(name)) => daemon.args.extend(["--demo".into(), name.into()]),
        (None, None) => {}
    }
    if let Some(file) = &options.record {
        daemon.args.extend(["--record".into(), file.as_os_str().to_owned()]);
    }
    let mut specs = vec![daemon];
    let gateways = [
        ("gateway view", Role::View, accounts.view),
        ("gateway plan", Role::Plan, accounts.plan),
        ("gateway operate", Role::Operate, accounts.operate),
    ];
    for (name, role, account) in gateways {
        let mut gateway = spec(name, Duty::Gateway, "kadenz-gateway", account)?;
        gateway.args.extend(["--role".into(), role.word().into()]);
        specs.push(gateway);
    }
    if !options.without.contains(&Client::Planner) {
        specs.push(spec("planner", Duty::Client, "kadenz-planner", accounts.plan)?);
    }
    if !options.without.contains(&Client::Logger) {
        let mut logger = spec("logger", Duty::Logger, "kadenz-logger", accounts.view)?;
        if let Some(out) = recordings(options, accounts.view)? {
            logger.args.extend(["--out".into(), out.into_os_string()]);
        }
        specs.push(logger);
    }
    Ok(specs)
}

/// Where recordings go, if not where the logger puts them by itself. What is not there is made for the
/// logger's user, who could not.
fn recordings(options: &UpOptions, logger: Option<Account>) -> Result<Option<PathBuf>, Failure> {
    let Some(Account { uid, gid }) = logger else { return Ok(options.out.clone()) };
    // The service manager's directory is its own affair.
    let is_managed = std::env::var_os("STATE_DIRECTORY").is_some();
    let default = || (!is_managed).then(|| PathBuf::from(RECORDINGS_DIR));
    let Some(out) = options.out.clone().or_else(default) else { return Ok(None) };
    give_dir(&out, uid, gid).map_err(|error| {
        Failure::new(EXIT_SYSTEM, format!("{}: {error}; give another --out", out.display()))
    })?;
    Ok(Some(out))
}

/// The binary that was installed with this one.
fn beside_us(binary: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(EXIT_SYSTEM, format!("finding own executable: {error}")))?;
    let path = own.with_file_name(binary);
    if path.is_file() {
        return Ok(path);
    }
    let text = format!(
        "{} is not there; install all binaries in one directory (cargo build -p {binary}), or \
         leave a client out with --without",
        path.display()
    );
    Err(Failure::new(EXIT_UNAVAILABLE, text))
}

fn reply(summary: &Summary) -> Reply {
    let daemon_code = summary.daemon_end.and_then(|status| status.code());
    let code = match daemon_code {
        Some(78) => kadenz_config::EXIT_CODE,
        _ if summary.failed => EXIT_REFUSED,
        _ => 0,
    };
    let restarts: u64 = summary.members.iter().map(|(_, restarts, _)| restarts).sum();
    let each: Vec<String> = summary
        .members
        .iter()
        .filter(|(_, restarts, _)| *restarts > 0)
        .map(|(name, restarts, hangs)| format!("{name} {restarts} ({hangs} hung)"))
        .collect();
    let tail = match each.is_empty() {
        true => "no restarts".to_owned(),
        false => format!("{restarts} restarts: {}", each.join(", ")),
    };
    let head = match (code, daemon_code) {
        (0, _) => "ended in good order".to_owned(),
        (78, _) => "kadenzd refuses its configuration, see above".to_owned(),
        (_, Some(0)) => "ended, but not in good order, see above".to_owned(),
        (_, Some(exit)) => format!("kadenzd ended with exit code {exit}, see above"),
        (_, None) => "kadenzd was killed or never started, see above".to_owned(),
    };
    let members: Map<String, Value> = summary
        .members
        .iter()
        .map(|(name, restarts, hangs)| {
            ((*name).to_owned(), json!({"restarts": restarts, "hangs": hangs}))
        })
        .collect();
    Reply::new(code, format!("{head}; {tail}"))
        .with("daemon_exit_code", daemon_code)
        .with("restarts", restarts)
        .with("processes", members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_listens_when_the_kernel_lists_it_as_listening_under_its_whole_path() {
        let list: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/kadenz/handover.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 12346 /run/other/handover.sock\n";
        assert!(listens_in(list, Path::new("/run/kadenz/handover.sock")));
        assert!(!listens_in(list, Path::new("/kadenz/handover.sock")));
        assert!(!listens_in(list, Path::new("/run/other/handover.sock")));
        assert!(!listens_in(b"", Path::new("/run/kadenz/handover.sock")));
    }

    #[test]
    fn a_real_listener_is_found_and_a_dead_ones_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let door = dir.path().join("handover.sock");
        let listener = std::os::unix::net::UnixListener::bind(&door).unwrap();
        assert!(is_listening(&door));
        drop(listener);
        assert!(door.exists() && !is_listening(&door));
    }
}
