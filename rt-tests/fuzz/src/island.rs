//! The whole loop's intake: batches of knots, requests and scribbles on its lanes, late wake-ups and lost
//! frames. Every published record is judged by the simulation's checker, which trusts nothing of the island.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;

use kadenz_config::Machine;
use kadenz_lanes::{BroadcastWriter, MailboxWriter};
use kadenzd::boot::machine as described;
use rt_tests::checker::Checker;
use rt_tests::island::{Island, LaneMemory, Pace, Record};
use servo_core::setup::Setup;
use shm_layout::code::{Phase, RequestKind};
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::request::Request;
use shm_layout::{KNOTS_PER_BATCH_MAX, LAYOUT_HASH, SOURCES_MAX};

use crate::script::Script;

/// Cycles that an enable may take here.
const ENABLE_CYCLES_MAX: usize = 200;
/// Cycles of one script.
const CYCLES_MAX: usize = 400;
/// Knots are this far apart unless the script says otherwise, s.
const KNOT_S: f64 = 0.01;

thread_local! {
    static LANES: OnceCell<LaneMemory> = const { OnceCell::new() };
}

/// A rotary and a linear axis.
pub(crate) fn machine() -> Machine {
    let text = include_str!("../../../daemon/config/tests/minimal.toml");
    Machine::from_toml("minimal.toml", text).unwrap_or_else(|refused| panic!("{refused}"))
}

pub(crate) fn setup(machine: &Machine) -> Setup {
    described::setup(machine, 1)
}

/// What ships.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    Run::enabled(false).play(Script::new(bytes));
}

/// A loop that follows the first knot it is given without judging it.
///
/// # Panics
/// When that knot is not one to be followed.
pub fn planted(bytes: &[u8]) {
    Run::enabled(true).play(Script::new(bytes));
}

/// A path that is right by itself: rest to rest.
#[derive(Clone, Copy, Debug)]
struct Path {
    id: u64,
    starts: [f64; 2],
    ways: [f64; 2],
    length_s: f64,
}

impl Path {
    fn knot(&self, axis: usize, tau_s: f64) -> KnotAxis {
        let u = (tau_s / self.length_s).min(1.0);
        let (way, per_s) = (self.ways[axis], 1.0 / self.length_s);
        let rest = 1.0 - u;
        KnotAxis {
            position: self.starts[axis] + way * u * u * u * (10.0 - 15.0 * u + 6.0 * u * u),
            velocity: way * 30.0 * u * u * rest * rest * per_s,
            acceleration: way * 60.0 * u * rest * (1.0 - 2.0 * u) * per_s * per_s,
            torque_feed_forward: 0.0,
        }
    }
}

struct Run {
    island: Island,
    checker: Checker,
    requests: BroadcastWriter<'static>,
    mailboxes: Vec<MailboxWriter<'static>>,
    path: Path,
    heartbeat: u64,
    cycles: usize,
    planted: bool,
}

impl Run {
    /// A machine at standstill with torque on.
    fn enabled(planted: bool) -> Self {
        let lanes = LANES.with(|lanes| {
            *lanes.get_or_init(|| LaneMemory::new(machine().axes.len()).expect("two axes"))
        });
        let island = Island::on(lanes, machine()).expect("a plausible plant");
        let scales = island.machine.axes.iter().map(|axis| axis.counts_per_unit).collect();
        let mailbox = |slot| island.inbound.mailbox_writer(slot).expect("sizes of the contract");
        let mut run = Self {
            checker: Checker::new(&island.setup, scales),
            requests: island.inbound.request_writer().expect("sizes of the contract"),
            mailboxes: (0..SOURCES_MAX).map(mailbox).collect(),
            path: Path { id: 0, starts: [0.0; 2], ways: [0.0; 2], length_s: 1.0 },
            island,
            heartbeat: 0,
            cycles: 0,
            planted,
        };
        // Drives have to be heard before they can be enabled.
        for _ in 0..10 {
            run.cycle(Pace::default());
        }
        run.request(RequestKind::Enable.code(), 0.0, u64::MAX);
        for _ in 0..ENABLE_CYCLES_MAX {
            run.cycle(Pace::default());
            if run.island.state.guard.phase == Phase::Standstill {
                return run;
            }
        }
        panic!("not enabled after {ENABLE_CYCLES_MAX} cycles");
    }

    fn play(mut self, mut script: Script<'_>) {
        // BOUND: each step runs a cycle, and cycles are counted.
        while !script.is_over() && self.cycles < CYCLES_MAX {
            let mut pace = Pace::default();
            match script.byte() % 9 {
                0..=2 => self.post(&mut script),
                3 => {
                    let kind = script.byte();
                    let value = if kind < 128 { script.unit().abs() } else { script.awkward() };
                    let deadline_ns = if kind.is_multiple_of(7) { 0 } else { u64::MAX };
                    self.request(u32::from(kind % 9), value, deadline_ns);
                }
                4 => self.scribble(&mut script),
                5 => self.island.bus.lose_frames(u32::from(script.byte() % 8)),
                6 => {
                    pace.latency_ns = script.below(5_000_000) as u64;
                    pace.busy_ns = script.below(5_000_000) as u64;
                }
                _ => {
                    for _ in 0..script.byte() % 32 {
                        self.cycle(Pace::default());
                    }
                }
            }
            self.cycle(pace);
        }
    }

    /// One pass, and the checker's word on it.
    fn cycle(&mut self, pace: Pace) {
        self.cycles += 1;
        let mut record = self.island.pass(pace).expect("a cycle publishes");
        let intake = &self.island.state.intake;
        if self.planted && intake.knot_count > 0 {
            follow_blindly(&mut record, intake.knots[0].axes[0]);
        }
        if let Err(violation) = self.checker.check(intake, &record) {
            panic!("cycle {}: {violation}", self.cycles);
        }
    }

    fn request(&mut self, kind: u32, value: f64, deadline_ns: u64) {
        let request_id = self.requests.published() + 1;
        let request = Request { request_id, deadline_ns, kind, value, ..Request::zeroed() };
        self.requests.publish(&[request.as_words()]);
    }

    /// The newest horizon of a right path, then what the script makes of it.
    fn post(&mut self, script: &mut Script<'_>) {
        let motion = &self.island.state.motion;
        let first_index = if motion.has_path() { motion.next_index } else { 0 };
        if !motion.has_path() {
            let references = [0, 1].map(|axis| motion.references[axis].position);
            let ways = [script.unit() * 0.5, script.unit() * 0.1];
            let length_s = 0.5 + script.unit().abs();
            self.path = Path { id: self.path.id + 1, starts: references, ways, length_s };
        }
        self.heartbeat += 1;
        let mut header = KnotBatchHeader {
            layout_hash: LAYOUT_HASH,
            path_id: self.path.id,
            first_index,
            heartbeat: self.heartbeat,
            source_id: 1,
            axis_count: 2,
            ..KnotBatchHeader::zeroed()
        };
        let mut rows = Vec::new();
        for place in 0..KNOTS_PER_BATCH_MAX {
            let tau_s = (first_index + place as u64) as f64 * KNOT_S;
            header.tau_s[place] = tau_s;
            header.knot_count += 1;
            rows.extend([0, 1].map(|axis| self.path.knot(axis, tau_s)));
            if tau_s >= self.path.length_s {
                header.last_is_final = 1;
                break;
            }
        }
        let mut words = [header.as_words().as_slice(), KnotAxis::slice_as_words(&rows)].concat();
        let mut slot = 0;
        let changes = script.byte();
        if changes >= 160 {
            for _ in 0..changes % 4 {
                let place = script.below(words.len());
                words[place] = match script.byte() % 4 {
                    0 => script.word(),
                    1 => (f64::from_bits(words[place]) + script.unit() * 0.1).to_bits(),
                    2 => words[script.below(words.len())],
                    _ => script.awkward().to_bits(),
                };
            }
            slot = usize::from(script.byte() / 64) % SOURCES_MAX;
        }
        self.mailboxes[slot].post(&[&words]);
    }

    fn scribble(&mut self, script: &mut Script<'_>) {
        let which = script.below(SOURCES_MAX + 1);
        let inbound = &self.island.inbound;
        let lane = inbound.mailboxes.get(which).copied().unwrap_or(inbound.requests);
        for _ in 0..script.byte() % 16 {
            let near = if script.byte() & 1 == 0 { 64.min(lane.len()) } else { lane.len() };
            // ORDERING: relaxed, one thread has it all.
            lane[script.below(near)].store(script.word(), Ordering::Relaxed);
        }
    }
}

/// The defect: a knot becomes a reference.
fn follow_blindly(record: &mut Record, knot: KnotAxis) {
    if let Some(axis) = record.axes.first_mut() {
        axis.position_reference = knot.position;
        axis.velocity_reference = knot.velocity;
    }
}
