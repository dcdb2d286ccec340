//! Prints what one publish costs the loop beside a plain copy of the same bytes; measures nothing
//! else and judges nothing.
//!
//! `cargo run --release -p kadenz-lanes --example lane_cost`

use std::hint::black_box;
use std::time::Instant;

use kadenz_lanes::{
    BroadcastReader, Contract, LaneError, Lanes, Layout, MailboxReader, Read, Sealing,
};

const HEADER_WORDS: usize = 100;
const WORDS_PER_AXIS: usize = 16;
const SLOTS: usize = 256;
const ROUNDS: usize = 400;
const CALLS_PER_ROUND: usize = 256;
const ROW_WORDS_PER_AXIS: usize = 3;
const ROWS_PER_CYCLE: usize = 8;

fn main() -> Result<(), LaneError> {
    println!("ns per call: p50 (p90) of {ROUNDS} interleaved rounds of {CALLS_PER_ROUND} calls");
    println!("axes  words  memcpy        publish       read_next     8 knot rows from a mailbox");
    for axes in [6, 64] {
        measure(axes)?;
    }
    Ok(())
}

fn measure(axes: usize) -> Result<(), LaneError> {
    let words = HEADER_WORDS + axes * WORDS_PER_AXIS;
    let row_words = 2 + axes * ROW_WORDS_PER_AXIS;
    let contract = Contract { layout_hash: 1, version: 1 };
    let layout = Layout::new(contract).ring("state", SLOTS, words)?;
    let lanes = Lanes::create("lane-cost", layout, Sealing::Outbound)?;
    let layout = Layout::new(contract).mailbox("source0", 64 * row_words)?;
    let inbound = Lanes::create("lane-cost-in", layout, Sealing::Inbound)?;
    let plan = Lanes::open("plan", inbound.peer_fd()?, Sealing::Inbound, contract)?;
    let mut writer = lanes.ring_writer("state")?;
    let mut reader = lanes.ring_reader("state")?;
    let mut poster = plan.mailbox_writer("source0")?;
    let mut taker = inbound.mailbox_reader("source0")?;

    let header = [7_u64; HEADER_WORDS];
    let axis_words = vec![9_u64; axes * WORDS_PER_AXIS];
    let record = [header.as_slice(), axis_words.as_slice()].concat();
    // As many copies as the ring has slots, so that both arms walk equally much memory.
    let mut floor = vec![0_u64; SLOTS * words];
    let mut out = vec![0_u64; words];
    let mut rows = vec![0_u64; ROWS_PER_CYCLE * row_words];
    poster.post(&[&vec![1; 64 * row_words]]);

    let mut arms: [Vec<u64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        arms[0].push(per_call(|call| {
            let slot = (call % SLOTS) * words;
            black_box(&mut floor[slot..slot + words]).copy_from_slice(black_box(&record));
        }));
        arms[1].push(per_call(|_| writer.publish(&[black_box(&header), black_box(&axis_words)])));
        arms[2].push(per_call(|_| read(&mut reader, &mut out)));
        poster.post(&[&vec![1; 64 * row_words]]);
        arms[3].push(take(&mut taker, &mut rows));
    }
    let shown = arms.map(|mut samples_ns| {
        samples_ns.sort_unstable();
        format!("{} ({})", samples_ns[ROUNDS / 2], samples_ns[ROUNDS * 9 / 10])
    });
    let [memcpy, publish, read_next, take_rows] = shown;
    println!("{axes:4}  {words:5}  {memcpy:<12}  {publish:<12}  {read_next:<12}  {take_rows}");
    Ok(())
}

fn per_call(mut call: impl FnMut(usize)) -> u64 {
    let start = Instant::now();
    for number in 0..CALLS_PER_ROUND {
        call(number);
    }
    let all_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    all_ns / CALLS_PER_ROUND as u64
}

fn read(reader: &mut BroadcastReader<'_>, out: &mut [u64]) {
    let read = reader.read_next(black_box(out));
    assert!(!matches!(read, Read::Empty), "a record was published for every read");
}

fn take(taker: &mut MailboxReader<'_>, rows: &mut [u64]) -> u64 {
    let ticket = taker.latest();
    per_call(|_| {
        let taken = ticket.is_some_and(|ticket| taker.read_at(ticket, 0, black_box(rows)));
        assert!(taken, "nobody overtakes the ticket here");
    })
}
