//! Walks a spanned TOML document: types, ranges, unknown and missing keys; knows no key by name and no default.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::asked::{Asked, Rule};
use crate::report::{Report, printable, short};
use crate::schema::{Other, Real, Whole};
use crate::spot::{Given, Spot};
use crate::wording::{kind_of, nearest, real_range, whole_range};

/// Parses `text` and hands its root to `resolve`; broken TOML is reported and not resolved.
pub(crate) fn document<T>(
    text: &str,
    report: &Report<'_>,
    resolve: impl FnOnce(Section<'_>) -> Option<T>,
) -> Option<T> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let message = match error.message() {
            "duplicate key" => {
                format!("key `{}` stands here twice; remove one", report.quote(span.clone()))
            }
            other if other.starts_with("invalid boolean") => {
                "not valid TOML: write true, false, or text in quotes".to_owned()
            }
            other => format!("not valid TOML: {}", printable(other)),
        };
        report.add(span, message);
    }
    if !errors.is_empty() {
        return None;
    }
    let table = Some(root.get_ref());
    resolve(Section { table, ..Section::absent(String::new(), 0..0, report) })
}

struct Known {
    key: &'static str,
    unit: &'static str,
    /// False for keys that are understood only to be refused.
    offered: bool,
}

/// One table of the document while it is read. Every getter reports what is wrong and then gives
/// `None`; `finish` reports what was never asked for.
pub(crate) struct Section<'a> {
    path: String,
    header: Range<usize>,
    /// `None` when the table is not in the file.
    table: Option<&'a DeTable<'a>>,
    /// True when the absence itself has been reported, so its keys need not be.
    muted: bool,
    known: Vec<Known>,
    missing: Vec<(&'static str, String)>,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    fn absent(path: String, header: Range<usize>, report: &'a Report<'a>) -> Self {
        let (known, missing) = (Vec::new(), Vec::new());
        Self { path, header, table: None, muted: false, known, missing, report }
    }

    pub(crate) fn report(&self) -> &'a Report<'a> {
        self.report
    }

    /// Whether the table is in the file.
    pub(crate) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether what is wrong with the table itself has been reported.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    fn find(&self, key: &str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.table?.get_key_value(key).map(|(name, value)| (name.span(), value))
    }

    fn know(&mut self, key: &'static str, unit: &'static str, offered: bool) {
        self.known.push(Known { key, unit, offered });
    }

    /// Understands and offers a key, and notes its rule.
    pub(crate) fn ask(&mut self, rule: Rule, is_required: bool) {
        if !self.known.iter().any(|known| known.key == rule.key()) {
            self.know(rule.key(), rule.unit(), true);
        }
        self.report.note(Asked { table: self.path.clone(), rule, is_required });
    }

    fn full_key(&self, key: &str) -> String {
        let key = short(&printable(key));
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// The place of a key: its value, or the header of the table it is missing from.
    pub(crate) fn spot(&self, key: &str) -> Spot {
        let full_key = self.full_key(key);
        match self.find(key) {
            Some((_, value)) => {
                let shown = format!("key `{full_key}` = {}", self.report.quote(value.span()));
                Spot { shown, span: value.span() }
            }
            None => Spot {
                shown: format!("key `{full_key}` (not in the file)"),
                span: self.header.clone(),
            },
        }
    }

    /// Refuses the value of `key`.
    pub(crate) fn refuse(&self, key: &str, why: &str) {
        self.spot(key).refuse(self.report, why);
    }

    fn miss(&mut self, key: &'static str, remedy: String) {
        if !self.muted {
            self.missing.push((key, remedy));
        }
    }

    /// A required real number.
    pub(crate) fn real(&mut self, spec: &Real) -> Option<f64> {
        self.ask(Rule::Real(*spec), true);
        if self.find(spec.key).is_none() {
            self.miss(spec.key, format!("{} ({})", spec.remedy, real_range(spec)));
            return None;
        }
        self.present_real(spec)
    }

    /// A real number that has a default.
    pub(crate) fn real_or(&mut self, spec: &Real, default: f64) -> Option<f64> {
        self.ask(Rule::Real(*spec), false);
        if self.find(spec.key).is_some() { self.present_real(spec) } else { Some(default) }
    }

    fn present_real(&self, spec: &Real) -> Option<f64> {
        let (_, value) = self.find(spec.key)?;
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(whole) => {
                // Integers beyond i128 are out of every range.
                let parsed = i128::from_str_radix(whole.as_str(), whole.radix());
                Some(parsed.map_or(f64::MAX, |whole| whole as f64))
            }
            _ => None,
        };
        let why = match number {
            Some(number) if number >= spec.min && number <= spec.max => {
                // Minus zero would be a second spelling of the same machine.
                return Some(number + 0.0);
            }
            Some(number) if number.is_finite() => format!("must be {}", real_range(spec)),
            Some(_) => format!("must be a finite number, {}", real_range(spec)),
            None => format!("must be a number, is {}", kind_of(value.get_ref())),
        };
        self.refuse(spec.key, &format!("{why}; {}", spec.remedy));
        None
    }

    /// Refuses `wrong` when it is there: a key of the other kind of axis. `wanted` is then
    /// understood, `why` says who wants it.
    pub(crate) fn refuse_unit(&mut self, wrong: &Real, wanted: &Real, why: &str) -> bool {
        self.know(wrong.key, "", false);
        let found = self.find(wrong.key).is_some();
        if found {
            self.know(wanted.key, wanted.unit, true);
            let Real { key, unit, .. } = wanted;
            self.refuse(wrong.key, &format!("{why}; use `{key}` in {unit}"));
        }
        found
    }

    /// A whole number that has a default.
    pub(crate) fn whole_or<T: TryFrom<u64>>(&mut self, spec: &Whole, default: T) -> Option<T> {
        self.ask(Rule::Whole(*spec), false);
        if self.find(spec.key).is_some() { self.present_whole(spec) } else { Some(default) }
    }

    fn present_whole<T: TryFrom<u64>>(&self, spec: &Whole) -> Option<T> {
        let (_, value) = self.find(spec.key)?;
        let why = if let DeValue::Integer(whole) = value.get_ref() {
            let parsed = u64::from_str_radix(whole.as_str(), whole.radix()).ok();
            let inside = parsed.filter(|whole| (spec.min..=spec.max).contains(whole));
            if let Some(fitting) = inside.and_then(|whole| T::try_from(whole).ok()) {
                return Some(fitting);
            }
            format!("must be {}", whole_range(spec))
        } else {
            format!("must be a whole number, is {}", kind_of(value.get_ref()))
        };
        self.refuse(spec.key, &format!("{why}; {}", spec.remedy));
        None
    }

    /// A truth value that has a default.
    pub(crate) fn truth_or(&mut self, spec: &Other, default: bool) -> Option<bool> {
        self.ask(Rule::Truth(*spec), false);
        match self.find(spec.key).map(|(_, value)| value.get_ref()) {
            None => Some(default),
            Some(DeValue::Boolean(truth)) => Some(*truth),
            Some(wrong) => {
                let is = kind_of(wrong);
                self.refuse(spec.key, &format!("must be true or false, is {is}; {}", spec.remedy));
                None
            }
        }
    }

    /// A required text.
    pub(crate) fn text(&mut self, spec: &Other) -> Option<Given<&'a str>> {
        self.ask(Rule::Text(*spec), true);
        let given = self.present_text(spec);
        if given.is_none() && self.find(spec.key).is_none() {
            self.miss(spec.key, spec.remedy.to_owned());
        }
        given
    }

    /// A text if the key is there.
    pub(crate) fn text_if_present(&mut self, spec: &Other) -> Option<Given<&'a str>> {
        self.ask(Rule::Text(*spec), false);
        self.present_text(spec)
    }

    fn present_text(&self, spec: &Other) -> Option<Given<&'a str>> {
        match self.find(spec.key)?.1.get_ref() {
            DeValue::String(text) => {
                Some(Given { value: text.as_ref(), spot: self.spot(spec.key) })
            }
            wrong => {
                let is = kind_of(wrong);
                self.refuse(spec.key, &format!("must be text in quotes, is {is}; {}", spec.remedy));
                None
            }
        }
    }

    /// Whether the value of `key` is there and a whole number.
    pub(crate) fn holds_whole(&self, key: &str) -> bool {
        self.find(key).is_some_and(|(_, value)| value.get_ref().is_integer())
    }

    /// Whether `key` is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The texts of a list, and whether it held nothing else. Absent is empty.
    pub(crate) fn texts(&mut self, spec: &Other) -> (Vec<Given<&'a str>>, bool) {
        self.ask(Rule::Texts(*spec), false);
        let Some((_, value)) = self.find(spec.key) else { return (Vec::new(), true) };
        let Some(array) = value.get_ref().as_array() else {
            let is = kind_of(value.get_ref());
            self.refuse(spec.key, &format!("must be a list [\"…\"], is {is}; {}", spec.remedy));
            return (Vec::new(), false);
        };
        let full_key = self.full_key(spec.key);
        let mut texts = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let span = element.span();
            let shown = format!("key `{full_key}[{index}]` = {}", self.report.quote(span.clone()));
            let spot = Spot { shown, span };
            match element.get_ref() {
                DeValue::String(text) => texts.push(Given { value: text.as_ref(), spot }),
                wrong => {
                    let why = format!("must be text in quotes, is {}", kind_of(wrong));
                    spot.refuse(self.report, &format!("{why}; {}", spec.remedy));
                }
            }
        }
        let is_clean = texts.len() == array.len();
        (texts, is_clean)
    }

    /// The table `[key]`; when it is not there, a section in which every default holds.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'a> {
        self.ask(Rule::Table(key), false);
        self.open(key)
    }

    fn open(&mut self, key: &'static str) -> Section<'a> {
        let path = self.full_key(key);
        match self.find(key) {
            Some((_, value)) => match value.get_ref() {
                DeValue::Table(table) => {
                    let absent = Section::absent(path, value.span(), self.report);
                    Section { table: Some(table), ..absent }
                }
                wrong => {
                    let why = format!("must be a table, is {}; write [{path}]", kind_of(wrong));
                    self.refuse(key, &why);
                    let absent = Section::absent(path, value.span(), self.report);
                    Section { muted: true, ..absent }
                }
            },
            None => {
                let absent = Section::absent(path, self.header.clone(), self.report);
                Section { muted: self.muted, ..absent }
            }
        }
    }

    /// The table `[key]`, which must be there.
    pub(crate) fn required_section(&mut self, spec: &Other) -> Section<'a> {
        self.ask(Rule::Table(spec.key), true);
        let section = self.open(spec.key);
        if self.find(spec.key).is_some() {
            return section;
        }
        self.miss(spec.key, spec.remedy.to_owned());
        Section { muted: true, ..section }
    }

    /// The tables `[[key]]`, 1..=`count_max` of them.
    pub(crate) fn sections(&mut self, key: &'static str, count_max: usize) -> Vec<Section<'a>> {
        self.ask(Rule::Tables(key, count_max), true);
        let Some((_, value)) = self.find(key) else {
            self.miss(key, format!("add at least one table [[{key}]]"));
            return Vec::new();
        };
        let tables = value.get_ref().as_array().filter(|array| {
            !array.is_empty() && array.iter().all(|element| element.get_ref().is_table())
        });
        let Some(tables) = tables else {
            let span = value.span();
            let why = format!("key `{key}` must be an array of tables; write each as [[{key}]]");
            self.report.add(span, why);
            return Vec::new();
        };
        if let Some(surplus) = tables.get(count_max) {
            let count = tables.len();
            let why = format!("there are {count} [[{key}]]: at most {count_max}; remove the rest");
            self.report.add(surplus.span(), why);
        }
        let read = |(index, element): (usize, &'a Spanned<DeValue<'a>>)| {
            let path = format!("{key}[{index}]");
            let absent = Section::absent(path, element.span(), self.report);
            Section { table: element.get_ref().as_table(), ..absent }
        };
        tables.iter().take(count_max).enumerate().map(read).collect()
    }

    /// Reports keys that nothing asked for, and required keys that are not there.
    pub(crate) fn finish(self) {
        let mut meant = Vec::new();
        let table = self.table.into_iter().flat_map(|table| table.keys());
        for name in table {
            if self.known.iter().any(|known| known.key == name.get_ref().as_ref()) {
                continue;
            }
            let offered = || self.known.iter().filter(|known| known.offered);
            let why = match nearest(name.get_ref(), offered().map(|known| known.key)) {
                Some(key) => {
                    meant.push(key);
                    let unit = offered().find(|known| known.key == key).map_or("", |one| one.unit);
                    let unit =
                        if unit.is_empty() { String::new() } else { format!(" (in {unit})") };
                    format!("did you mean `{key}`{unit}?")
                }
                None => {
                    let keys: Vec<_> = offered().map(|known| known.key).collect();
                    format!("remove it; known here: {}", keys.join(", "))
                }
            };
            let key = self.full_key(name.get_ref());
            self.report.add(name.span(), format!("key `{key}` is unknown: {why}"));
        }
        // One misspelt key is one mistake, not an unknown and a missing one.
        for (key, remedy) in self.missing.iter().filter(|(key, _)| !meant.contains(key)) {
            let key = self.full_key(key);
            self.report.add(self.header.clone(), format!("key `{key}` is missing: {remedy}"));
        }
    }
}
