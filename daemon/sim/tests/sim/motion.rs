//! Loops and mechanics: tracking, settling, limits, sticking, wrap, watchdog, injected faults.

use crate::bench::{PERIOD_S, enable, enable_at, exchange, quintic, rotary, rx, wire};
use servo_sim::{Drive, DriveSetup, Fault, Plant, PlantError, Rxpdo, State, Txpdo, error_code};

/// Runs a quintic of `distance` in `time_s`, then rests; largest following error in counts on the
/// way and the last answer.
fn quintic_move(drive: &mut Drive, distance: f64, time_s: f64, period_s: f64) -> (u32, Txpdo) {
    let start = drive.true_position_si();
    let mut following_error_counts_max = 0;
    let mut tx = Txpdo::default();
    let mut now_s = 0.0;
    while now_s < time_s + 0.3 {
        now_s += period_s;
        let rx = rx(drive, 0x0F, start + distance * quintic(now_s / time_s));
        tx = drive.exchange(Some(&rx), period_s);
        assert!(tx.torque_actual.unsigned_abs() <= 3_000, "{tx:?}");
        following_error_counts_max =
            following_error_counts_max.max(tx.following_error.unsigned_abs());
    }
    (following_error_counts_max, tx)
}

#[test]
fn a_quintic_of_1_rad_tracks_and_settles_within_two_counts_at_every_period() {
    for period_s in [250e-6, 500e-6, 1e-3, 2e-3] {
        let mut drive = enable_at(rotary(), 1, period_s);
        let (error_counts_max, tx) = quintic_move(&mut drive, 1.0, 0.5, period_s);
        assert_eq!(drive.state(), State::OperationEnabled);
        let cpu = drive.setup().counts_per_unit;
        // Speed 3.75 rad/s: the proportional law gives 2.2 mrad; friction and lags add to it.
        let law_rad = 3.75 * 0.05 / drive.setup().position_gain_per_s;
        let error_rad = f64::from(error_counts_max) / cpu;
        assert!(error_rad > 0.3 * law_rad && error_rad < 4.0 * law_rad, "{error_rad} {law_rad}");
        assert!(tx.following_error.abs() <= 2, "{period_s}: {tx:?}");
        assert_ne!(tx.statusword & (1 << 10), 0, "target reached");
        assert!((drive.true_position_si() - 1.0).abs() < 4.0 / cpu);
    }
}

#[test]
fn the_following_error_at_constant_speed_is_speed_over_gain() {
    for feed_forward in [0.0, 0.5, 1.0] {
        let mut setup = rotary();
        setup.velocity_feed_forward = feed_forward;
        let mut drive = enable(setup);
        let mut position_rad = 0.0;
        let mut tx = Txpdo::default();
        for cycle in 0..2_000 {
            position_rad += 2.0 * PERIOD_S * f64::from(cycle.min(200)) / 200.0;
            tx = exchange(&mut drive, 0x0F, position_rad);
        }
        let want_rad = 2.0 * (1.0 - feed_forward) / setup.position_gain_per_s;
        let have_rad = f64::from(tx.following_error) / setup.counts_per_unit;
        assert!((have_rad - want_rad).abs() < 3e-4, "{feed_forward}: {have_rad} {want_rad}");
        let speed = f64::from(tx.velocity_actual) / setup.counts_per_unit;
        assert!((speed - 2.0).abs() < 0.01, "{speed}");
    }
}

#[test]
fn the_loops_are_damped_over_inertias_bandwidths_and_directions() {
    for (inertia, bandwidth_hz) in
        [(1e-6, 600.0), (1e-5, 300.0), (1e-3, 150.0), (0.5, 30.0), (50.0, 10.0)]
    {
        for sign in [1.0, -1.0] {
            let torque = inertia * 10.0 * bandwidth_hz;
            let setup = DriveSetup::tuned(inertia, sign * 1e6, torque, bandwidth_hz);
            let mut drive = enable(setup);
            let (error_max, tx) = quintic_move(&mut drive, 0.2, 1.0, PERIOD_S);
            assert_eq!(drive.state(), State::OperationEnabled, "{inertia} {bandwidth_hz}");
            assert!(error_max < 10_000, "{inertia} {bandwidth_hz}: {error_max}");
            let rest = f64::from(tx.following_error.abs()) * bandwidth_hz;
            assert!(rest < 5_000.0, "{inertia} {bandwidth_hz} {tx:?}");
            let ringing = f64::from(tx.velocity_actual.abs()) * bandwidth_hz;
            assert!(ringing < 20_000.0, "rings: {tx:?}");
        }
    }
}

#[test]
fn a_step_saturates_the_torque_at_its_limit_and_ends_in_fault_8611() {
    let mut setup = rotary();
    setup.rated_torque_si = 2.0;
    let mut drive = enable(setup);
    let mut torque_max = 0;
    let mut limited = false;
    let mut seen = error_code::NONE;
    for _ in 0..200 {
        let tx = exchange(&mut drive, 0x0F, 20.0);
        torque_max = torque_max.max(tx.torque_actual.unsigned_abs());
        limited |= tx.statusword & (1 << 11) != 0;
        if tx.error_code != 0 {
            seen = tx.error_code;
            assert_ne!(tx.statusword & (1 << 13), 0);
        }
    }
    assert!((1_990..=2_000).contains(&torque_max), "{torque_max}");
    assert!(limited);
    assert_eq!((seen, drive.state()), (0x8611, State::Fault));
    assert!(drive.true_velocity_si().abs() < 1e-9, "the reaction stops the axis");
}

#[test]
fn an_axis_at_rest_does_not_creep_under_a_load_below_friction() {
    let mut setup = rotary();
    setup.brake_torque_si = 0.0;
    setup.load_torque_si = 0.9 * setup.coulomb_friction_si;
    setup.initial_position_si = 0.5;
    let mut drive = Drive::new(setup, 1).unwrap();
    for _ in 0..10_000 {
        drive.exchange(Some(&Rxpdo::default()), PERIOD_S);
        assert_eq!(drive.true_position_si().to_bits(), 0.5_f64.to_bits());
    }
    setup.load_torque_si = 1.1 * setup.coulomb_friction_si;
    let mut drive = Drive::new(setup, 1).unwrap();
    for _ in 0..1_000 {
        drive.exchange(Some(&Rxpdo::default()), PERIOD_S);
    }
    assert!(drive.true_position_si() > 0.6, "beyond friction it slides");
}

#[test]
fn a_hanging_axis_does_not_drop_when_its_brake_opens() {
    let mut setup = rotary();
    setup.load_torque_si = -0.3 * setup.torque_limit_si;
    let mut drive = enable(setup);
    let mut error_max = 0;
    for _ in 0..2_000 {
        let tx = exchange(&mut drive, 0x0F, 0.0);
        error_max = error_max.max(tx.following_error.abs());
    }
    assert!(error_max <= 2, "{error_max}");
    // Power off: the brake holds.
    for _ in 0..2_000 {
        exchange(&mut drive, 0x00, 0.0);
    }
    assert!(drive.true_position_si().abs() < 1e-4);
}

#[test]
fn positions_wrap_at_32_bit_without_a_jerk() {
    let mut setup = rotary();
    let top = f64::from(i32::MAX) / setup.counts_per_unit;
    setup.initial_position_si = top - 0.5;
    let mut drive = enable(setup);
    let before = drive.exchange(None, PERIOD_S).position_actual;
    let (error_counts_max, tx) = quintic_move(&mut drive, 1.0, 0.5, PERIOD_S);
    assert!(before > 0 && tx.position_actual < 0, "{before} {}", tx.position_actual);
    assert!((drive.true_position_si() - top - 0.5).abs() < 1e-4);
    let mut plain = enable(rotary());
    let (same, _) = quintic_move(&mut plain, 1.0, 0.5, PERIOD_S);
    assert!(same.abs_diff(error_counts_max) <= 2, "{same} {error_counts_max}");
}

#[test]
fn lost_frames_are_bridged_and_one_too_many_trips_the_watchdog() {
    let mut drive = enable(rotary());
    let mut position_rad = 0.0;
    let mut step_rad = 0.0;
    for cycle in 0..400 {
        step_rad = 3.0 * PERIOD_S * f64::from(cycle.min(200)) / 200.0;
        position_rad += step_rad;
        exchange(&mut drive, 0x0F, position_rad);
    }
    let tx = exchange(&mut drive, 0x0F, position_rad + step_rad);
    position_rad += step_rad;
    let limit = drive.setup().watchdog_cycles;
    for _ in 0..limit {
        position_rad += step_rad;
        let gap = drive.exchange(None, PERIOD_S);
        assert!(gap.following_error.abs_diff(tx.following_error) < 20, "{tx:?} {gap:?}");
    }
    position_rad += step_rad;
    let back = exchange(&mut drive, 0x0F, position_rad);
    assert_eq!(back.error_code, error_code::NONE);
    for _ in 0..=limit {
        assert_eq!(drive.exchange(None, PERIOD_S).error_code, error_code::NONE);
    }
    let tripped = drive.exchange(None, PERIOD_S);
    assert_eq!((tripped.statusword & 0x4F, tripped.error_code), (0x0F, error_code::COMMUNICATION));
    for _ in 0..200 {
        drive.exchange(None, PERIOD_S);
    }
    assert_eq!(drive.state(), State::Fault);
    assert!(drive.true_velocity_si().abs() < 1e-9);
}

#[test]
fn a_drive_without_power_survives_a_silent_bus() {
    let mut drive = Drive::new(rotary(), 1).unwrap();
    for _ in 0..1_000 {
        assert_eq!(drive.exchange(None, PERIOD_S).error_code, error_code::NONE);
    }
    assert_eq!(drive.state(), State::SwitchOnDisabled);
}

#[test]
fn a_stuck_encoder_and_a_lost_motor_end_in_a_fault_and_heal() {
    for fault in [Fault::StuckEncoder, Fault::TorqueLoss] {
        let mut drive = enable(rotary());
        drive.inject(fault);
        let mut error = error_code::NONE;
        for cycle in 0..1_000 {
            let tx = exchange(&mut drive, 0x0F, 2.0 * quintic(f64::from(cycle) / 1_000.0));
            error = error.max(tx.error_code);
        }
        assert_eq!((error, drive.state()), (error_code::FOLLOWING_ERROR, State::Fault));
        assert!(drive.true_velocity_si().abs() < 1e-9, "{fault:?}: the brake holds");
        drive.heal();
        exchange(&mut drive, 0x00, 0.0);
        exchange(&mut drive, 0x80, 0.0);
        exchange(&mut drive, 0x00, 0.0);
        assert_eq!(drive.state(), State::SwitchOnDisabled);
    }
}

#[test]
fn the_masters_offsets_are_used_as_configured() {
    let mut setup = rotary();
    setup.velocity_feed_forward = 1.0;
    setup.uses_velocity_offset = true;
    let run = |offset_rad_s: f64| {
        let mut drive = enable(setup);
        let mut tx = Txpdo::default();
        for cycle in 0..500 {
            let mut rx = rx(&drive, 0x0F, PERIOD_S * f64::from(cycle));
            rx.velocity_offset = wire(&drive, offset_rad_s);
            tx = drive.exchange(Some(&rx), PERIOD_S);
        }
        tx.following_error.abs()
    };
    assert!(run(1.0) * 10 < run(0.0), "{} {}", run(1.0), run(0.0));
}

#[test]
fn a_positive_torque_offset_pushes_towards_rising_counts_whatever_their_direction() {
    for sign in [1.0, -1.0] {
        let mut setup = rotary();
        setup.counts_per_unit *= sign;
        let mut drive = enable(setup);
        let mut rx = rx(&drive, 0x0F, 0.0);
        rx.torque_offset = 1_000;
        drive.exchange(Some(&rx), PERIOD_S);
        let pushed = drive.exchange(Some(&rx), PERIOD_S);
        assert!(pushed.torque_actual > 500 && pushed.velocity_actual > 0, "{sign} {pushed:?}");
        assert!(drive.true_velocity_si() * sign > 0.0);
    }
}

#[test]
fn a_plant_exchanges_every_drive_and_refuses_what_it_cannot_hold() {
    let mut plant = Plant::<2>::new();
    assert_eq!(plant.add(rotary(), 1), Ok(0));
    let mut bad = rotary();
    bad.inertia_si = f64::NAN;
    let refused = plant.add(bad, 1).unwrap_err();
    assert!(refused.to_string().contains("inertia_si = NaN; choose"), "{refused}");
    assert_eq!(plant.add(rotary(), 2), Ok(1));
    assert_eq!(plant.add(rotary(), 3), Err(PlantError::Full(2)));
    let rx = [Rxpdo { controlword: 6, ..Rxpdo::default() }; 2];
    let mut tx = [Txpdo::default(); 2];
    for _ in 0..20 {
        plant.exchange(&rx, true, &mut tx, PERIOD_S);
    }
    assert!(tx.iter().all(|tx| tx.statusword & 0x6F == 0x21), "{tx:?}");
    // Short slices and lost frames do no harm.
    plant.exchange(&rx[..1], false, &mut tx[..1], PERIOD_S);
    plant.exchange(&[], true, &mut [], PERIOD_S);
    assert_eq!((plant.len(), plant.drive(0).map(Drive::state)), (2, Some(State::ReadyToSwitchOn)));
}
