//! The description at the front of a lane's memory, as a hostile peer may write it: what is accepted is
//! exactly the one description that its sizes give.

use kadenz_lanes::{Contract, Layout, View, Word};

use crate::script::Script;

const CONTRACT: Contract = Contract { layout_hash: 0xfeed, version: 1 };
/// Words before the first region's, and of one region's.
const LINE: usize = 8;

fn layout() -> Layout {
    Layout::new(CONTRACT)
        .ring("ring", 4, 6)
        .and_then(|layout| layout.mailbox("box", 5))
        .and_then(|layout| layout.gauges("gauges", 9))
        .and_then(|layout| layout.block("block", 20))
        .expect("sizes in range")
}

/// The words of a right memory after the script's changes, and its length.
fn memory(script: &mut Script<'_>) -> Vec<u64> {
    let right = layout();
    let mut words = right.header();
    words.resize(right.words(), 0);
    for _ in 0..script.below(6) {
        // The numbers of the first regions are the ones that are read.
        let place = script.below(LINE * 7);
        words[place] = match script.byte() % 4 {
            0 => words[place].wrapping_add(1),
            1 => words[place].wrapping_mul(2),
            2 => words[script.below(LINE * 7)],
            _ => script.word(),
        };
    }
    match script.byte() {
        0 => words.truncate(script.below(words.len())),
        // As long as it says it is, if that is possible.
        1 => words.resize((words[3] as usize).min(1 << 16), 0),
        _ => {}
    }
    words
}

/// What ships.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    let words = memory(&mut Script::new(bytes));
    let shared: Vec<Word> = words.iter().map(|word| Word::new(*word)).collect();
    match Layout::parse(View::new(&shared), CONTRACT) {
        Ok(layout) => {
            assert_eq!(layout.words(), words.len(), "regions beyond the memory");
            assert!(words.starts_with(&layout.header()), "a header of other sizes was accepted");
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}

/// A reader that goes through as many regions as the header says.
///
/// # Panics
/// When somebody lies about it.
pub fn planted(bytes: &[u8]) {
    let words = memory(&mut Script::new(bytes));
    let count = words.get(4).copied().unwrap_or(0) as usize;
    let sizes = (0..count.min(1 << 20)).map(|region| words[LINE * (region + 1) + 5]);
    assert!(sizes.fold(0, u64::wrapping_add) != 1);
}
