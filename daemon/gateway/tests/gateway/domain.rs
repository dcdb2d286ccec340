//! View and plan: what comes out of an iceoryx2 domain, and what goes in.

use std::sync::atomic::Ordering;

use kadenz_handover::RoleTable;
use kadenz_link::clock::now_ns;
use kadenz_link::domain::{DomainNode, KnotBatchHead, Side, catalog, health, knots, node, state};
use kadenz_paths::{EpochPlace, RuntimeDir, Token};
use shm_layout::LAYOUT_HASH;
use shm_layout::code::Role;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};

use crate::machine::{AXES, Batch, DAEMON_ID, Machine, PERIOD_NS, TURN, TURNS_MAX};

/// Records read in a row in the in-order test.
const RECORDS: usize = 1500;

/// Joins the announced domain of `role`, other than `before`.
pub fn join(dir: &RuntimeDir, role: Role, before: Option<Token>) -> (EpochPlace, DomainNode) {
    for _ in 0..TURNS_MAX {
        match dir.read_epoch(role).expect("announcement") {
            Some(token) if Some(token) != before => {
                let place = dir.epoch_place(role, token).expect("short enough");
                let node = node(&place, "test", Side::Client).expect("node");
                return (place, node);
            }
            _ => std::thread::sleep(TURN),
        }
    }
    panic!("no epoch of {role:?} was announced");
}

fn state_reader(node: &DomainNode) -> state::Reader {
    state::reader(&state::service(node, Side::Client).expect("service")).expect("reader")
}

/// The next sample; waits for it.
fn next(reader: &state::Reader) -> state::Received {
    for _ in 0..TURNS_MAX {
        if let Some(sample) = reader.receive().expect("receive") {
            return sample;
        }
        std::thread::sleep(TURN);
    }
    panic!("no state came");
}

fn leftovers(place: &EpochPlace) -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").expect("shm");
    let names = entries.filter_map(|one| one.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&place.prefix)).collect()
}

#[test]
fn a_subscriber_sees_every_record_in_order_and_whole() {
    let machine = Machine::start(RoleTable::one_user());
    let _gateway = machine.gateway("view");
    let (_, node) = join(&machine.dir, Role::View, None);
    let reader = state_reader(&node);
    let mut expected = next(&reader).user_header().cycle + 1;
    for _ in 0..RECORDS {
        let sample = next(&reader);
        let header = sample.user_header();
        assert_eq!(header.cycle, expected, "nothing skipped, nothing twice");
        assert_eq!((header.layout_hash, header.daemon_id), (LAYOUT_HASH, DAEMON_ID));
        let traces: Vec<u64> = sample.payload().iter().map(|axis| axis.trace_id).collect();
        assert_eq!(traces, [expected * 10, expected * 10 + 1]);
        expected += 1;
    }
    assert!(machine.published.load(Ordering::Relaxed) >= expected);
}

#[test]
fn a_late_reader_is_given_catalog_and_health() {
    let machine = Machine::start(RoleTable::one_user());
    let _gateway = machine.gateway("view");
    let (_, node) = join(&machine.dir, Role::View, None);
    let catalog = catalog::reader(&catalog::service(&node, Side::Client).unwrap()).unwrap();
    let health = health::reader(&health::service(&node, Side::Client).unwrap()).unwrap();
    let (mut machine_seen, mut counters) = (None, None);
    for _ in 0..TURNS_MAX {
        if let Some(sample) = catalog.receive().unwrap() {
            machine_seen = Some((sample.user_header().daemon_id, sample.payload().len()));
        }
        if let Some(sample) = health.receive().unwrap().filter(|one| one.payload().cycles > 0) {
            counters = Some((sample.payload().daemon_id, sample.payload().layout_hash));
        }
        if machine_seen.is_some() && counters.is_some() {
            break;
        }
        std::thread::sleep(TURN);
    }
    assert_eq!(machine_seen, Some((DAEMON_ID, AXES)));
    assert_eq!(counters, Some((DAEMON_ID, LAYOUT_HASH)));
}

#[test]
fn a_killed_gateway_is_succeeded_under_a_fresh_token_and_leaves_nothing_behind() {
    let machine = Machine::start(RoleTable::one_user());
    let mut first = machine.gateway("view");
    let (old, node) = join(&machine.dir, Role::View, None);
    let reader = state_reader(&node);
    let before = next(&reader).user_header().cycle;
    first.kill();
    drop((reader, node));
    let second = machine.gateway("view");
    let (new, node) = join(&machine.dir, Role::View, Some(old.token));
    let after = next(&state_reader(&node)).user_header().cycle;
    assert!(after > before, "{after} after {before}");
    assert!(!old.root.exists());
    assert_eq!(leftovers(&old), Vec::<String>::new());

    // An orderly end leaves nothing of its own either.
    drop(node);
    let pid = nix::unistd::Pid::from_raw(second.pid().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let mut second = second;
    assert_eq!(second.exit_code(), Some(0));
    assert!(!new.root.exists());
    assert_eq!(leftovers(&new), Vec::<String>::new());
}

fn send(writer: &knots::Writer, header: KnotBatchHeader, rows: &[KnotAxis]) {
    let mut sample = writer.loan_slice_uninit(rows.len()).expect("loan");
    *sample.user_header_mut() = KnotBatchHead::from(header);
    sample.write_from_slice(rows).send().expect("send");
}

fn batch(heartbeat: u64, knot_count: u16) -> (KnotBatchHeader, Vec<KnotAxis>) {
    let header = KnotBatchHeader {
        layout_hash: LAYOUT_HASH,
        path_id: 5,
        heartbeat,
        knot_count,
        axis_count: u16::try_from(AXES).expect("few axes"),
        source_id: 666,
        ..KnotBatchHeader::zeroed()
    };
    let count = u32::from(knot_count) * u32::try_from(AXES).expect("few axes");
    let rows = (0..count).map(|one| KnotAxis { position: f64::from(one), ..KnotAxis::zeroed() });
    (header, rows.collect())
}

#[test]
fn knots_reach_a_mailbox_per_publisher_and_nobody_else_can_claim_a_living_sources_life() {
    let machine = Machine::start(RoleTable::one_user());
    let _gateway = machine.gateway("plan");
    let (_, node) = join(&machine.dir, Role::Plan, None);
    let service = knots::service(&node, Side::Client).unwrap();
    let writers = [knots::writer(&service).unwrap(), knots::writer(&service).unwrap()];
    // Malformed batches are dropped and harm nothing that follows.
    let (header, rows) = batch(0, 3);
    send(&writers[0], KnotBatchHeader { layout_hash: 1, ..header }, &rows);
    send(&writers[0], KnotBatchHeader { axis_count: 1, ..header }, &rows);
    send(&writers[0], header, &rows[1..]);
    let mut from = [None, None];
    for heartbeat in 1..=2_u64 {
        for ((writer, from), source_id) in writers.iter().zip(&mut from).zip([666, 667]) {
            let knots = u16::try_from(heartbeat).unwrap() + 1;
            let (header, rows) = batch(heartbeat, knots);
            let header = KnotBatchHeader { source_id, ..header };
            if source_id == 667 {
                send(writer, KnotBatchHeader { source_id: 666, heartbeat: 99, ..header }, &rows);
            }
            send(writer, header, &rows);
            let (slot, seen, words, _) = machine.wait_for("batch", |seen| {
                let mut batches = seen.batches.iter().rev();
                let mine = |one: &&Batch| {
                    one.1.heartbeat == heartbeat && from.is_none_or(|(slot, _)| slot == one.0)
                };
                batches.find(mine).cloned()
            });
            assert_eq!(seen.source_id, source_id, "the life a source claims is passed on");
            let words_sent: Vec<u64> = rows.iter().flat_map(|row| *row.as_words()).collect();
            assert_eq!((seen.path_id, &words), (5, &words_sent));
            let known = *from.get_or_insert((slot, seen.heartbeat));
            assert_eq!(known.0, slot, "a publisher keeps its mailbox");
            let claimed = machine
                .seen
                .lock()
                .unwrap()
                .batches
                .iter()
                .any(|(_, seen, ..)| seen.heartbeat == 99);
            assert!(!claimed, "the first is alive: its life came from nobody else");
            machine.seen.lock().unwrap().batches.clear();
            // It stays alive beside the other one.
            let (header, rows) = batch(7, 2);
            send(&writers[0], header, &rows);
        }
    }
    let [Some(first), Some(second)] = from else { panic!("{from:?}") };
    assert_ne!(first.0, second.0, "two publishers share no mailbox");
    let seen = machine.seen.lock().unwrap();
    assert!(seen.batches.iter().all(|(_, header, ..)| header.heartbeat > 0), "malformed came in");
}

/// What one arm of the flood test found of the steady source.
struct Steady {
    sent: u64,
    arrived: usize,
    /// From sending to the loop's look, sorted, ns.
    latencies_ns: Vec<u64>,
}

/// Sends `count` batches, one per 4 ms as the planner does, and looks what came of them.
fn send_steadily(machine: &Machine, writer: &knots::Writer, count: u64) -> Steady {
    machine.seen.lock().unwrap().batches.clear();
    let mut next_ns = now_ns();
    for heartbeat in 1..=count {
        next_ns += 4_000_000;
        std::thread::sleep(std::time::Duration::from_nanos(next_ns.saturating_sub(now_ns())));
        let (header, rows) = batch(heartbeat, 2);
        send(writer, KnotBatchHeader { source_id: 1, made_ns: now_ns(), ..header }, &rows);
    }
    let last = |seen: &crate::machine::Seen| {
        let mine = seen.batches.iter().filter(|one| one.1.source_id == 1);
        mine.clone().any(|one| one.1.heartbeat == count).then(|| {
            mine.map(|one| (one.1.heartbeat, one.3.saturating_sub(one.1.made_ns)))
                .collect::<std::collections::BTreeMap<_, _>>()
        })
    };
    let arrived = machine.wait_for("the last batch", last);
    let mut latencies_ns: Vec<u64> = arrived.values().copied().collect();
    latencies_ns.sort_unstable();
    Steady { sent: count, arrived: arrived.len(), latencies_ns }
}

#[test]
fn a_flooding_source_loses_its_own_knots_only() {
    let machine = Machine::start(RoleTable::one_user());
    let _gateway = machine.gateway("plan");
    let (_, node) = join(&machine.dir, Role::Plan, None);
    let service = knots::service(&node, Side::Client).unwrap();
    let health = health::reader(&health::service(&node, Side::Client).unwrap()).unwrap();
    // The flood's port is opened first, so that iceoryx2 looks at it first.
    let mut flood = Flood::start(&machine);
    let steady = knots::writer(&service).unwrap();
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        flood.pause();
        quiet.push(send_steadily(&machine, &steady, 200));
        flood.resume();
        flooded.push(send_steadily(&machine, &steady, 200));
    }
    let (sent, taken) = (flood.end(), flood_taken(&machine));
    let share = |arms: &[Steady]| {
        let arrived: usize = arms.iter().map(|one| one.arrived).sum();
        arrived as f64 / arms.iter().map(|one| one.sent).sum::<u64>() as f64
    };
    let median = |arms: &[Steady]| {
        let mut medians: Vec<u64> =
            arms.iter().map(|one| one.latencies_ns[one.latencies_ns.len() / 2]).collect();
        medians.sort_unstable();
        medians[medians.len() / 2]
    };
    let mut limited = 0;
    for _ in 0..TURNS_MAX {
        if let Some(sample) = health.receive().unwrap() {
            limited = sample.payload().gateway_rate_limited;
        }
        if limited > 0 {
            break;
        }
        std::thread::sleep(TURN);
    }
    println!(
        "steady: arrived {:.4} quiet, {:.4} flooded; median {} ns quiet, {} ns flooded; flood: {sent} \
         sent, {taken} seen by the loop, {limited} too fast",
        share(&quiet),
        share(&flooded),
        median(&quiet),
        median(&flooded)
    );
    assert!(sent > 600 * 20, "no flood: {sent} batches beside 600");
    assert!(limited > 0, "the flood lost knots, and they were counted");
    // A host that stands still for 8 ms overwrites a batch in its mailbox, in either arm.
    assert!(share(&flooded) > share(&quiet) - 0.05);
    assert!(median(&flooded) < median(&quiet) + PERIOD_NS);
}

/// How many batches of the flood the loop has seen since the last arm began.
fn flood_taken(machine: &Machine) -> usize {
    machine.seen.lock().unwrap().batches.iter().filter(|one| one.1.source_id == 2).count()
}

/// A planner gone mad: a hundred times the rate, in a thread of its own with a node of its own.
struct Flood {
    goes: std::sync::Arc<std::sync::atomic::AtomicU8>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

const PAUSED: u8 = 0;
const GOES: u8 = 1;
const ENDS: u8 = 2;

impl Flood {
    fn start(machine: &Machine) -> Self {
        let goes = std::sync::Arc::new(std::sync::atomic::AtomicU8::new(PAUSED));
        let (own, dir) = (std::sync::Arc::clone(&goes), machine.dir.clone());
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (_, node) = join(&dir, Role::Plan, None);
            let writer = knots::writer(&knots::service(&node, Side::Client).unwrap()).unwrap();
            tell.send(()).unwrap();
            let (header, rows) = batch(1, 2);
            let header = KnotBatchHeader { source_id: 2, ..header };
            let (mut sent, mut next_ns) = (0, now_ns());
            loop {
                match own.load(Ordering::Relaxed) {
                    PAUSED => {}
                    GOES => {
                        // 25,000 per second.
                        for _ in 0..25 {
                            sent += 1;
                            send(&writer, KnotBatchHeader { heartbeat: sent, ..header }, &rows);
                        }
                    }
                    _ => return sent,
                }
                next_ns += 1_000_000;
                std::thread::sleep(std::time::Duration::from_nanos(
                    next_ns.saturating_sub(now_ns()),
                ));
            }
        });
        told.recv().unwrap();
        Self { goes, thread: Some(thread) }
    }

    fn pause(&self) {
        self.goes.store(PAUSED, Ordering::Relaxed);
    }

    fn resume(&self) {
        self.goes.store(GOES, Ordering::Relaxed);
    }

    fn end(&mut self) -> u64 {
        self.goes.store(ENDS, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}
