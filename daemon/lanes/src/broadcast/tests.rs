//! What a reader of a broadcast ring may rely on, honest writer or not.
#![expect(clippy::unwrap_used, reason = "a lane that cannot be set up fails its test")]

use super::*;
use proptest::prelude::*;

fn memory(geometry: RingGeometry) -> Vec<Word> {
    (0..geometry.words()).map(|_| Word::new(0)).collect()
}

fn ring(slots: usize, payload_words: usize) -> (RingGeometry, Vec<Word>) {
    let geometry = RingGeometry::new(slots, payload_words).unwrap();
    (geometry, memory(geometry))
}

#[test]
fn records_come_in_order_with_their_parts_joined() {
    let (geometry, words) = ring(4, 20);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    let body: Vec<u64> = (100..117).collect();
    writer.publish(&[&[1, 2], &[], &body]);
    writer.publish(&[&[9]]);
    let mut out = [0; 20];
    assert_eq!(reader.read_next(&mut out), Read::Record { sequence: 0, words: 19 });
    assert_eq!((&out[..2], &out[2..19]), (&[1, 2][..], &body[..]));
    assert_eq!(reader.read_next(&mut out), Read::Record { sequence: 1, words: 1 });
    assert_eq!(out[0], 9);
    assert_eq!(reader.read_next(&mut out), Read::Empty);
}

#[test]
fn a_record_that_does_not_fit_is_refused_whole_and_counted() {
    let (geometry, words) = ring(2, 3);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    writer.publish(&[&[1, 2], &[3, 4]]);
    writer.publish(&[]);
    assert_eq!(reader.read_next(&mut [0; 3]), Read::Empty);
    assert_eq!((writer.refused(), reader.refused_by_writer(), writer.published()), (2, 2, 0));
}

#[test]
fn a_slow_reader_is_told_how_many_records_it_lost_and_goes_on() {
    let (geometry, words) = ring(8, 1);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    for n in 0..20 {
        writer.publish(&[&[n]]);
    }
    let mut out = [0; 1];
    assert_eq!(reader.read_next(&mut out), Read::Lost { count: 14 });
    for n in 14..20 {
        assert_eq!(reader.read_next(&mut out), Read::Record { sequence: n, words: 1 });
        assert_eq!(out, [n]);
    }
    assert_eq!((reader.read_next(&mut out), reader.lost()), (Read::Empty, 14));
}

#[test]
fn a_scribbled_head_is_one_loss_and_does_not_spoil_the_count_for_good() {
    let (geometry, words) = ring(8, 1);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    for scribble in [1 << 62, u64::MAX, 1 << 41] {
        words[HEAD].store(scribble, Ordering::Relaxed);
        assert_eq!(reader.read_next(&mut [0; 1]), Read::Lost { count: 1 });
    }
    writer.publish(&[&[7]]);
    assert_eq!(reader.read_next(&mut [0; 1]), Read::Lost { count: 1 }, "the writer's head again");
    writer.publish(&[&[8]]);
    assert_eq!(reader.read_next(&mut [0; 1]), Read::Record { sequence: 1, words: 1 });
    assert_eq!(reader.lost(), 4);
}

#[test]
fn a_late_reader_can_begin_at_the_oldest_record() {
    let (geometry, words) = ring(4, 1);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    writer.publish(&[&[7]]);
    let mut out = [0; 1];
    let mut from_now = BroadcastReader::new(View::new(&words), geometry).unwrap();
    assert_eq!(from_now.read_next(&mut out), Read::Empty);
    let mut from_oldest = from_now.resume_at(0);
    assert_eq!(from_oldest.read_next(&mut out), Read::Record { sequence: 0, words: 1 });
}

#[test]
fn the_newest_record_is_given_once() {
    let (geometry, words) = ring(4, 1);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    let mut out = [0; 1];
    assert_eq!(reader.newest(&mut out), Read::Empty);
    for n in 0..9 {
        writer.publish(&[&[n]]);
    }
    assert_eq!(reader.newest(&mut out), Read::Record { sequence: 8, words: 1 });
    assert_eq!((out, reader.newest(&mut out), reader.lost()), ([8], Read::Empty, 0));
}

#[test]
fn a_restarted_writer_goes_on_where_the_last_one_died_inside_a_record() {
    let (geometry, words) = ring(4, 2);
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    BroadcastWriter::new(&words, geometry).unwrap().publish(&[&[1, 1]]);
    let torn = geometry.slot_start(1);
    words[torn].store(3, Ordering::Relaxed);
    words[torn + 2].store(0xdead, Ordering::Relaxed);
    let mut out = [0; 2];
    assert_eq!(reader.read_next(&mut out), Read::Record { sequence: 0, words: 2 });
    assert_eq!(reader.read_next(&mut out), Read::Empty);
    BroadcastWriter::new(&words, geometry).unwrap().publish(&[&[2, 2]]);
    assert_eq!(reader.read_next(&mut out), Read::Record { sequence: 1, words: 2 });
    assert_eq!(out, [2, 2]);
}

#[test]
fn a_lane_zeroed_under_both_ends_works_again_with_the_next_records() {
    let (geometry, words) = ring(4, 1);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    let mut out = [0; 1];
    for n in 0..10 {
        writer.publish(&[&[n]]);
    }
    assert_eq!(reader.newest(&mut out), Read::Record { sequence: 9, words: 1 });
    for word in &words {
        word.store(0, Ordering::Relaxed);
    }
    assert_eq!(reader.read_next(&mut out), Read::Lost { count: 1 });
    assert_eq!(reader.read_next(&mut out), Read::Empty);
    writer.publish(&[&[10]]);
    let reads: Vec<Read> = (0..6).map(|_| reader.read_next(&mut out)).collect();
    assert!(reads.contains(&Read::Record { sequence: 10, words: 1 }), "{reads:?}");
    assert_eq!((reads[5], out), (Read::Empty, [10]));
}

#[test]
fn a_length_beyond_the_slot_or_the_buffer_is_a_loss_and_never_a_copy() {
    let (geometry, words) = ring(4, 2);
    let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
    let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
    let mut out = [5; 8];
    for length in [0, 3, 1 << 40, u64::MAX] {
        writer.publish(&[&[1, 1]]);
        let slot = geometry.slot_start(writer.published() - 1);
        words[slot + 1].store(length, Ordering::Relaxed);
        assert_eq!(reader.read_next(&mut out), Read::Lost { count: 1 });
    }
    writer.publish(&[&[1, 1]]);
    assert_eq!(reader.read_next(&mut [0; 1]), Read::Lost { count: 1 });
    assert_eq!(out, [5; 8]);
}

#[test]
fn memory_smaller_than_the_ring_is_refused() {
    let (geometry, words) = ring(4, 2);
    let short = &words[1..];
    let needed = geometry.words();
    let error = Some(GeometryError::TooSmall { words: needed - 1, needed });
    assert_eq!(BroadcastWriter::new(short, geometry).err(), error);
    assert_eq!(BroadcastReader::new(View::new(short), geometry).err(), error);
}

#[test]
fn sizes_no_ring_can_have_are_refused_in_words() {
    for (slots, payload_words, said) in [
        (0, 1, "0 slots; a ring needs a power of two from 2 to 1048576"),
        (1, 1, "1 slots; a ring needs a power of two from 2 to 1048576"),
        (6, 1, "6 slots; a ring needs a power of two from 2 to 1048576"),
        (usize::MAX, 1, "slots; a ring"),
        (4, 0, "records of 0 words; a slot holds 1 to 1048576 words"),
        (4, usize::MAX, "a slot holds 1 to 1048576 words"),
        (1 << 20, 1 << 20, "take fewer slots or shorter records"),
    ] {
        let error = RingGeometry::new(slots, payload_words).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

proptest! {
    #[test]
    fn any_words_give_well_formed_results_and_the_cursor_catches_up_in_bounded_steps(
        noise in prop::collection::vec(
            prop_oneof![any::<u64>(), 0_u64..40, u64::MAX - 40..=u64::MAX], 40),
        cursor in prop_oneof![any::<u64>(), 0_u64..40],
    ) {
        let geometry = RingGeometry::new(4, 6).unwrap();
        prop_assert_eq!(geometry.words(), noise.len());
        let words: Vec<Word> = noise.into_iter().map(Word::new).collect();
        let mut reader =
            BroadcastReader::new(View::new(&words), geometry).unwrap().resume_at(cursor);
        let mut out = [0; 6];
        // One jump into the ring, then at most one step per slot.
        let reads: Vec<Read> = (0..6).map(|_| reader.read_next(&mut out)).collect();
        for read in &reads {
            match *read {
                Read::Record { words, .. } => prop_assert!((1..=6).contains(&words)),
                Read::Lost { count } => prop_assert!(count >= 1),
                Read::Empty => {}
            }
        }
        prop_assert_eq!(reads[5], Read::Empty);
    }

    #[test]
    fn a_reader_gets_every_record_or_its_loss_for_any_pace(
        bursts in prop::collection::vec((0_usize..12, 0_usize..12), 1..40),
    ) {
        let (geometry, words) = ring(8, 3);
        let mut writer = BroadcastWriter::new(&words, geometry).unwrap();
        let mut reader = BroadcastReader::new(View::new(&words), geometry).unwrap();
        let mut accounted = 0;
        let mut out = [0; 3];
        for (published, read) in bursts {
            for _ in 0..published {
                let n = writer.published();
                writer.publish(&[&[n], &[!n, n * 3]]);
            }
            for _ in 0..read {
                match reader.read_next(&mut out) {
                    Read::Record { sequence, words } => {
                        prop_assert_eq!((sequence, words), (accounted, 3));
                        prop_assert_eq!(out, [sequence, !sequence, sequence * 3]);
                        accounted += 1;
                    }
                    Read::Lost { count } => accounted += count,
                    Read::Empty => prop_assert_eq!(accounted, writer.published()),
                }
            }
        }
    }
}
