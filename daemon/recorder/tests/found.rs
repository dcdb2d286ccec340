//! What is found in rings and files, whole, cut off, flipped, torn or made up.
mod written;

use kadenz_lanes::SLOT_HEADER_WORDS;
use kadenz_recorder::{Gap, Header, Recording, RecordingError};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use written::{bytes, file, header, record, ring};

fn cycles(recording: &Recording) -> Vec<u64> {
    let found: Vec<_> = recording.cycles().collect();
    assert!(found.iter().all(|(_, inputs)| inputs.is_some()), "whole and of this machine");
    found.iter().map(|(cycle, _)| *cycle).collect()
}

#[test]
fn a_header_reads_back_as_itself() {
    for ring in [None, Some(ring(8, 0).0)] {
        let header = header(ring);
        let words = header.to_words();
        assert_eq!(Header::parse(&words).unwrap(), (header, words.len()));
    }
}

#[test]
fn a_ring_holds_the_last_cycles_and_a_file_all_of_them() {
    let (_, words) = ring(8, 21);
    let found = Recording::from_bytes(&bytes(&words)).unwrap();
    assert_eq!(cycles(&found), (13..21).collect::<Vec<_>>());
    assert_eq!((found.torn(), found.gaps()), (0, vec![]));
    let found = Recording::from_bytes(&file(21)).unwrap();
    assert_eq!(cycles(&found), (0..21).collect::<Vec<_>>());
    assert_eq!((found.torn(), found.tail_bytes()), (0, 0));
}

#[test]
fn a_ring_turned_into_a_file_holds_the_same_cycles() {
    let (_, words) = ring(8, 21);
    let found = Recording::from_bytes(&bytes(&words)).unwrap();
    let again = Recording::from_bytes(&found.to_file()).unwrap();
    assert_eq!(again.header().ring, None);
    assert!(again.cycles().eq(found.cycles()));
}

/// A kill may come between any two stores of the loop; these are all of them, in the writer's order.
#[test]
fn wherever_a_kill_stops_the_writer_at_most_the_record_being_written_is_lost() {
    for before in [5_u64, 21] {
        let (geometry, mut words) = ring(8, before);
        let start = words.len() - geometry.words();
        let slot = start + geometry.slot_start(before);
        let next = record(before);
        let overwritten = before.checked_sub(8);
        let sequence = 2 * (before + 1);
        let stores = [(slot, sequence - 1), (slot + 1, next.len() as u64)]
            .into_iter()
            .chain(next.iter().enumerate().map(|(at, word)| (slot + SLOT_HEADER_WORDS + at, *word)))
            .chain([(slot, sequence), (start, before + 1)]);
        for (at, word) in stores {
            words[at] = word;
            let found = Recording::from_bytes(&bytes(&words)).unwrap();
            let there = cycles(&found);
            assert!(found.torn() <= 1);
            let must = before.saturating_sub(7)..before;
            assert!(must.clone().all(|cycle| there.contains(&cycle)), "{there:?}");
            let may = |cycle: &u64| {
                must.contains(cycle) || *cycle == before || Some(*cycle) == overwritten
            };
            assert!(there.iter().all(may), "{there:?}");
        }
        let found = Recording::from_bytes(&bytes(&words)).unwrap();
        assert_eq!(found.span().map(|(_, last)| last), Some(before));
        assert_eq!(found.torn(), 0);
    }
}

#[test]
fn one_flipped_bit_costs_its_record_and_no_other() {
    let whole = file(9);
    let first = header(None).to_words().len() * 8;
    for bit in first * 8..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = Recording::from_bytes(&damaged).unwrap();
        assert_eq!(found.len(), 8, "bit {bit}");
        assert!(found.torn() == 1 || found.tail_bytes() > 0, "bit {bit}");
    }
}

#[test]
fn one_flipped_bit_in_the_header_is_found() {
    let whole = file(1);
    for bit in 0..header(None).to_words().len() * 64 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Recording::from_bytes(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn missing_cycles_are_named() {
    let mut words = header(None).to_words();
    [3, 4, 7, 8, 20].into_iter().for_each(|cycle| words.extend(record(cycle)));
    let found = Recording::from_bytes(&bytes(&words)).unwrap();
    assert_eq!(found.gaps(), [Gap { first: 5, count: 2 }, Gap { first: 9, count: 11 }]);
}

#[test]
fn what_is_no_recording_of_this_build_is_refused_in_words() {
    let refused = |bytes: &[u8]| Recording::from_bytes(bytes).unwrap_err();
    assert_eq!(refused(b"no recording"), RecordingError::Magic);
    assert!(matches!(refused(&file(0)[..64]), RecordingError::CutOff { found: 64, .. }));
    let mut other = header(None);
    other.layout_hash ^= 1;
    let found = other.layout_hash;
    let error = refused(&bytes(&other.to_words()));
    assert_eq!(error, RecordingError::Contract { found });
    assert!(error.to_string().contains("the build that recorded it"), "{error}");
    let mut later = header(None).to_words();
    later[1] = 9;
    assert_eq!(refused(&bytes(&later)), RecordingError::Version { found: 9, expected: 1 });
}

#[test]
fn a_ring_that_nobody_writes_is_read_in_full() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (_, words) = ring(8, 21);
    std::fs::write(file.path(), bytes(&words)).unwrap();
    let found = Recording::read(file.path()).unwrap();
    assert!(!found.is_living());
    assert_eq!(found.len(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1911), ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_off_anywhere_holds_every_cycle_before_the_cut(cut in 0_usize..6_000) {
        let whole = file(9);
        let kept = &whole[..whole.len().saturating_sub(cut)];
        let start = header(None).to_words().len() * 8;
        let Ok(found) = Recording::from_bytes(kept) else {
            prop_assert!(kept.len() < start);
            return Ok(());
        };
        let mut end = start;
        let expected = (0..9).take_while(|cycle| { end += record(*cycle).len() * 8; end <= kept.len() });
        prop_assert!(expected.eq(cycles(&found)));
        let whole_bytes: usize = start + found.records().map(|words| words.len() * 8).sum::<usize>();
        prop_assert_eq!(whole_bytes + found.tail_bytes(), kept.len());
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _read_or_refused = Recording::from_bytes(&bytes);
    }

    #[test]
    fn arbitrary_words_behind_a_good_header_are_read(
        tail in prop::collection::vec(any::<u64>(), 0..900),
        marks in prop::collection::vec((0_usize..900, 0_u32..5_000), 0..20),
        in_ring in any::<bool>(),
    ) {
        let mut tail = tail;
        for (at, length) in marks {
            if let Some(word) = tail.get_mut(at) {
                *word = (u64::from(servo_core::inputs::RECORD_MARK) << 32) | u64::from(length);
            }
        }
        let geometry = ring(4, 0).0;
        let mut words = header(in_ring.then_some(geometry)).to_words();
        words.extend(tail);
        let found = Recording::from_bytes(&bytes(&words)).unwrap();
        prop_assert!(found.is_empty());
    }

    #[test]
    fn scribble_over_a_ring_costs_what_it_hit(at in 0_usize..3_000, scribble in prop::collection::vec(any::<u64>(), 1..40)) {
        let (geometry, mut words) = ring(8, 21);
        let start = words.len() - geometry.words();
        for (place, word) in scribble.iter().enumerate() {
            if let Some(slot) = words.get_mut(start + at + place) {
                *slot = *word;
            }
        }
        let found = Recording::from_bytes(&bytes(&words)).unwrap();
        let hit = scribble.len() / geometry.slot_words() + 2;
        prop_assert!(found.len() + hit >= 8);
        prop_assert!(cycles(&found).iter().all(|cycle| (13..21).contains(cycle)));
    }

    #[test]
    fn a_header_of_arbitrary_numbers_with_a_right_checksum_is_read_or_refused(
        numbers in prop::collection::vec(any::<u64>(), 14),
        small in prop::collection::vec(0_u64..70, 14),
        mask in any::<u16>(),
    ) {
        let mut words = header(None).to_words();
        for at in 3..14 {
            if mask & (1 << at) != 0 {
                words[at] = if mask & 1 == 0 { numbers[at] } else { small[at] };
            }
        }
        words[14] = 0;
        words[14] = servo_core::crc::checksum(&words);
        words[3] = shm_layout::LAYOUT_HASH;
        let _read_or_refused = Recording::from_bytes(&bytes(&words));
        let _read_or_refused = Header::parse(&words);
    }
}
