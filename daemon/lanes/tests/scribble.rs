//! A peer that writes random words over a whole inbound memory while the loop's ends read it:
//! nothing panics, nothing hangs, and every result is within bounds.

#![expect(clippy::unwrap_used, reason = "a lane that cannot be set up fails its test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kadenz_lanes::{Contract, Lanes, Layout, Memory, Read, Sealing, Word};

const CONTRACT: Contract = Contract { layout_hash: 0xfeed, version: 1 };
const CYCLES: usize = 100_000;
const SCRIBBLES: usize = 5_000_000;
const MAILBOX_WORDS: usize = 40;
const RECORD_WORDS: usize = 12;
const ROW_WORDS: usize = 5;

/// splitmix64: the same scribble for the same seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Wild, small (so that sequences and lengths are hit), or just below wrapping.
    fn word(&mut self) -> u64 {
        let value = self.next();
        match value % 4 {
            0 => value,
            1 => u64::MAX - (value >> 8) % 64,
            _ => (value >> 8) % 64,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound
    }
}

fn scribble(words: &[Word], seed: u64, done: &AtomicBool) {
    let mut noise = Noise(seed);
    for _ in 0..SCRIBBLES {
        let place = noise.below(words.len());
        words[place].store(noise.word(), Ordering::Relaxed);
    }
    done.store(true, Ordering::Relaxed);
}

#[derive(Default)]
struct Seen {
    records: usize,
    lost: usize,
    tickets: usize,
    parts: usize,
}

/// Runs cycles until the scribbler is done, at least one.
fn run_cycles(owner: &Lanes, done: &AtomicBool) -> Seen {
    let mut taker = owner.mailbox_reader("source0").unwrap();
    let mut requests = owner.ring_reader("requests").unwrap();
    let health = owner.gauge_reader("health").unwrap();
    let mut seen = Seen::default();
    let (mut out, mut row) = ([0; RECORD_WORDS], [0; ROW_WORDS]);
    for cycle in 0.. {
        let last = done.load(Ordering::Relaxed);
        let read =
            if cycle % 3 == 0 { requests.newest(&mut out) } else { requests.read_next(&mut out) };
        match read {
            Read::Record { words, .. } => {
                assert!((1..=RECORD_WORDS).contains(&words), "cycle {cycle}: {read:?}");
                seen.records += 1;
            }
            Read::Lost { count } => {
                assert!(count >= 1, "cycle {cycle}: {read:?}");
                seen.lost += 1;
            }
            Read::Empty => {}
        }
        if let Some(ticket) = taker.latest() {
            assert!((1..=MAILBOX_WORDS).contains(&ticket.words()), "cycle {cycle}: {ticket:?}");
            seen.tickets += 1;
            for part in 0..8 {
                seen.parts += usize::from(taker.read_at(ticket, part * ROW_WORDS, &mut row));
            }
        }
        assert!(health.get(0).is_some() && health.get(1000).is_none());
        if last {
            break;
        }
    }
    seen
}

#[test]
fn random_words_over_every_lane_neither_stop_nor_misguide_the_loops_ends() {
    let layout = Layout::new(CONTRACT)
        .mailbox("source0", MAILBOX_WORDS)
        .and_then(|layout| layout.ring("requests", 8, RECORD_WORDS))
        .and_then(|layout| layout.gauges("health", 2))
        .unwrap();
    let owner = Lanes::create("in", layout, Sealing::Inbound).unwrap();
    let peer = Memory::open("in", owner.peer_fd().unwrap(), Sealing::Inbound).unwrap();
    let words = peer.words().unwrap();
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        scope.spawn(|| scribble(words, 0x6b64_7a31, &done));
        run_cycles(&owner, &done)
    });
    assert!(seen.lost + seen.records > 0, "the scribbler never hit the ring's head");
}

#[test]
fn random_words_between_the_cycles_give_every_kind_of_result_and_none_out_of_bounds() {
    let layout = Layout::new(CONTRACT)
        .mailbox("source0", 6)
        .and_then(|layout| layout.ring("requests", 2, 6))
        .unwrap();
    let owner = Lanes::create("in", layout, Sealing::Inbound).unwrap();
    let peer = Memory::open("in", owner.peer_fd().unwrap(), Sealing::Inbound).unwrap();
    let words = peer.words().unwrap();
    let mut taker = owner.mailbox_reader("source0").unwrap();
    let mut requests = owner.ring_reader("requests").unwrap();
    let mut noise = Noise(7);
    let mut seen = Seen::default();
    for cycle in 0..CYCLES {
        for _ in 0..8 {
            // The last 80 words are the two lanes; the header in front is not read any more.
            let place = words.len() - 1 - noise.below(72);
            words[place].store(noise.word() % 9, Ordering::Relaxed);
        }
        let mut out = [0; 6];
        match requests.read_next(&mut out) {
            Read::Record { words, .. } => {
                assert!((1..=6).contains(&words), "cycle {cycle}");
                seen.records += 1;
            }
            Read::Lost { count } => {
                assert!(count >= 1, "cycle {cycle}");
                seen.lost += 1;
            }
            Read::Empty => {}
        }
        if let Some(ticket) = taker.latest() {
            assert!((1..=6).contains(&ticket.words()), "cycle {cycle}");
            seen.tickets += 1;
            let whole = taker.read_at(ticket, 1, &mut out[..3]);
            assert!(!whole || ticket.words() >= 4, "cycle {cycle}");
            seen.parts += usize::from(whole);
        }
    }
    let Seen { records, lost, tickets, parts } = seen;
    assert!(records > 0 && lost > 0 && tickets > 0 && parts > 0, "an arm never ran");
}
