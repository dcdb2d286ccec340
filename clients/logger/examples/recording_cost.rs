//! What recording costs: encoding, queue and file per record, against writing the same bytes to the
//! same disk. Prints one JSON line per machine size. `cargo run --release --example recording_cost -- DIR [RECORDS]`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use kadenz_logger::clock::UnixOffset;
use kadenz_logger::encode::StateEncoder;
use kadenz_logger::plan::Plan;
use kadenz_logger::queue::Inlet;
use kadenz_logger::tally::{Tally, get};
use kadenz_logger::writer::FileWriter;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

/// CPU time of this process, s.
fn cpu_s() -> f64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    Duration::from(time).as_secs_f64()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("usage: cost DIR [RECORDS]"));
    let records: u64 = args.next().map_or(40_000, |text| text.parse().unwrap());
    for axes in [6, 32] {
        measure(&dir, axes, records);
    }
}

fn measure(dir: &Path, axes: u16, records: u64) {
    let machine = synthetic::machine(axes, 250_000);
    // A second of records, repeated with rising cycles: making them is not part of the cost.
    let made: Vec<_> = (0..4_000).map(|cycle| synthetic::state(&machine, cycle)).collect();
    let taken = |cycle: u64| {
        let (header, axes) = &made[usize::try_from(cycle % 4_000).unwrap()];
        let mut header = *header;
        header.cycle = cycle;
        (header, axes)
    };

    let mut encoder = StateEncoder::new(&machine.axes);
    let mut bytes = Vec::new();
    let begun = cpu_s();
    for cycle in 0..records {
        let (header, axes) = taken(cycle);
        bytes.clear();
        encoder.encode(&header, axes, &mut bytes);
        std::hint::black_box(&bytes);
    }
    let encode_us = (cpu_s() - begun) * 1e6 / records as f64;
    let message_bytes = bytes.len();

    let tally = Arc::new(Tally::default());
    let offset = UnixOffset { offset_ns: 0 };
    let (mut inlet, outlet) =
        Inlet::with_pages(machine.clone(), offset, Arc::clone(&tally), 1 << 20);
    let plan = Plan::new(dir.into(), Some(format!("cost-{axes}-{}", std::process::id())), None);
    let mut finished = PathBuf::new();
    let begun = cpu_s();
    let wall = Instant::now();
    for cycle in 0..records {
        let (header, axes) = taken(cycle);
        inlet.state(&header, axes);
    }
    inlet.finish();
    FileWriter::new(plan, offset, Arc::clone(&tally), |path| finished = path.into()).run(&outlet);
    let total_us = (cpu_s() - begun) * 1e6 / records as f64;
    let wall_s = wall.elapsed().as_secs_f64();
    assert_eq!(get(&tally.state.written), records);

    let file = std::fs::read(&finished).unwrap();
    let floor_path = finished.with_extension("floor");
    let begun = cpu_s();
    let floor_wall = Instant::now();
    let mut floor = std::fs::File::create(&floor_path).unwrap();
    for piece in file.chunks(256 * 1024) {
        floor.write_all(piece).unwrap();
    }
    floor.sync_all().unwrap();
    let floor_us = (cpu_s() - begun) * 1e6 / records as f64;
    let floor_wall_s = floor_wall.elapsed().as_secs_f64();
    std::fs::remove_file(&floor_path).unwrap();
    std::fs::remove_file(&finished).unwrap();

    println!(
        "{{\"axes\":{axes},\"records\":{records},\"message_bytes\":{message_bytes},\"file_bytes_per_record\":{:.0},\"encode_us\":{encode_us:.2},\"total_cpu_us\":{total_us:.2},\"core_at_4_khz\":{:.4},\"mb_s\":{:.1},\"floor_cpu_us\":{floor_us:.2},\"floor_mb_s\":{:.1}}}",
        file.len() as f64 / records as f64,
        total_us * 4_000.0 / 1e6,
        file.len() as f64 / wall_s / 1e6,
        file.len() as f64 / floor_wall_s / 1e6,
    );
}
