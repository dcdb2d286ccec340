//! What a verb gives back: an exit code, words for people, fields for scripts. Nothing is printed here.
use serde_json::{Map, Value};

/// Version of the JSON that every verb prints.
const SCHEMA_VERSION: u32 = 1;

/// The machine or a check said no, or something was not completed.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// A process that is needed is not running (sysexits EX_UNAVAILABLE).
pub(crate) const EXIT_UNAVAILABLE: u8 = 69;
/// The system refused something (sysexits EX_OSERR).
pub(crate) const EXIT_SYSTEM: u8 = 71;
/// A file cannot be read (sysexits EX_IOERR).
pub(crate) const EXIT_IO: u8 = 74;
/// No answer in time; it may still come (sysexits EX_TEMPFAIL).
pub(crate) const EXIT_NO_ANSWER: u8 = 75;
/// No permission (sysexits EX_NOPERM).
pub(crate) const EXIT_PERMISSION: u8 = 77;

/// The end of a verb.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Exit code.
    pub(crate) code: u8,
    /// For people, without a final line end.
    pub(crate) text: String,
    /// For scripts.
    pub(crate) fields: Map<String, Value>,
}

impl Reply {
    /// A reply with no fields yet.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), fields: Map::new() }
    }

    /// The reply with one more field.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// One line of JSON: the fields and what every verb has in common.
    pub(crate) fn to_json(&self, verb: &str) -> String {
        let mut all = self.fields.clone();
        all.entry("schema_version").or_insert_with(|| SCHEMA_VERSION.into());
        all.insert("verb".to_owned(), verb.into());
        all.insert("ok".to_owned(), (self.code == 0).into());
        all.insert("exit_code".to_owned(), self.code.into());
        if self.code != 0 {
            all.insert("error".to_owned(), self.text.as_str().into());
        }
        Value::Object(all).to_string()
    }
}

/// Why a verb could not do its work: an exit code, and place, value and remedy in words.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code, not 0.
    pub(crate) code: u8,
    /// Without a final line end.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, failure.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_carries_version_verb_and_verdict_and_an_error_only_when_there_is_one() {
        let good = Reply::new(0, "words").with("cycle", 7).to_json("hold");
        assert_eq!(good, r#"{"cycle":7,"exit_code":0,"ok":true,"schema_version":1,"verb":"hold"}"#);
        let bad = Reply::from(Failure::new(69, "no \"daemon\"")).to_json("hold");
        assert!(bad.contains(r#""error":"no \"daemon\"""#), "{bad}");
        assert!(bad.contains(r#""exit_code":69,"ok":false"#), "{bad}");
    }
}
