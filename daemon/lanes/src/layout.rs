//! Which regions one lane memory holds and where: built by its owner, written into the memory's
//! first words, and checked number by number by whoever opens it. No access beyond those words.

use crate::error::LaneError;
use crate::gauge::GAUGE_HEADER_WORDS;
use crate::geometry::{GeometryError, RingGeometry};
use crate::word::{LINE_WORDS, View, index, word};

/// "KDZLANES", first byte first in memory.
const MAGIC: u64 = u64::from_le_bytes(*b"KDZLANES");
const PREAMBLE_WORDS: usize = LINE_WORDS;
const REGION_WORDS: usize = LINE_WORDS;
const REGIONS_MAX: usize = 64;
/// Fixed, so that adding a region does not move the ones before it.
const HEADER_WORDS: usize = PREAMBLE_WORDS + REGIONS_MAX * REGION_WORDS;
const PLAIN_WORDS_MAX: usize = 1 << 24;
/// Word of a block that holds the length of its content.
pub(crate) const BLOCK_HEADER_WORDS: usize = 1;

/// What the words of the records mean: both sides must have been built from the same layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Hash over the record layout.
    pub layout_hash: u64,
    /// Version of the record layout.
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ring,
    Mailbox,
    Gauges,
    Block,
}

impl Kind {
    const fn code(self) -> u64 {
        match self {
            Self::Ring => 1,
            Self::Mailbox => 2,
            Self::Gauges => 3,
            Self::Block => 4,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Mailbox => "mailbox",
            Self::Gauges => "gauge page",
            Self::Block => "block",
        }
    }
}

/// Slots are 0 for a gauge page and a block, whose size is `payload_words` gauges or words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) slots: usize,
    pub(crate) payload_words: usize,
    pub(crate) start: usize,
    pub(crate) words: usize,
}

/// The regions of one lane memory. Built by adding regions in order; offsets follow from sizes, so
/// a header read from a peer is right only if it equals the one these sizes give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    contract: Contract,
    regions: Vec<Region>,
}

impl Layout {
    /// A memory with no region yet.
    #[must_use]
    pub const fn new(contract: Contract) -> Self {
        Self { contract, regions: Vec::new() }
    }

    /// Adds a broadcast ring of `slots` (a power of two) records of up to `payload_words`.
    ///
    /// # Errors
    /// [`LaneError::Geometry`] or [`LaneError::Name`].
    pub fn ring(self, name: &str, slots: usize, payload_words: usize) -> Result<Self, LaneError> {
        self.add(name, Kind::Ring, slots, payload_words)
    }

    /// Adds a mailbox for records of up to `payload_words`.
    ///
    /// # Errors
    /// [`LaneError::Geometry`] or [`LaneError::Name`].
    pub fn mailbox(self, name: &str, payload_words: usize) -> Result<Self, LaneError> {
        self.add(name, Kind::Mailbox, crate::geometry::MAILBOX_SLOTS, payload_words)
    }

    /// Adds a page of at least `count` gauges (rounded up to whole cache lines).
    ///
    /// # Errors
    /// [`LaneError::Geometry`] or [`LaneError::Name`].
    pub fn gauges(self, name: &str, count: usize) -> Result<Self, LaneError> {
        self.add(name, Kind::Gauges, 0, count)
    }

    /// Adds a block that is written once, before hand-over, with up to `words` words.
    ///
    /// # Errors
    /// [`LaneError::Geometry`] or [`LaneError::Name`].
    pub fn block(self, name: &str, words: usize) -> Result<Self, LaneError> {
        self.add(name, Kind::Block, 0, words)
    }

    /// Words of memory that header and regions take.
    #[must_use]
    pub fn words(&self) -> usize {
        self.regions.last().map_or(HEADER_WORDS, |last| last.start + last.words)
    }

    /// The words that stand at the front of the memory and describe it.
    #[must_use]
    pub fn header(&self) -> Vec<u64> {
        let mut header = vec![
            MAGIC,
            self.contract.layout_hash,
            self.contract.version,
            word(self.words()),
            word(self.regions.len()),
        ];
        header.resize(PREAMBLE_WORDS, 0);
        for region in &self.regions {
            header.extend([
                region.kind.code(),
                packed(&region.name),
                word(region.slots),
                word(region.payload_words),
                word(region.start),
                word(region.words),
                0,
                0,
            ]);
        }
        header.resize(HEADER_WORDS, 0);
        header
    }

    /// Reads the layout that stands at the front of `view`, and believes none of it: every number
    /// is checked against the contract, the mapped length, and the layout its sizes give.
    ///
    /// # Errors
    /// [`LaneError::Header`] naming the first wrong number; [`LaneError::Geometry`] or
    /// [`LaneError::Name`] for a region that cannot exist.
    pub fn parse(view: View<'_>, contract: Contract) -> Result<Self, LaneError> {
        // Copied once: a hostile peer may change the words between check and use.
        let mut header = [0; HEADER_WORDS];
        if !view.copy_to(0, &mut header) {
            return Err(wrong("mapped words (at least)", word(view.len()), word(HEADER_WORDS)));
        }
        expect("magic", header[0], MAGIC)?;
        expect("layout hash", header[1], contract.layout_hash)?;
        expect("version", header[2], contract.version)?;
        expect("total words", header[3], word(view.len()))?;
        let count = index(header[4]);
        if count > REGIONS_MAX {
            return Err(wrong("number of regions (at most)", header[4], word(REGIONS_MAX)));
        }
        let mut layout = Self::new(contract);
        for region in header[PREAMBLE_WORDS..].chunks_exact(REGION_WORDS).take(count) {
            layout = layout.add_claimed(region)?;
        }
        expect("total words of these regions", header[3], word(layout.words()))?;
        let right = layout.header();
        for (place, (found, right)) in header.iter().zip(&right).enumerate() {
            expect(&format!("word {place}"), *found, *right)?;
        }
        Ok(layout)
    }

    pub(crate) fn find(&self, name: &str, kind: Kind) -> Result<&Region, LaneError> {
        self.regions.iter().find(|region| region.name == name && region.kind == kind).ok_or_else(
            || {
                let present: Vec<String> = self
                    .regions
                    .iter()
                    .map(|region| format!("{} \"{}\"", region.kind.name(), region.name))
                    .collect();
                LaneError::Missing {
                    region: name.to_owned(),
                    kind: kind.name(),
                    present: present.join(", "),
                }
            },
        )
    }

    fn add_claimed(self, region: &[u64]) -> Result<Self, LaneError> {
        let place = |what: &str| format!("region {}: {what}", self.regions.len());
        let &[kind, name, slots, payload_words, ..] = region else {
            return Err(wrong(&place("words"), word(region.len()), word(REGION_WORDS)));
        };
        let Some(kind) = [Kind::Ring, Kind::Mailbox, Kind::Gauges, Kind::Block]
            .into_iter()
            .find(|known| known.code() == kind)
        else {
            return Err(wrong(&place("kind (at most)"), kind, Kind::Block.code()));
        };
        let name = unpacked(name);
        self.add(&name, kind, index(slots), index(payload_words))
    }

    fn add(
        mut self,
        name: &str,
        kind: Kind,
        slots: usize,
        payload_words: usize,
    ) -> Result<Self, LaneError> {
        let usable = (1..=8).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
            && self.regions.iter().all(|region| region.name != name)
            && self.regions.len() < REGIONS_MAX;
        if !usable {
            return Err(LaneError::Name { region: name.to_owned(), regions_max: REGIONS_MAX });
        }
        let words = region_words(kind, slots, payload_words)
            .map_err(|source| LaneError::Geometry { region: name.to_owned(), source })?
            .next_multiple_of(LINE_WORDS);
        let start = self.words();
        let name = name.to_owned();
        self.regions.push(Region { name, kind, slots, payload_words, start, words });
        Ok(self)
    }
}

fn region_words(kind: Kind, slots: usize, payload_words: usize) -> Result<usize, GeometryError> {
    let plain = |header: usize| {
        if slots != 0 {
            return Err(GeometryError::Slots { slots });
        }
        if payload_words == 0 || payload_words > PLAIN_WORDS_MAX {
            return Err(GeometryError::PayloadWords { payload_words });
        }
        Ok(header + payload_words)
    };
    match kind {
        Kind::Ring => Ok(RingGeometry::new(slots, payload_words)?.words()),
        Kind::Mailbox if slots != crate::geometry::MAILBOX_SLOTS => {
            Err(GeometryError::Slots { slots })
        }
        Kind::Mailbox => Ok(RingGeometry::mailbox(payload_words)?.words()),
        Kind::Gauges => plain(GAUGE_HEADER_WORDS),
        Kind::Block => plain(BLOCK_HEADER_WORDS),
    }
}

fn packed(name: &str) -> u64 {
    let mut bytes = [0; 8];
    for (byte, from) in bytes.iter_mut().zip(name.bytes()) {
        *byte = from;
    }
    u64::from_le_bytes(bytes)
}

/// Bytes that are no printable ASCII come out as characters that `Layout::add` refuses.
fn unpacked(name: u64) -> String {
    let bytes = name.to_le_bytes();
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.iter().take(length).map(|byte| char::from(*byte)).collect()
}

fn expect(place: &str, found: u64, expected: u64) -> Result<(), LaneError> {
    if found == expected { Ok(()) } else { Err(wrong(place, found, expected)) }
}

fn wrong(place: &str, found: u64, expected: u64) -> LaneError {
    LaneError::Header { place: place.to_owned(), found, expected }
}

#[cfg(test)]
mod tests;
