//! What a drive says about itself, in the words of the standard (CiA 402-2 §6.1, IEC 61800-7-201).

/// State of the drive's state machine.
#[must_use]
pub fn state_word(statusword: u16) -> &'static str {
    match statusword & 0x4f {
        0x00 => "not-ready-to-switch-on",
        0x40 => "switch-on-disabled",
        0x0f => "fault-reaction-active",
        0x08 => "fault",
        _ => match statusword & 0x6f {
            0x21 => "ready-to-switch-on",
            0x23 => "switched-on",
            0x27 => "operation-enabled",
            0x07 => "quick-stop-active",
            _ => "unknown",
        },
    }
}

/// Further bits worth a word.
#[must_use]
pub fn remark_words(statusword: u16) -> Vec<&'static str> {
    [(7, "warning"), (11, "internal-limit")]
        .into_iter()
        .filter(|(bit, _)| statusword & (1 << bit) != 0)
        .map(|(_, word)| word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_the_standards_table_whatever_the_free_bits_say() {
        // Pattern with x for free bits 6, 5, 3..0 as the standard prints them.
        let table: [(&str, &str); 8] = [
            ("0x0000", "not-ready-to-switch-on"),
            ("1x0000", "switch-on-disabled"),
            ("010001", "ready-to-switch-on"),
            ("010011", "switched-on"),
            ("010111", "operation-enabled"),
            ("000111", "quick-stop-active"),
            ("0x1111", "fault-reaction-active"),
            ("0x1000", "fault"),
        ];
        let matches = |word: u16, pattern: &str| {
            let bits = [6, 5, 3, 2, 1, 0];
            pattern.chars().zip(bits).all(|(c, bit)| match c {
                '0' => word & (1 << bit) == 0,
                '1' => word & (1 << bit) != 0,
                _ => true,
            })
        };
        for word in 0..=u16::MAX {
            let expected =
                table.iter().find(|(p, _)| matches(word, p)).map_or("unknown", |(_, w)| w);
            assert_eq!(state_word(word), expected, "{word:#06x}");
        }
    }

    #[test]
    fn warning_and_internal_limit_are_remarked() {
        assert_eq!(remark_words(0x0880), ["warning", "internal-limit"]);
        assert!(remark_words(0x0637).is_empty());
    }
}
