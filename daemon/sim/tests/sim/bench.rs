//! One axis on the test bench: a setup, and process data in SI units.

use servo_sim::{Drive, DriveSetup, Rxpdo, State, Txpdo};

pub const PERIOD_S: f64 = 1e-3;

/// A 20-bit encoder on a small servo motor with its load.
pub fn rotary() -> DriveSetup {
    DriveSetup::tuned(1e-3, f64::from(1 << 20) / core::f64::consts::TAU, 4.0, 80.0)
}

#[expect(clippy::cast_possible_truncation, reason = "a target wraps at 32 bit")]
pub fn wire(drive: &Drive, position_si: f64) -> i32 {
    (position_si * drive.setup().counts_per_unit).floor() as i64 as i32
}

pub fn rx(drive: &Drive, controlword: u16, position_si: f64) -> Rxpdo {
    Rxpdo {
        controlword,
        mode_of_operation: 8,
        target_position: wire(drive, position_si),
        ..Rxpdo::default()
    }
}

pub fn exchange(drive: &mut Drive, controlword: u16, position_si: f64) -> Txpdo {
    let rx = rx(drive, controlword, position_si);
    drive.exchange(Some(&rx), PERIOD_S)
}

/// Boots a drive and walks it to Operation enabled at `period_s`, the target on the actual.
pub fn enable_at(setup: DriveSetup, seed: u64, period_s: f64) -> Drive {
    let mut drive = Drive::new(setup, seed).expect("a plausible setup");
    let mut tx = drive.exchange(None, period_s);
    for _ in 0..1_000 {
        let controlword = match tx.statusword & 0x6F {
            0x40 => 0x06,
            0x21 => 0x07,
            0x23 | 0x27 => 0x0F,
            _ => 0x00,
        };
        let rx = Rxpdo {
            controlword,
            mode_of_operation: 8,
            target_position: tx.position_actual,
            ..Rxpdo::default()
        };
        tx = drive.exchange(Some(&rx), period_s);
        if drive.state() == State::OperationEnabled {
            return drive;
        }
    }
    panic!("not enabled: {:#06x}", tx.statusword);
}

pub fn enable(setup: DriveSetup) -> Drive {
    enable_at(setup, 1, PERIOD_S)
}

/// Position on a quintic from 0 to 1 at `x` in 0 to 1.
pub fn quintic(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * x * (10.0 + x * (-15.0 + 6.0 * x))
}
