//! Lanes whose other side writes what it likes between any two looks: no index is wild, no length beyond
//! its slot, and until the first scribble every record is whole.

use std::sync::atomic::Ordering;

use kadenz_lanes::{
    BroadcastReader, BroadcastWriter, GaugeReader, GaugeWriter, MailboxReader, MailboxWriter, Read,
    RingGeometry, View, Word,
};

use crate::script::Script;

const SLOTS: usize = 4;
const WORDS: usize = 6;
/// Sequence, length and record.
const SLOT_WORDS: usize = 8;
const GAUGES: usize = 3;
const STEPS_MAX: usize = 400;

/// Memory of one lane and whether only its writer has written to it.
struct Memory {
    words: Vec<Word>,
    is_honest: bool,
}

impl Memory {
    fn of(words: usize) -> Self {
        Self { words: (0..words).map(|_| Word::new(0)).collect(), is_honest: true }
    }

    fn scribble(&mut self, script: &mut Script<'_>) {
        let (place, word) = (script.below(self.words.len()), script.word());
        // ORDERING: relaxed, one thread has it all.
        self.words[place].store(word, Ordering::Relaxed);
        self.is_honest = false;
    }
}

/// Record `number`, cut to `length` words.
fn record(number: u64, length: usize) -> Vec<u64> {
    (0..length as u64).map(|place| (number << 8) | place).collect()
}

/// What ships.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    play(bytes, false);
}

/// A reader that believes the length that stands in a slot.
///
/// # Panics
/// When somebody lies about it.
pub fn planted(bytes: &[u8]) {
    play(bytes, true);
}

fn play(bytes: &[u8], planted: bool) {
    let mut script = Script::new(bytes);
    let ring = RingGeometry::new(SLOTS, WORDS).expect("sizes in range");
    let post = RingGeometry::mailbox(WORDS).expect("sizes in range");
    let mut rings = Memory::of(ring.words());
    let mut boxes = Memory::of(post.words());
    let mut pages = Memory::of(GAUGES + 1);
    // Cursors and counters of the readers outlive each look; memory is borrowed anew every time.
    let (mut cursor, mut ticket) = (0, None);
    // BOUND: steps are counted, and the script ends.
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        match script.byte() % 10 {
            0 => rings.scribble(&mut script),
            1 => boxes.scribble(&mut script),
            2 => pages.scribble(&mut script),
            3 | 4 => {
                let mut writer = BroadcastWriter::new(&rings.words, ring).expect("it fits");
                let length = script.below(WORDS + 2);
                let before = writer.published();
                writer.publish(&[&record(before, length)]);
                let fits = (1..=WORDS).contains(&length);
                assert_eq!(writer.published(), before.wrapping_add(u64::from(fits)));
            }
            5 => read_ring(&rings, ring, &mut cursor, &mut script, planted),
            6 | 7 => {
                let mut writer = MailboxWriter::new(&boxes.words, WORDS).expect("it fits");
                writer.post(&[&record(writer.posted(), script.below(WORDS + 2))]);
            }
            8 => {
                let mut reader =
                    MailboxReader::new(View::new(&boxes.words), WORDS).expect("it fits");
                ticket = reader.latest().or(ticket);
                let Some(ticket) = ticket else { continue };
                assert!((1..=WORDS).contains(&ticket.words()), "{ticket:?}");
                let (start, length) = (script.below(WORDS + 3), script.below(WORDS + 3));
                let mut out = vec![0; length];
                let whole = reader.read_at(ticket, start, &mut out);
                assert!(!whole || start + length <= ticket.words(), "{ticket:?} {start} {length}");
                if whole && boxes.is_honest {
                    let all = record(ticket.sequence(), ticket.words());
                    assert_eq!(out, all[start..start + length], "torn");
                }
            }
            _ => gauges(&pages, &mut script),
        }
    }
}

fn read_ring(
    memory: &Memory,
    ring: RingGeometry,
    cursor: &mut u64,
    script: &mut Script<'_>,
    planted: bool,
) {
    let view = View::new(&memory.words);
    let mut reader = BroadcastReader::new(view, ring).expect("it fits").resume_at(*cursor);
    let how = script.byte();
    let mut out = [0; WORDS];
    let out = &mut out[..WORDS - usize::from(how >> 6)];
    if planted && reader.head() > 0 {
        let first = ring.words() - SLOTS * SLOT_WORDS;
        let slot = first + (reader.head() - 1) as usize % SLOTS * SLOT_WORDS;
        let claimed = view.word(slot + 1).unwrap_or(0);
        out[..claimed as usize].fill(0);
    }
    let (lost, read) =
        (reader.lost(), if how & 1 == 0 { reader.read_next(out) } else { reader.newest(out) });
    match read {
        Read::Record { sequence, words } => {
            assert!((1..=out.len()).contains(&words), "{read:?}");
            assert_eq!(reader.cursor(), sequence.wrapping_add(1));
            if memory.is_honest {
                assert_eq!(out[..words], record(sequence, words), "torn {read:?}");
            }
        }
        Read::Lost { count } => {
            assert!(count >= 1 && reader.lost() >= lost, "{read:?}");
            let was_lapped = reader.head().wrapping_sub(*cursor) > SLOTS as u64;
            assert!(!memory.is_honest || was_lapped || out.len() < WORDS, "{read:?} without cause");
        }
        Read::Empty => assert_eq!(reader.head(), *cursor),
    }
    *cursor = reader.cursor();
}

fn gauges(memory: &Memory, script: &mut Script<'_>) {
    let (index, value) = (script.below(GAUGES + 2), script.word());
    let reader = GaugeReader::new(View::new(&memory.words)).expect("it fits");
    let before = reader.get(index);
    let mut writer = GaugeWriter::new(&memory.words).expect("it fits");
    writer.add(index, value);
    assert_eq!(reader.get(index), before.map(|before| before.wrapping_add(value)));
    assert_eq!(before.is_some(), index < GAUGES);
    let mut out = vec![0; script.below(GAUGES + 2)];
    assert_eq!(reader.copy_to(index, &mut out), index + out.len() <= GAUGES);
}
