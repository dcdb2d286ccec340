//! One quintic between two states, with its exact extrema; the same Hermite form that the loop
//! interpolates, so what is checked here is what is executed there.

/// Position, velocity and acceleration of one axis at one instant, in rad or m and seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct State {
    /// Position in rad or m.
    pub p: f64,
    /// Velocity in rad/s or m/s.
    pub v: f64,
    /// Acceleration in rad/s² or m/s².
    pub a: f64,
}

/// An extreme value and where in the segment it stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Peak {
    /// The value, with its sign.
    pub value: f64,
    /// Fraction of the segment, 0 to 1.
    pub u: f64,
}

/// The values of largest magnitude within a segment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Extrema {
    /// Of velocity.
    pub v: Peak,
    /// Of acceleration.
    pub a: Peak,
    /// Of jerk.
    pub j: Peak,
}

/// A polynomial of degree five over `duration_s`, in the fraction u from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quintic {
    duration_s: f64,
    /// Coefficients of u⁰ to u⁵, all in rad or m.
    c: [f64; 6],
}

impl Quintic {
    /// The quintic that leaves `start` and reaches `end` after `duration_s`, above 0.
    #[must_use]
    pub fn hermite(duration_s: f64, start: State, end: State) -> Self {
        let d = end.p - start.p;
        let (v0, v1) = (start.v * duration_s, end.v * duration_s);
        let square = duration_s * duration_s;
        let (a0, a1) = (start.a * square, end.a * square);
        let c = [
            start.p,
            v0,
            0.5 * a0,
            10.0 * d - 6.0 * v0 - 4.0 * v1 - 1.5 * a0 + 0.5 * a1,
            -15.0 * d + 8.0 * v0 + 7.0 * v1 + 1.5 * a0 - a1,
            6.0 * d - 3.0 * (v0 + v1) + 0.5 * (a1 - a0),
        ];
        Self { duration_s, c }
    }

    /// Position, velocity and acceleration at fraction `u`, 0 to 1.
    #[must_use]
    pub fn at(&self, u: f64) -> State {
        let h = self.duration_s;
        State {
            p: value(&self.c, u),
            v: value(&self.velocity(), u) / h,
            a: value(&self.acceleration(), u) / (h * h),
        }
    }

    /// Jerk at fraction `u`, in rad/s³ or m/s³.
    #[must_use]
    pub fn jerk(&self, u: f64) -> f64 {
        let h = self.duration_s;
        value(&self.jerk_polynomial(), u) / (h * h * h)
    }

    /// The exact extrema of velocity, acceleration and jerk.
    #[must_use]
    pub fn extrema(&self) -> Extrema {
        let (v, a, j) = (self.velocity(), self.acceleration(), self.jerk_polynomial());
        let snap = derivative::<3, 2>(&j);
        let h = self.duration_s;
        Extrema {
            v: largest(&v, Roots::in_unit(&a), h),
            a: largest(&a, Roots::in_unit(&j), h * h),
            j: largest(&j, Roots::in_unit(&snap), h * h * h),
        }
    }

    /// The exact lowest and highest position.
    #[must_use]
    pub fn position_range(&self) -> (Peak, Peak) {
        let mut low = Peak { value: self.c[0], u: 0.0 };
        let mut high = low;
        for u in Roots::in_unit(&self.velocity()).and_end() {
            let p = value(&self.c, u);
            if p < low.value {
                low = Peak { value: p, u };
            }
            if p > high.value {
                high = Peak { value: p, u };
            }
        }
        (low, high)
    }

    /// True when the position cannot leave `min..=max`: the control polygon encloses the curve.
    /// Cheap, and false for a few curves that do stay inside.
    #[must_use]
    pub fn surely_within(&self, min: f64, max: f64) -> bool {
        bernstein(&self.c).iter().take(6).all(|b| (min..=max).contains(b))
    }

    fn velocity(&self) -> [f64; 5] {
        derivative(&self.c)
    }

    fn acceleration(&self) -> [f64; 4] {
        derivative(&self.velocity())
    }

    fn jerk_polynomial(&self) -> [f64; 3] {
        derivative(&self.acceleration())
    }
}

fn value(c: &[f64], u: f64) -> f64 {
    c.iter().rev().fold(0.0, |sum, c| sum * u + c)
}

#[expect(clippy::cast_precision_loss, reason = "exponents up to five are exact")]
fn derivative<const N: usize, const M: usize>(c: &[f64; N]) -> [f64; M] {
    std::array::from_fn(|i| c[i + 1] * (i + 1) as f64)
}

fn largest(c: &[f64], roots: Roots, unit: f64) -> Peak {
    let mut peak = Peak { value: value(c, 0.0), u: 0.0 };
    for u in roots.and_end() {
        let found = value(c, u);
        if found.abs() > peak.value.abs() {
            peak = Peak { value: found, u };
        }
    }
    Peak { value: peak.value / unit, u: peak.u }
}

/// Control values of a polynomial of degree up to five: the curve stays within their range.
fn bernstein(c: &[f64]) -> [f64; 6] {
    const BINOMIAL: [[f64; 6]; 6] = [
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 2.0, 1.0, 0.0, 0.0, 0.0],
        [1.0, 3.0, 3.0, 1.0, 0.0, 0.0],
        [1.0, 4.0, 6.0, 4.0, 1.0, 0.0],
        [1.0, 5.0, 10.0, 10.0, 5.0, 1.0],
    ];
    let degree = c.len() - 1;
    let mut out = [0.0; 6];
    for (i, out) in out.iter_mut().enumerate().take(c.len()) {
        *out = (0..=i).map(|k| BINOMIAL[i][k] / BINOMIAL[degree][k] * c[k]).sum();
    }
    out
}

/// The real roots of a polynomial within 0 to 1, at most four, rising.
struct Roots {
    at: [f64; 5],
    count: usize,
}

impl Roots {
    /// Roots of degree one to four: between neighbouring extrema a polynomial is monotone, so each
    /// sign change brackets exactly one root.
    fn in_unit(c: &[f64]) -> Self {
        let mut roots = Self { at: [0.0; 5], count: 0 };
        let control = &bernstein(c)[..c.len()];
        if control.iter().all(|b| *b > 0.0) || control.iter().all(|b| *b < 0.0) {
            return roots;
        }
        if let [c0, c1] = *c {
            let u = -c0 / c1;
            if (0.0..=1.0).contains(&u) {
                roots.push(u);
            }
            return roots;
        }
        let bends = match *c {
            [_, c1, c2] => Self::in_unit(&[c1, 2.0 * c2]),
            [_, c1, c2, c3] => Self::in_unit(&[c1, 2.0 * c2, 3.0 * c3]),
            [_, c1, c2, c3, c4] => Self::in_unit(&[c1, 2.0 * c2, 3.0 * c3, 4.0 * c4]),
            _ => Self { at: [0.0; 5], count: 0 },
        };
        let mut low = 0.0;
        for high in bends.and_end() {
            if value(c, low) * value(c, high) <= 0.0 {
                roots.push(bisect(c, low, high));
            }
            low = high;
        }
        roots
    }

    fn push(&mut self, u: f64) {
        if let Some(slot) = self.at.get_mut(self.count) {
            *slot = u;
            self.count += 1;
        }
    }

    /// The roots, then 1.
    fn and_end(self) -> impl Iterator<Item = f64> {
        self.at.into_iter().take(self.count).chain([1.0])
    }
}

fn bisect(c: &[f64], mut low: f64, mut high: f64) -> f64 {
    let falls = value(c, low) > 0.0;
    // BOUND: 54 halvings of at most 1 reach the spacing of doubles.
    for _ in 0..54 {
        let middle = 0.5 * (low + high);
        if (value(c, middle) > 0.0) == falls { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
