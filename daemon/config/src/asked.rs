//! What the reader asks a file for, noted while it reads: the one place where tables, keys and rules meet.

use crate::schema::{Other, Real, Whole};

/// What a key may hold.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Real(Real),
    Whole(Whole),
    Truth(Other),
    Text(Other),
    Texts(Other),
    Table(&'static str),
    /// An array of 1 to so many tables.
    Tables(&'static str, usize),
}

impl Rule {
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::Real(spec) => spec.key,
            Self::Whole(spec) => spec.key,
            Self::Truth(spec) | Self::Text(spec) | Self::Texts(spec) => spec.key,
            Self::Table(key) | Self::Tables(key, _) => key,
        }
    }

    /// Empty when there is none.
    pub(crate) const fn unit(&self) -> &'static str {
        match self {
            Self::Real(spec) => spec.unit,
            Self::Whole(spec) => spec.unit,
            _ => "",
        }
    }
}

/// One key that was asked for.
pub(crate) struct Asked {
    /// Path of its table, with the index of an array's table: `axis[0].limits`; empty for the root.
    pub(crate) table: String,
    pub(crate) rule: Rule,
    pub(crate) is_required: bool,
}
