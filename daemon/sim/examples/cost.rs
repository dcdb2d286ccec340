//! Prints what one simulated drive costs per bus cycle; run with `--release`.

use std::hint::black_box;
use std::time::Instant;

use servo_sim::{DriveSetup, MAX_DRIVES, Plant, PlantError, Rxpdo, Txpdo};

fn main() -> Result<(), PlantError> {
    for (period_s, substeps) in [(50e-6, 1), (250e-6, 2), (1e-3, 8), (2e-3, 16)] {
        for drives in [1, 32, MAX_DRIVES] {
            let ns = ns_per_drive(drives, period_s)?;
            println!(
                "{drives:2} drives, {:4.0} us, {substeps:2} substeps: {ns:6.1} ns per drive",
                period_s * 1e6
            );
        }
    }
    println!("size of a plant of {MAX_DRIVES}: {} bytes", size_of::<Plant>());
    Ok(())
}

/// Median over 21 batches of an enabled, moving plant, ns per drive and cycle.
fn ns_per_drive(drives: usize, period_s: f64) -> Result<f64, PlantError> {
    const CYCLES: u32 = 2_000;
    let mut plant: Box<Plant> = Box::default();
    for seed in (0_u64..).take(drives) {
        plant.add(DriveSetup::tuned(1e-3, 166_886.0, 4.0, 80.0), seed)?;
    }
    let mut rx = vec![Rxpdo { mode_of_operation: 8, ..Rxpdo::default() }; drives];
    let mut tx = vec![Txpdo::default(); drives];
    for (controlword, cycles) in [(0x00, 400), (0x06, 400), (0x0F, 400)] {
        rx.iter_mut().for_each(|rx| rx.controlword = controlword);
        for _ in 0..cycles {
            plant.exchange(&rx, true, &mut tx, period_s);
        }
    }
    let mut batches_ns: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            for cycle in 0..CYCLES {
                let step = if cycle < CYCLES / 2 { 3 } else { -3 };
                rx.iter_mut().for_each(|rx| rx.target_position += step);
                plant.exchange(black_box(&rx), true, &mut tx, period_s);
                black_box(&tx);
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CYCLES)
        })
        .collect();
    assert!(tx.iter().all(|tx| tx.statusword & 0x6F == 0x27), "a drive is not enabled");
    batches_ns.sort_by(f64::total_cmp);
    let middle = batches_ns.get(10).copied().unwrap_or_default();
    Ok(middle / f64::from(u32::try_from(drives).unwrap_or(u32::MAX)))
}
