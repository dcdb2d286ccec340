//! How a record of the contract is declared: one place for its layout and its meaning.

/// One field of a record: where it lies and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Field name.
    pub name: &'static str,
    /// Rust type, as declared.
    pub kind: &'static str,
    /// Byte offset inside the record.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// Unit; `1` for a pure number, `-` for codes and bit sets.
    pub unit: &'static str,
    /// Allowed values.
    pub range: &'static str,
    /// Who writes it.
    pub writer: &'static str,
    /// What it means, from its doc comment.
    pub meaning: &'static [&'static str],
}

/// One record of the contract.
#[derive(Clone, Copy, Debug)]
pub struct RecordInfo {
    /// Name on the wire (the iceoryx2 type name).
    pub name: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// What the record is, from its doc comment.
    pub meaning: &'static [&'static str],
    /// Fields in memory order.
    pub fields: &'static [Field],
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

const fn fnv_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        hash = (hash ^ *first as u64).wrapping_mul(FNV_PRIME);
        rest = tail;
    }
    // A separator, so that "ab","c" and "a","bc" differ.
    (hash ^ 0xff).wrapping_mul(FNV_PRIME)
}

const fn fnv_number(hash: u64, number: usize) -> u64 {
    fnv_bytes(hash, &(number as u64).to_le_bytes())
}

pub(crate) const fn hash_of(records: &[RecordInfo]) -> u64 {
    let mut hash = FNV_OFFSET;
    let mut rest = records;
    while let [record, tail @ ..] = rest {
        hash = fnv_number(fnv_bytes(hash, record.name.as_bytes()), record.size);
        let mut fields = record.fields;
        while let [field, more @ ..] = fields {
            hash = fnv_bytes(hash, field.name.as_bytes());
            hash = fnv_bytes(hash, field.kind.as_bytes());
            hash = fnv_bytes(hash, field.unit.as_bytes());
            hash = fnv_number(fnv_number(hash, field.offset), field.size);
            fields = more;
        }
        rest = tail;
    }
    hash
}

/// Declares a record: its layout, its documentation and its row in CONTRACT.md are one text.
///
/// `field: type, "unit", "range", "writer";`. Padding is refused by `IntoBytes`, a size that is not
/// a multiple of 8 by the assertion (lanes move 64-bit words).
macro_rules! record {
    (
        $(#[doc = $rdoc:literal])*
        $name:ident as $wire:literal {
            $( $(#[doc = $fdoc:literal])* $field:ident : $kind:ty, $unit:literal, $range:literal, $writer:literal; )*
        }
    ) => {
        $(#[doc = $rdoc])*
        #[derive(Clone, Copy, Debug, PartialEq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        #[cfg_attr(feature = "iceoryx2", derive(iceoryx2_bb_derive_macros::ZeroCopySend))]
        #[cfg_attr(feature = "iceoryx2", type_name($wire))]
        #[repr(C)]
        pub struct $name {
            $( $(#[doc = $fdoc])* #[doc = concat!("\n\nUnit: ", $unit, ". Range: ", $range, ". Written by: ", $writer, ".")] pub $field: $kind, )*
        }

        impl $name {
            /// Layout and meaning of this record.
            pub const INFO: $crate::RecordInfo = $crate::RecordInfo {
                name: $wire,
                size: core::mem::size_of::<$name>(),
                meaning: &[$($rdoc),*],
                fields: &[ $( $crate::Field {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    offset: core::mem::offset_of!($name, $field),
                    size: core::mem::size_of::<$kind>(),
                    unit: $unit,
                    range: $range,
                    writer: $writer,
                    meaning: &[$($fdoc),*],
                } ),* ],
            };
            /// Length in 64-bit words, the unit lanes move.
            pub const WORDS: usize = core::mem::size_of::<$name>() / 8;

            /// The record with every field zero.
            #[must_use]
            pub fn zeroed() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }

            /// The record as the 64-bit words a lane moves.
            #[must_use]
            pub fn as_words(&self) -> &[u64; core::mem::size_of::<$name>() / 8] {
                zerocopy::transmute_ref!(self)
            }

            /// The record behind 64-bit words taken from a lane: any bits are a value.
            #[must_use]
            pub fn from_words(words: &[u64; core::mem::size_of::<$name>() / 8]) -> Self {
                zerocopy::transmute!(*words)
            }

            /// Records in a row as the 64-bit words a lane moves.
            #[must_use]
            pub fn slice_as_words(records: &[Self]) -> &[u64] {
                use zerocopy::{FromBytes, IntoBytes};
                // Never empty-handed: size and alignment of a record are those of whole words.
                <[u64]>::ref_from_bytes(records.as_bytes()).unwrap_or(&[])
            }

            /// Reads the record from the start of `words`; `None` when they are too few.
            #[must_use]
            pub fn from_slice(words: &[u64]) -> Option<Self> {
                words.first_chunk().map(Self::from_words)
            }
        }

        const _: () = assert!(core::mem::size_of::<$name>().is_multiple_of(8), "lanes move 64-bit words");
    };
}
pub(crate) use record;
