//! Every injected cause of a breach is told for what it is, on a real thread with real evidence.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kadenz_lanes::Read;
use kadenzd::boot::host;
use kadenzd::boot::incidents::{Incidents, Watched};
use kadenzd::boot::report::Report;
use kadenzd::rt::Loop;
use kadenzd::rt::bus_sim::SimBus;
use kadenzd::rt::clock::{now_ns, sleep_until};
use kadenzd::rt::stats::{StageClock, StageTimes};
use live_tests::body::{Body, Parts, machine_of};
use live_tests::{ends_with_us, take_page_faults};
use servo_core::ports::{Bus, Commands, Feedback, Stage, Stopwatch};
use shm_layout::code::{Cause, Finding};
use shm_layout::incident::Incident;
use shm_layout::{AXES_MAX, STAGES};

const MS: u64 = 1_000_000;
/// One machine at a time: two would take each other's CPU.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn burn(duration_ns: u64) {
    let until_ns = now_ns() + duration_ns;
    while now_ns() < until_ns {}
}

/// What goes wrong in which cycle.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Stage(usize),
    Pages,
    Bus,
}

type Plan = Arc<Vec<(u64, Fault)>>;

fn fault_in(plan: &Plan, cycle: u64) -> Option<Fault> {
    plan.iter().find(|(at, _)| *at == cycle).map(|(_, fault)| *fault)
}

/// A stopwatch that makes stages long before it stamps them.
struct Saboteur {
    inner: StageTimes,
    plan: Plan,
    cycle: u64,
}

impl StageClock for Saboteur {
    fn begin(&mut self, wake_ns: u64) {
        self.cycle += 1;
        self.inner.begin(wake_ns);
    }
    fn ends_ns(&self) -> [u32; STAGES] {
        self.inner.ends_ns()
    }
}

impl Stopwatch for Saboteur {
    fn stage_ended(&mut self, stage: Stage) {
        match fault_in(&self.plan, self.cycle - 1) {
            Some(Fault::Stage(index)) if index == stage as usize => burn(2 * MS),
            Some(Fault::Pages) if stage == Stage::Motion => {
                // So many that they cost milliseconds: a single one hides in a cycle.
                take_page_faults(NonZeroUsize::new(64 << 20).unwrap()).unwrap();
            }
            _ => {}
        }
        self.inner.stage_ended(stage);
    }
}

/// The simulated bus, whose answer comes late in some cycles.
struct LateBus {
    inner: SimBus,
    plan: Plan,
    cycle: u64,
    late_ns: u32,
}

impl Bus for LateBus {
    fn receive(&mut self, feedback: &mut Feedback) {
        self.late_ns = 0;
        if matches!(fault_in(&self.plan, self.cycle), Some(Fault::Bus)) {
            let due_ns = now_ns();
            sleep_until(due_ns + 2 * MS);
            self.late_ns = u32::try_from(now_ns() - due_ns).unwrap();
        }
        self.cycle += 1;
        self.inner.receive(feedback);
    }
    fn send(&mut self, commands: &Commands, target_counts: &mut [i32; AXES_MAX]) {
        self.inner.send(commands, target_counts);
    }
    fn late_ns(&self) -> u32 {
        self.late_ns
    }
}

/// Runs a loop for `cycles` as kadenzd would, with `plan`; `beside` runs on a thread of its own
/// meanwhile, told the loop's CPU and when to end. Gives what was told.
fn run(plan: Vec<(u64, Fault)>, cycles: u64, beside: fn(usize, &AtomicBool)) -> Vec<Incident> {
    let machine = machine_of(6).unwrap();
    let body = Body::new(&machine).unwrap();
    let wish = body.wish();
    let Parts {
        servo,
        notes,
        mainland_gauges,
        mainland_health,
        health,
        incidents,
        mut incidents_told,
        ..
    } = body.into_parts().unwrap();
    let plan: Plan = Arc::new(plan);
    let mut servo = Loop {
        setup: servo.setup,
        state: servo.state,
        bus: LateBus { inner: servo.bus, plan: Arc::clone(&plan), cycle: 0, late_ns: 0 },
        lanes: servo.lanes,
        stats: servo.stats,
        recorder: servo.recorder,
        stopwatch: Saboteur { inner: StageTimes::default(), plan, cycle: 0 },
    };
    let ready = host::prepare(&machine, Path::new("/dev/shm")).unwrap();
    let cpu = ready.cpu;
    let (tell, told) = std::sync::mpsc::channel();
    let running = thread::spawn(move || {
        let lacks = host::become_rt_thread(&machine, &ready).unwrap();
        assert!(lacks.is_empty(), "SCHED_FIFO is what these causes are told by: {lacks:?}");
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        servo.run();
    });
    let thread_id = told.recv().unwrap();
    let mut watching = Incidents::new(Watched {
        notes,
        gauges: mainland_gauges,
        health: mainland_health,
        incidents,
        wish,
        cpu,
        thread_id,
        late_wake_ns: 1_500_000,
    });
    let ends = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ends);
    let company = thread::spawn(move || beside(cpu, &asked));
    let mut incidents = Vec::new();
    let mut words = [0u64; Incident::WORDS];
    let passed = core::mem::offset_of!(shm_layout::health::Health, cycles) / 8;
    while health.get(passed).is_none_or(|passed| passed < cycles) {
        watching.look();
        while let Read::Record { .. } = incidents_told.read_next(&mut words) {
            incidents.push(Incident::from_words(&words));
        }
        // The pace at which kadenzd looks; nothing is concluded from it.
        thread::sleep(Duration::from_millis(20));
    }
    // ORDERING: relaxed, the bit stands for itself.
    ends.store(true, Ordering::Relaxed);
    wish.shut_down();
    running.join().unwrap();
    company.join().unwrap();
    watching.finish();
    while let Read::Record { .. } = incidents_told.read_next(&mut words) {
        incidents.push(Incident::from_words(&words));
    }
    println!("{}", Report { health: &health });
    incidents.iter().for_each(|incident| println!("{incident}"));
    incidents
}

fn alone(_cpu: usize, _ends: &AtomicBool) {}

/// Incidents of one cycle that the host did not meddle with.
fn of_cycle(incidents: &[Incident], cycle: u64) -> impl Iterator<Item = &Incident> {
    incidents.iter().filter(move |one| one.cycle == cycle && one.steal_ns == 0)
}

fn expected(fault: Fault) -> (Cause, Finding) {
    match fault {
        Fault::Stage(_) => (Cause::Own, Finding::Stage),
        Fault::Pages => (Cause::Own, Finding::PageFault),
        Fault::Bus => (Cause::Bus, Finding::BusLate),
    }
}

#[test]
fn work_in_any_stage_page_faults_and_a_late_bus_are_all_told_apart() {
    let _alone = ONE_AT_A_TIME.lock();
    let kinds: Vec<Fault> =
        (0..STAGES).map(Fault::Stage).chain([Fault::Pages, Fault::Bus]).collect();
    // Three of each, since the host may stall inside one; slower than the limit of incidents per second.
    let each = (0_u64..).step_by(400);
    let plan: Vec<_> =
        each.zip((0..3).flat_map(|_| kinds.clone())).map(|(at, fault)| (300 + at, fault)).collect();
    let end = plan.last().unwrap().0 + 300;
    let incidents = run(plan.clone(), end, alone);
    for fault in kinds {
        let wanted = expected(fault);
        let mut told = 0;
        for (cycle, _) in plan.iter().filter(|(_, one)| format!("{one:?}") == format!("{fault:?}"))
        {
            for incident in of_cycle(&incidents, *cycle) {
                let found = (incident.cause, incident.finding);
                assert_eq!(found, (wanted.0.code(), wanted.1.code()), "{fault:?}: {incident}");
                if let Fault::Stage(index) = fault {
                    assert_eq!(incident.stage as usize, index, "{incident}");
                }
                told += 1;
            }
        }
        assert!(told > 0, "{fault:?}: none of three was told");
    }
}

/// Takes the CPU for 5 ms at a time, above the loop's priority.
fn hog(cpu: usize, ends: &AtomicBool) {
    live_tests::become_urgent(cpu, 90).unwrap();
    let mut due_ns = now_ns() + 300 * MS;
    // ORDERING: relaxed, the bit stands for itself.
    while !ends.load(Ordering::Relaxed) {
        sleep_until(due_ns);
        burn(5 * MS);
        due_ns += 300 * MS;
    }
}

#[test]
fn a_thread_of_ours_on_the_loops_cpu_is_ours() {
    let _alone = ONE_AT_A_TIME.lock();
    let incidents = run(Vec::new(), 2_000, hog);
    let own = (Cause::Own.code(), Finding::OwnThread.code());
    let told = incidents.iter().filter(|one| (one.cause, one.finding) == own).count();
    assert!(told >= 2, "five times it took the CPU: {told} told");
}

#[test]
#[ignore = "run in a process of its own by another_process_on_the_loops_cpu_is_the_kernels"]
fn child_takes_the_cpu() {
    let cpu = std::env::var("KADENZ_TEST_CPU").unwrap().parse().unwrap();
    hog(cpu, &AtomicBool::new(false));
}

/// Another process does what [`hog`] does.
fn foreign_hog(cpu: usize, ends: &AtomicBool) {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "child_takes_the_cpu", "--ignored"]);
    command.env("KADENZ_TEST_CPU", cpu.to_string()).stdout(Stdio::null());
    let mut child = ends_with_us(&mut command).spawn().unwrap();
    // ORDERING: relaxed, the bit stands for itself.
    while !ends.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn another_process_on_the_loops_cpu_is_the_kernels() {
    let _alone = ONE_AT_A_TIME.lock();
    let incidents = run(Vec::new(), 2_500, foreign_hog);
    let preempted = (Cause::Kernel.code(), Finding::Preempted.code());
    let told = incidents.iter().filter(|one| (one.cause, one.finding) == preempted).count();
    assert!(told >= 2, "it took the CPU every 300 ms: {told} told");
    assert!(incidents.iter().all(|one| one.cause != Cause::Own.code()), "none of it was ours");
}
