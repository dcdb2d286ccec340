//! The set with small shell commands for its processes, and time and notifications made by the test.
use std::cell::RefCell;
use std::rc::Rc;

use super::*;

const READY: Said = Said { ready: true, alive: false };
const ALIVE: Said = Said { ready: false, alive: true };

/// Runs until it is asked to end, then ends with 0.
const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
/// Does not end when asked.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 1 & wait $!; done";

fn spec(name: &'static str, duty: Duty, script: &str) -> Spec {
    Spec {
        name,
        duty,
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        account: None,
        stdout_to_stderr: true,
    }
}

/// A set whose time the test makes.
struct Bench {
    set: Set,
    now_ns: u64,
    /// What one pass takes; 0 while nothing may run out of time.
    step_ns: u64,
    said: Rc<RefCell<Vec<String>>>,
    /// Gateways that say that they live in every pass.
    lively: bool,
}

impl Bench {
    fn start(specs: Vec<Spec>) -> Self {
        Self::start_accepting(specs, || true)
    }

    fn start_accepting(specs: Vec<Spec>, accepts: impl Fn() -> bool + 'static) -> Self {
        let said = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&said);
        let say = move |text: &str| told.borrow_mut().push(text.to_owned());
        let set = Set::start(specs, "/nowhere".into(), 0, accepts, say);
        Self { set, now_ns: 0, step_ns: 20 * MS, said, lively: true }
    }

    fn pass(&mut self, heard: &[(i32, Said)]) {
        let mut heard = heard.to_vec();
        if self.lively {
            heard.extend(self.pids(Duty::Gateway).into_iter().map(|pid| (pid, ALIVE)));
        }
        self.now_ns += self.step_ns;
        self.set.pass(&heard, self.now_ns);
    }

    /// Passes until `done`; made time runs, so no bound but the test runner's is needed.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            assert!(self.set.stage() != Stage::Done || what == "done", "done before {what}");
            self.pass(&[]);
            // The processes are real: leave them a CPU.
            std::thread::yield_now();
        }
    }

    fn pids(&self, duty: Duty) -> Vec<i32> {
        self.set.of(duty).filter_map(Member::pid).map(|pid| i32::try_from(pid).unwrap()).collect()
    }

    fn all_ready(&mut self) {
        let ready: Vec<_> = self.pids(Duty::Gateway).into_iter().map(|pid| (pid, READY)).collect();
        self.pass(&ready);
    }

    fn has_said(&self, text: &str) -> bool {
        self.said.borrow().iter().any(|line| line.contains(text))
    }

    /// When a line was said, as its place among all.
    fn place(&self, text: &str) -> usize {
        let said = self.said.borrow();
        said.iter()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{text}: {said:?}"))
    }

    fn restarts(&self, name: &str) -> u64 {
        self.set.summary().members.iter().find(|(known, ..)| *known == name).unwrap().1
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A failed test leaves no process either.
        let all = [Duty::Daemon, Duty::Gateway, Duty::Logger, Duty::Client];
        self.set.signal(&all, Signal::SIGKILL);
    }
}

fn whole_set() -> Vec<Spec> {
    vec![
        spec("kadenzd", Duty::Daemon, PATIENT),
        spec("view", Duty::Gateway, PATIENT),
        spec("plan", Duty::Gateway, PATIENT),
        spec("planner", Duty::Client, PATIENT),
        spec("logger", Duty::Logger, PATIENT),
    ]
}

#[test]
fn clients_are_started_when_every_gateway_is_ready_and_not_before() {
    let mut bench = Bench::start(whole_set());
    bench.until("gateways", |b| b.set.stage() == Stage::Gateways);
    let gateways = bench.pids(Duty::Gateway);
    assert_eq!(gateways.len(), 2);
    bench.pass(&[(gateways[0], READY)]);
    // Somebody else's word is not a gateway's.
    bench.pass(&[(1, READY)]);
    assert_eq!(bench.set.stage(), Stage::Gateways);
    assert!(bench.pids(Duty::Client).is_empty());
    bench.pass(&[(gateways[1], READY)]);
    assert_eq!(bench.set.stage(), Stage::Serving);
    assert_eq!(bench.pids(Duty::Client).len() + bench.pids(Duty::Logger).len(), 2);
}

#[test]
fn an_orderly_end_is_kadenzd_then_the_logger_then_the_planner() {
    let dir = tempfile::tempdir().unwrap();
    let door = dir.path().join("door");
    let mut specs = whole_set();
    // It accepts once it can be asked to end.
    let script = PATIENT.replace("; while", &format!("; : > {}; while", door.display()));
    specs[0] = spec("kadenzd", Duty::Daemon, &script);
    let mut bench = Bench::start_accepting(specs, move || door.exists());
    bench.step_ns = 0;
    bench.until("gateways", |b| b.set.stage() == Stage::Gateways);
    bench.all_ready();
    bench.set.end("SIGINT", bench.now_ns);
    bench.until("kadenzd's end", |b| b.set.stage() == Stage::GatewaysEnd);
    // These gateways do not notice: their time must run out.
    bench.step_ns = 20 * MS;
    bench.until("the logger's turn", |b| b.set.stage() == Stage::LoggerEnds);
    bench.step_ns = 0;
    bench.until("done", |b| b.set.stage() == Stage::Done);
    assert!(bench.place("kadenzd: ended, exit code 0") < bench.place("logger: ended"));
    assert!(bench.place("logger: ended") < bench.place("planner: ended"));
    let summary = bench.set.summary();
    assert!(!summary.failed);
    assert_eq!(crate::up::reply(&summary).code, 0);
    assert!(bench.set.members.iter().all(|member| !member.runs()));
}

#[test]
fn a_killed_client_is_started_again_and_counted() {
    let mut bench = Bench::start(whole_set());
    bench.pass(&[]);
    bench.all_ready();
    for count in 1..=3 {
        let before = bench.pids(Duty::Client);
        bench.set.signal(&[Duty::Client], Signal::SIGKILL);
        bench.until("a restart", |b| b.restarts("planner") == count);
        assert_ne!(bench.pids(Duty::Client), before);
    }
    assert!(bench.has_said("planner: ended, killed by SIGKILL; restart 3"));
    assert_eq!(bench.restarts("logger"), 0);
}

#[test]
fn a_ready_gateway_that_falls_silent_is_killed_and_started_again() {
    let mut bench = Bench::start(whole_set());
    bench.pass(&[]);
    bench.all_ready();
    let before = bench.pids(Duty::Gateway);
    bench.lively = false;
    bench.until("a kill", |b| b.has_said("view: silent for 220 ms, killed"));
    bench.lively = true;
    bench.until("a restart", |b| b.restarts("view") == 1 && b.pids(Duty::Gateway).len() == 2);
    assert_ne!(bench.pids(Duty::Gateway)[0], before[0]);
    assert_eq!(bench.set.summary().members[1].2, 1);
}

#[test]
fn when_kadenzd_crashes_the_set_comes_down_and_nothing_is_started_again() {
    let mut bench = Bench::start(whole_set());
    bench.pass(&[]);
    bench.all_ready();
    bench.set.signal(&[Duty::Daemon], Signal::SIGKILL);
    bench.until("done", |b| b.set.stage() == Stage::Done);
    let summary = bench.set.summary();
    assert!(summary.failed);
    assert!(summary.members.iter().all(|(_, restarts, _)| *restarts == 0));
    assert!(bench.has_said("kadenzd: ended, killed by SIGKILL"));
}

#[test]
fn a_refused_configuration_ends_the_set_with_its_exit_code() {
    let mut specs = whole_set();
    specs[0] = spec("kadenzd", Duty::Daemon, "exit 78");
    let mut bench = Bench::start(specs);
    bench.until("done", |b| b.set.stage() == Stage::Done);
    let summary = bench.set.summary();
    assert_eq!(summary.daemon_end.and_then(|status| status.code()), Some(78));
    assert_eq!(crate::up::reply(&summary).code, 78);
}

#[test]
fn a_gateway_that_cannot_ever_start_ends_the_set() {
    let mut specs = whole_set();
    specs[1] = spec("view", Duty::Gateway, "exit 2");
    let mut bench = Bench::start(specs);
    bench.until("done", |b| b.set.stage() == Stage::Done);
    assert!(bench.set.summary().failed);
    assert!(bench.has_said("view: ended, exit code 2, and would again"));
}

#[test]
fn a_gateway_that_crashes_on_and_on_is_started_on_and_on_but_not_told_each_time() {
    let mut specs = whole_set();
    specs[1] = spec("view", Duty::Gateway, "exit 4");
    let mut bench = Bench::start(specs);
    bench.until("ten restarts", |b| b.restarts("view") >= 10);
    assert!(bench.has_said("restart 8") && !bench.has_said("restart 7"));
    assert_eq!(bench.set.stage(), Stage::Gateways);
}

#[test]
fn a_kadenzd_that_does_not_end_is_killed_in_its_time_and_the_end_is_no_good_one() {
    let mut specs = whole_set();
    specs[0] = spec("kadenzd", Duty::Daemon, STUBBORN);
    let mut bench = Bench::start(specs);
    bench.pass(&[]);
    bench.all_ready();
    // Asked before its shell has set the trap, it would end at once: the kill must come either way.
    bench.set.begin_end(bench.now_ns);
    bench.until("done", |b| b.set.stage() == Stage::Done);
    assert!(bench.set.summary().failed);
    assert!(bench.has_said("kadenzd: ended, killed by"));
}

#[test]
fn asked_twice_the_set_is_killed_without_waiting() {
    let specs = whole_set().into_iter().map(|s| spec(s.name, s.duty, STUBBORN)).collect();
    let mut bench = Bench::start(specs);
    bench.pass(&[]);
    bench.all_ready();
    bench.set.end("SIGINT", bench.now_ns);
    bench.set.end("SIGINT", bench.now_ns + ECHO_NS_MAX);
    bench.until("done", |b| b.set.stage() == Stage::Done);
    assert!(bench.has_said("again: killing everything"));
    assert!(!bench.has_said("too slow"));
}

#[test]
fn a_key_that_bounces_or_is_held_down_asks_once_and_kills_nothing() {
    let mut bench = Bench::start(whole_set());
    bench.pass(&[]);
    bench.all_ready();
    for echo in 0..20 {
        bench.set.end("SIGINT", bench.now_ns + echo * (ECHO_NS_MAX / 2));
    }
    bench.until("done", |b| b.set.stage() == Stage::Done);
    assert!(!bench.has_said("killing"));
}

#[test]
fn a_program_that_is_not_there_is_named_and_tried_again() {
    let mut specs = whole_set();
    specs[3].program = "/nonexistent/kadenz-planner".into();
    let mut bench = Bench::start(specs);
    bench.pass(&[]);
    bench.all_ready();
    bench.until("a second try", |b| b.restarts("planner") >= 1);
    assert!(bench.has_said("planner: /nonexistent/kadenz-planner: No such file"));
    assert_eq!(bench.set.stage(), Stage::Serving);
}
