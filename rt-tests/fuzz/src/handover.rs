//! Lines of the hand-over between daemon and gateways: understood or refused in words, and a grant that is
//! believed reads back as itself.

use serde_json::Value;
use shm_layout::LAYOUT_HASH;

#[expect(
    dead_code,
    unreachable_pub,
    reason = "the hand-over's own file, of which only the reading side is tried"
)]
#[path = "../../../daemon/handover/src/message.rs"]
mod message;

use message::{Answer, Hello};

/// The line that a script stands for: `HASH` is the contract's fingerprint, which seeds cannot know.
fn line_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.replace("HASH", &format!("{LAYOUT_HASH:#018x}")))
}

/// What ships.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    let Some(line) = line_of(bytes) else { return };
    if let Err(refusal) = Hello::read(&line) {
        assert!(!refusal.is_empty());
    }
    let Ok(Answer::Granted(grant)) = serde_json::from_str(&line) else { return };
    match grant.terms.check() {
        Ok(()) => {
            assert!((1..=64).contains(&grant.terms.axis_count));
            assert!((50_000..=10_000_000).contains(&grant.terms.period_ns));
            assert!(grant.terms.loop_cpu < 1024);
            let said = message::line_of(&Answer::Granted(grant));
            let Ok(Answer::Granted(again)) = serde_json::from_str(&said) else {
                panic!("{said} is not read back");
            };
            assert_eq!(again, grant);
        }
        Err(refusal) => assert!(!refusal.is_empty()),
    }
}

/// A reader that takes a token's digits for granted.
///
/// # Panics
/// When they are none.
pub fn planted(bytes: &[u8]) {
    let Some(line) = line_of(bytes) else { return };
    let Ok(value) = serde_json::from_str::<Value>(&line) else { return };
    if let Some(token) = value["token"].as_str() {
        assert!(u32::from_str_radix(token, 16).is_ok(), "{token}");
    }
}
