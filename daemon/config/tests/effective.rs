//! The shipped machines, the defaults, and the canonical print: what is read, printed and read again is one machine.
#![expect(clippy::unwrap_used, reason = "in a test helper a panic is the verdict")]

use std::fs;
use std::path::{Path, PathBuf};

use kadenz_config::machine::{
    Axis, AxisKind, Bus, BusKind, Cpu, FollowingError, Gateways, Group, Host, Limits, Overrun,
    OverrunPolicy, Plant, Recorder, Roles, Source,
};
use kadenz_config::{DEMO_NAMES, Exemption, Machine, demo, effective_toml, hash};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const MINIMAL: &str = include_str!("minimal.toml");

fn shipped(name: &str) -> Machine {
    Machine::from_toml(name, demo(name).unwrap()).unwrap_or_else(|findings| panic!("{findings}"))
}

#[test]
fn every_shipped_machine_is_accepted_and_embedded_under_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("machines");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let machine = Machine::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(machine.name.as_str()));
        assert_eq!(shipped(&machine.name), machine);
        names.push(machine.name);
    }
    names.sort();
    assert_eq!(names, DEMO_NAMES);
    assert_eq!(demo("demo"), None);
}

#[test]
fn the_demo_arm_has_the_limits_its_users_were_told() {
    let arm = shipped("demo-arm");
    let limits: Vec<_> = arm.axes.iter().map(|axis| axis.limits).collect();
    let joint = |range: f64, velocity, acceleration, jerk| Limits {
        position_min: -range,
        position_max: range,
        velocity,
        acceleration,
        jerk,
    };
    let expected = [
        joint(2.9, 3.0, 15.0, 300.0),
        joint(1.9, 3.0, 15.0, 300.0),
        joint(2.6, 3.0, 15.0, 300.0),
        joint(2.9, 4.5, 25.0, 600.0),
        joint(2.1, 4.5, 25.0, 600.0),
        joint(2.9, 4.5, 25.0, 600.0),
    ];
    assert_eq!(limits, expected);
    assert!(arm.axes.iter().all(|axis| axis.kind == AxisKind::Rotary));
}

#[test]
fn lines_of_the_demos_marked_default_may_be_left_out() {
    for name in DEMO_NAMES {
        let text = demo(name).unwrap();
        let kept: Vec<_> = text.lines().filter(|line| !line.ends_with("; default")).collect();
        assert!(kept.len() + 10 < text.lines().count());
        assert_eq!(Machine::from_toml(name, &kept.join("\n")).unwrap(), shipped(name));
    }
}

#[test]
fn every_default_is_spelled_out() {
    let machine = Machine::from_toml("minimal.toml", MINIMAL).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/minimal.effective.toml");
    if std::env::var_os("KADENZ_BLESS").is_some() {
        fs::write(&path, effective_toml(&machine)).unwrap();
    }
    assert_eq!(effective_toml(&machine), fs::read_to_string(path).unwrap());
}

#[test]
fn the_hash_follows_the_machine_and_not_its_spelling() {
    let machine = Machine::from_toml("f.toml", MINIMAL).unwrap();
    let respelled = MINIMAL.replace("300.0", "3e2").replace("[host]", "[host] # quiet\ncpu='last'");
    assert_eq!(hash(&Machine::from_toml("f.toml", &respelled).unwrap()), hash(&machine));
    let changed = MINIMAL.replace("300.0", "300.00000000000006");
    assert_ne!(hash(&Machine::from_toml("f.toml", &changed).unwrap()), hash(&machine));
}

#[test]
fn a_stop_from_the_worst_state_takes_a_ramp_out_and_a_brake() {
    let limits = |velocity, acceleration, jerk| Limits {
        position_min: -1.0,
        position_max: 1.0,
        velocity,
        acceleration,
        jerk,
    };
    // 3/15 to brake, 15/300 to begin braking, 15/300 to end accelerating.
    assert!((limits(3.0, 15.0, 300.0).stop_time_s() - 0.3).abs() < 1e-12);
    // Full acceleration is never reached: three ramps of sqrt(v/j).
    assert!((limits(0.01, 15.0, 4.0).stop_time_s() - 0.15).abs() < 1e-12);
}

#[test]
fn the_shortest_horizon_holds_a_stop_and_two_gateway_phases() {
    let arm = shipped("demo-arm");
    assert_eq!(arm.gateway_phase_us(), 1100);
    assert!((arm.horizon_ms_min() - (300.0 + 2.2)).abs() < 1e-9);
}

#[test]
fn an_axis_starts_at_the_limit_nearest_to_zero_unless_told() {
    let text = MINIMAL.replace("position_min_m = -0.4", "position_min_m = 0.1");
    let machine = Machine::from_toml("f.toml", &text).unwrap();
    assert!((machine.axes[1].position_start - 0.1).abs() < 1e-15);
    let outside = text.replace("kind = \"linear\"", "kind = \"linear\"\nposition_start_m = 0.05");
    let machine = Machine::from_toml("f.toml", &outside).unwrap();
    assert!((machine.axes[1].position_start - 0.05).abs() < 1e-15);
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,27}"
}

/// `exponent` picks the size, so that small and large numbers are equally likely.
fn real(exponent: std::ops::Range<i32>) -> impl Strategy<Value = f64> {
    (1.0..9.99, exponent).prop_map(|(digits, exponent): (f64, i32)| digits * 10_f64.powi(exponent))
}

fn axis() -> impl Strategy<Value = Axis> {
    let place = (any::<bool>(), Just(1_u32), real(0..4), -1e5..1e5, real(-3..4));
    let limits = (-9e4..0.0, real(-3..4), real(-1..2), real(-1..2), real(0..3));
    let plant = (real(-6..2), real(-6..2), prop_oneof![Just(0.0), real(-6..2)], real(-1..3));
    (place, limits, plant, real(-6..2), 1_u32..=10_000).prop_map(
        |(place, limits, plant, window, time_ms)| {
            let (is_rotary, divisor, counts_per_unit, position_start, reserve) = place;
            let (position_min, range, velocity, acceleration, jerk) = limits;
            let (inertia, viscous, coulomb, velocity_bandwidth_hz) = plant;
            let needed = 1.2 * inertia * acceleration + coulomb + viscous * velocity;
            Axis {
                name: String::new(),
                kind: if is_rotary { AxisKind::Rotary } else { AxisKind::Linear },
                bus_index: 0,
                group_index: 0,
                divisor,
                counts_per_unit,
                position_start,
                limits: Limits {
                    position_min,
                    position_max: position_min + range,
                    velocity,
                    acceleration,
                    jerk,
                },
                following_error: FollowingError { window, time_ms },
                plant: Plant {
                    inertia,
                    viscous,
                    coulomb,
                    effort_limit: needed + reserve,
                    velocity_bandwidth_hz,
                },
            }
        },
    )
}

fn roles() -> impl Strategy<Value = Option<Roles>> {
    let user = "[a-z_][a-z0-9_-]{0,28}";
    let roles = (user, user).prop_map(|(user, operate_group)| Roles {
        view: format!("{user}-v"),
        plan: format!("{user}-p"),
        operate: format!("{user}-o"),
        operate_group,
    });
    prop::option::of(roles)
}

fn machine() -> impl Strategy<Value = Machine> {
    let cpu = prop_oneof![Just(Cpu::Last), (0_u16..=1023).prop_map(Cpu::Number)];
    let exempt = prop::sample::subsequence(Exemption::ALL.to_vec(), 0..=9);
    let host = (cpu, 2_u8..=98, exempt).prop_map(|(cpu, priority_fifo, exempt)| Host {
        cpu,
        priority_fifo,
        exempt,
    });
    let policy = prop_oneof![
        Just(OverrunPolicy::SkipInPhase),
        (1_u32..=1000).prop_map(|missed_per_s_max| OverrunPolicy::StopAfter { missed_per_s_max }),
    ];
    let overrun = (policy, 1_u32..=10_000)
        .prop_map(|(policy, late_wake_us)| Overrun { policy, late_wake_us });
    let saving = (10_u32..=10_000, prop::option::of("/[ -~]{0,20}"), 8_u32..=1_048_576);
    let times = (name(), 50_u32..=10_000, 20_u32..=10_000, 1_u32..=3600, saving);
    let parts = prop::collection::vec((name(), 0..=i64::MAX as u64, name()), 1..=4);
    let axes = prop::collection::vec(axis(), 4..=8);
    (times, overrun, any::<bool>(), host, roles(), parts, axes).prop_map(
        |(times, overrun, enabled, mut host, roles, parts, mut axes)| {
            let (name, period_us, lease_ms, ring_s, saving) = times;
            let (save_every_ms, directory, limit_mb) = saving;
            let directory = directory.map(PathBuf::from);
            if roles.is_none() && !host.exempt.contains(&Exemption::OneUser) {
                host.exempt.push(Exemption::OneUser);
                host.exempt.sort();
            }
            for (index, axis) in axes.iter_mut().enumerate() {
                axis.name = format!("axis-{index}");
                axis.bus_index = index % parts.len();
                axis.group_index = index % parts.len();
            }
            let gateways = Gateways {
                out_offset_us: period_us / 3,
                in_lead_us: period_us / 2,
                priority_fifo: host.priority_fifo / 2,
            };
            let mut machine = Machine {
                name,
                period_us,
                host,
                source: Source { lease_ms, horizon_ms: 60_000 },
                overrun,
                recorder: Recorder { enabled, ring_s, save_every_ms, directory, limit_mb },
                gateways,
                roles,
                buses: Vec::new(),
                groups: Vec::new(),
                axes,
            };
            for (index, (bus, seed, group)) in parts.into_iter().enumerate() {
                let kind = BusKind::Sim { seed };
                machine.buses.push(Bus { name: format!("{index}-{bus}"), kind });
                machine.groups.push(Group { name: format!("{index}-{group}") });
            }
            machine
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(78), ..ProptestConfig::default() })]

    #[test]
    fn a_printed_machine_reads_back_as_itself(machine in machine()) {
        prop_assume!(machine.horizon_ms_min() <= 60_000.0);
        let text = effective_toml(&machine);
        let again = Machine::from_toml("printed.toml", &text)
            .map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        prop_assert_eq!(&again, &machine);
        prop_assert_eq!(effective_toml(&again), text);
        prop_assert_eq!(hash(&again), hash(&machine));
    }
}
