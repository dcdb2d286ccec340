//! What every client of the machine shares: finding it, checking the contract, following epochs. No client's own work.

pub mod domain;
pub mod clock;
pub mod error;
pub mod access;
mod follow;
mod ports;
mod sequence;
mod sample;
mod sys;
pub mod watchdog;
pub mod view;
pub mod knots;
pub mod text;
pub mod status;
pub mod operate;

pub use error::LinkError;
pub use kadenz_paths as paths;
pub use knots::KnotPort;
pub use operate::{Answer, LastPath, Operate, OperateError, Outlook};
pub use sample::{Catalog, StateSample};
pub use sequence::Counters;
pub use status::MachineStatus;
pub use view::View;
