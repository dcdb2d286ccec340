//! The shipped trajectories: made by the generator, inside the limits they were made for.

#[path = "../examples/make_trajectories/generator/mod.rs"]
mod generator;

use kadenz_planner::{AxisInfo, AxisKind, AxisLimits, Program, ProgramOptions};
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("trajectories").join(name)
}

fn arm() -> Vec<AxisInfo> {
    let axis = |name: &str, position_min, position_max, (velocity, acceleration, jerk)| AxisInfo {
        name: name.to_owned(),
        kind: AxisKind::Rotary,
        limits: AxisLimits { position_min, position_max, velocity, acceleration, jerk },
    };
    let (base, wrist) = ((3.0, 15.0, 300.0), (4.5, 25.0, 600.0));
    vec![
        axis("j1", -2.9, 2.9, base),
        axis("j2", -1.9, 1.9, base),
        axis("j3", -2.6, 2.6, base),
        axis("j4", -2.9, 2.9, wrist),
        axis("j5", -2.1, 2.1, wrist),
        axis("j6", -2.9, 2.9, wrist),
    ]
}

fn mill() -> Vec<AxisInfo> {
    let axis = |name: &str, position_min, position_max, (velocity, acceleration, jerk)| AxisInfo {
        name: name.to_owned(),
        kind: AxisKind::Linear,
        limits: AxisLimits { position_min, position_max, velocity, acceleration, jerk },
    };
    vec![
        axis("x", -0.4, 0.4, (0.5, 5.0, 150.0)),
        axis("y", -0.3, 0.3, (0.5, 5.0, 150.0)),
        axis("z", -0.15, 0.0, (0.25, 3.0, 100.0)),
    ]
}

fn plan(name: &str, axes: &[AxisInfo]) -> Program {
    let start = vec![0.0; axes.len()];
    match Program::from_csv(&file(name), axes, &start, &ProgramOptions::default()) {
        Ok(program) => program,
        Err(e) => panic!("{e}"),
    }
}

/// Seconds during which an axis is faster than half its limit.
fn seconds_above_half_speed(program: &Program, axes: &[AxisInfo]) -> f64 {
    let knots: Vec<_> = (0..).map_while(|i| program.knot(i)).collect();
    let fast = |k: usize| {
        axes.iter().zip(&knots[k].axes).any(|(a, k)| k.velocity.abs() >= 0.5 * a.limits.velocity)
    };
    (1..knots.len()).filter(|&k| fast(k)).map(|k| knots[k].tau_s - knots[k - 1].tau_s).sum()
}

#[test]
fn the_shipped_files_are_what_the_generator_writes() {
    for (name, text) in generator::files() {
        let shipped = std::fs::read_to_string(file(name)).unwrap();
        assert!(shipped == text, "{name} differs; run the example make_trajectories");
        assert!(text.len() < 200_000, "{name} has {} bytes", text.len());
    }
}

#[test]
fn the_arm_path_passes_from_home_and_uses_half_the_speed_for_seconds() {
    let program = plan("iso9283_arm.csv", &arm());
    assert!(program.approach_in_words().is_none());
    assert!((15.0..25.0).contains(&program.duration_s()), "{}", program.duration_s());
    let fast_s = seconds_above_half_speed(&program, &arm());
    assert!(fast_s > 3.0, "{fast_s}");
}

#[test]
fn the_pocket_passes_from_its_start() {
    let program = plan("pocket_contour.csv", &mill());
    assert!(program.report().stop_path_time_s < 0.25, "{}", program.report().stop_path_time_s);
    assert!(program.approach_in_words().is_none());
    assert!((20.0..40.0).contains(&program.duration_s()), "{}", program.duration_s());
}
