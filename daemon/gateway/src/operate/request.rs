//! One line of the operate socket: JSON to a request, answers to JSON; no socket here.

use serde_json::{Map, Value, json};
use shm_layout::code::{Outcome, RequestKind};

/// Keys a request may have.
const KEYS: [&str; 7] =
    ["id", "request", "value", "deadline_ms", "axes", "trace_id", ACKNOWLEDGE_HOST];
/// The key of an enable by which somebody acknowledges that the host has changed.
const ACKNOWLEDGE_HOST: &str = "acknowledge_host";
/// The one question that is answered here and not by the loop.
const STATUS: &str = "status";
/// Deadline of a request that names none.
const DEADLINE_MS_DEFAULT: u64 = 500;
/// Longest deadline.
const DEADLINE_MS_MAX: u64 = 60_000;

/// What a client asks, checked for form. Whether the machine can do it is the loop's to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wish {
    /// The client's own number for it.
    pub(crate) id: u64,
    pub(crate) kind: RequestKind,
    pub(crate) value: f64,
    pub(crate) deadline_ms: u64,
    /// Bit per axis; 0 means all.
    pub(crate) axis_mask: u64,
    pub(crate) trace_id: u64,
}

/// What one line asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Something of the loop.
    Wish(Wish),
    /// How the machine stands; with the client's own number.
    Status(u64),
}

impl Asked {
    /// The client's own number for it.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Wish(wish) => wish.id,
            Self::Status(id) => *id,
        }
    }

    /// What takes motion away may not be refused for the number of other things under way.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self, Self::Wish(wish) if wish.is_urgent())
    }
}

impl Wish {
    /// A request that takes motion away may not wait behind others.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self.kind, RequestKind::Stop | RequestKind::Hold | RequestKind::Disable)
    }
}

/// Why a line is no request; with its id if that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) id: Option<u64>,
    pub(crate) error: String,
}

/// Reads one line for a machine of `axis_count` axes.
///
/// # Errors
/// Place, value and remedy.
pub(crate) fn read(line: &[u8], axis_count: usize) -> Result<Asked, Refusal> {
    let without_id = |error| Refusal { id: None, error };
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| without_id(format!("not JSON: {error}; send one object per line")))?;
    let Value::Object(keys) = value else {
        return Err(without_id(format!("{}: a request is an object in braces", short(&value))));
    };
    let id = whole(&keys, "id", 0..=u64::MAX)
        .and_then(|id| id.ok_or_else(|| "id is missing: give the request a number".to_owned()))
        .map_err(without_id)?;
    let asked = match keys.get("request").and_then(Value::as_str) {
        Some(STATUS) => status(&keys, id),
        _ => wish(&keys, id, axis_count).map(Asked::Wish),
    };
    asked.map_err(|error| Refusal { id: Some(id), error })
}

fn status(keys: &Map<String, Value>, id: u64) -> Result<Asked, String> {
    match keys.keys().find(|key| !matches!(key.as_str(), "id" | "request")) {
        None => Ok(Asked::Status(id)),
        Some(more) => {
            let more = short(&Value::from(more.as_str()));
            Err(format!("key {more}: status takes none but id, leave it out"))
        }
    }
}

fn wish(keys: &Map<String, Value>, id: u64, axis_count: usize) -> Result<Wish, String> {
    if let Some(unknown) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let unknown = short(&Value::from(unknown.as_str()));
        return Err(format!("key {unknown} is unknown; the keys are {}", KEYS.join(", ")));
    }
    let kind = kind(keys.get("request"))?;
    let deadline_ms = whole(keys, "deadline_ms", 1..=DEADLINE_MS_MAX)?;
    Ok(Wish {
        id,
        kind,
        value: argument(keys, kind)?,
        deadline_ms: deadline_ms.unwrap_or(DEADLINE_MS_DEFAULT),
        axis_mask: axis_mask(keys.get("axes"), axis_count)?,
        trace_id: whole(keys, "trace_id", 0..=u64::MAX)?.unwrap_or(0),
    })
}

fn kind(word: Option<&Value>) -> Result<RequestKind, String> {
    let words = || {
        let words = RequestKind::ALL.iter().map(|(_, word, _)| *word).chain([STATUS]);
        words.collect::<Vec<_>>().join(", ")
    };
    let Some(word) = word else { return Err(format!("request is missing; one of {}", words())) };
    let known = RequestKind::ALL.iter().find(|(_, known, _)| word.as_str() == Some(known));
    known
        .map(|(kind, ..)| *kind)
        .ok_or_else(|| format!("request {} is unknown; one of {}", short(word), words()))
}

/// The argument that `kind` takes, 0 for those that take none.
fn argument(keys: &Map<String, Value>, kind: RequestKind) -> Result<f64, String> {
    match (kind, keys.get(ACKNOWLEDGE_HOST)) {
        (_, None) => value_argument(keys.get("value"), kind),
        (RequestKind::Enable, Some(Value::Bool(acknowledges))) => {
            let none = value_argument(keys.get("value"), kind)?;
            Ok(if *acknowledges { 1.0 } else { none })
        }
        (RequestKind::Enable, Some(other)) => {
            Err(format!("{ACKNOWLEDGE_HOST} {}: true or false is needed", short(other)))
        }
        (kind, Some(_)) => Err(format!(
            "{ACKNOWLEDGE_HOST}: {} takes none, leave it out; only enable has one",
            kind.word()
        )),
    }
}

fn value_argument(value: Option<&Value>, kind: RequestKind) -> Result<f64, String> {
    match (kind, value) {
        (RequestKind::Override, Some(value)) => value
            .as_f64()
            .filter(|rate| (0.0..=1.0).contains(rate))
            .ok_or_else(|| format!("value {}: a path rate from 0 to 1 is needed", short(value))),
        (RequestKind::Override, None) => {
            Err("value is missing: override needs a path rate from 0 to 1".to_owned())
        }
        (_, None) => Ok(0.0),
        (kind, Some(value)) => Err(format!(
            "value {}: {} takes none, leave it out; only override has one",
            short(value),
            kind.word()
        )),
    }
}

fn axis_mask(axes: Option<&Value>, axis_count: usize) -> Result<u64, String> {
    let Some(axes) = axes else { return Ok(0) };
    let wrong = || {
        format!(
            "axes {}: a list of numbers from 0 to {}, in catalog order, is needed; leave it out \
             for all axes",
            short(axes),
            axis_count.saturating_sub(1)
        )
    };
    let list = axes.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    list.iter().try_fold(0, |mask, axis| {
        let index = axis.as_u64().and_then(|index| u32::try_from(index).ok());
        let bit = index.filter(|index| usize::try_from(*index).is_ok_and(|axis| axis < axis_count));
        bit.and_then(|index| 1_u64.checked_shl(index)).map(|bit| mask | bit).ok_or_else(wrong)
    })
}

fn whole(
    keys: &Map<String, Value>,
    key: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, String> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    value.as_u64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        format!("{key} {}: a whole number from {first} to {last} is needed", short(value))
    })
}

/// A value as it is shown in an error: what was said, but not 64 kB of it.
fn short(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The loop's answer, as a line.
pub(crate) fn answered(id: u64, outcome: u32, cycle: u64) -> String {
    let known = Outcome::ALL.iter().find(|(known, ..)| known.code() == outcome);
    let message = known.map_or_else(
        || format!("outcome {outcome} is not in this contract; restart kadenzd and its gateways"),
        |(.., meaning)| meaning.concat().trim().to_owned(),
    );
    let outcome = Outcome::word_of(outcome);
    format!("{}\n", json!({ "id": id, "outcome": outcome, "cycle": cycle, "message": message }))
}

/// An error, as a line; `id` is null when the request's own could not be read.
pub(crate) fn failed(refusal: &Refusal) -> String {
    format!("{}\n", json!({ "id": refusal.id, "error": refusal.error }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(line: &str) -> String {
        read(line.as_bytes(), 3).unwrap_err().error
    }

    #[test]
    fn a_full_request_is_read_as_said() {
        let line = br#"{"id":7,"request":"override","value":0.5,"deadline_ms":20,"axes":[0,2],"trace_id":9}"#;
        let wish = Wish {
            id: 7,
            kind: RequestKind::Override,
            value: 0.5,
            deadline_ms: 20,
            axis_mask: 0b101,
            trace_id: 9,
        };
        assert_eq!(read(line, 3), Ok(Asked::Wish(wish)));
    }

    #[test]
    fn an_enable_may_acknowledge_a_changed_host_and_nothing_else_may() {
        let value = |line: &str| match read(line.as_bytes(), 1) {
            Ok(Asked::Wish(wish)) => wish.value,
            other => panic!("{line}: {other:?}"),
        };
        let acknowledges = |word| {
            value(&format!(r#"{{"id":1,"request":"enable","acknowledge_host":{word}}}"#)) >= 1.0
        };
        assert!(acknowledges("true") && !acknowledges("false"));
        assert!(value(r#"{"id":1,"request":"enable"}"#) < 1.0);
        for (line, place) in [
            (r#"{"id":1,"request":"enable","acknowledge_host":1}"#, "acknowledge_host 1: true or"),
            (r#"{"id":1,"request":"enable","value":1}"#, "value 1: enable takes none"),
            (
                r#"{"id":1,"request":"hold","acknowledge_host":true}"#,
                "acknowledge_host: hold takes",
            ),
        ] {
            assert!(error(line).starts_with(place), "{line}: {}", error(line));
        }
    }

    #[test]
    fn every_kind_of_the_contract_can_be_asked_for_by_its_word() {
        for (kind, word, _) in RequestKind::ALL {
            let value = if *kind == RequestKind::Override { r#","value":1"# } else { "" };
            let line = format!(r#"{{"id":0,"request":"{word}"{value}}}"#);
            let Asked::Wish(wish) = read(line.as_bytes(), 1).unwrap() else { panic!("{word}") };
            assert_eq!((wish.kind, wish.deadline_ms, wish.axis_mask), (*kind, 500, 0));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_value_and_remedy() {
        let wrong = [
            ("", "not JSON"),
            ("[1]", "[1]: a request is an object"),
            (r#"{"request":"stop"}"#, "id is missing"),
            (r#"{"id":-1,"request":"stop"}"#, "id -1: a whole number from 0"),
            (r#"{"id":1}"#, "request is missing; one of enable, disable"),
            (r#"{"id":1,"request":"state"}"#, "request \"state\" is unknown; one of enable"),
            (r#"{"id":1,"request":"status","value":1}"#, "key \"value\": status takes none but id"),
            (r#"{"id":1,"request":"stop","speed":1}"#, "key \"speed\" is unknown; the keys are id"),
            (r#"{"id":1,"request":"stop","value":1}"#, "value 1: stop takes none"),
            (r#"{"id":1,"request":"override"}"#, "value is missing"),
            (r#"{"id":1,"request":"override","value":1.5}"#, "value 1.5: a path rate from 0 to 1"),
            (r#"{"id":1,"request":"override","value":"1"}"#, "value \"1\": a path rate"),
            (
                r#"{"id":1,"request":"stop","deadline_ms":0}"#,
                "deadline_ms 0: a whole number from 1",
            ),
            (r#"{"id":1,"request":"stop","axes":[3]}"#, "axes [3]: a list of numbers from 0 to 2"),
            (r#"{"id":1,"request":"stop","axes":[]}"#, "axes []: a list"),
        ];
        for (line, place) in wrong {
            assert!(error(line).starts_with(place), "{line}: {}", error(line));
        }
        let long = error(&format!(r#"{{"id":1,"request":"{}"}}"#, "é".repeat(5000)));
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn an_answer_carries_the_word_and_its_meaning() {
        let line: Value = serde_json::from_str(&answered(7, 3, 99)).unwrap();
        assert_eq!(line["outcome"], "not-enabled");
        assert_eq!((&line["id"], &line["cycle"]), (&json!(7), &json!(99)));
        assert_eq!(line["message"], "Axes are not enabled.");
        assert!(answered(7, 999, 0).contains("unknown"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_wish_or_one_clear_refusal(
            line in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Err(refusal) = read(&line, 64) {
                prop_assert!(!refusal.error.is_empty() && !refusal.error.contains('\n'));
            }
        }

        #[test]
        fn any_values_are_a_wish_within_range_or_a_refusal(
            value in "-?[0-9]{1,3}(\\.[0-9]{1,3})?(e[0-9]{1,3})?",
            axes in proptest::collection::vec(any::<u8>(), 0..5),
        ) {
            let line = format!(r#"{{"id":1,"request":"override","value":{value},"axes":{axes:?}}}"#);
            if let Ok(Asked::Wish(wish)) = read(line.as_bytes(), 8) {
                prop_assert!((0.0..=1.0).contains(&wish.value) && wish.axis_mask < 256);
            }
        }
    }
}
