//! Seeded random numbers: one independent stream per actor; nothing else is random in a simulation.

/// xoshiro256**, seeded by SplitMix64. The same seed and stream give the same numbers for ever.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// Stream `name` of `seed`. Streams do not disturb each other: an actor that draws once more
    /// leaves what the others draw as it was.
    #[must_use]
    pub fn stream(seed: u64, name: &str) -> Self {
        let mut mix = name
            .bytes()
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut next = || {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let out = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        out
    }

    /// A whole number from 0 to `end` − 1; `end` must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// A whole number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `count` times in a million.
    pub fn per_million(&mut self, count: u64) -> bool {
        self.below(1_000_000) < count
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Evenly between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A number that programs handle badly: NaN, infinities, denormals, extremes, any bits.
    pub fn awkward(&mut self) -> f64 {
        let any = f64::from_bits(self.bits());
        *self.pick(&[
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE / 4.0,
            -f64::MIN_POSITIVE / 8.0,
            f64::MAX,
            f64::MIN,
            -0.0,
            1e308,
            any,
        ])
    }
}
