//! What a killed kadenzd leaves behind, with real processes. Needs the programs: `cargo build --workspace --bins`.
#![expect(clippy::unwrap_used, reason = "in a test helper a panic is the verdict")]
use kadenz_lanes::{BroadcastWriter, RingGeometry, View, Word};
use kadenz_recorder::{Header, Recording};
use live_tests::daemon_kills::{judge, run};
use servo_core::State;
use servo_core::inputs::{Entry, Outcome, Shape, WORDS_MAX, encode};
use servo_core::ports::Wake;
use shm_layout::STAGES;

#[test]
fn a_killed_daemons_ring_is_whole_to_the_last_cycle_a_client_saw_and_its_successor_runs_at_once() {
    let out = std::env::temp_dir().join(format!("kadenz-daemon-kills-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&out);
    let kills = run(&out, 8, 1).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(kills.len(), 8);
    // Some instants fall on a reversal, where every axis stands for a moment.
    let moving = kills.iter().filter(|kill| kill.speed_share > 0.05).count();
    assert!(moving > kills.len() / 2, "{moving} of {} at speed", kills.len());
    assert!(kills.iter().any(|kill| kill.replayed_cycles > 0));
    let _ = std::fs::remove_dir_all(&out);
}

/// A ring of daemon 1 that holds these cycles.
fn ring(cycles: &[u64]) -> Vec<u64> {
    let machine = kadenz_config::demo("demo-arm").unwrap();
    let machine = kadenz_config::Machine::from_toml("demo-arm", machine).unwrap();
    let setup = kadenzd::boot::machine::setup(&machine, 1);
    let shape = Shape::of(&setup);
    let geometry = RingGeometry::new(16, shape.words_max()).unwrap();
    let memory: Vec<Word> = (0..geometry.words()).map(|_| Word::new(0)).collect();
    let mut writer = BroadcastWriter::new(&memory, geometry).unwrap();
    let mut state = Box::new(State::new());
    let mut words = vec![0; WORDS_MAX];
    for cycle in cycles {
        state.cycle = cycle + 1;
        let outcome = Outcome::of(&setup, &state, [0; STAGES]);
        let wake = Wake::default();
        let entry = Entry::of(&state, &wake, &outcome);
        let length = encode(shape, &entry, &mut words).unwrap();
        writer.publish(&[&words[..length]]);
    }
    let header =
        Header { ring: Some(geometry), ..kadenzd::boot::recorder::header(&machine, &setup) };
    let mut all = header.to_words();
    let mut slots = vec![0; geometry.words()];
    assert!(View::new(&memory).copy_to(0, &mut slots));
    all.extend(slots);
    all
}

/// The gate can fail: each of these rings breaks one promise.
#[test]
fn a_ring_that_breaks_a_promise_is_not_let_pass() {
    let read = |words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Recording::from_bytes(&bytes).unwrap()
    };
    let id = "0000000000000001";
    let good = ring(&[5, 6, 7, 8]);
    judge(&read(&good), id, 8).unwrap();
    assert!(judge(&read(&good), id, 9).is_err(), "it ends too early");
    assert!(judge(&read(&good), "0000000000000002", 8).is_err(), "it is another's");
    assert!(judge(&read(&ring(&[5, 6, 8])), id, 8).is_err(), "a cycle is missing");
    assert!(judge(&read(&ring(&[])), id, 0).is_err(), "it is empty");
    let mut torn = ring(&[5, 6, 7, 8]);
    let slots = read(&torn).header().to_words().len();
    let slot_words = read(&torn).header().ring.unwrap().slot_words();
    for slot in [0, 1] {
        torn[slots + 8 + slot * slot_words + 20] ^= 1;
    }
    let found = read(&torn);
    assert_eq!((found.torn(), found.len()), (2, 2));
    assert!(judge(&found, id, 8).is_err(), "two records are torn");
}
