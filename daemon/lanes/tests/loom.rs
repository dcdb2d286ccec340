//! The shipped rings, mailboxes and gauges under the model checker, every interleaving and every legal
//! reordering of up to three preemptions, and seeded defects that it must notice. Empty without
//! `--cfg loom`.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p kadenz-lanes --release --target-dir target/loom \
//!  --test loom`; LOOM_MAX_PREEMPTIONS overrides the bound.

#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "a lane that cannot be set up fails its test")]

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64, Ordering};

use kadenz_lanes::{
    BroadcastReader, BroadcastWriter, GaugeReader, GaugeWriter, MailboxReader, MailboxWriter, Read,
    RingGeometry, View, Word,
};
use loom::sync::Arc;
use loom::thread;

/// Two words per record, so that a torn one can be told: the second is the first's complement.
const PAYLOAD_WORDS: usize = 2;

/// Without a bound these models do not end in an hour; with 3 they take seconds to a minute.
const PREEMPTIONS_MAX: usize = 3;

type Publish = fn(&mut BroadcastWriter<'_>, &[&[u64]]);
type Post = fn(&mut MailboxWriter<'_>, &[&[u64]]);

fn model() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(PREEMPTIONS_MAX);
    model
}

fn memory(geometry: RingGeometry) -> Arc<Vec<Word>> {
    Arc::new((0..geometry.words()).map(|_| Word::new(0)).collect())
}

/// The writer is made, and runs, on the model's main thread: loom looks for races with the last
/// access to a word only, and a writer made beside the reader reads the head itself, which hid the
/// reader's look at it. `before` records are published by the time the reader starts. `read` gives
/// the number behind the newest whole record it saw, to show that the two really met.
fn broadcast(publish: Publish, before: u64, during: u64, read: fn(&[Word]) -> u64) {
    let newest = StdArc::new(AtomicU64::new(0));
    let seen = StdArc::clone(&newest);
    model().check(move || {
        let geometry = RingGeometry::new(2, PAYLOAD_WORDS).unwrap();
        let words = memory(geometry);
        let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
        for n in 0..before {
            writer.publish(&[&[n], &[!n]]);
        }
        let reading = Arc::clone(&words);
        let seen = StdArc::clone(&seen);
        let reader = thread::spawn(move || {
            seen.fetch_max(read(&reading), Ordering::Relaxed);
        });
        for n in before..before + during {
            publish(&mut writer, &[&[n], &[!n]]);
        }
        reader.join().unwrap();
    });
    let newest = newest.load(Ordering::Relaxed);
    assert!(newest > before, "no execution read while writing: the model is empty");
}

fn read_in_order(words: &[Word]) -> u64 {
    let geometry = RingGeometry::new(2, PAYLOAD_WORDS).unwrap();
    let mut reader = BroadcastReader::new(View::new(words), geometry).unwrap().resume_at(0);
    let (mut next, mut seen) = (0, 0);
    for _ in 0..3 {
        let mut out = [0; PAYLOAD_WORDS];
        match reader.read_next(&mut out) {
            Read::Record { sequence, words } => {
                assert_eq!((sequence, words), (next, PAYLOAD_WORDS));
                assert_eq!(out, [sequence, !sequence], "torn record");
                next += 1;
                seen = next;
            }
            Read::Lost { count } => next += count,
            Read::Empty => {}
        }
    }
    seen
}

/// Records 0 and 1 fit into the ring: whoever sees the head finds them.
fn read_all_without_loss(words: &[Word]) -> u64 {
    let geometry = RingGeometry::new(2, PAYLOAD_WORDS).unwrap();
    let mut reader = BroadcastReader::new(View::new(words), geometry).unwrap().resume_at(0);
    for _ in 0..3 {
        let mut out = [0; PAYLOAD_WORDS];
        let read = reader.read_next(&mut out);
        assert!(!matches!(read, Read::Lost { .. }), "lost without cause");
    }
    reader.cursor()
}

fn read_newest(words: &[Word]) -> u64 {
    let geometry = RingGeometry::new(2, PAYLOAD_WORDS).unwrap();
    let mut reader = BroadcastReader::new(View::new(words), geometry).unwrap().resume_at(0);
    let mut seen = 0;
    for _ in 0..2 {
        let mut out = [0; PAYLOAD_WORDS];
        if let Read::Record { sequence, .. } = reader.newest(&mut out) {
            assert_eq!(out, [sequence, !sequence], "torn record");
            seen = sequence + 1;
        }
    }
    seen
}

fn mailbox(post: Post, before: u64, during: u64, take: fn(&[Word]) -> u64) {
    let newest = StdArc::new(AtomicU64::new(0));
    let seen = StdArc::clone(&newest);
    model().check(move || {
        let words = memory(RingGeometry::mailbox(PAYLOAD_WORDS).unwrap());
        let mut writer = MailboxWriter::new(&words, PAYLOAD_WORDS).unwrap();
        for n in 0..before {
            writer.post(&[&[n], &[!n]]);
        }
        let reading = Arc::clone(&words);
        let seen = StdArc::clone(&seen);
        let reader = thread::spawn(move || {
            seen.fetch_max(take(&reading), Ordering::Relaxed);
        });
        for n in before..before + during {
            post(&mut writer, &[&[n], &[!n]]);
        }
        reader.join().unwrap();
    });
    let newest = newest.load(Ordering::Relaxed);
    assert!(newest > before, "no execution read while writing: the model is empty");
}

fn take_in_parts(words: &[Word]) -> u64 {
    let mut reader = MailboxReader::new(View::new(words), PAYLOAD_WORDS).unwrap();
    let Some(ticket) = reader.latest() else { return 0 };
    let (mut header, mut row) = ([0; 1], [0; 1]);
    if reader.read_at(ticket, 0, &mut header) {
        assert_eq!(header, [ticket.sequence()], "torn header");
    }
    if !reader.read_at(ticket, 1, &mut row) {
        return 0;
    }
    assert_eq!(row, [!ticket.sequence()], "torn row");
    ticket.sequence() + 1
}

/// Two posts overtake nobody: whoever sees the head finds the record whole.
fn take_without_loss(words: &[Word]) -> u64 {
    let mut reader = MailboxReader::new(View::new(words), PAYLOAD_WORDS).unwrap();
    let mut seen = 0;
    for _ in 0..2 {
        if let Some(ticket) = reader.latest() {
            let mut out = [0; PAYLOAD_WORDS];
            assert!(reader.read_at(ticket, 0, &mut out), "lost without cause");
            assert_eq!(out, [ticket.sequence(), !ticket.sequence()], "torn row");
            seen = ticket.sequence() + 1;
        }
    }
    assert_eq!((reader.torn(), reader.overtaken()), (0, 0), "lost without cause");
    seen
}

/// A page of two gauges: `writers` threads count the first up, a reader looks at both. The second is
/// set behind the first by one writer only. Gives the highest count that the reader met.
fn gauges(writers: usize, counts: u64) -> u64 {
    let newest = StdArc::new(AtomicU64::new(0));
    let seen = StdArc::clone(&newest);
    model().check(move || {
        let words: Arc<Vec<Word>> = Arc::new((0..3).map(|_| Word::new(0)).collect());
        let others: Vec<_> = (1..writers)
            .map(|_| {
                let words = Arc::clone(&words);
                thread::spawn(move || count(&words, counts))
            })
            .collect();
        let reading = Arc::clone(&words);
        let seen = StdArc::clone(&seen);
        let reader = thread::spawn(move || {
            let reader = GaugeReader::new(View::new(&reading)).unwrap();
            let mut before = [0; 2];
            for _ in 0..2 {
                let mut now = [0; 2];
                assert!(reader.copy_to(0, &mut now));
                assert!(now[0] >= before[0] && now[1] >= before[1], "a gauge went back");
                assert!([0, SET].contains(&now[1]), "half a gauge");
                before = now;
            }
            seen.fetch_max(before[0], Ordering::Relaxed);
        });
        count(&words, counts);
        others.into_iter().for_each(|other| other.join().unwrap());
        reader.join().unwrap();
        let whole = counts * u64::try_from(writers).unwrap();
        let reader = GaugeReader::new(View::new(&words)).unwrap();
        assert_eq!(reader.get(0), Some(whole), "a count was lost");
        assert_eq!(reader.refused_by_writer(), 0);
    });
    newest.load(Ordering::Relaxed)
}

/// Differs from 0 in both halves.
const SET: u64 = 0x0000_0001_0000_0001;

fn count(words: &[Word], counts: u64) {
    let mut writer = GaugeWriter::new(words).unwrap();
    (0..counts).for_each(|_| writer.add(0, 1));
    writer.set(1, SET);
}

/// A writer that is gone after `before` records, and its successor on the same words, which goes on
/// while a reader reads: a gateway that was restarted.
fn succession(read: fn(&[Word]) -> u64) {
    let newest = StdArc::new(AtomicU64::new(0));
    let seen = StdArc::clone(&newest);
    model().check(move || {
        let geometry = RingGeometry::new(2, PAYLOAD_WORDS).unwrap();
        let words = memory(geometry);
        let reading = Arc::clone(&words);
        let seen = StdArc::clone(&seen);
        let reader = thread::spawn(move || {
            seen.fetch_max(read(&reading), Ordering::Relaxed);
        });
        for n in 0..2 {
            let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
            assert_eq!(writer.published(), n, "the successor does not go on where it ended");
            writer.publish(&[&[n], &[!n]]);
        }
        reader.join().unwrap();
    });
    let newest = newest.load(Ordering::Relaxed);
    assert!(newest > 1, "no execution read what the successor wrote: the model is empty");
}

/// Two readers, one in order and one for the newest, beside one writer.
fn company() {
    let met = StdArc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let seen = StdArc::clone(&met);
    model().check(move || {
        let geometry = RingGeometry::new(2, PAYLOAD_WORDS).unwrap();
        let words = memory(geometry);
        let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
        writer.publish(&[&[0], &[!0]]);
        let (first, second) = (Arc::clone(&words), Arc::clone(&words));
        let (in_order, newest) = (StdArc::clone(&seen), StdArc::clone(&seen));
        let first = thread::spawn(move || {
            in_order.0.fetch_max(read_in_order(&first), Ordering::Relaxed);
        });
        let second = thread::spawn(move || {
            newest.1.fetch_max(read_newest(&second), Ordering::Relaxed);
        });
        writer.publish(&[&[1], &[!1]]);
        first.join().unwrap();
        second.join().unwrap();
    });
    let met = (met.0.load(Ordering::Relaxed), met.1.load(Ordering::Relaxed));
    assert_eq!(met, (2, 2), "a reader met nothing: the model is empty");
}

#[test]
fn a_gauge_never_goes_back_and_is_never_half_written() {
    assert!(gauges(1, 2) > 0, "no execution read while counting: the model is empty");
}

#[test]
fn a_restarted_writer_goes_on_behind_a_reader_without_a_handshake() {
    succession(read_in_order);
    succession(read_all_without_loss);
}

#[test]
fn readers_of_one_ring_do_not_disturb_each_other() {
    company();
}

#[test]
#[should_panic(expected = "a count was lost")]
fn the_model_notices_a_second_writer_of_a_gauge() {
    gauges(2, 1);
}

#[test]
fn a_broadcast_reader_never_sees_a_torn_record_nor_one_out_of_order() {
    broadcast(|writer, parts| writer.publish(parts), 1, 2, read_in_order);
}

#[test]
fn a_ring_that_is_not_lapped_loses_nothing() {
    broadcast(|writer, parts| writer.publish(parts), 0, 2, read_all_without_loss);
}

#[test]
fn the_newest_record_is_never_torn() {
    broadcast(|writer, parts| writer.publish(parts), 1, 3, read_newest);
}

#[test]
fn an_overtaken_mailbox_never_returns_torn_rows_as_whole() {
    mailbox(|writer, parts| writer.post(parts), 1, 5, take_in_parts);
}

#[test]
fn a_mailbox_that_nobody_overtakes_gives_every_announced_post_whole() {
    mailbox(|writer, parts| writer.post(parts), 0, 2, take_without_loss);
}

#[test]
#[should_panic(expected = "torn record")]
fn the_model_notices_a_publish_without_its_fence_when_read_in_order() {
    broadcast(|writer, parts| writer.publish_without_fence(parts), 1, 2, read_in_order);
}

#[test]
#[should_panic(expected = "torn record")]
fn the_model_notices_a_publish_without_its_fence_when_the_newest_is_read() {
    broadcast(|writer, parts| writer.publish_without_fence(parts), 1, 3, read_newest);
}

#[test]
#[should_panic(expected = "torn")]
fn the_model_notices_a_post_without_its_fence() {
    mailbox(|writer, parts| writer.post_without_fence(parts), 1, 5, take_in_parts);
}
