//! Writers and readers of one mapping in threads at full speed: nothing torn, nothing out of order. Under
//! ThreadSanitizer (`cargo check-all --only tsan`) also: nothing but atomic accesses.

#![expect(clippy::unwrap_used, reason = "a lane that cannot be set up fails its test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kadenz_lanes::{BroadcastReader, Contract, GaugeWriter, Lanes, Layout, Read, Sealing, Word};

const CONTRACT: Contract = Contract { layout_hash: 0xfeed, version: 1 };
const RECORDS: u64 = 200_000;
const WORDS: usize = 24;
const ROW: usize = 8;

/// Record `number`: every word tells which record and which place it belongs to.
fn record(number: u64) -> [u64; WORDS] {
    std::array::from_fn(|place| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place as u64)
}

fn lanes(sealing: Sealing) -> Lanes {
    let layout = Layout::new(CONTRACT)
        .ring("ring", 8, WORDS)
        .and_then(|layout| layout.mailbox("box", WORDS))
        .and_then(|layout| layout.gauges("gauges", 7))
        .unwrap();
    Lanes::create("threads", layout, sealing).unwrap()
}

/// The owner of an outbound memory maps it writable: both ends stand on one mapping, as the sanitizer
/// needs it, which tells accesses apart by their address.
fn owner() -> Lanes {
    lanes(Sealing::Outbound)
}

/// Reads until it has seen the writer done and nothing new; gives how many records were whole.
fn follow(mut reader: BroadcastReader<'_>, newest_only: bool, done: &AtomicBool) -> u64 {
    let (mut whole, mut next) = (0, 0);
    let mut out = [0; WORDS];
    // BOUND: the writer ends, and what it left in the ring is finite.
    loop {
        let was_done = done.load(Ordering::Acquire);
        match if newest_only { reader.newest(&mut out) } else { reader.read_next(&mut out) } {
            Read::Record { sequence, words } => {
                assert!(sequence >= next && words == WORDS, "{sequence} after {next}");
                assert_eq!(out, record(sequence), "torn record {sequence}");
                (whole, next) = (whole + 1, sequence + 1);
            }
            Read::Lost { .. } => {}
            Read::Empty if was_done => break,
            Read::Empty => thread::yield_now(),
        }
    }
    whole
}

#[test]
fn a_ring_gives_whole_records_in_order_to_every_thread_that_reads() {
    let owner = owner();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [false, true, false].map(|newest_only| {
            let (reader, done) = (owner.ring_reader("ring").unwrap().resume_at(0), &done);
            scope.spawn(move || follow(reader, newest_only, done))
        });
        let mut writer = owner.ring_writer("ring").unwrap();
        for number in 0..RECORDS {
            writer.publish(&[&record(number)]);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() > 0, "a reader met nothing");
        }
    });
}

#[test]
fn a_mailbox_gives_parts_of_one_record_to_the_thread_that_takes() {
    let owner = owner();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut reader = owner.mailbox_reader("box").unwrap();
        let taking = &done;
        let taker = scope.spawn(move || {
            let mut rows = 0_u64;
            // BOUND: the writer ends.
            loop {
                let was_done = taking.load(Ordering::Acquire);
                let Some(ticket) = reader.latest() else {
                    if was_done {
                        return rows;
                    }
                    thread::yield_now();
                    continue;
                };
                let expected = record(ticket.sequence());
                for (row, expected) in expected.chunks(ROW).enumerate() {
                    let mut out = [0; ROW];
                    if reader.read_at(ticket, row * ROW, &mut out) {
                        assert_eq!(out, expected, "torn row {row} of {ticket:?}");
                        rows += 1;
                    }
                }
            }
        });
        let mut writer = owner.mailbox_writer("box").unwrap();
        for number in 0..RECORDS {
            let whole = record(number);
            let (head, rows) = whole.split_at(ROW);
            writer.post(&[head, rows]);
        }
        done.store(true, Ordering::Release);
        assert!(taker.join().unwrap() > 0, "the taker met nothing");
    });
}

#[test]
fn a_gauge_never_goes_back_for_the_thread_that_reads() {
    let owner = owner();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (reader, done) = (owner.gauge_reader("gauges").unwrap(), &done);
        let looker = scope.spawn(move || {
            let mut last = [0; 3];
            // BOUND: the writer ends.
            loop {
                let was_done = done.load(Ordering::Acquire);
                let mut now = [0; 3];
                assert!(reader.copy_to(0, &mut now));
                assert!(now.iter().zip(&last).all(|(now, last)| now >= last), "{last:?} {now:?}");
                if was_done {
                    return now;
                }
                last = now;
            }
        });
        let mut writer = owner.gauge_writer("gauges").unwrap();
        for number in 1..=RECORDS {
            writer.add(0, 1);
            writer.set(1, number);
            writer.add(2, number);
        }
        done.store(true, Ordering::Release);
        assert_eq!(looker.join().unwrap(), [RECORDS, RECORDS, RECORDS * (RECORDS + 1) / 2]);
    });
}

/// The planted race: a reader that looks at a lane's words as if they were plain memory. Many rounds,
/// since the sanitizer drops a report whose other half it has already forgotten.
#[test]
#[ignore = "a race; the sanitizer's gate runs it to see it reported"]
fn a_reader_without_atomics() {
    for _ in 0..30 {
        race();
    }
}

#[expect(unsafe_code, reason = "a race cannot be written without it")]
fn race() {
    let words: Vec<Word> = (0..8).map(|_| Word::new(0)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (words, stop) = (&words, &done);
        scope.spawn(move || {
            let mut writer = GaugeWriter::new(words).unwrap();
            // BOUND: until the reader below has met it.
            while !stop.load(Ordering::Relaxed) {
                (0..7).for_each(|gauge| writer.add(gauge, 1));
            }
        });
        let mut met = 0_u64;
        // BOUND: the writer goes on until this ends.
        while met < 10_000 {
            for word in words {
                // SAFETY: none: this is the defect, and it runs under the sanitizer alone.
                met += u64::from(unsafe { word.as_ptr().read_volatile() } != 0);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
