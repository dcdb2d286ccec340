//! The power state machine against the tables of CiA 402-2, seen from the wire alone.

use crate::bench::{PERIOD_S, enable, exchange, rotary};
use servo_sim::{Drive, Fault, Rxpdo, State, Txpdo, error_code};

/// State bits without bit 4 (voltage), which the standard leaves open.
fn pattern(tx: Txpdo) -> u16 {
    tx.statusword & 0x006F
}

/// One cycle with the target where the axis is.
fn hold(drive: &mut Drive, controlword: u16) -> Txpdo {
    let position_rad = drive.true_position_si();
    exchange(drive, controlword, position_rad)
}

/// Sends `controlword` for 20 cycles with the target at rest; the first new pattern (the old one
/// if none came) and the last.
fn walk(drive: &mut Drive, controlword: u16) -> (u16, u16) {
    let before = pattern(hold(drive, controlword));
    let mut first = before;
    let mut last = before;
    for _ in 0..20 {
        last = pattern(hold(drive, controlword));
        first = if first == before { last } else { first };
    }
    (first, last)
}

fn settle(drive: &mut Drive, controlword: u16) -> u16 {
    walk(drive, controlword).1
}

#[test]
fn every_row_of_the_transition_table_is_walked_and_nothing_else_moves() {
    const NOT_READY: u16 = 0x00;
    const DISABLED: u16 = 0x40;
    const READY: u16 = 0x21;
    const ON: u16 = 0x23;
    const ENABLED: u16 = 0x27;
    const STOPPING: u16 = 0x07;
    const FAULT: u16 = 0x08;
    // From state, controlword, state it must reach (CiA 402-2, transitions 2 to 12 and 15).
    let rows = [
        (DISABLED, 0x00, DISABLED),
        (DISABLED, 0x02, DISABLED),
        (DISABLED, 0x07, DISABLED),
        (DISABLED, 0x0F, DISABLED),
        (DISABLED, 0x80, DISABLED),
        (DISABLED, 0x06, READY),
        (READY, 0x06, READY),
        (READY, 0x00, DISABLED),
        (READY, 0x02, DISABLED),
        (READY, 0x07, ON),
        (READY, 0x0F, ENABLED),
        (ON, 0x07, ON),
        (ON, 0x06, READY),
        (ON, 0x00, DISABLED),
        (ON, 0x02, DISABLED),
        (ON, 0x0F, ENABLED),
        (ENABLED, 0x0F, ENABLED),
        (ENABLED, 0x07, ON),
        (ENABLED, 0x06, READY),
        (ENABLED, 0x00, DISABLED),
        (ENABLED, 0x02, DISABLED),
        (ENABLED, 0x8F, ENABLED), // bit 7 set: no command
        (FAULT, 0x0F, FAULT),
        (FAULT, 0x06, FAULT),
        (FAULT, 0x00, FAULT),
        (FAULT, 0x80, DISABLED),
    ];
    for (from, controlword, to) in rows {
        let mut drive = Drive::new(rotary(), 1).unwrap();
        assert_eq!(pattern(exchange(&mut drive, 0, 0.0)), NOT_READY);
        let path: &[u16] = match from {
            DISABLED => &[0x00],
            READY => &[0x00, 0x06],
            ON => &[0x00, 0x06, 0x07],
            _ => &[0x00, 0x06, 0x07, 0x0F],
        };
        let mut reached = NOT_READY;
        for word in path {
            reached = settle(&mut drive, *word);
        }
        if from == FAULT {
            drive.inject(Fault::DriveFault(0x2310));
            reached = settle(&mut drive, 0x0F);
        }
        assert_eq!(reached, from, "the walk to {from:#04x} went astray");
        let by_way_of = match (from, controlword) {
            (READY, 0x0F) => ON,         // transitions 3 and 4
            (ENABLED, 0x02) => STOPPING, // 605Ah = 2: transitions 11 and 12
            _ => to,
        };
        let seen = walk(&mut drive, controlword);
        assert_eq!(seen, (by_way_of, to), "{from:#04x} by {controlword:#04x}: {seen:#04x?}");
    }
}

#[test]
fn a_command_shows_one_cycle_later_and_the_brake_takes_its_time() {
    let mut drive = Drive::new(rotary(), 1).unwrap();
    settle(&mut drive, 0x00);
    let mut seen = [0_u16; 10];
    for (cycle, slot) in seen.iter_mut().enumerate() {
        *slot = pattern(exchange(&mut drive, if cycle == 0 { 0x06 } else { 0x0F }, 0.0));
    }
    // 2 ms to power up, 4 ms to release the brake.
    let want = [0x40, 0x21, 0x21, 0x23, 0x23, 0x23, 0x23, 0x27, 0x27, 0x27];
    assert_eq!(seen, want, "{seen:#04x?}");
}

#[test]
fn quick_stop_passes_through_its_state_and_stops_on_the_ramp() {
    let mut drive = enable(rotary());
    let mut position_rad = 0.0;
    for cycle in 0..400 {
        position_rad += 5.0 * PERIOD_S * f64::from(cycle.min(100)) / 100.0;
        exchange(&mut drive, 0x0F, position_rad);
    }
    let speed_rad_s = drive.true_velocity_si();
    assert!((speed_rad_s - 5.0).abs() < 0.1, "{speed_rad_s}");
    exchange(&mut drive, 0x02, position_rad);
    let tx = exchange(&mut drive, 0x02, position_rad);
    assert_eq!(pattern(tx), 0x07);
    assert_eq!(tx.statusword & (1 << 12), 0, "the drive no longer follows");
    assert_eq!(settle(&mut drive, 0x02), 0x40);
    assert!(drive.true_velocity_si().abs() < 1e-9);
}

#[test]
fn a_fault_needs_a_rising_edge_of_bit_7() {
    let mut drive = enable(rotary());
    exchange(&mut drive, 0x8F, 0.0);
    exchange(&mut drive, 0x8F, 0.0);
    drive.inject(Fault::DriveFault(0x2310));
    let tx = exchange(&mut drive, 0x8F, 0.0);
    assert_eq!((pattern(tx), tx.error_code), (0x0F, 0x2310), "fault reaction active");
    assert_eq!(settle(&mut drive, 0x8F), 0x08, "a level is no edge");
    assert_eq!(settle(&mut drive, 0x00), 0x08);
    assert_eq!(settle(&mut drive, 0x80), 0x40);
    assert_eq!(exchange(&mut drive, 0x00, 0.0).error_code, error_code::NONE);
}

#[test]
fn only_cyclic_synchronous_position_is_accepted() {
    let mut drive = Drive::new(rotary(), 1).unwrap();
    let mut rx = Rxpdo { mode_of_operation: 9, ..Rxpdo::default() };
    for word in [0x00, 0x06, 0x0F] {
        rx.controlword = word;
        for _ in 0..20 {
            drive.exchange(Some(&rx), PERIOD_S);
        }
    }
    rx.target_position = 1_000_000;
    let tx = drive.exchange(Some(&rx), PERIOD_S);
    assert_eq!(drive.state(), State::OperationEnabled);
    assert_eq!((tx.mode_display, tx.statusword & (1 << 12)), (0, 0));
    for _ in 0..20 {
        drive.exchange(Some(&rx), PERIOD_S);
    }
    assert!(drive.true_position_si().abs() < 1e-9, "no mode, no motion");
    rx.mode_of_operation = 8;
    rx.target_position = 0;
    drive.exchange(Some(&rx), PERIOD_S);
    let tx = drive.exchange(Some(&rx), PERIOD_S);
    assert_eq!((tx.mode_display, tx.statusword & (1 << 12)), (8, 1 << 12));
    rx.mode_of_operation = 10;
    drive.exchange(Some(&rx), PERIOD_S);
    assert_eq!(drive.exchange(Some(&rx), PERIOD_S).mode_display, 8);
}

#[test]
fn a_drive_that_is_off_answers_every_controlword_with_a_state_of_the_table() {
    let known = [0x00, 0x40, 0x21, 0x23, 0x27, 0x07, 0x0F, 0x08];
    let mut drive = Drive::new(rotary(), 1).unwrap();
    for word in 0..=u16::MAX {
        let tx = hold(&mut drive, word);
        assert!(known.contains(&pattern(tx)), "{:#06x} after {word:#06x}", tx.statusword);
    }
}
