//! No text, however broken, ends the reader with anything but a machine or findings.
#![expect(clippy::unwrap_used, reason = "in a test helper a panic is the verdict")]

use kadenz_config::{DEMO_NAMES, Machine, demo, effective_toml};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Whatever comes out must be usable: a machine that prints and reads back, or findings that print.
fn digest(bytes: &[u8]) {
    match Machine::from_bytes("fuzz.toml", bytes) {
        Ok(machine) => {
            let text = effective_toml(&machine);
            assert_eq!(Machine::from_toml("again.toml", &text).unwrap(), machine);
        }
        Err(findings) => {
            assert!(!findings.shown.is_empty(), "refused without a reason");
            let said = findings.to_string();
            assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
        }
    }
}

/// Pieces that a document of this schema is made of, to reach deeper than noise does.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "[machine]",
        "[[machine]]",
        "[host]",
        "[[axis]]",
        "[axis]",
        "[axis.limits]",
        "[[bus]]",
        "[[group]]",
        "[roles]",
        "[source]",
        "name",
        "kind",
        "=",
        "=",
        "=",
        "\n",
        "\n",
        "\"sim\"",
        "\"rotary\"",
        "\"linear\"",
        "velocity_rad_s",
        "velocity_m_s",
        "exempt",
        "[",
        "]",
        "{",
        "}",
        "nan",
        "-inf",
        "1e999",
        "-0.0",
        "0x7fffffffffffffffffff",
        "1979-05-27",
        "true",
        "'''",
        "\"\"\"",
        "\\",
        ".",
        ",",
        "#",
        "\u{feff}",
        "\r\n",
        "\t",
        "é",
    ]);
    prop_oneof![4 => fixed.prop_map(str::to_owned), 1 => any::<String>(), 1 => any::<f64>().prop_map(|x| format!("{x:?}"))]
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(78), ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        digest(&bytes);
    }

    #[test]
    fn arbitrary_documents_never_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        digest(pieces.concat().as_bytes());
        digest(pieces.join(" ").as_bytes());
    }

    #[test]
    fn a_mutated_machine_never_panics(
        name in prop::sample::select(DEMO_NAMES.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, piece()), 1..6),
    ) {
        let mut bytes = demo(name).unwrap().as_bytes().to_vec();
        for (at, removed, inserted) in edits {
            let at = at.index(bytes.len());
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted.into_bytes());
        }
        digest(&bytes);
    }

    #[test]
    fn a_machine_with_values_exchanged_never_panics(
        name in prop::sample::select(DEMO_NAMES.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), piece()), 1..4),
    ) {
        let mut lines: Vec<_> = demo(name).unwrap().lines().map(str::to_owned).collect();
        for (at, value) in edits {
            let line = at.get(&lines).clone();
            if let Some((key, _)) = line.split_once('=') {
                let at = at.index(lines.len());
                lines[at] = format!("{key}= {value}");
            }
        }
        digest(lines.join("\n").as_bytes());
    }
}
