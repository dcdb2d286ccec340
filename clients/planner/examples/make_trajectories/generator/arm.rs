//! A path in the manner of ISO 9283 for a six-axis arm: five poses, a rectangle and circles on the
//! inclined plane of a test cube, through the arm's closed-form inverse kinematics.
//!
//! The arm: z up, x forward. Shoulder 0.40 m above and 0.08 m before the first axis, upper arm
//! 0.45 m, forearm 0.42 m, flange to tool point 0.10 m, spherical wrist. All joints at 0, the home
//! pose: upper arm upright, forearm level and forward, tool down.

use super::path::{Arc, Path, radius_before_smoothing};
use super::{ROW_MS, csv_text};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, FRAC_PI_4, TAU};

const SHOULDER_FORWARD_M: f64 = 0.08;
const SHOULDER_UP_M: f64 = 0.40;
const UPPER_ARM_M: f64 = 0.45;
const FOREARM_M: f64 = 0.42;
const TOOL_M: f64 = 0.10;

/// Side of the test cube.
const CUBE_M: f64 = 0.40;
const CUBE_CENTER_M: [f64; 3] = [0.55, 0.0, 0.50];
/// The four corner poses stand a tenth of the plane's diagonals inside its corners.
const CORNER_SHARE: f64 = 0.8;
/// Width of each smoothing average.
const WIDTH_S: f64 = 0.12;
/// Longer than the whole filter: the arm comes to rest.
const DWELL_S: f64 = 0.52;

/// Pitch of a tool that points straight down.
const DOWN: f64 = FRAC_PI_2;
/// Pitch of a tool at right angles to the inclined plane, which falls away from the arm: the wrist
/// stays bent, far from its singularity.
const INTO_PLANE: f64 = 3.0 * FRAC_PI_4;

/// x, y, z of the tool point in m, pitch and spin of the tool in rad.
type Pose = [f64; 5];

/// The file.
pub fn csv() -> String {
    let rows: Vec<[f64; 6]> = path().smoothed(WIDTH_S, ROW_MS).into_iter().map(joints).collect();
    csv_text(
        &[
            "Test path in the manner of ISO 9283: poses P1 to P5, rectangle, large and small circle",
            "on the inclined plane of a 400 mm cube; six-axis arm, all joints 0 at home.",
            "Made by examples/make_trajectories; do not edit.",
        ],
        "t_s,j1_rad,j2_rad,j3_rad,j4_rad,j5_rad,j6_rad",
        &rows,
    )
}

/// The pose `across` m along y and `up` m up the inclined plane from its centre.
fn on_plane(across_m: f64, up_m: f64, spin: f64) -> Pose {
    let [x, y, z] = CUBE_CENTER_M;
    let slope = up_m * FRAC_1_SQRT_2;
    [x - slope, y + across_m, z + slope, INTO_PLANE, spin]
}

fn path() -> Path<5> {
    let half_across = 0.5 * CUBE_M * CORNER_SHARE;
    let half_up = half_across / FRAC_1_SQRT_2;
    let corners = [(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)]
        .map(|(a, u)| (half_across * a, half_up * u));
    let p1 = on_plane(0.0, 0.0, 0.0);
    let home =
        [SHOULDER_FORWARD_M + FOREARM_M, 0.0, SHOULDER_UP_M + UPPER_ARM_M - TOOL_M, DOWN, 0.0];

    let mut path = Path::at(home);
    path.line_in(p1, 0.7);
    path.dwell(DWELL_S);
    for (across, up) in corners {
        path.line(on_plane(across, up, 0.0), 0.75);
        path.dwell(DWELL_S);
    }
    path.line(p1, 0.75);
    path.dwell(DWELL_S);

    // The rectangle twice without stopping: smoothing rounds its corners.
    path.line(on_plane(corners[0].0, corners[0].1, 0.0), 0.75);
    path.dwell(DWELL_S);
    for _ in 0..2 {
        for (across, up) in corners.into_iter().cycle().skip(1).take(4) {
            path.line(on_plane(across, up, 0.0), 0.6);
        }
    }
    path.dwell(DWELL_S);
    circles(&mut path);
    path.line(p1, 0.5);
    path.dwell(DWELL_S);
    path.line_in(home, 0.8);
    path
}

/// Four laps of the large circle and two of the small one, the tool swinging about its own axis.
fn circles(path: &mut Path<5>) {
    for (diameter_m, laps, lap_s, swing) in
        [(0.8 * CUBE_M, 4.0, 1.3, 0.62), (0.1 * CUBE_M, 2.0, 0.8, 0.3)]
    {
        let radius_m = radius_before_smoothing(0.5 * diameter_m, lap_s, WIDTH_S);
        path.line(on_plane(radius_m, 0.0, 0.0), 0.6);
        path.dwell(DWELL_S);
        let arc = Arc {
            center: on_plane(0.0, 0.0, 0.0),
            along: [0.0, 1.0, 0.0, 0.0, 0.0],
            across: [-FRAC_1_SQRT_2, 0.0, FRAC_1_SQRT_2, 0.0, 0.0],
            radius_m,
            from: 0.0,
            turn: TAU * laps,
        };
        path.arc(&arc, lap_s * laps, |u, pose| pose[4] = swing * libm::sin(TAU * laps * u));
        path.dwell(DWELL_S);
    }
}

/// The joint angles in rad that bring the tool to a pose within reach, elbow up, wrist not flipped.
fn joints([x, y, z, pitch, spin]: Pose) -> [f64; 6] {
    let (sp, cp) = (libm::sin(pitch), libm::cos(pitch));
    let (ss, cs) = (libm::sin(spin), libm::cos(spin));
    // Columns of the tool's attitude Ry(pitch)·Rx(spin); the first points along the tool.
    let tool = [cp, 0.0, -sp];
    let second = [sp * ss, cs, cp * ss];
    let third = [sp * cs, -ss, cp * cs];

    let wrist = [x - TOOL_M * tool[0], y - TOOL_M * tool[1], z - TOOL_M * tool[2]];
    let j1 = libm::atan2(wrist[1], wrist[0]);
    let forward = libm::hypot(wrist[0], wrist[1]) - SHOULDER_FORWARD_M;
    let up = wrist[2] - SHOULDER_UP_M;
    let reach_square = forward * forward + up * up;
    let cos_elbow = (reach_square - UPPER_ARM_M * UPPER_ARM_M - FOREARM_M * FOREARM_M)
        / (2.0 * UPPER_ARM_M * FOREARM_M);
    assert!(cos_elbow.abs() < 1.0, "the pose is out of reach");
    let elbow = libm::acos(cos_elbow);
    let j3 = elbow - FRAC_PI_2;
    let behind =
        libm::atan2(FOREARM_M * libm::sin(elbow), UPPER_ARM_M + FOREARM_M * libm::cos(elbow));
    let j2 = libm::atan2(forward, up) - behind;

    // The wrist turns the forearm's attitude Rz(j1)·Ry(j2+j3) into the tool's.
    let (s1, c1) = (libm::sin(j1), libm::cos(j1));
    let (sa, ca) = (libm::sin(j2 + j3), libm::cos(j2 + j3));
    let in_forearm = |v: [f64; 3]| {
        let level = c1 * v[0] + s1 * v[1];
        [ca * level - sa * v[2], c1 * v[1] - s1 * v[0], sa * level + ca * v[2]]
    };
    let [along, side, above] = in_forearm(tool);
    let j5 = libm::atan2(libm::hypot(side, above), along) - FRAC_PI_2;
    let j4 = libm::atan2(side, -above);
    let j6 = libm::atan2(in_forearm(second)[0], in_forearm(third)[0]);
    [j1, j2, j3, j4, j5, j6]
}
