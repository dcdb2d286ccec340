//! A ring or saved file held in memory: which records in it are whole, which are torn, and what is missing.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use kadenz_lanes::{RingGeometry, SLOT_HEADER_WORDS};
use servo_core::inputs::{Inputs, decode, whole_record};

use crate::{Header, RecordingError};

/// Cycles that are not there although later ones are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First cycle missing.
    pub first: u64,
    /// How many in a row.
    pub count: u64,
}

/// The content of a ring or a saved file.
#[derive(Clone, Debug)]
pub struct Recording {
    header: Header,
    words: Vec<u64>,
    /// Whole records by rising cycle.
    records: Vec<(u64, Range<usize>)>,
    torn: usize,
    tail_bytes: usize,
    living: bool,
}

impl Recording {
    /// Reads the ring or saved file at `path`. A ring may be in use: what its daemon overwrites meanwhile is
    /// left out.
    ///
    /// # Errors
    /// The file cannot be read, or [`RecordingError`] as an error of kind `InvalidData`.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut recording = Self::from_bytes(&bytes).map_err(invalid)?;
        if let Some(ring) = recording.header.ring {
            let start = recording.slots_start();
            file.seek(SeekFrom::Start(start as u64 * 8))?;
            let mut head = [0; 8];
            file.read_exact(&mut head)?;
            recording.leave_out_overwritten(ring, start, u64::from_le_bytes(head));
        }
        Ok(recording)
    }

    /// The recording in `bytes`.
    ///
    /// # Errors
    /// Its header cannot be believed. Whatever follows it is judged record by record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordingError> {
        let (chunks, odd) = bytes.as_chunks::<8>();
        let words: Vec<u64> = chunks.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let (header, start) = Header::parse(&words)?;
        header.check_contract()?;
        let mut recording =
            Self { header, words, records: Vec::new(), torn: 0, tail_bytes: 0, living: false };
        match recording.header.ring {
            Some(ring) => recording.find_in_slots(ring, start),
            None => recording.find_in_row(start, odd.len()),
        }
        // Of two records of one cycle the first counts: a hostile file may hold any.
        recording.records.sort_by_key(|(cycle, _)| *cycle);
        recording.records.dedup_by_key(|(cycle, _)| *cycle);
        Ok(recording)
    }

    /// What stands at the front.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether a daemon wrote into the ring while it was read.
    #[must_use]
    pub const fn is_living(&self) -> bool {
        self.living
    }

    /// Records that are not whole: of a killed daemon's ring at most the one it was writing.
    #[must_use]
    pub const fn torn(&self) -> usize {
        self.torn
    }

    /// Bytes at the end of a saved file that are no whole record.
    #[must_use]
    pub const fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Number of whole records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no whole record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// First and last cycle.
    #[must_use]
    pub fn span(&self) -> Option<(u64, u64)> {
        let ((first, _), (last, _)) = (self.records.first()?, self.records.last()?);
        Some((*first, *last))
    }

    /// The words of every whole record, by rising cycle.
    pub fn records(&self) -> impl Iterator<Item = &[u64]> {
        self.records.iter().map(|(_, place)| &self.words[place.clone()])
    }

    /// Every whole record's cycle and content; `None` for one whose checksum is right and which is none
    /// of this machine all the same.
    pub fn cycles(&self) -> impl Iterator<Item = (u64, Option<Inputs>)> {
        let shape = self.header.shape;
        self.records
            .iter()
            .map(move |(cycle, place)| (*cycle, decode(shape, &self.words[place.clone()])))
    }

    /// The last whole record's cycle and content.
    #[must_use]
    pub fn last(&self) -> Option<(u64, Option<Inputs>)> {
        let (cycle, place) = self.records.last()?;
        Some((*cycle, decode(self.header.shape, &self.words[place.clone()])))
    }

    /// Where cycles are missing between the first and the last.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let pairs = self.records.windows(2);
        let gap = |before: u64, after: u64| {
            let first = before.saturating_add(1);
            (after > first).then(|| Gap { first, count: after - first })
        };
        pairs.filter_map(|pair| gap(pair[0].0, pair[1].0)).collect()
    }

    /// The same as a saved file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let header = Header { ring: None, ..self.header.clone() };
        let words = header.to_words();
        let words = words.iter().chain(self.records().flatten());
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    fn slots_start(&self) -> usize {
        self.header.to_words().len()
    }

    fn take(&mut self, at: usize) -> Option<usize> {
        let length = whole_record(&self.words[at..])?;
        self.records.push((self.words[at + 1], at..at + length));
        Some(length)
    }

    fn find_in_slots(&mut self, ring: RingGeometry, start: usize) {
        for slot in 0..ring.slots() {
            let at = start + ring.slot_start(slot as u64);
            let Some(words) = self.words.get(at..at + ring.slot_words()) else {
                // A ring that was cut off: what is not there is neither whole nor torn.
                return;
            };
            let was_never_written = words.iter().all(|word| *word == 0);
            if !was_never_written && self.take(at + SLOT_HEADER_WORDS).is_none() {
                self.torn += 1;
            }
        }
    }

    fn find_in_row(&mut self, start: usize, odd_bytes: usize) {
        let mut at = start;
        let mut damaged_from = None;
        while at < self.words.len() {
            match self.take(at) {
                Some(length) => {
                    at += length;
                    self.torn += usize::from(damaged_from.take().is_some());
                }
                // Step by step to where the next record begins: its mark and its checksum say so.
                None => {
                    damaged_from.get_or_insert(at);
                    at += 1;
                }
            }
        }
        let tail_words = damaged_from.map_or(0, |from| self.words.len() - from);
        self.tail_bytes = tail_words * 8 + odd_bytes;
    }

    /// Leaves out what was written while the ring was copied: the head has come to `head_now`.
    fn leave_out_overwritten(&mut self, ring: RingGeometry, start: usize, head_now: u64) {
        let head_then = self.words.get(start).copied().unwrap_or(0);
        if head_then == head_now {
            return;
        }
        self.living = true;
        self.torn = 0;
        let oldest = head_now.saturating_sub(ring.slots() as u64).saturating_add(1);
        let words = &self.words;
        self.records.retain(|(_, place)| {
            let complete = words[place.start - SLOT_HEADER_WORDS];
            let sequence = (complete / 2).saturating_sub(1);
            complete.is_multiple_of(2) && (oldest..head_then).contains(&sequence)
        });
    }
}
