//! The whole island among seeded actors: promises hold, runs repeat, recordings replay, and the
//! gates can fail. A failing run names its seed and the command that repeats it.
use kadenzd::boot::replay::replay_bytes;
use rt_tests::checker::Checker;
use rt_tests::cli::simulate;
use rt_tests::machines;
use rt_tests::simulation::Simulation;
use shm_layout::code::axis_flag;

const CYCLES: u64 = 20_000;
const FILE_BYTES_MAX: usize = 48 << 20;

fn run(machine: &str, seed: u64) -> Simulation {
    match simulate(machine, seed, CYCLES, FILE_BYTES_MAX) {
        Ok(finished) => finished.simulation,
        Err(error) => panic!("{error:#}"),
    }
}

fn keeps_its_promises(machine: &str, seed: u64) {
    let simulation = run(machine, seed);
    let summary = simulation.summary();
    assert_eq!(summary.limit_enforced, 0, "seed {seed}: the last stage had to step in\n{summary}");
    // A run in which little happened proves little.
    let is_lively = summary.cycles_moving > CYCLES / 5
        && summary.paths[0] >= 3
        && summary.knots_accepted > 300
        && summary.used_max[0] > 0.3;
    assert!(is_lively, "seed {seed}: too little happened\n{summary}");
    let replayed = replay_bytes(simulation.recording.file()).expect("a recording");
    assert_eq!(replayed.diverged_at, None, "seed {seed}");
    assert!(replayed.cycles > 1_000, "seed {seed}: {replayed:?}");
}

#[test]
fn an_arm_keeps_its_promises_in_honest_company() {
    keeps_its_promises("demo-arm", 0);
    keeps_its_promises("demo-arm", 3);
}

#[test]
fn an_arm_keeps_its_promises_when_planners_are_wrong() {
    keeps_its_promises("demo-arm", 1);
}

#[test]
fn an_arm_keeps_its_promises_in_hostile_company() {
    keeps_its_promises("demo-arm", 2);
}

#[test]
fn a_mill_keeps_its_promises_in_any_company() {
    keeps_its_promises("demo-mill", 3);
    keeps_its_promises("demo-mill", 4);
    keeps_its_promises("demo-mill", 5);
}

#[test]
fn sixty_four_axes_keep_their_promises_in_any_company() {
    keeps_its_promises("axes64", 6);
    keeps_its_promises("axes64", 8);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let fingerprint = |seed| run("demo-mill", seed).recording.fingerprint;
    let first = fingerprint(5);
    assert_eq!(first, fingerprint(5));
    assert_ne!(first, fingerprint(8));
}

#[test]
fn one_flipped_bit_in_one_recorded_knot_is_found_by_replay() {
    let simulation = run("demo-arm", 0);
    let defect = simulation.recording.file_with_a_defect().unwrap();
    let replayed = replay_bytes(&defect).unwrap();
    assert!(replayed.diverged_at.is_some(), "{replayed:?}");
}

#[test]
fn a_recording_cut_anywhere_replays_up_to_the_cut() {
    let simulation = run("demo-mill", 3);
    let file = simulation.recording.file();
    let whole = replay_bytes(file).unwrap();
    for cut in [1, 7, 8, 100, 1_001] {
        let replayed = replay_bytes(&file[..file.len() - cut]).unwrap();
        assert_eq!(replayed.diverged_at, None);
        assert!(replayed.torn_bytes > 0 && replayed.cycles < whole.cycles, "{replayed:?}");
    }
}

/// The checker is a gate: each defect seeded into a good record must make it fail.
#[test]
fn the_checker_finds_every_seeded_defect() {
    let mut simulation = Simulation::bench(machines::load("demo-arm").unwrap(), 11).unwrap();
    simulation.run(50).unwrap();
    simulation.ask(shm_layout::code::RequestKind::Enable, 0.0);
    simulation.run(1_200).unwrap();
    let before = simulation.last().unwrap().clone();
    let intake_before = simulation.island.state.intake;
    let now = simulation.step().unwrap().clone();
    let intake = simulation.island.state.intake;
    assert!(before.axes[0].velocity_reference.abs() > 1e-3, "the axes must move here");
    assert!(now.axes[0].flags & axis_flag::ENABLED != 0);

    let scales: Vec<f64> =
        simulation.island.machine.axes.iter().map(|axis| axis.counts_per_unit).collect();
    type Defect = (&'static str, fn(&mut rt_tests::island::Record));
    let defects: [Defect; 11] = [
        ("not finite", |r| r.axes[1].torque_feed_forward = f64::NAN),
        ("a jump", |r| r.axes[0].position_reference += 0.01),
        ("too fast", |r| r.axes[0].velocity_reference = 3.1),
        ("an acceleration that jumps", |r| r.axes[0].acceleration_reference += 0.4),
        ("a wrong count", |r| r.axes[2].target_counts += 2),
        ("a rate above one", |r| r.header.path_rate = 1.1),
        ("a lost cycle", |r| r.header.cycle += 1),
        ("a silent fault", |r| r.axes[3].flags |= axis_flag::FAULT),
        ("a fault reset", |r| r.axes[3].controlword |= 0x80),
        ("a stolen lease", |r| r.header.source_id += 1),
        ("path time beyond the horizon", |r| r.header.tau_last_s = 0.0),
    ];
    for (name, spoil) in defects {
        let mut checker = Checker::new(&simulation.island.setup, scales.clone());
        checker.check(&intake_before, &before).unwrap();
        let mut spoilt = now.clone();
        spoil(&mut spoilt);
        assert!(checker.check(&intake, &spoilt).is_err(), "{name} goes unnoticed");
    }
}
