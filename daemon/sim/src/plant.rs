//! All simulated drives of one bus, exchanged in one call. No drive knows another.

use core::fmt;

use crate::drive::Drive;
use crate::setup::{DriveSetup, SetupError};
use crate::wire::{Rxpdo, Txpdo};

/// Drives of a [`Plant`] unless its size is named.
pub const MAX_DRIVES: usize = 64;

/// Up to `N` drives in bus order.
#[derive(Debug, Clone, Copy)]
pub struct Plant<const N: usize = MAX_DRIVES> {
    drives: [Option<Drive>; N],
}

/// Why a drive could not be added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlantError {
    /// The plant has this many drives and no room for more.
    Full(usize),
    /// The drive's setup is not plausible.
    Setup(SetupError),
}

impl fmt::Display for PlantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(count) => {
                write!(f, "simulated bus: all {count} places are taken; use fewer")
            }
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PlantError {}

impl<const N: usize> Default for Plant<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Plant<N> {
    /// A bus without drives.
    #[must_use]
    pub const fn new() -> Self {
        Self { drives: [None; N] }
    }

    /// Appends a drive and gives its place on the bus, from 0.
    ///
    /// # Errors
    /// The plant is full, or `setup` is not plausible.
    pub fn add(&mut self, setup: DriveSetup, seed: u64) -> Result<usize, PlantError> {
        let drive = Drive::new(setup, seed).map_err(PlantError::Setup)?;
        for (place, slot) in self.drives.iter_mut().enumerate() {
            if slot.is_none() {
                *slot = Some(drive);
                return Ok(place);
            }
        }
        Err(PlantError::Full(N))
    }

    /// Number of drives.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drives.iter().flatten().count()
    }

    /// No drive was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The drive at `place`, counted from 0.
    #[must_use]
    pub fn drive(&self, place: usize) -> Option<&Drive> {
        self.drives.get(place)?.as_ref()
    }

    /// The drive at `place`, to break or mend it.
    pub fn drive_mut(&mut self, place: usize) -> Option<&mut Drive> {
        self.drives.get_mut(place)?.as_mut()
    }

    /// One bus cycle of `period_s` seconds for every drive, as [`Drive::exchange`]. `delivered` is
    /// false when the frame was lost: no drive sees `rx`, and the caller must not use `tx`, which
    /// holds what the drives would have said. A drive without an entry in `rx` gets no data; one
    /// without an entry in `tx` runs unread.
    pub fn exchange(&mut self, rx: &[Rxpdo], delivered: bool, tx: &mut [Txpdo], period_s: f64) {
        let mut outputs = rx.iter();
        let mut inputs = tx.iter_mut();
        for drive in self.drives.iter_mut().flatten() {
            let answer = drive.exchange(outputs.next().filter(|_| delivered), period_s);
            if let Some(input) = inputs.next() {
                *input = answer;
            }
        }
    }
}
