//! A 2½-D pocket for three linear axes: ramp in, clear in growing rounded rectangles at two depths,
//! finish along the wall, retract.
//!
//! Machine coordinates in m; home and start are x = y = z = 0, with z = 0 the upper end.

use super::path::{Arc, Path};
use super::{ROW_MS, csv_text};
use std::f64::consts::FRAC_PI_2;

/// Width of each smoothing average.
const WIDTH_S: f64 = 0.06;
const RAPID_M_S: f64 = 0.30;
const RAPID_DOWN_M_S: f64 = 0.15;
/// Height of rapids across.
const BELOW_HOME_M: f64 = -0.02;
const CLEARING_M_S: f64 = 0.12;
const FINISHING_M_S: f64 = 0.06;
/// Feed falls in corners so that v²/r stays below this.
const CENTRIPETAL_M_S2: f64 = 0.6;

const POCKET_CENTER_M: [f64; 2] = [0.16, 0.10];
/// Where the tool's centre may go, half in x and y, and the corner radius there.
const HALF_M: [f64; 2] = [0.060, 0.040];
const CORNER_M: f64 = 0.010;
const STEP_OVER_M: f64 = 0.008;
const ALLOWANCE_M: f64 = 0.000_5;
const SURFACE_M: f64 = -0.060;
const CLEARANCE_M: f64 = 0.005;
const DEPTHS_M: [f64; 2] = [-0.066, -0.072];

/// The file.
pub fn csv() -> String {
    let rows = path().smoothed(WIDTH_S, ROW_MS);
    csv_text(
        &[
            "Pocket 120 mm x 80 mm (tool centre), two depths, ramp plunges, finishing pass.",
            "Three linear axes, machine coordinates, start at 0.",
            "Made by examples/make_trajectories; do not edit.",
        ],
        "t_s,x_m,y_m,z_m",
        &rows,
    )
}

fn path() -> Path<3> {
    let [cx, cy] = POCKET_CENTER_M;
    let above = SURFACE_M + CLEARANCE_M;
    let mut path = Path::at([0.0; 3]);
    // Down at once: z stands on its upper limit, which a spline that lingers there would touch.
    path.line([cx, cy, BELOW_HOME_M], RAPID_M_S);
    path.line([cx, cy, above], RAPID_DOWN_M_S);
    let mut z = above;
    for depth in DEPTHS_M {
        ramp(&mut path, z, depth);
        clear(&mut path, depth);
        path.line([cx, cy, depth], CLEARING_M_S);
        z = depth;
    }
    let [hx, hy] = HALF_M;
    path.line([cx, cy - hy + 2.0 * CORNER_M, z], CLEARING_M_S);
    rectangle(&mut path, hx, hy, z, FINISHING_M_S);
    path.line([cx, cy, z], CLEARING_M_S);
    path.line([cx, cy, BELOW_HOME_M], RAPID_DOWN_M_S);
    path.line([0.0; 3], RAPID_M_S);
    path
}

/// Down to `depth` on a slope of about 1 in 10, to and fro in the middle of the pocket.
fn ramp(path: &mut Path<3>, from: f64, depth: f64) {
    let [cx, cy] = POCKET_CENTER_M;
    let sweep = 0.5 * (HALF_M[0] - HALF_M[1]) + 0.01;
    let middle = 0.5 * (from + depth);
    path.line([cx + sweep, cy, 0.5 * (from + middle)], CLEARING_M_S);
    path.line([cx - sweep, cy, 0.5 * (middle + depth)], CLEARING_M_S);
    path.line([cx, cy, depth], CLEARING_M_S);
}

/// Rounded rectangles from the middle outwards, a step-over apart, up to the allowance.
fn clear(path: &mut Path<3>, z: f64) {
    let mut inset = HALF_M[1] - CORNER_M;
    while inset > ALLOWANCE_M {
        rectangle(path, HALF_M[0] - inset, HALF_M[1] - inset, z, CLEARING_M_S);
        inset -= STEP_OVER_M;
    }
    rectangle(path, HALF_M[0] - ALLOWANCE_M, HALF_M[1] - ALLOWANCE_M, z, CLEARING_M_S);
}

/// Once around counter-clockwise, from the middle of the lower side.
fn rectangle(path: &mut Path<3>, half_x: f64, half_y: f64, z: f64, feed_m_s: f64) {
    let [cx, cy] = POCKET_CENTER_M;
    let (sx, sy) = (half_x - CORNER_M, half_y - CORNER_M);
    let corner_feed = feed_m_s.min((CENTRIPETAL_M_S2 * CORNER_M).sqrt());
    path.line([cx, cy - half_y, z], feed_m_s);
    let corners = [(sx, -sy, -1.0), (sx, sy, 0.0), (-sx, sy, 1.0), (-sx, -sy, 2.0)];
    for (x, y, quarter) in corners {
        let from = quarter * FRAC_PI_2;
        let center = [cx + x, cy + y, z];
        let (s, c) = (libm::sin(from) * CORNER_M, libm::cos(from) * CORNER_M);
        path.line([center[0] + c, center[1] + s, z], feed_m_s);
        let arc = Arc {
            center,
            along: [1.0, 0.0, 0.0],
            across: [0.0, 1.0, 0.0],
            radius_m: CORNER_M,
            from,
            turn: FRAC_PI_2,
        };
        path.arc(&arc, FRAC_PI_2 * CORNER_M / corner_feed, |_, _| ());
    }
    path.line([cx, cy - half_y, z], feed_m_s);
}
