//! A header is believed only when every number of it is right.

use super::*;
use crate::word::{Ordering, Word};
use proptest::prelude::*;

const CONTRACT: Contract = Contract { layout_hash: 0x1234, version: 3 };

fn layout() -> Layout {
    Layout::new(CONTRACT)
        .ring("state", 4, 100)
        .unwrap()
        .gauges("gauges", 9)
        .unwrap()
        .mailbox("source0", 20)
        .unwrap()
        .block("catalog", 30)
        .unwrap()
}

fn memory(layout: &Layout) -> Vec<Word> {
    let mut words = layout.header();
    words.resize(layout.words(), 0);
    words.into_iter().map(Word::new).collect()
}

#[test]
fn a_header_read_back_is_the_layout_that_wrote_it() {
    let words = memory(&layout());
    assert_eq!(Layout::parse(View::new(&words), CONTRACT).unwrap(), layout());
}

#[test]
fn regions_stand_on_cache_lines_behind_each_other() {
    let layout = layout();
    let mut end = HEADER_WORDS;
    for region in &layout.regions {
        assert_eq!((region.start, region.start % LINE_WORDS), (end, 0));
        end += region.words;
    }
    assert_eq!(layout.words(), end);
}

#[test]
fn another_contract_is_refused_in_words() {
    let words = memory(&layout());
    let other = Contract { layout_hash: 0x1235, version: 3 };
    let error = Layout::parse(View::new(&words), other).unwrap_err().to_string();
    assert_eq!(
        error,
        "lane header, layout hash: found 0x1234, expected 0x1235; run kadenzd and its gateways \
         from one build, and restart both if they are"
    );
    let other = Contract { layout_hash: 0x1234, version: 4 };
    let error = Layout::parse(View::new(&words), other).unwrap_err().to_string();
    assert!(error.starts_with("lane header, version: found 0x3, expected 0x4"), "{error}");
}

#[test]
fn memory_of_another_length_than_the_header_says_is_refused() {
    let words = memory(&layout());
    let cut = &words[..words.len() - 8];
    let error = Layout::parse(View::new(cut), CONTRACT).unwrap_err().to_string();
    assert!(error.starts_with("lane header, total words"), "{error}");
    let error = Layout::parse(View::new(&words[..3]), CONTRACT).unwrap_err().to_string();
    assert!(error.starts_with("lane header, mapped words"), "{error}");
}

#[test]
fn names_that_cannot_be_told_apart_or_printed_are_refused() {
    for name in ["", "ninechars", "sp ace", "\u{e4}", "twice"] {
        let layout = Layout::new(CONTRACT).gauges("twice", 1).unwrap();
        let error = layout.gauges(name, 1).unwrap_err().to_string();
        assert!(error.contains("1 to 8 printable ASCII characters, each name once"), "{error}");
    }
}

#[test]
fn sizes_out_of_range_name_their_region() {
    let error = Layout::new(CONTRACT).ring("state", 3, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "lane region \"state\": 3 slots; a ring needs a power of two from 2 to 1048576"
    );
    assert!(Layout::new(CONTRACT).gauges("g", 0).is_err());
    assert!(Layout::new(CONTRACT).block("b", usize::MAX).is_err());
    assert!(Layout::new(CONTRACT).mailbox("m", 0).is_err());
}

#[test]
fn a_region_asked_for_by_the_wrong_kind_is_not_found_and_the_right_ones_are_named() {
    let error = layout().find("state", Kind::Mailbox).unwrap_err().to_string();
    assert_eq!(
        error,
        "lane region \"state\": no mailbox of that name here; there are: ring \"state\", gauge \
         page \"gauges\", mailbox \"source0\", block \"catalog\""
    );
}

proptest! {
    #[test]
    fn one_wrong_word_in_the_header_is_refused_or_moves_no_region(
        place in prop_oneof![0..HEADER_WORDS, 0..PREAMBLE_WORDS + 4 * REGION_WORDS],
        value in prop_oneof![any::<u64>(), 0_u64..200],
    ) {
        let words = memory(&layout());
        words[place].store(value, Ordering::Relaxed);
        // Another name, or a size that rounds to the same lines, stays where it was.
        if let Ok(other) = Layout::parse(View::new(&words), CONTRACT) {
            let bounds = |layout: &Layout| -> Vec<(usize, usize)> {
                layout.regions.iter().map(|region| (region.start, region.words)).collect()
            };
            prop_assert_eq!(bounds(&other), bounds(&layout()));
        }
    }

    #[test]
    fn one_wrong_word_in_the_preamble_is_refused(
        place in 0..PREAMBLE_WORDS,
        value in prop_oneof![any::<u64>(), 0_u64..200],
    ) {
        let words = memory(&layout());
        prop_assume!(value != words[place].load(Ordering::Relaxed));
        words[place].store(value, Ordering::Relaxed);
        prop_assert!(Layout::parse(View::new(&words), CONTRACT).is_err());
    }

    #[test]
    fn random_sizes_behind_a_right_preamble_never_leave_the_memory(
        noise in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..64], 64),
        count in prop_oneof![any::<u64>(), 0_u64..8],
    ) {
        let words = memory(&layout());
        for (word, noise) in words[PREAMBLE_WORDS..].iter().zip(noise) {
            word.store(noise, Ordering::Relaxed);
        }
        words[4].store(count, Ordering::Relaxed);
        if let Ok(layout) = Layout::parse(View::new(&words), CONTRACT) {
            prop_assert!(layout.regions.iter().all(|r| r.start + r.words <= words.len()));
        }
    }
}
