//! Real unix users and a group for one test, made before and removed after it, whatever becomes of it.
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use nix::unistd::{Group, User, geteuid};

/// Set to run the tests of a user who is not root: these are then left out, and say so.
const WITHOUT_ROOT: &str = "KADENZ_TESTS_WITHOUT_ROOT";
/// What all users of all runs begin with; then come the test's process id and who it is.
const PREFIX: &str = "kdz-t-";
/// The users of the roles, two people, and one who stays outside.
const USERS: [&str; 6] = ["view", "plan", "operate", "alice", "bob", "mallory"];
/// Others may be changing the list of users as well: a guard, not a limit in time.
const TRIES: u32 = 600;

/// The users and the group of one test.
pub struct People {
    tag: String,
}

/// Whether real users can be made; a run without root must be asked for.
pub fn can_be_made() -> bool {
    if geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os(WITHOUT_ROOT).is_some(),
        "these tests make unix users, which takes root: run them as root, or set {WITHOUT_ROOT}=1 \
         to leave them out"
    );
    eprintln!("SKIPPED ({WITHOUT_ROOT}): nothing was shown about the rights of real users");
    false
}

impl People {
    /// Makes them. Users that killed runs left behind are removed first.
    pub fn make() -> Self {
        clear(&|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true));
        let people = Self { tag: format!("{PREFIX}{}", std::process::id()) };
        must("groupadd", &["--system", &people.group()]);
        for who in USERS {
            let name = people.user(who);
            let shell = ["--shell", "/usr/sbin/nologin"];
            let plain = ["--system", "--no-create-home", "--user-group"];
            must("useradd", &[&plain[..], &shell, &[&name]].concat());
        }
        people
    }

    /// Name of the group that may look and command.
    pub fn group(&self) -> String {
        self.tag.clone()
    }

    /// Name of a user.
    pub fn user(&self, who: &str) -> String {
        format!("{}-{who}", self.tag)
    }

    /// Number of a user.
    pub fn uid(&self, who: &str) -> u32 {
        let user = User::from_name(&self.user(who)).expect("the user database");
        user.expect("a user that was made").uid.as_raw()
    }

    /// Makes somebody a member of the group, as an administrator would.
    pub fn admit(&self, who: &str) {
        must("usermod", &["-aG", &self.group(), &self.user(who)]);
    }

    /// A program run by a user who has just logged in.
    pub fn run_as(&self, who: &str, program: &str) -> Command {
        self.become_user(who, "--init-groups", program)
    }

    /// A program run by a user who logged in before he became a member of anything.
    pub fn run_as_of_old(&self, who: &str, program: &str) -> Command {
        self.become_user(who, "--clear-groups", program)
    }

    fn become_user(&self, who: &str, groups: &str, program: &str) -> Command {
        let name = self.user(who);
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &name, "--regid", &name, groups, "--", program]);
        command.current_dir("/").env("USER", &name);
        command
    }
}

impl Drop for People {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        clear(&|pid| pid == own);
    }
}

/// Removes users and groups of the test processes that `wanted` names.
fn clear(wanted: &dyn Fn(&str) -> bool) {
    let names = |file: &str| -> Vec<String> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.split(':').next());
        let ours = names.filter(|name| {
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            pid.is_some_and(wanted)
        });
        ours.map(str::to_owned).collect()
    };
    for user in names("/etc/passwd") {
        // With force: a process that is just ending does not keep its user.
        let _said_by_the_next_make = tried("userdel", &["--force", &user]);
    }
    for group in names("/etc/group") {
        let _said_by_the_next_make = tried("groupdel", &[&group]);
    }
}

fn must(program: &str, args: &[&str]) {
    let output = tried(program, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    // The tool has written the file; this process may have read it before.
    assert!(Group::from_name("root").is_ok());
}

/// Runs a tool of the package `passwd`, again while somebody else holds the list of users.
fn tried(program: &str, args: &[&str]) -> Output {
    for _ in 0..TRIES {
        let output = Command::new(program)
            .args(args)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; install the package `passwd`"));
        // 10: cannot update or lock the group file; 1: the same of the others.
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || !said.contains("lock") {
            return output;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{program} {args:?}: the list of users stays locked");
}
