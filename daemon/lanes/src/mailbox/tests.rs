//! What the taker of a mailbox may rely on, honest gateway or not.
#![expect(clippy::unwrap_used, reason = "a lane that cannot be set up fails its test")]

use super::*;
use crate::geometry::HEAD;
use crate::word::Ordering;
use proptest::prelude::*;

fn mailbox(payload_words: usize) -> Vec<Word> {
    let words = RingGeometry::mailbox(payload_words).unwrap().words();
    (0..words).map(|_| Word::new(0)).collect()
}

#[test]
fn a_record_is_taken_in_parts_and_given_once() {
    let words = mailbox(10);
    let mut writer = MailboxWriter::new(&words, 10).unwrap();
    let mut reader = MailboxReader::new(View::new(&words), 10).unwrap();
    assert_eq!(reader.latest(), None);
    writer.post(&[&[1, 2], &[3, 4, 5]]);
    let ticket = reader.latest().unwrap();
    assert_eq!((ticket.sequence(), ticket.words(), reader.latest()), (0, 5, None));
    let (mut header, mut rows) = ([0; 2], [0; 3]);
    assert!(reader.read_at(ticket, 0, &mut header));
    assert!(reader.read_at(ticket, 2, &mut rows));
    assert_eq!((header, rows), ([1, 2], [3, 4, 5]));
}

#[test]
fn only_the_newest_of_several_posts_is_given() {
    let words = mailbox(1);
    let mut writer = MailboxWriter::new(&words, 1).unwrap();
    let mut reader = MailboxReader::new(View::new(&words), 1).unwrap();
    for n in 0..7 {
        writer.post(&[&[n]]);
    }
    let ticket = reader.latest().unwrap();
    let mut out = [0; 1];
    assert!(reader.read_at(ticket, 0, &mut out));
    assert_eq!((ticket.sequence(), out, reader.latest()), (6, [6], None));
}

#[test]
fn a_ticket_survives_three_later_posts_and_is_overtaken_by_the_fourth() {
    let words = mailbox(1);
    let mut writer = MailboxWriter::new(&words, 1).unwrap();
    let mut reader = MailboxReader::new(View::new(&words), 1).unwrap();
    writer.post(&[&[0]]);
    let ticket = reader.latest().unwrap();
    let mut out = [9; 1];
    for n in 1..4 {
        writer.post(&[&[n]]);
        assert!(reader.read_at(ticket, 0, &mut out));
        assert_eq!(out, [0]);
    }
    writer.post(&[&[4]]);
    assert!(!reader.read_at(ticket, 0, &mut out));
    assert_eq!(reader.overtaken(), 1);
}

#[test]
fn a_writer_that_dies_inside_a_post_leaves_the_record_before_it_readable() {
    let words = mailbox(2);
    let mut writer = MailboxWriter::new(&words, 2).unwrap();
    let mut reader = MailboxReader::new(View::new(&words), 2).unwrap();
    for n in 0..5 {
        writer.post(&[&[n, n]]);
    }
    let torn = RingGeometry::mailbox(2).unwrap().slot_start(5);
    words[torn].store(11, Ordering::Relaxed);
    words[torn + 2].store(0xdead, Ordering::Relaxed);
    let ticket = reader.latest().unwrap();
    let mut out = [0; 2];
    assert!(reader.read_at(ticket, 0, &mut out));
    assert_eq!((ticket.sequence(), out), (4, [4, 4]));

    let mut successor = MailboxWriter::new(&words, 2).unwrap();
    successor.post(&[&[5, 5]]);
    let ticket = reader.latest().unwrap();
    assert!(reader.read_at(ticket, 0, &mut out));
    assert_eq!((ticket.sequence(), out), (5, [5, 5]));
}

#[test]
fn a_part_outside_the_record_is_not_read() {
    let words = mailbox(8);
    let mut writer = MailboxWriter::new(&words, 8).unwrap();
    let mut reader = MailboxReader::new(View::new(&words), 8).unwrap();
    writer.post(&[&[1, 2, 3]]);
    let ticket = reader.latest().unwrap();
    let mut out = [9; 2];
    for start in [2, 3, 8, usize::MAX - 1, usize::MAX] {
        assert!(!reader.read_at(ticket, start, &mut out));
    }
    assert_eq!((out, reader.overtaken()), ([9; 2], 0));
}

#[test]
fn a_post_too_long_is_refused_and_the_one_before_stays() {
    let words = mailbox(2);
    let mut writer = MailboxWriter::new(&words, 2).unwrap();
    let mut reader = MailboxReader::new(View::new(&words), 2).unwrap();
    writer.post(&[&[1]]);
    writer.post(&[&[1, 2, 3]]);
    assert_eq!(reader.latest().map(|ticket| ticket.sequence()), Some(0));
    assert_eq!((writer.posted(), writer.refused()), (1, 1));
}

#[test]
fn a_head_that_promises_a_record_nobody_wrote_gives_none_and_is_counted_once() {
    let words = mailbox(1);
    let mut reader = MailboxReader::new(View::new(&words), 1).unwrap();
    words[HEAD].store(1 << 50, Ordering::Relaxed);
    assert_eq!((reader.latest(), reader.latest(), reader.torn()), (None, None, 1));
    words[HEAD].store(0, Ordering::Relaxed);
    assert_eq!((reader.latest(), reader.torn()), (None, 1));
}

proptest! {
    #[test]
    fn any_words_give_a_ticket_within_bounds_or_none(
        noise in prop::collection::vec(
            prop_oneof![any::<u64>(), 0_u64..12, u64::MAX - 12..=u64::MAX], 40),
        start in prop_oneof![any::<usize>(), 0_usize..8],
    ) {
        let words: Vec<Word> = noise.into_iter().map(Word::new).collect();
        let mut reader = MailboxReader::new(View::new(&words), 6).unwrap();
        if let Some(ticket) = reader.latest() {
            prop_assert!((1..=6).contains(&ticket.words()));
            let mut out = [0; 2];
            let inside = start.checked_add(2).is_some_and(|end| end <= ticket.words());
            prop_assert_eq!(reader.read_at(ticket, start, &mut out), inside);
        }
        prop_assert_eq!(reader.latest(), None);
    }
}
