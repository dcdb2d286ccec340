//! Lines of the operate socket: a line is a request within every range, or one clear refusal; answers are
//! one line of JSON.

use serde_json::Value;
use shm_layout::code::RequestKind;

#[expect(
    dead_code,
    reason = "the gateway's own file, of which the answers' side and the reading side are tried"
)]
#[path = "../../../daemon/gateway/src/operate/request.rs"]
mod request;

use request::Asked;

/// What ships. The first byte is the machine's number of axes.
///
/// # Panics
/// When a promise is broken.
pub fn run(bytes: &[u8]) {
    let Some((axes, line)) = bytes.split_first() else { return };
    let axis_count = usize::from(*axes) % 65;
    match request::read(line, axis_count) {
        Ok(Asked::Status(id)) => one_line(&request::answered(id, 0, 0)),
        Ok(Asked::Wish(wish)) => {
            let is_rate = wish.kind == RequestKind::Override;
            assert!(
                (0.0..=1.0).contains(&wish.value) && (is_rate || wish.value == 0.0),
                "{wish:?}"
            );
            assert!((1..=60_000).contains(&wish.deadline_ms), "{wish:?}");
            let beyond = wish.axis_mask.checked_shr(axis_count as u32).unwrap_or(0);
            assert_eq!(beyond, 0, "{wish:?} of {axis_count} axes");
            one_line(&request::answered(wish.id, u32::from(*axes), wish.trace_id));
        }
        Err(refusal) => {
            assert!(!refusal.error.is_empty() && refusal.error.len() < 1_000, "{refusal:?}");
            one_line(&request::failed(&refusal));
        }
    }
}

fn one_line(text: &str) {
    let line = text.strip_suffix('\n').expect("a line ends");
    assert!(!line.contains('\n'), "{line}");
    let value: Value = serde_json::from_str(line).expect("an answer is JSON");
    assert!(value.is_object());
}

/// A reader that takes it for granted that the word is one it knows.
///
/// # Panics
/// When it is not.
pub fn planted(bytes: &[u8]) {
    let line = bytes.get(1..).unwrap_or_default();
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return };
    if let Some(word) = value["request"].as_str() {
        let is_known = RequestKind::ALL.iter().any(|(_, known, _)| *known == word);
        assert!(is_known || word == "status", "{word}");
    }
}
