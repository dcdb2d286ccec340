//! Any bits from the master, any period: nothing panics, nothing leaves the finite, limits hold,
//! and the same seed gives the same bits.

use crate::bench::{PERIOD_S, enable_at, quintic, rotary, rx};
use proptest::prelude::*;
use servo_sim::{Drive, DriveSetup, Fault, Rxpdo, Txpdo};

fn any_rx() -> impl Strategy<Value = Option<Rxpdo>> {
    let word = prop_oneof![any::<u16>(), Just(0x0F), Just(0x06), Just(0x80)];
    let target = prop_oneof![any::<i32>(), -1_000..1_000_i32, Just(i32::MIN), Just(i32::MAX)];
    let all = (word, any::<i8>(), target, any::<i32>(), any::<i16>());
    proptest::option::weighted(
        0.9,
        all.prop_map(|(controlword, mode, target_position, velocity_offset, torque_offset)| {
            Rxpdo {
                controlword,
                mode_of_operation: if mode > 0 { 8 } else { mode },
                target_position,
                velocity_offset,
                torque_offset,
            }
        }),
    )
}

fn any_period() -> impl Strategy<Value = f64> {
    prop_oneof![9 => Just(1e-3), 1 => any::<f64>(), 1 => 50e-6..20e-3]
}

fn any_fault() -> impl Strategy<Value = Option<Fault>> {
    let fault = prop_oneof![
        any::<u16>().prop_map(Fault::DriveFault),
        Just(Fault::StuckEncoder),
        Just(Fault::TorqueLoss),
    ];
    proptest::option::weighted(0.02, fault)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_process_data_keeps_the_plant_finite_and_inside_its_limits(
        script in proptest::collection::vec((any_rx(), any_period(), any_fault()), 1..300),
        start in -1e6..1e6_f64,
        sign in prop_oneof![Just(1.0), Just(-1.0)],
    ) {
        let mut setup = rotary();
        setup.initial_position_si = start;
        setup.counts_per_unit *= sign;
        setup.uses_velocity_offset = true;
        setup.torque_noise_sigma_si = 0.1;
        let mut drive = enable_at(setup, 7, PERIOD_S);
        for (rx, period_s, fault) in script {
            if let Some(fault) = fault {
                drive.inject(fault);
            }
            let tx = drive.exchange(rx.as_ref(), period_s);
            prop_assert!(drive.true_position_si().is_finite());
            prop_assert!(drive.true_velocity_si().abs() <= setup.speed_limit_si);
            prop_assert!(tx.torque_actual.unsigned_abs() <= 3_000);
            prop_assert_eq!(tx.error_code != 0 || tx.statusword & 0x08 == 0, true);
        }
    }

    #[test]
    fn a_setup_is_refused_or_runs_finite(values in proptest::collection::vec(
        prop_oneof![any::<f64>(), -10.0..10.0_f64, 0.0..1e-2_f64], 10)
    ) {
        let mut setup = DriveSetup::tuned(values[0], values[1], values[2], values[3]);
        setup.coulomb_friction_si = values[4];
        setup.load_torque_si = values[5];
        setup.velocity_feed_forward = values[6];
        setup.feed_forward_lag_s = values[7];
        setup.initial_position_si = values[8];
        setup.viscous_friction_si = values[9];
        if let Ok(mut drive) = Drive::new(setup, 1) {
            for cycle in 0..100 {
                let word = if cycle < 10 { 0x06 } else { 0x0F };
                drive.exchange(Some(&rx(&drive, word, f64::from(cycle))), PERIOD_S);
                prop_assert!(drive.true_position_si().is_finite());
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_does_not() {
    let run = |seed: u64| -> (Vec<Txpdo>, u64) {
        let mut setup = rotary();
        setup.torque_noise_sigma_si = 0.05 * setup.torque_limit_si;
        let mut drive = enable_at(setup, seed, PERIOD_S);
        let answers = (0..1_000)
            .map(|cycle| {
                let rx = rx(&drive, 0x0F, quintic(f64::from(cycle) / 800.0));
                drive.exchange(Some(&rx).filter(|_| cycle % 97 != 0), PERIOD_S)
            })
            .collect();
        (answers, drive.true_position_si().to_bits())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_copy_taken_under_way_continues_bit_for_bit() {
    let mut drive = enable_at(rotary(), 5, PERIOD_S);
    for cycle in 0..100 {
        drive.exchange(Some(&rx(&drive, 0x0F, quintic(f64::from(cycle) / 200.0))), PERIOD_S);
    }
    let mut copy = drive;
    for cycle in 100..300 {
        let rx = rx(&drive, 0x0F, quintic(f64::from(cycle) / 200.0));
        assert_eq!(drive.exchange(Some(&rx), PERIOD_S), copy.exchange(Some(&rx), PERIOD_S));
        assert_eq!(drive.true_position_si().to_bits(), copy.true_position_si().to_bits());
    }
}
