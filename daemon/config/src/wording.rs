//! How messages speak: ranges, numbers, kinds of values, and what a misspelt word was meant to be.

use toml::de::DeValue;

use crate::schema::{Real, Whole};

/// The candidate that a misspelt `word` most likely stands for.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let likeness = |candidate| strsim::normalized_damerau_levenshtein(&word, candidate);
    candidates
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// What a value is, with its article.
pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(crate) fn real_range(spec: &Real) -> String {
    let (min, max) = (number(spec.min), number(spec.max));
    format!("{min} ..= {max} {}", spec.unit).trim_end().to_owned()
}

pub(crate) fn whole_range(spec: &Whole) -> String {
    format!("{} ..= {} {}", spec.min, spec.max, spec.unit).trim_end().to_owned()
}

/// A number as people write it: 0.25, 1e-6, 1e4.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-3..1e4).contains(&size) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

/// The least number with four digits that is not below `value`; a remedy that is copied must hold.
pub(crate) fn at_least(value: f64) -> String {
    let rounded = |value: f64| format!("{value:.3e}").parse::<f64>().unwrap_or(value);
    let nearest = rounded(value);
    number(if nearest < value { rounded(value * 1.001) } else { nearest })
}
