//! Text from another process, made fit for a terminal: any bytes may arrive.

/// The text without control characters (they could drive the terminal).
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A zero-padded name of the contract; what is no UTF-8 or no printable character is replaced.
#[must_use]
pub fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    printable(&String::from_utf8_lossy(&bytes[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_ends_at_its_padding_and_cannot_drive_a_terminal() {
        assert_eq!(name(b"axis 1\0\0\0"), "axis 1");
        assert_eq!(name(b"full"), "full");
        assert_eq!(name(b"\x1b[2J\xff\0x"), "\u{fffd}[2J\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_printable_text(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(!name(&bytes).chars().any(char::is_control));
        }
    }
}
