//! A view against a gateway's publishing side played by the test, in simulated time.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]
mod machine;

use std::time::Duration;

use kadenz_link::{LinkError, View};
use machine::{Gateway, Machine};
use shm_layout::LAYOUT_HASH;
use shm_layout::code::Role;

const MS: u64 = 1_000_000;

fn view(machine: &Machine) -> View {
    View::new(machine.dir.clone(), Role::View, "test").unwrap()
}

/// Cycles of all records that wait at `now_ns`.
fn cycles(view: &mut View, now_ns: u64) -> Vec<u64> {
    std::iter::from_fn(|| view.next_state_at(now_ns).unwrap().map(|s| s.header().cycle)).collect()
}

#[test]
fn a_view_reads_header_and_axes_where_they_lie() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 6);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    assert!(cycles(&mut view, 100 * MS).is_empty());
    gateway.publish_state(41);
    let sample = view.next_state_at(101 * MS).unwrap().unwrap();
    assert_eq!((sample.header().cycle, sample.axes().len()), (41, 6));
    assert_eq!(sample.axes()[5].position_actual.to_bits(), 5.5_f64.to_bits());
    assert!(view.trouble().is_none());
    assert_eq!(view.epoch(), Some(machine.token(1)));
}

#[test]
fn a_view_follows_a_new_epoch_without_being_told() {
    let machine = Machine::new();
    let first = Gateway::start(&machine, Role::View, 1, 2);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    first.publish_state(1);
    assert_eq!(cycles(&mut view, MS), [1]);
    // The first life is gone as after a SIGKILL: nothing of it is taken down in order.
    std::mem::forget(first);
    machine.clear(Role::View, 1);
    let second = Gateway::start(&machine, Role::View, 2, 2);
    machine.announce(Role::View, 2);
    assert!(cycles(&mut view, 20 * MS).is_empty());
    assert_eq!(
        view.epoch(),
        Some(machine.token(1)),
        "19 ms without a sample are no reason to look"
    );
    assert!(cycles(&mut view, 21 * MS).is_empty());
    assert_eq!(view.epoch(), Some(machine.token(2)));
    second.publish_state(30);
    assert_eq!(cycles(&mut view, 22 * MS), [30]);
    assert_eq!((view.counters().reconnects, view.counters().lost), (1, 28));
}

#[test]
fn a_gateway_that_starts_after_the_view_is_found() {
    let machine = Machine::new();
    let mut view = view(&machine);
    assert!(view.next_state_at(0).unwrap().is_none());
    let words = view.trouble().unwrap().to_string();
    assert!(words.contains("view gateway has not been started"), "{words}");
    let gateway = Gateway::start(&machine, Role::View, 1, 1);
    assert!(view.next_state_at(10 * MS).unwrap().is_none());
    let words = view.trouble().unwrap().to_string();
    assert!(words.contains("view.epoch") && words.contains("not ready"), "{words}");
    machine.announce(Role::View, 1);
    assert!(view.next_state_at(20 * MS).unwrap().is_none());
    gateway.publish_state(9);
    assert_eq!(cycles(&mut view, 21 * MS), [9]);
    assert!(view.trouble().is_none());
    assert_eq!(view.counters().reconnects, 0);
}

#[test]
fn another_contract_is_refused_naming_both_and_the_next_epoch_is_tried() {
    let machine = Machine::new();
    let mut stranger = Gateway::start(&machine, Role::View, 1, 1);
    stranger.layout_hash = 0x0bad;
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    stranger.publish_state(1);
    stranger.publish_event(0, 1);
    let refusal = view.next_state_at(MS).unwrap_err();
    assert!(matches!(refusal, LinkError::Contract { .. }) && !refusal.heals());
    let words = refusal.to_string();
    let ours = format!("{LAYOUT_HASH:#018x}");
    assert!(words.contains("0x0000000000000bad") && words.contains(&ours), "{words}");
    assert!(view.next_event().unwrap().is_none(), "events of another contract are not given out");
    let again = view.next_state_at(10 * MS).unwrap_err();
    assert!(matches!(again, LinkError::Contract { .. }), "an epoch refused once stays refused");
    assert_eq!(view.epoch(), None);
    let ours = Gateway::start(&machine, Role::View, 2, 1);
    machine.announce(Role::View, 2);
    cycles(&mut view, 20 * MS);
    ours.publish_state(2);
    assert_eq!(cycles(&mut view, 21 * MS), [2]);
}

#[test]
fn records_never_seen_are_counted() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    gateway.publish_state(0);
    assert_eq!(cycles(&mut view, 0), [0]);
    (1..=1500).for_each(|cycle| gateway.publish_state(cycle));
    let kept = cycles(&mut view, MS);
    assert_eq!((kept.len(), kept.last()), (1024, Some(&1500)), "a second at 1 kHz is kept");
    assert_eq!(view.counters().lost, 476);
}

#[test]
fn newest_state_lets_older_records_go_without_calling_them_lost() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    (0..500).for_each(|cycle| gateway.publish_state(cycle));
    let newest = view.newest_state().unwrap().unwrap();
    assert_eq!(newest.header().cycle, 499);
    assert_eq!(view.counters().lost, 0);
}

#[test]
fn a_newcomer_is_given_catalog_health_and_the_latest_events() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 3);
    gateway.publish_catalog("press");
    gateway.publish_health(5);
    (0..100).for_each(|sequence| gateway.publish_event(sequence, sequence));
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    gateway.look_for_readers();
    gateway.publish_state(1);
    cycles(&mut view, MS);
    let catalog = view.catalog().unwrap().unwrap();
    assert_eq!((&catalog.header.machine_name[..5], catalog.axes.len()), (&b"press"[..], 3));
    assert_eq!(view.health().unwrap().unwrap().cycles, 5);
    let events: Vec<u64> =
        std::iter::from_fn(|| view.next_event().unwrap().map(|event| event.sequence)).collect();
    assert_eq!(events, (36..100).collect::<Vec<u64>>());
    assert_eq!(view.counters().events_lost, 0);
}

#[test]
fn events_that_a_new_epoch_repeats_are_given_out_once() {
    let machine = Machine::new();
    let first = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    first.publish_state(1);
    (0..10).for_each(|sequence| first.publish_event(sequence, sequence));
    cycles(&mut view, MS);
    assert_eq!(std::iter::from_fn(|| view.next_event().unwrap()).count(), 10);
    drop(first);
    let second = Gateway::start(&machine, Role::View, 2, 1);
    (5..12).for_each(|sequence| second.publish_event(sequence, sequence));
    machine.announce(Role::View, 2);
    cycles(&mut view, 30 * MS);
    second.look_for_readers();
    second.publish_state(2);
    cycles(&mut view, 31 * MS);
    let again: Vec<u64> =
        std::iter::from_fn(|| view.next_event().unwrap().map(|event| event.sequence)).collect();
    assert_eq!(again, [10, 11]);
}

#[test]
fn another_life_of_the_daemon_is_told_and_its_catalog_replaces_the_old_one() {
    let machine = Machine::new();
    let mut gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    gateway.publish_catalog("old");
    gateway.publish_state(5_000);
    cycles(&mut view, MS);
    assert!(view.catalog().unwrap().is_some());
    gateway.daemon_id = 78;
    gateway.publish_state(0);
    cycles(&mut view, 2 * MS);
    assert_eq!(view.counters().daemon_restarts, 1);
    assert!(view.catalog().unwrap().is_none(), "what the old life said is not believed");
    gateway.publish_catalog("new");
    assert_eq!(view.catalog().unwrap().unwrap().header.daemon_id, 78);
    assert_eq!(view.counters().lost, 0);
}

#[test]
fn a_view_that_ends_leaves_nothing_in_shared_memory() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let prefix = machine.place(Role::View, 1).prefix;
    let before = machine::shm_files(&prefix, machine.dir.as_path());
    for _ in 0..20 {
        let mut view = view(&machine);
        cycles(&mut view, 0);
        gateway.publish_state(1);
        gateway.look_for_readers();
    }
    gateway.publish_state(2);
    gateway.look_for_readers();
    assert_eq!(machine::shm_files(&prefix, machine.dir.as_path()).len(), before.len());
}

#[test]
fn samples_held_beyond_the_limit_are_refused_in_words() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    let mut view = view(&machine);
    cycles(&mut view, 0);
    (0..10).for_each(|cycle| gateway.publish_state(cycle));
    let held: Vec<_> = (0..6).map(|_| view.next_state_at(0).unwrap().unwrap()).collect();
    let words = view.next_state_at(0).unwrap_err().to_string();
    assert!(words.contains("drop older ones first"), "{words}");
    let newest = held.into_iter().next_back();
    assert_eq!(newest.map(|sample| sample.header().cycle), Some(5));
    assert_eq!(cycles(&mut view, 0), [6, 7, 8, 9]);
}

#[test]
fn open_waits_for_the_domain_and_tells_what_kept_it_out() {
    let machine = Machine::new();
    let open = || View::open(machine.dir.clone(), Role::View, "test", Duration::from_millis(20));
    let words = open().unwrap_err().to_string();
    assert!(words.contains("view gateway has not been started"), "{words}");
    let _gateway = Gateway::start(&machine, Role::View, 1, 1);
    machine.announce(Role::View, 1);
    assert_eq!(open().unwrap().epoch(), Some(machine.token(1)));
    let operate = View::open(machine.dir.clone(), Role::Operate, "test", Duration::ZERO);
    assert!(matches!(operate, Err(LinkError::NotADomain { .. })));
}
