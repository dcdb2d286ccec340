//! Two axes for tests: `j1` turns, `lift` slides.

use kadenz_planner::{AxisInfo, AxisKind, AxisLimits};

pub fn two_axes() -> Vec<AxisInfo> {
    let limits = |reach: f64| AxisLimits {
        position_min: -reach,
        position_max: reach,
        velocity: 3.0,
        acceleration: 15.0,
        jerk: 300.0,
    };
    vec![
        AxisInfo { name: "j1".to_owned(), kind: AxisKind::Rotary, limits: limits(2.9) },
        AxisInfo { name: "lift".to_owned(), kind: AxisKind::Linear, limits: limits(2.0) },
    ]
}
