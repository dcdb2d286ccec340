//! The RT thread's contract in production: the filter of system calls and the gate of allocations, each shown to hold and to bite. Threads under the filter never end, so each case is a process of its own.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kadenz_lanes::{BroadcastReader, Read};
use kadenzd::boot::host;
use kadenzd::boot::incidents::{Incidents, Watched};
use kadenzd::boot::restriction::Restriction;
use kadenzd::rt::bus_sim::SimBus;
use kadenzd::rt::clock::{now_ns, sleep_until};
use kadenzd::rt::{LISTED_CALLS, Loop};
use kadenzd::{denied_calls, gate_rt_allocations};
use live_tests::body::{Body, Parts, enable, machine_of};
use nix::sys::signal::Signal;
use servo_core::ports::{Bus, Commands, Feedback};
use shm_layout::AXES_MAX;
use shm_layout::code::{Cause, Finding, IncidentKind, Phase, Reason, Verdict};
use shm_layout::incident::Incident;
use shm_layout::state::{AxisState, StateHeader};

#[global_allocator]
static ALLOCATOR: kadenzd::GatedAllocator = kadenzd::GatedAllocator;

const CASE_ENV: &str = "KADENZ_TEST_CASE";
const STATE_WORDS_MAX: usize = StateHeader::WORDS + AXES_MAX * AxisState::WORDS;

/// What the bus does in one cycle that it must not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    Call,
    ReadClock,
    Panic,
}

/// The simulated bus, with one deed.
struct BadBus {
    inner: SimBus,
    deed: Deed,
    in_cycle: u64,
    cycle: u64,
}

impl Bus for BadBus {
    fn receive(&mut self, feedback: &mut Feedback) {
        if self.cycle == self.in_cycle {
            match self.deed {
                Deed::Nothing => {}
                Deed::Call => assert!(nix::unistd::getppid().as_raw() <= 0, "the call was made"),
                // As the C library does where the vDSO has no answer.
                Deed::ReadClock => assert!(live_tests::read_clock_by_system_call() > 0, "denied"),
                Deed::Panic => panic!("on purpose"),
            }
        }
        self.cycle += 1;
        self.inner.receive(feedback);
    }
    fn send(&mut self, commands: &Commands, target_counts: &mut [i32; AXES_MAX]) {
        self.inner.send(commands, target_counts);
    }
}

fn newest(states: &mut BroadcastReader<'static>) -> Option<StateHeader> {
    let mut words = [0; STATE_WORDS_MAX];
    match states.newest(&mut words) {
        Read::Record { .. } => StateHeader::from_slice(&words),
        _ => None,
    }
}

/// Runs an enabled loop under `restriction` until `seen` says so of a state record; gives what was told.
fn run(
    deed: Deed,
    restriction: Restriction,
    mut seen: impl FnMut(&StateHeader) -> bool,
) -> Vec<Incident> {
    let machine = machine_of(3).unwrap();
    let body = Body::new(&machine).unwrap();
    let mut states = body.state_reader().unwrap();
    let wish = body.wish();
    let Parts {
        servo,
        notes,
        mainland_gauges,
        health,
        incidents,
        mut incidents_told,
        mut requests,
        ..
    } = body.into_parts().unwrap();
    let mut servo = Loop {
        setup: servo.setup,
        state: servo.state,
        bus: BadBus { inner: servo.bus, deed, in_cycle: 400, cycle: 0 },
        lanes: servo.lanes,
        stats: servo.stats,
        recorder: servo.recorder,
        stopwatch: servo.stopwatch,
    };
    let ready = host::prepare(&machine, Path::new("/dev/shm")).unwrap();
    let (cpu, go) = (ready.cpu, Arc::new(AtomicBool::new(false)));
    let (tell, told) = std::sync::mpsc::channel();
    let waits = Arc::clone(&go);
    std::thread::spawn(move || {
        host::become_rt_thread(&machine, &ready).unwrap();
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        restriction.install().unwrap();
        // ORDERING: acquire, pairs with the release below.
        while !waits.load(Ordering::Acquire) {
            sleep_until(now_ns() + 1_000_000);
        }
        servo.run();
        unreachable!("nobody asks this loop to end");
    });
    let thread_id = told.recv().unwrap();
    let gauges = mainland_gauges;
    let late_wake_ns = u64::MAX;
    let watched = Watched { notes, gauges, health, incidents, wish, cpu, thread_id, late_wake_ns };
    let mut watching = Incidents::new(watched);
    // ORDERING: release, pairs with the acquire above.
    go.store(true, Ordering::Release);
    while newest(&mut states).is_none_or(|header| header.cycle < 50) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    enable(&mut requests);
    while !newest(&mut states).is_some_and(|header| seen(&header)) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    watching.look();
    watching.finish();
    let mut words = [0; Incident::WORDS];
    let mut incidents = Vec::new();
    while let Read::Record { .. } = incidents_told.read_next(&mut words) {
        incidents.push(Incident::from_words(&words));
    }
    incidents
}

fn listed_but(left_out: &str) -> Restriction {
    // Also has denied calls counted.
    Restriction::prepare().unwrap();
    let rest = LISTED_CALLS.iter().filter(|(name, _)| *name != left_out);
    Restriction::of_calls(rest.map(|(_, number)| *number)).unwrap()
}

#[test]
#[ignore = "run in a process of its own by the tests below"]
fn child() {
    match std::env::var(CASE_ENV).unwrap().as_str() {
        "healthy" => {
            run(Deed::Nothing, listed_but(""), |header| header.cycle > 1_000);
            assert_eq!(denied_calls(), 0, "the list is too short");
        }
        "denied" => a_denied_call_is_refused_told_and_stops_the_machine(),
        "panic" => {
            run(Deed::Panic, listed_but(""), |header| header.cycle > 1_000);
        }
        "allocates" => {
            gate_rt_allocations(true);
            std::hint::black_box(Box::new(1));
        }
        "without clock_nanosleep" => {
            run(Deed::Nothing, listed_but("clock_nanosleep"), |header| header.denied_calls > 10);
        }
        "clock without vDSO" => {
            run(Deed::ReadClock, listed_but(""), |header| header.cycle > 1_000);
            assert_eq!(denied_calls(), 0, "reading the clock is let through");
        }
        "without clock_gettime" => {
            run(Deed::ReadClock, listed_but("clock_gettime"), |header| header.cycle > 1_000);
        }
        "without rt_sigreturn" => {
            run(Deed::Call, listed_but("rt_sigreturn"), |header| header.cycle > 1_000);
        }
        other => panic!("{other}"),
    }
    // The thread under its filter cannot end, and it need not: the process does.
}

fn a_denied_call_is_refused_told_and_stops_the_machine() {
    let mut was_enabled = false;
    let incidents = run(Deed::Call, listed_but(""), |header| {
        was_enabled |= header.phase == Phase::Standstill.code();
        let is_told = header.reason == Reason::DeniedCall.code() && header.denied_calls == 1;
        is_told && header.verdict == Verdict::Stop.code() && header.phase == Phase::Disabled.code()
    });
    assert!(was_enabled, "axes held torque when it happened");
    let denied: Vec<_> =
        incidents.iter().filter(|one| one.kind == IncidentKind::DeniedCall.code()).collect();
    let [denied] = denied.as_slice() else { panic!("{incidents:?}") };
    assert_eq!(i64::from(denied.system_call), libc::SYS_getppid);
    let found = (denied.cause, denied.finding);
    assert_eq!(found, (Cause::Own.code(), Finding::DeniedCall.code()));
}

fn in_a_process(case: &str) -> ExitStatus {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "child", "--ignored"]).env(CASE_ENV, case);
    let output = command.output().unwrap();
    if !output.status.success() {
        println!("{case}: {}", String::from_utf8_lossy(&output.stdout));
    }
    output.status
}

#[test]
fn the_loop_lives_on_its_listed_calls_alone() {
    assert!(in_a_process("healthy").success());
}

#[test]
fn a_call_outside_the_list_is_not_made_is_named_and_brings_the_machine_to_rest() {
    assert!(in_a_process("denied").success());
}

#[test]
fn no_entry_of_the_list_is_unneeded() {
    for (name, _) in LISTED_CALLS {
        let status = in_a_process(&format!("without {name}"));
        match name {
            // Denied, it does not sleep: the loop runs free and every pass is counted as denied.
            "clock_nanosleep" => assert!(status.success(), "{status}"),
            // Denied, a clock that lost its vDSO would stand at zero.
            "clock_gettime" => assert!(!status.success(), "{status}"),
            // Denied, nobody comes back from the handler of a denied call.
            "rt_sigreturn" => assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{status}"),
            other => panic!("{other} is listed; say here what breaks without it"),
        }
    }
}

#[test]
fn a_clock_that_loses_its_vdso_as_the_loop_runs_goes_on() {
    assert!(in_a_process("clock without vDSO").success());
}

#[test]
fn a_panic_under_the_filter_still_ends_the_process() {
    let status = in_a_process("panic");
    assert!(status.signal().is_some(), "{status}");
}

#[test]
fn an_allocation_behind_the_gate_aborts_where_assertions_are_on() {
    let status = in_a_process("allocates");
    if cfg!(debug_assertions) {
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{status}");
    } else {
        assert!(status.success(), "a release build counts: {status}");
    }
}
