//! Knots from a port to the gateway's side played by the test, in simulated time.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]
mod machine;

use iceoryx2::service::port_factory::PortFactory as _;
use kadenz_link::KnotPort;
use kadenz_link::domain::{self, STREAMS, Side};
use machine::{Gateway, Machine};
use shm_layout::code::Role;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::{AXES_MAX, KNOTS_PER_BATCH_MAX, LAYOUT_HASH};

const MS: u64 = 1_000_000;

fn header(knot_count: u16, axis_count: u16) -> KnotBatchHeader {
    KnotBatchHeader { path_id: 7, knot_count, axis_count, ..KnotBatchHeader::zeroed() }
}

fn rows(count: usize) -> Vec<KnotAxis> {
    let row = |position| KnotAxis { position, ..KnotAxis::zeroed() };
    (0..count).map(|n| row(f64::from(u32::try_from(n).unwrap()))).collect()
}

#[test]
fn a_batch_arrives_stamped_and_row_by_row() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::Plan, 1, 6);
    machine.announce(Role::Plan, 1);
    let mut port = KnotPort::new(machine.dir.clone(), "test");
    for heartbeat in 1..=3 {
        assert_eq!(port.send_at(MS, &header(64, 6), &rows(384)).unwrap(), 1);
        let batch = gateway.knots.as_ref().unwrap().receive().unwrap().unwrap();
        let head = batch.user_header();
        assert_eq!((head.layout_hash, head.heartbeat, head.made_ns), (LAYOUT_HASH, heartbeat, MS));
        assert_eq!((head.path_id, head.knot_count), (7, 64));
        assert_eq!(batch.payload(), rows(384));
    }
}

#[test]
fn the_largest_batch_fits_and_a_heartbeat_needs_no_knots() {
    let machine = Machine::new();
    let gateway = Gateway::start(&machine, Role::Plan, 1, 64);
    machine.announce(Role::Plan, 1);
    let mut port = KnotPort::new(machine.dir.clone(), "test");
    let most = KNOTS_PER_BATCH_MAX * AXES_MAX;
    assert_eq!(port.send_at(0, &header(64, 64), &rows(most)).unwrap(), 1);
    assert_eq!(port.send_at(0, &header(0, 64), &[]).unwrap(), 1);
    let knots = gateway.knots.as_ref().unwrap();
    assert_eq!(knots.receive().unwrap().unwrap().payload().len(), most);
    assert_eq!(knots.receive().unwrap().unwrap().payload().len(), 0);
}

#[test]
fn a_port_follows_a_new_epoch_without_being_told() {
    let machine = Machine::new();
    let mut port = KnotPort::new(machine.dir.clone(), "test");
    assert_eq!(port.send_at(0, &header(1, 1), &rows(1)).unwrap(), 0);
    let words = port.trouble().unwrap().to_string();
    assert!(words.contains("plan gateway has not been started"), "{words}");
    let first = Gateway::start(&machine, Role::Plan, 1, 1);
    machine.announce(Role::Plan, 1);
    assert_eq!(port.send_at(10 * MS, &header(1, 1), &rows(1)).unwrap(), 1);
    assert!(port.trouble().is_none());
    std::mem::forget(first);
    machine.clear(Role::Plan, 1);
    let second = Gateway::start(&machine, Role::Plan, 2, 1);
    machine.announce(Role::Plan, 2);
    assert_eq!(port.send_at(31 * MS, &header(1, 1), &rows(1)).unwrap(), 1);
    assert_eq!((port.epoch(), port.reconnects()), (Some(machine.token(2)), 1));
    assert!(second.knots.as_ref().unwrap().receive().unwrap().is_some());
}

#[test]
fn a_batch_that_is_not_what_its_header_says_is_refused_with_the_numbers() {
    let machine = Machine::new();
    let mut port = KnotPort::new(machine.dir.clone(), "test");
    let mut refusal =
        |header, rows: &[KnotAxis]| port.send_at(0, &header, rows).unwrap_err().to_string();
    assert!(refusal(header(2, 6), &rows(11)).contains("11, must be 2 knots x 6 axes = 12"));
    assert!(refusal(header(65, 1), &rows(65)).contains("knot_count is 65, must be 0 ..= 64"));
    assert!(refusal(header(1, 65), &rows(65)).contains("axis_count is 65, must be 1 ..= 64"));
    assert!(refusal(header(1, 0), &[]).contains("axis_count is 0"));
}

#[test]
fn the_ninth_planner_is_told_that_the_stream_is_full() {
    let machine = Machine::new();
    let _gateway = Gateway::start(&machine, Role::Plan, 1, 1);
    machine.announce(Role::Plan, 1);
    let mut ports: Vec<KnotPort> =
        (0..9).map(|_| KnotPort::new(machine.dir.clone(), "test")).collect();
    let sent: Vec<usize> =
        ports.iter_mut().map(|port| port.send_at(0, &header(1, 1), &rows(1)).unwrap()).collect();
    assert_eq!(sent, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    let words = ports[8].trouble().unwrap().to_string();
    assert!(words.contains("knots/v1 is full"), "{words}");
}

#[test]
fn the_rows_for_other_languages_are_what_the_services_carry() {
    let machine = Machine::new();
    let _gateway = Gateway::start(&machine, Role::Plan, 1, 6);
    let node = domain::node(&machine.place(Role::Plan, 1), "test", Side::Client).unwrap();
    macro_rules! assert_row {
        ($module:ident) => {
            let service = domain::$module::service(&node, Side::Client).unwrap();
            let info = domain::$module::INFO;
            let details = service.static_config().message_type_details();
            let header = if info.header.is_empty() { "()" } else { info.header };
            assert_eq!(details.payload.type_name().to_string(), info.payload);
            assert_eq!(details.user_header.type_name().to_string(), header);
            assert_eq!(format!("{:?}", details.payload.variant()) == "Dynamic", info.is_slice);
        };
    }
    assert_row!(state);
    assert_row!(events);
    assert_row!(health);
    assert_row!(catalog);
    assert_row!(knots);
    assert_row!(incidents);
    assert_eq!(STREAMS.len(), 6);
}
