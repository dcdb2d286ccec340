//! Machine files: a text is a machine that prints and reads back as itself, or is refused in words that
//! steer no terminal and name a place in the file.

use kadenz_config::{Findings, Machine, effective_toml, hash};

/// What ships.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    match Machine::from_bytes("fuzz.toml", bytes) {
        Ok(machine) => {
            let text = effective_toml(&machine);
            let again = Machine::from_toml("again.toml", &text);
            let again = again.unwrap_or_else(|refused| panic!("{refused}\nof\n{text}"));
            assert_eq!(again, machine, "{text}");
            assert_eq!((hash(&again), effective_toml(&again)), (hash(&machine), text));
        }
        Err(findings) => judge(&findings, bytes),
    }
}

fn judge(findings: &Findings, bytes: &[u8]) {
    assert!(!findings.shown.is_empty(), "refused without a reason");
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for finding in &findings.shown {
        assert!((1..=lines).contains(&finding.line), "{findings}");
        assert!(!finding.message.contains('\n'), "{findings}");
    }
    let said = findings.to_string();
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
}

/// A reporter that takes columns for bytes.
///
/// # Panics
/// When a line holds more than ASCII.
pub fn planted(bytes: &[u8]) {
    let (Ok(text), Err(findings)) =
        (std::str::from_utf8(bytes), Machine::from_bytes("fuzz.toml", bytes))
    else {
        return;
    };
    for finding in &findings.shown {
        let line = text.lines().nth(finding.line - 1).unwrap_or("");
        let before = &line[..(finding.column - 1).min(line.len())];
        assert!(before.len() <= line.len());
    }
}
