//! The machine file's JSON Schema, made from what the reader asks for when it reads: no second list of keys.

use serde_json::{Map, Value, json};

use crate::Exemption;
use crate::asked::{Asked, Rule};
use crate::machine::AxisKind;
use crate::report::Report;
use crate::schema::{NAME_CHARS_MAX, Other, Words};
use crate::wording::{real_range, whole_range};
use crate::{resolve, walk};

/// A file at which the reader asks for every key it knows: tables that change what it asks for by being
/// there, and both kinds of axis.
const PROBE: &str =
    "[roles]\n[[bus]]\n[[group]]\n[[axis]]\nkind = \"rotary\"\n[[axis]]\nkind = \"linear\"";

/// The JSON Schema (draft 2020-12) of a machine file, as text: keys, types, ranges and remedies as the
/// reader has them. What compares keys with each other (names, limits, the horizon) only the reader checks.
#[must_use]
pub fn json_schema() -> String {
    let report = Report::new(PROBE);
    // Refused, of course: what matters is what it was asked for.
    let _refused = walk::document(PROBE, &report, resolve::machine);
    let asked = report.into_asked();
    let mut schema = table(&asked, "");
    let head = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "A machine of Kadenz"),
        ("description", "Checked in full, across keys too, by `kadenz check FILE.toml`."),
    ];
    schema.extend(head.map(|(key, text)| (key.to_owned(), text.into())));
    format!("{:#}\n", Value::Object(schema))
}

/// The table at `path`.
fn table(asked: &[Asked], path: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    for one in asked.iter().filter(|one| one.table == path) {
        let key = one.rule.key();
        let rule = rule(asked, path, &one.rule);
        // A key may be asked for in two ways: it may then hold either.
        let rule = match properties.remove(key) {
            Some(earlier) if earlier != rule => json!({ "anyOf": [earlier, rule] }),
            _ => rule,
        };
        properties.insert(key.to_owned(), rule);
        if one.is_required {
            required.push(key);
        }
    }
    let mut table = Map::new();
    table.insert("type".to_owned(), "object".into());
    table.insert("properties".to_owned(), properties.into());
    table.insert("required".to_owned(), required.into());
    table.insert("additionalProperties".to_owned(), false.into());
    table
}

fn rule(asked: &[Asked], path: &str, rule: &Rule) -> Value {
    match rule {
        Rule::Real(spec) => {
            let description = format!("{} ({})", spec.remedy, real_range(spec));
            json!({ "type": "number", "minimum": spec.min, "maximum": spec.max,
                "description": description })
        }
        Rule::Whole(spec) => {
            let description = format!("{} ({})", spec.remedy, whole_range(spec));
            json!({ "type": "integer", "minimum": spec.min, "maximum": spec.max,
                "description": description })
        }
        Rule::Truth(spec) => json!({ "type": "boolean", "description": spec.remedy }),
        Rule::Text(spec) => text(spec),
        Rule::Texts(spec) => {
            json!({ "type": "array", "items": text(spec), "uniqueItems": true })
        }
        Rule::Table(key) => table(asked, &within(path, key)).into(),
        Rule::Tables(key, count_max) => {
            let of = |index: usize| table(asked, &within(path, &format!("{key}[{index}]")));
            let has_kinds = asked.iter().any(|one| one.table == format!("{key}[1]"));
            let items = if has_kinds { by_kind(of(0), of(1)) } else { of(0).into() };
            json!({ "type": "array", "minItems": 1, "maxItems": count_max, "items": items })
        }
    }
}

fn within(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What an axis holds follows from its kind; an axis without one is told that it lacks it.
fn by_kind(rotary: Map<String, Value>, linear: Map<String, Value>) -> Value {
    let is_linear = json!({
        "properties": { "kind": { "const": AxisKind::Linear.name() } }, "required": ["kind"],
    });
    json!({ "if": is_linear, "then": linear, "else": rotary })
}

fn text(spec: &Other) -> Value {
    let mut rule = json!({ "type": "string", "description": spec.remedy });
    let (key, value): (_, Value) = match spec.words {
        Words::Any => return rule,
        Words::Name => ("pattern", format!("^[a-z0-9-]{{1,{NAME_CHARS_MAX}}}$").into()),
        Words::UnixName => ("pattern", "^[a-z_][a-z0-9_-]{0,30}$".into()),
        Words::Exemption => ("enum", Exemption::ALL.map(Exemption::name).as_slice().into()),
        Words::OneOf(words) => ("enum", words.into()),
    };
    rule[key] = value;
    rule
}
