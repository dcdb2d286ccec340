//! What every client of the machine shares: finding it, checking the contract, following epochs. No client's own work.

pub mod domain;

pub use kadenz_paths as paths;
