//! The machines that are simulated: both demos as shipped, and one of 64 axes written here as a
//! configuration text, so that it passes the same checks as anyone's.
use std::fmt::Write;

use anyhow::{Context, bail};
use kadenz_config::Machine;

/// Names that [`load`] knows.
pub const NAMES: [&str; 3] = ["demo-arm", "demo-mill", "axes64"];

/// The machine `name`.
///
/// # Errors
/// There is no such machine, or its configuration is refused.
pub fn load(name: &str) -> anyhow::Result<Machine> {
    let text = match name {
        "axes64" => axes64(),
        other => kadenz_config::demo(other)
            .with_context(|| format!("--machine {other}: there is {}", NAMES.join(", ")))?
            .to_owned(),
    };
    match Machine::from_toml(name, &text) {
        Ok(machine) => Ok(machine),
        Err(findings) => bail!("{findings}"),
    }
}

/// 64 axes at 2 kHz in four groups. Every eighth wraps its 32-bit counts within its travel; two
/// stand outside their soft limits at power-on, one on either side.
fn axes64() -> String {
    let mut text = String::from(
        "[machine]\nname = \"axes64\"\nperiod_us = 500\n[host]\nexempt = [\"preempt-rt\", \
         \"isolated-cpu\", \"scheduler\", \"memory-lock\", \"cpu-dma-latency\", \"tmpfs\", \
         \"one-user\", \"gateway-priority\"]\n[[bus]]\nname = \"sim0\"\nkind = \"sim\"\n",
    );
    for group in 0..4 {
        text += &format!("[[group]]\nname = \"g{group}\"\n");
    }
    for axis in 0..64 {
        axis_text(&mut text, axis);
    }
    text
}

fn axis_text(text: &mut String, axis: usize) {
    let group = axis % 4;
    let start = match axis {
        9 => 3.05,
        21 => -3.1,
        _ => 0.0,
    };
    let (kind, unit, effort, mass) = match axis % 2 {
        0 => ("rotary", "rad", "n_m", "inertia_kg_m2"),
        _ => ("linear", "m", "n", "mass_kg"),
    };
    let counts = if axis.is_multiple_of(8) { "9e8" } else { "1e6" };
    let velocity = if axis.is_multiple_of(8) { 0.9 } else { 1.0 + 0.05 * axis as f64 };
    let acceleration = 8.0 + 0.25 * axis as f64;
    let jerk = 200.0 + 8.0 * axis as f64;
    let window = if axis.is_multiple_of(2) { 0.05 } else { 0.03 };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "[[axis]]\nname = \"a{axis}\"\nkind = \"{kind}\"\nbus = \"sim0\"\ngroup = \"g{group}\"\n\
         counts_per_{unit} = {counts}\nposition_start_{unit} = {start:?}\n\
         [axis.limits]\nposition_min_{unit} = -3.0\nposition_max_{unit} = 3.0\n\
         velocity_{unit}_s = {velocity:?}\nacceleration_{unit}_s2 = {acceleration:?}\n\
         jerk_{unit}_s3 = {jerk:?}\n[axis.following_error]\nwindow_{unit} = {window}\n\
         [axis.plant]\n{mass} = 1.0\n{limit}_limit_{effort} = 60.0\n",
        limit = if axis.is_multiple_of(2) { "torque" } else { "force" },
    );
}
