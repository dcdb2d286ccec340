//! When files begin and end, and how a recording says what is missing from it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use kadenz_logger::plan::{Plan, Rotate};
use kadenz_logger::queue::Inlet;
use kadenz_logger::tally::{Tally, get};
use kadenz_logger::writer::FileWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod reading;
mod scratch;
mod synthetic;

use reading::{OFFSET, gaps, read, record, single, states};

#[test]
fn cycles_that_never_came_and_cycles_without_room_are_told_apart_in_gap_markers() {
    let machine = synthetic::machine(6, 1_000_000);
    let tally = Arc::new(Tally::default());
    let (mut inlet, outlet) = Inlet::with_pages(machine.clone(), OFFSET, Arc::clone(&tally), 1);
    let give = |inlet: &mut Inlet, cycle| {
        let (header, axes) = synthetic::state(&machine, cycle);
        inlet.state(&header, &axes);
    };
    give(&mut inlet, 0);
    give(&mut inlet, 10);
    give(&mut inlet, 3);
    let mut next = 11;
    while get(&tally.state.queue_full) < 5 {
        give(&mut inlet, next);
        next += 1;
    }
    let plan = single("gaps");
    let mut files = Vec::<PathBuf>::new();
    std::thread::scope(|scope| {
        let writer =
            FileWriter::new(plan, OFFSET, Arc::clone(&tally), |path| files.push(path.into()));
        scope.spawn(move || writer.run(&outlet));
        // The queue has room again once the writer has taken a page.
        let dropped = loop {
            let before = get(&tally.state.queue_full);
            give(&mut inlet, next);
            next += 1;
            if get(&tally.state.queue_full) == before {
                break before;
            }
            std::thread::yield_now();
        };
        inlet.finish();
        assert!(dropped >= 5);
    });
    let dropped = get(&tally.state.queue_full);
    let gaps = gaps(&files[0]);
    assert_eq!(gaps.len(), 2);
    assert_eq!((gaps[0].number_first, gaps[0].number_last), (1, 9));
    assert_eq!((gaps[0].never_received, gaps[0].queue_full), (9, 0));
    assert_eq!((gaps[1].never_received, gaps[1].queue_full), (0, dropped));
    assert_eq!(gaps[1].number_last + 1 - gaps[1].number_first, dropped);
    let cycles: Vec<u64> = states(&files[0]).iter().map(|state| state.cycle).collect();
    assert_eq!(cycles.len() as u64, get(&tally.state.written));
    assert_eq!(next, cycles.len() as u64 + 9 + dropped);
}

#[test]
fn files_rotate_by_size_and_lose_nothing_between_them() {
    let machine = synthetic::machine(6, 1_000_000);
    let dir = scratch::fresh_dir("rotate");
    let rotate = Rotate { age: Duration::from_secs(3_600), size_bytes: 150_000 };
    let (files, tally) =
        record(Plan::new(dir.clone(), None, Some(rotate)), machine.clone(), |inlet| {
            for cycle in 0..2_000 {
                let (header, axes) = synthetic::state(&machine, cycle);
                inlet.state(&header, &axes);
            }
        });
    assert!(files.len() > 2, "{files:?}");
    let cycles: Vec<u64> =
        files.iter().flat_map(|file| states(file)).map(|state| state.cycle).collect();
    assert_eq!(cycles, (0..2_000).collect::<Vec<_>>());
    assert_eq!(get(&tally.files), files.len() as u64);
    for (number, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("bench_6_axes-2"), "{name}");
        assert!(name.ends_with(&format!("Z-{number:03}.mcap")), "{name}");
    }
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), files.len());
}

#[test]
fn another_life_of_the_daemon_begins_another_file_and_counts_from_zero() {
    let machine = synthetic::machine(2, 1_000_000);
    let mut reborn = machine.clone();
    reborn.header.daemon_id = 9;
    let feed = |inlet: &mut Inlet| {
        let (header, axes) = synthetic::state(&machine, 500);
        inlet.state(&header, &axes);
        inlet.change_machine(reborn.clone());
        let (header, axes) = synthetic::state(&reborn, 0);
        inlet.state(&header, &axes);
    };
    let rotate = Some(Rotate { age: Duration::from_secs(3_600), size_bytes: 1 << 30 });
    let plan = Plan::new(scratch::fresh_dir("lives"), Some("run".into()), rotate);
    let (files, _) = record(plan, machine.clone(), feed);
    assert_eq!(files.len(), 2);
    assert_eq!((states(&files[0])[0].cycle, states(&files[1])[0].cycle), (500, 0));
    let (files, tally) = record(single("lives_single"), machine.clone(), feed);
    assert_eq!(files.len(), 1);
    assert_eq!(read(&files[0])["/catalog"].len(), 2);
    assert_eq!((get(&tally.state.written), tally.state.lost()), (2, 0));
}
