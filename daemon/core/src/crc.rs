//! CRC-32C over 64-bit words, for the loop's own records: the same bits on every host, no instruction it may lack.
//!
//! Polynomial 1EDC6F41h, reflected, initial value and final inversion all ones, as in RFC 3720 (iSCSI),
//! over the words' bytes in little-endian order. A flipped bit, and any burst of up to 32 bits, is found
//! with certainty; words of two records mixed, but for one in 2^32.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each byte value contributes at each of a word's eight places: one word is folded per step.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which refuses what would overflow"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    // BOUND: byte values.
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        // BOUND: bits of a byte.
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut place = 1;
    // BOUND: bytes of a word.
    while place < 8 {
        byte = 0;
        // BOUND: byte values.
        while byte < 256 {
            let before = tables[place - 1][byte];
            tables[place][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        place += 1;
    }
    tables
}

/// CRC-32C of `words`.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "a byte indexes 256 entries")]
pub fn crc32c(words: &[u64]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let mut crc = u32::MAX;
    for word in words {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = (word ^ u64::from(crc)).to_le_bytes();
        crc = t7[usize::from(b0)]
            ^ t6[usize::from(b1)]
            ^ t5[usize::from(b2)]
            ^ t4[usize::from(b3)]
            ^ t3[usize::from(b4)]
            ^ t2[usize::from(b5)]
            ^ t1[usize::from(b6)]
            ^ t0[usize::from(b7)];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: [u8; 32]) -> u32 {
        let (words, _) = bytes.as_chunks::<8>();
        let mut out = [0; 4];
        for (out, word) in out.iter_mut().zip(words) {
            *out = u64::from_le_bytes(*word);
        }
        crc32c(&out)
    }

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_examples_of_the_standard_come_out() {
        assert_eq!(of([0; 32]), 0x8a91_36aa);
        assert_eq!(of([0xff; 32]), 0x62a8_ab43);
        assert_eq!(of(core::array::from_fn(|at| u8::try_from(at).unwrap_or(0))), 0x46dd_794e);
        assert_eq!(of(core::array::from_fn(|at| 31 - u8::try_from(at).unwrap_or(0))), 0x113f_db5c);
        assert_eq!(crc32c(&[]), 0);
    }
}
