//! Bytes as a script: numbers are drawn from the front; when the bytes are used up, zeros follow.

/// What is left of a script.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    /// A script that begins with `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all bytes are used up.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (taken, rest) = self.rest.split_at(self.rest.len().min(N));
        bytes[..taken.len()].copy_from_slice(taken);
        self.rest = rest;
        bytes
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.draw())
    }

    /// A number below `bound`, 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_le_bytes(self.draw())).checked_rem(bound).unwrap_or(0)
    }

    /// A word as hostile memory holds it: small, just below wrapping, or anything.
    pub fn word(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=127 => u64::from(small),
            near @ 128..=191 => u64::MAX - u64::from(near - 128),
            _ => u64::from_le_bytes(self.draw()),
        }
    }

    /// A number between -1 and 1.
    pub fn unit(&mut self) -> f64 {
        f64::from(i16::from_le_bytes(self.draw())) / 32_768.0
    }

    /// A number as nobody should send it: not finite, huge, tiny, or any bits.
    pub fn awkward(&mut self) -> f64 {
        match self.byte() {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => f64::MAX,
            4 => f64::MIN,
            5 => f64::MIN_POSITIVE / 4.0,
            6 => -0.0,
            7..=99 => self.unit(),
            _ => f64::from_bits(u64::from_le_bytes(self.draw())),
        }
    }
}
