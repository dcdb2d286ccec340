//! Where a file says the arm should be: worked out again from the planner's knots, by other code than the loop's.
use anyhow::Context;
use kadenz_config::{Machine, demo};
use kadenz_planner::{AxisInfo, AxisKind, AxisLimits, Program, ProgramOptions};

/// Positions of all axes at path time `tau_s` of `csv` run from `start` on the embedded arm.
///
/// # Errors
/// The file does not plan, or ends before `tau_s`.
pub fn position(csv: &str, start: &[f64], tau_s: f64) -> anyhow::Result<Vec<f64>> {
    let machine = Machine::from_toml("demo-arm", demo("demo-arm").context("embedded machine")?)?;
    let axes: Vec<AxisInfo> = machine
        .axes
        .iter()
        .map(|axis| AxisInfo {
            name: axis.name.clone(),
            kind: AxisKind::Rotary,
            limits: AxisLimits {
                position_min: axis.limits.position_min,
                position_max: axis.limits.position_max,
                velocity: axis.limits.velocity,
                acceleration: axis.limits.acceleration,
                jerk: axis.limits.jerk,
            },
        })
        .collect();
    let mut options = ProgramOptions::default();
    options.check.stop_path_time_s = machine.stop_path_time_s();
    let program = Program::from_bytes("fast.csv", csv.as_bytes(), &axes, start, &options)?;
    let after = (0..program.knot_count())
        .find(|index| program.knot(*index).is_some_and(|knot| knot.tau_s > tau_s))
        .context("the file ends before that")?;
    let (from, to) = (
        program.knot(after.saturating_sub(1)).context("knot")?,
        program.knot(after).context("knot")?,
    );
    let h = to.tau_s - from.tau_s;
    let u = (tau_s - from.tau_s) / h;
    // Hermite basis of degree five on [0, 1].
    let basis = [
        1.0 - 10.0 * u.powi(3) + 15.0 * u.powi(4) - 6.0 * u.powi(5),
        u - 6.0 * u.powi(3) + 8.0 * u.powi(4) - 3.0 * u.powi(5),
        0.5 * u.powi(2) - 1.5 * u.powi(3) + 1.5 * u.powi(4) - 0.5 * u.powi(5),
        10.0 * u.powi(3) - 15.0 * u.powi(4) + 6.0 * u.powi(5),
        -4.0 * u.powi(3) + 7.0 * u.powi(4) - 3.0 * u.powi(5),
        0.5 * u.powi(3) - u.powi(4) + 0.5 * u.powi(5),
    ];
    Ok(from
        .axes
        .iter()
        .zip(&to.axes)
        .map(|(a, b)| {
            a.position * basis[0]
                + a.velocity * h * basis[1]
                + a.acceleration * h * h * basis[2]
                + b.position * basis[3]
                + b.velocity * h * basis[4]
                + b.acceleration * h * h * basis[5]
        })
        .collect())
}

/// Velocity, acceleration and jerk limits of the embedded arm's axes.
///
/// # Errors
/// Never with the embedded machine.
pub fn arm_limits() -> anyhow::Result<Vec<[f64; 3]>> {
    let machine = Machine::from_toml("demo-arm", demo("demo-arm").context("embedded machine")?)?;
    let limits = machine.axes.iter().map(|axis| &axis.limits);
    Ok(limits.map(|limits| [limits.velocity, limits.acceleration, limits.jerk]).collect())
}
