//! Gauges: a page of independent counters and values that one thread writes and anyone reads at
//! any time; what they count is named elsewhere.

use crate::geometry::GeometryError;
use crate::word::{Ordering, View, Word};

/// Word before the gauges: counts writes to a gauge that does not exist.
pub(crate) const GAUGE_HEADER_WORDS: usize = 1;

/// The writing end. RT thread for statistics and histograms, a gateway for its heartbeat.
pub struct GaugeWriter<'a> {
    refused: &'a Word,
    gauges: &'a [Word],
}

impl<'a> GaugeWriter<'a> {
    /// Takes the page in `words`: one word of its own, the rest are gauges. Values found there are
    /// kept. Mainland.
    ///
    /// # Errors
    /// [`GeometryError::TooSmall`] when there is no room for a gauge.
    pub fn new(words: &'a [Word]) -> Result<Self, GeometryError> {
        match words {
            [refused, gauges @ ..] if !gauges.is_empty() => Ok(Self { refused, gauges }),
            _ => Err(too_small(words.len())),
        }
    }

    /// Sets gauge `index`. A gauge that does not exist is counted as refused.
    pub fn set(&mut self, index: usize, value: u64) {
        match self.gauges.get(index) {
            // ORDERING: relaxed, each gauge stands for itself.
            Some(gauge) => gauge.store(value, Ordering::Relaxed),
            None => advance(self.refused, 1),
        }
    }

    /// Adds `by` to gauge `index`, wrapping. A gauge that does not exist is counted as refused.
    pub fn add(&mut self, index: usize, by: u64) {
        match self.gauges.get(index) {
            Some(gauge) => advance(gauge, by),
            None => advance(self.refused, 1),
        }
    }
}

/// A load and a store, no locked instruction: there is one writer.
fn advance(gauge: &Word, by: u64) {
    // ORDERING: relaxed, this thread reads what it wrote itself.
    let value = gauge.load(Ordering::Relaxed);
    // ORDERING: relaxed, each gauge stands for itself.
    gauge.store(value.wrapping_add(by), Ordering::Relaxed);
}

/// The reading end; anyone. Each gauge is whole, two gauges are not of one instant.
pub struct GaugeReader<'a> {
    view: View<'a>,
}

impl<'a> GaugeReader<'a> {
    /// Reads the page in `view`.
    ///
    /// # Errors
    /// [`GeometryError::TooSmall`] when there is no room for a gauge.
    pub fn new(view: View<'a>) -> Result<Self, GeometryError> {
        if view.len() <= GAUGE_HEADER_WORDS {
            return Err(too_small(view.len()));
        }
        Ok(Self { view })
    }

    /// Number of gauges.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.view.len().saturating_sub(GAUGE_HEADER_WORDS)
    }

    /// Value of gauge `index`; None when there is no such gauge.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u64> {
        self.view.word(index.checked_add(GAUGE_HEADER_WORDS)?)
    }

    /// Copies gauges from `start` to all of `out`; false when they are not all on the page.
    #[must_use]
    pub fn copy_to(&self, start: usize, out: &mut [u64]) -> bool {
        start.checked_add(GAUGE_HEADER_WORDS).is_some_and(|first| self.view.copy_to(first, out))
    }

    /// Writes to gauges that do not exist.
    #[must_use]
    pub fn refused_by_writer(&self) -> u64 {
        self.view.word(0).unwrap_or(0)
    }
}

const fn too_small(words: usize) -> GeometryError {
    GeometryError::TooSmall { words, needed: GAUGE_HEADER_WORDS + 1 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn page(words: usize) -> Vec<Word> {
        (0..words).map(|_| Word::new(0)).collect()
    }

    #[test]
    fn a_gauge_reads_what_was_set_and_added() {
        let words = page(5);
        let mut writer = GaugeWriter::new(&words).unwrap();
        let reader = GaugeReader::new(View::new(&words)).unwrap();
        writer.set(0, 7);
        writer.add(3, 2);
        writer.add(3, 40);
        let mut all = [0; 4];
        assert!(reader.copy_to(0, &mut all));
        assert_eq!((all, reader.count(), reader.get(3)), ([7, 0, 0, 42], 4, Some(42)));
        assert_eq!(reader.get(4), None);
        assert!(!reader.copy_to(1, &mut all));
        assert!(!reader.copy_to(usize::MAX, &mut all));
    }

    #[test]
    fn a_write_beside_the_page_is_counted_and_hits_no_gauge() {
        let words = page(3);
        let mut writer = GaugeWriter::new(&words).unwrap();
        writer.set(2, 9);
        writer.add(usize::MAX, 9);
        let reader = GaugeReader::new(View::new(&words)).unwrap();
        assert_eq!((reader.get(0), reader.get(1)), (Some(0), Some(0)));
        assert_eq!(reader.refused_by_writer(), 2);
    }

    #[test]
    fn a_page_without_room_for_a_gauge_is_refused() {
        let words = page(1);
        assert_eq!(GaugeWriter::new(&words).err(), Some(too_small(1)));
        assert_eq!(GaugeReader::new(View::new(&words)).err(), Some(too_small(1)));
    }
}
