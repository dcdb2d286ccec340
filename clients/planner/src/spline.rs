//! The smooth curve through the rows: a quintic spline that starts and ends at rest; knows neither
//! files nor limits.
//!
//! Why quintic: a clamped cubic starts with a step in acceleration. Here velocity, acceleration,
//! jerk and snap are continuous at every inner row, velocity and acceleration are 0 at both ends,
//! and every segment is exactly the Hermite quintic that the loop interpolates between knots.
//! Of all curves with those ends through those rows it has the least mean-square jerk.

use crate::quintic::{Quintic, State};

/// Knots stand at most this far apart; longer row distances are divided on the same quintic.
pub const KNOT_SPACING_S_MAX: f64 = 0.025;
/// Knots stand at least this far apart: twice what the loop refuses, so that the rounding of path
/// time never decides.
pub const KNOT_SPACING_S_MIN: f64 = 2.0e-5;

/// A quintic spline per axis column, on common times.
#[derive(Debug, Clone, PartialEq)]
pub struct Spline {
    t_s: Vec<f64>,
    /// `states[column][row]`.
    states: Vec<Vec<State>>,
}

impl Spline {
    /// The spline through `positions[column][row]` at the strictly rising times `t_s`.
    ///
    /// # Panics
    /// With fewer than two times, or a column of another length than `t_s`: a programming error.
    #[must_use]
    pub fn through(t_s: Vec<f64>, positions: &[Vec<f64>]) -> Self {
        assert!(t_s.len() >= 2, "a spline needs two rows");
        let system = System::factor(&t_s);
        let states = positions
            .iter()
            .map(|p| {
                assert_eq!(p.len(), t_s.len(), "one position per time");
                system.solve(p)
            })
            .collect();
        Self { t_s, states }
    }

    /// The same curve in space, passed `stretch` times as slowly: velocity falls by `stretch`,
    /// acceleration by its square, jerk by its cube.
    #[must_use]
    pub fn stretched(&self, stretch: f64) -> Self {
        let slower = |s: &State| State { p: s.p, v: s.v / stretch, a: s.a / (stretch * stretch) };
        Self {
            t_s: self.t_s.iter().map(|t| t * stretch).collect(),
            states: self.states.iter().map(|s| s.iter().map(slower).collect()).collect(),
        }
    }

    /// Number of axis columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.states.len()
    }

    /// Number of segments: rows less one.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.t_s.len() - 1
    }

    /// Time of the last row in s.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.t_s[self.t_s.len() - 1]
    }

    /// How many knot intervals `segment` is divided into, at least 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 3.5e6")]
    pub fn pieces(&self, segment: usize) -> usize {
        let h = self.t_s[segment + 1] - self.t_s[segment];
        // The slack keeps 0.025 s written in decimals from becoming two intervals.
        ((h / KNOT_SPACING_S_MAX - 1e-6).ceil() as usize).max(1)
    }

    /// Time in s of the knot after `piece` intervals of `segment`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn knot_t_s(&self, segment: usize, piece: usize) -> f64 {
        let (t0, t1) = (self.t_s[segment], self.t_s[segment + 1]);
        let pieces = self.pieces(segment);
        if piece == pieces { t1 } else { t0 + (t1 - t0) * (piece as f64 / pieces as f64) }
    }

    /// State of `column` at that knot; at a row, exactly the row's position.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn knot_state(&self, column: usize, segment: usize, piece: usize) -> State {
        let pieces = self.pieces(segment);
        if piece == 0 {
            self.states[column][segment]
        } else if piece == pieces {
            self.states[column][segment + 1]
        } else {
            self.quintic(column, segment).at(piece as f64 / pieces as f64)
        }
    }

    /// The curve of `column` over `segment`.
    #[must_use]
    pub fn quintic(&self, column: usize, segment: usize) -> Quintic {
        let states = &self.states[column];
        let h = self.t_s[segment + 1] - self.t_s[segment];
        Quintic::hermite(h, states[segment], states[segment + 1])
    }
}

/// Two unknowns of one row: velocity and acceleration.
type Pair = [f64; 2];
/// A 2×2 matrix by rows.
type Block = [[f64; 2]; 2];

/// The block-tridiagonal system for velocity and acceleration at the inner rows.
///
/// Its equations say that snap and jerk do not jump; signs are chosen so that it is the gradient of
/// the mean-square jerk, hence symmetric and positive definite, hence safe to eliminate unpivoted.
struct System {
    /// Segment durations in s.
    h: Vec<f64>,
    /// Inverse of each eliminated diagonal block, for inner rows 1 to n-2.
    inverse: Vec<Block>,
}

impl System {
    fn factor(t_s: &[f64]) -> Self {
        let h: Vec<f64> = t_s.windows(2).map(|t| t[1] - t[0]).collect();
        let mut inverse: Vec<Block> = Vec::with_capacity(h.len().saturating_sub(1));
        for pair in h.windows(2) {
            let (l, r) = (pair[0], pair[1]);
            let va = 36.0 / (r * r) - 36.0 / (l * l);
            let mut m = [[192.0 / (l * l * l) + 192.0 / (r * r * r), va], [va, 9.0 / l + 9.0 / r]];
            if let Some(last) = inverse.last() {
                let lower = lower(l);
                let fill = product(&product(&lower, last), &transposed(&lower));
                for (row, fill) in m.iter_mut().zip(fill) {
                    row[0] -= fill[0];
                    row[1] -= fill[1];
                }
            }
            inverse.push(inverted(&m));
        }
        Self { h, inverse }
    }

    fn solve(&self, p: &[f64]) -> Vec<State> {
        let mut states: Vec<State> = p.iter().map(|&p| State { p, v: 0.0, a: 0.0 }).collect();
        let mut last: Pair = [0.0; 2];
        for (i, inverse) in self.inverse.iter().enumerate() {
            let (l, r) = (self.h[i], self.h[i + 1]);
            let (left, right) =
                ((p[i + 1] - p[i]) / (l * l * l), (p[i + 2] - p[i + 1]) / (r * r * r));
            let from_last = applied(&lower(l), last);
            let rhs = [
                360.0 * (left / l + right / r) - from_last[0],
                60.0 * (right - left) - from_last[1],
            ];
            last = applied(inverse, rhs);
            (states[i + 1].v, states[i + 1].a) = (last[0], last[1]);
        }
        for (i, inverse) in self.inverse.iter().enumerate().rev().skip(1) {
            let next = [states[i + 2].v, states[i + 2].a];
            let upper = transposed(&lower(self.h[i + 1]));
            let correction = applied(inverse, applied(&upper, next));
            states[i + 1].v -= correction[0];
            states[i + 1].a -= correction[1];
        }
        states
    }
}

/// How a row's two equations see the row before, `h` seconds earlier.
fn lower(h: f64) -> Block {
    let square = h * h;
    [[168.0 / (square * h), 24.0 / square], [-24.0 / square, -3.0 / h]]
}

fn transposed(m: &Block) -> Block {
    [[m[0][0], m[1][0]], [m[0][1], m[1][1]]]
}

fn product(a: &Block, b: &Block) -> Block {
    let cell = |r: usize, c: usize| a[r][0] * b[0][c] + a[r][1] * b[1][c];
    [[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]]
}

fn applied(m: &Block, x: Pair) -> Pair {
    [m[0][0] * x[0] + m[0][1] * x[1], m[1][0] * x[0] + m[1][1] * x[1]]
}

fn inverted(m: &Block) -> Block {
    let determinant = m[0][0] * m[1][1] - m[0][1] * m[1][0];
    [
        [m[1][1] / determinant, -m[0][1] / determinant],
        [-m[1][0] / determinant, m[0][0] / determinant],
    ]
}
