//! What a view hands out: samples read in place, and the copied catalog. Counts of other processes end here.
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::state::{AxisState, StateHeader};

use crate::domain;

/// One state record, read where it lies; the slot is free again when it is dropped. Hold at most four.
#[derive(Debug)]
pub struct StateSample {
    sample: domain::state::Received,
}

impl StateSample {
    pub(crate) fn new(sample: domain::state::Received) -> Self {
        Self { sample }
    }

    /// The machine in that cycle.
    #[must_use]
    pub fn header(&self) -> &StateHeader {
        self.sample.user_header()
    }

    /// The axes, in catalog order.
    #[must_use]
    pub fn axes(&self) -> &[AxisState] {
        let axes = self.sample.payload();
        // Another process wrote the count: it may say anything.
        &axes[..axes.len().min(usize::from(self.header().axis_count))]
    }
}

/// What the machine is.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// The machine as a whole.
    pub header: CatalogHeader,
    /// Its axes.
    pub axes: Vec<CatalogAxis>,
}

impl Catalog {
    pub(crate) fn copy_of(sample: &domain::catalog::Received) -> Self {
        let header = **sample.user_header();
        let axes = sample.payload();
        // Another process wrote the count: it may say anything.
        let count = usize::from(header.axis_count).min(axes.len());
        Self { header, axes: axes[..count].to_vec() }
    }
}
