//! A stand-in for kadenzd: real lanes, the real hand-over, and a loop of a few lines at 1 kHz.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kadenz_handover::{
    CATALOG_REGION, EVENT_REGION, HEALTH_REGION, Happening, Offer, REQUEST_REGION, RoleTable,
    STATE_REGION, Server, Terms, mailbox_region, operate_inbound_layout, outbound_layout,
    plan_inbound_layout,
};
use kadenz_lanes::{Lanes, Read, Sealing};
use kadenz_link::clock::now_ns;
use kadenz_paths::RuntimeDir;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::code::{EventKind, Outcome, RequestKind};
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::knot::{KnotBatchHeader, batch_words_max};
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{LAYOUT_HASH, SOURCES_MAX};

pub const AXES: usize = 2;
pub const PERIOD_NS: u64 = 1_000_000;
pub const DAEMON_ID: u64 = 77;
/// Turns of waiting loops: guards against hanging, not limits in time.
pub const TURNS_MAX: usize = 6000;
pub const TURN: Duration = Duration::from_millis(5);

/// What the stand-in loop has seen come in.
#[derive(Default)]
pub struct Seen {
    pub happenings: Vec<Happening>,
    pub requests: Vec<Request>,
    pub batches: Vec<Batch>,
}

/// Mailbox, header, rows, and when the loop looked (CLOCK_MONOTONIC).
pub type Batch = (usize, KnotBatchHeader, Vec<u64>, u64);

pub struct Machine {
    pub dir: RuntimeDir,
    pub seen: Arc<Mutex<Seen>>,
    pub published: Arc<AtomicU64>,
    /// The loop answers requests.
    pub answers: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _parent: tempfile::TempDir,
}

/// The stand-in's CPU for a loop it does not have: the last that gateways may use, as with kadenzd.
pub fn loop_cpu() -> u16 {
    let last = allowed_cpus(Pid::from_raw(0)).pop().expect("a CPU");
    u16::try_from(last).expect("few CPUs")
}

/// CPUs that a thread may use, ascending.
pub fn allowed_cpus(thread: Pid) -> Vec<usize> {
    let allowed = sched_getaffinity(thread).expect("a living thread");
    (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect()
}

fn terms() -> Terms {
    Terms {
        axis_count: u16::try_from(AXES).expect("few axes"),
        period_ns: PERIOD_NS,
        out_offset_ns: 300_000,
        in_lead_ns: 200_000,
        gateway_priority_fifo: 40,
        loop_cpu: loop_cpu(),
        daemon_id: DAEMON_ID,
    }
}

impl Machine {
    /// Starts the stand-in in a fresh directory, for `roles`.
    pub fn start(roles: RoleTable) -> Self {
        let parent = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
        open_to_all(parent.path());
        let dir = RuntimeDir::at(parent.path().join("run")).expect("absolute");
        let out = lanes("out", outbound_layout(AXES), Sealing::Outbound);
        let plan = lanes("plan", plan_inbound_layout(AXES), Sealing::Inbound);
        let operate = lanes("operate", operate_inbound_layout(), Sealing::Inbound);
        write_catalog(&out);
        let offer = Offer {
            terms: terms(),
            outbound: out.peer_fd().expect("descriptor"),
            plan_inbound: plan.peer_fd().expect("descriptor"),
            operate_inbound: operate.peer_fd().expect("descriptor"),
        };
        let mut server = Server::bind(dir.clone(), roles, offer).expect("bind");
        let mut machine = Self {
            dir,
            seen: Arc::default(),
            published: Arc::default(),
            answers: Arc::new(AtomicBool::new(true)),
            stop: Arc::default(),
            threads: Vec::new(),
            _parent: parent,
        };
        let (seen, stop) = (Arc::clone(&machine.seen), Arc::clone(&machine.stop));
        let polling = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let happenings = server.poll(5);
                seen.lock().expect("seen").happenings.extend(happenings);
            }
        });
        let mut looping = Loop {
            out,
            plan,
            operate,
            seen: Arc::clone(&machine.seen),
            published: Arc::clone(&machine.published),
            answers: Arc::clone(&machine.answers),
            stop: Arc::clone(&machine.stop),
        };
        let looping = std::thread::spawn(move || looping.run());
        machine.threads = vec![polling, looping];
        machine
    }

    /// Starts a real gateway.
    pub fn gateway(&self, role: &str) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kadenz-gateway"));
        self.gateway_by(&mut command, role)
    }

    /// Starts a real gateway by `command`, which ends in its path.
    pub fn gateway_by(&self, command: &mut Command, role: &str) -> Gateway {
        command.args(["--role", role, "--runtime-dir"]).arg(self.dir.as_path());
        let child = command.stdin(Stdio::null()).spawn().expect("a gateway");
        Gateway { child: Some(child) }
    }

    /// Waits until `wanted` is true of what was seen, and gives what it gives.
    pub fn wait_for<T>(&self, what: &str, mut wanted: impl FnMut(&Seen) -> Option<T>) -> T {
        for _ in 0..TURNS_MAX {
            if let Some(found) = wanted(&self.seen.lock().expect("seen")) {
                return found;
            }
            std::thread::sleep(TURN);
        }
        let happenings = format!("{:?}", self.seen.lock().expect("seen").happenings);
        panic!("{what} did not come; the hand-over saw {happenings}");
    }

    /// Waits for the `count`th gateway to be ready.
    pub fn wait_ready(&self, count: usize) {
        self.wait_for("ready", |seen| {
            let ready = |one: &&Happening| matches!(one, Happening::Ready { .. });
            (seen.happenings.iter().filter(ready).count() >= count).then_some(())
        });
    }

    /// Ends the stand-in as a dying daemon would.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("thread");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked_already = thread.join();
        }
    }
}

/// A gateway process; ended when dropped.
pub struct Gateway {
    child: Option<Child>,
}

impl Gateway {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn kill(&mut self) {
        let child = self.child.as_mut().expect("running");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// Waits for the end; gives the exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let child = self.child.as_mut().expect("running");
        for _ in 0..TURNS_MAX {
            if let Some(status) = child.try_wait().expect("wait") {
                return status.code();
            }
            std::thread::sleep(TURN);
        }
        panic!("the gateway does not end");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // In order first, so that nothing is left in /dev/shm.
        if matches!(child.try_wait(), Ok(None)) {
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"));
            let _ended_already = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            for _ in 0..TURNS_MAX {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(TURN);
            }
        }
        let _ended_already = child.kill();
        let _ended_already = child.wait();
    }
}

struct Loop {
    out: Lanes,
    plan: Lanes,
    operate: Lanes,
    seen: Arc<Mutex<Seen>>,
    published: Arc<AtomicU64>,
    answers: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Loop {
    fn run(&mut self) {
        let mut state = self.out.ring_writer(STATE_REGION).expect("state");
        let mut events = self.out.ring_writer(EVENT_REGION).expect("events");
        let mut health = self.out.gauge_writer(HEALTH_REGION).expect("health");
        let mut requests = self.operate.ring_reader(REQUEST_REGION).expect("requests");
        let words = batch_words_max(AXES);
        let mut mailboxes: Vec<_> = (0..SOURCES_MAX)
            .map(|slot| self.plan.mailbox_reader(&mailbox_region(slot)).expect("mailbox"))
            .collect();
        let cycles = std::mem::offset_of!(Health, cycles) / 8;
        let (mut grid_ns, mut cycle, mut event_count) = (now_ns(), 0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            grid_ns += PERIOD_NS;
            std::thread::sleep(Duration::from_nanos(grid_ns.saturating_sub(now_ns())));
            let mut request = [0; Request::WORDS];
            while let Read::Record { .. } = requests.read_next(&mut request) {
                let request = Request::from_words(&request);
                self.seen.lock().expect("seen").requests.push(request);
                if self.answers.load(Ordering::Relaxed) {
                    events.publish(&[answer(&request, event_count, cycle).as_words()]);
                    event_count += 1;
                }
            }
            for (slot, mailbox) in mailboxes.iter_mut().enumerate() {
                let Some(ticket) = mailbox.latest() else { continue };
                let mut batch = vec![0; ticket.words().min(words)];
                if mailbox.read_at(ticket, 0, &mut batch) {
                    let header = KnotBatchHeader::from_slice(&batch).expect("a header");
                    let rows = batch.split_off(KnotBatchHeader::WORDS);
                    self.seen.lock().expect("seen").batches.push((slot, header, rows, now_ns()));
                }
            }
            health.set(cycles, cycle);
            let (header, axes) = record(cycle, grid_ns);
            state.publish(&[header.as_words(), axes[0].as_words(), axes[1].as_words()]);
            cycle += 1;
            self.published.store(cycle, Ordering::Relaxed);
        }
    }
}

fn answer(request: &Request, sequence: u64, cycle: u64) -> Event {
    let accepted = request.kind == RequestKind::Stop.code();
    let outcome = if accepted { Outcome::Accepted } else { Outcome::NotEnabled };
    Event {
        sequence,
        cycle,
        kind: EventKind::RequestAnswered.code(),
        code: outcome.code(),
        detail: request.kind,
        request_id: request.request_id,
        ..Event::zeroed()
    }
}

/// The record of a cycle: every axis says which cycle and axis it belongs to.
fn record(cycle: u64, grid_ns: u64) -> (StateHeader, [AxisState; AXES]) {
    let header = StateHeader {
        layout_hash: LAYOUT_HASH,
        axis_count: u16::try_from(AXES).expect("few axes"),
        daemon_id: DAEMON_ID,
        cycle,
        grid_ns,
        wake_ns: now_ns(),
        period_ns: PERIOD_NS,
        ..StateHeader::zeroed()
    };
    let axis = |index| AxisState { trace_id: cycle * 10 + index, ..AxisState::zeroed() };
    (header, [axis(0), axis(1)])
}

fn write_catalog(out: &Lanes) {
    let header = CatalogHeader {
        layout_hash: LAYOUT_HASH,
        axis_count: u16::try_from(AXES).expect("few axes"),
        daemon_id: DAEMON_ID,
        period_ns: PERIOD_NS,
        ..CatalogHeader::zeroed()
    };
    let axis = |bus_index| CatalogAxis { bus_index, ..CatalogAxis::zeroed() };
    let words = [header.as_words().as_slice(), axis(0).as_words(), axis(1).as_words()].concat();
    out.write_block(CATALOG_REGION, &words).expect("catalog");
}

fn lanes(
    name: &str,
    layout: Result<kadenz_lanes::Layout, kadenz_lanes::LaneError>,
    sealing: Sealing,
) -> Lanes {
    Lanes::create(name, layout.expect("layout"), sealing).expect("lanes")
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("mode");
}
