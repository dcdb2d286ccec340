//! View and plan: what comes out of an iceoryx2 domain, and what goes in.

use std::sync::atomic::Ordering;

use kadenz_handover::RoleTable;
use kadenz_link::domain::{DomainNode, KnotBatchHead, Side, catalog, health, knots, node, state};
use kadenz_paths::{EpochPlace, RuntimeDir, Token};
use shm_layout::LAYOUT_HASH;
use shm_layout::code::Role;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};

use crate::machine::{AXES, DAEMON_ID, Machine, TURN, TURNS_MAX};

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
            let (slot, seen, words) = machine.wait_for("batch", |seen| {
                let mut batches = seen.batches.iter().rev();
                let mine = |one: &&(usize, KnotBatchHeader, Vec<u64>)| {
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
                .any(|(_, seen, _)| seen.heartbeat == 99);
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
    assert!(seen.batches.iter().all(|(_, header, _)| header.heartbeat > 0), "malformed came in");
}
