//! What a host gives a real-time loop: looked at, asked for and read back. `kadenzd` takes it at boot and
//! `kadenz doctor` judges it by the same functions; no verdict on a machine is passed here.

pub mod files;
pub mod cpu_list;
pub mod kernel;
pub mod isolation;
pub mod memory;
pub mod thread;
pub mod clock;
pub mod sleep;
pub mod counters;
pub mod nic;
pub mod fingerprint;
mod sys;

pub use cpu_list::CpuList;
pub use files::Files;
pub use fingerprint::Fingerprint;
