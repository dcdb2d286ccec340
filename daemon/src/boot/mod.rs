//! The mainland: everything that happens before the loop and beside it. May allocate, lock and wait.
pub mod restriction;
pub mod host;
pub mod thread;
pub mod machine;
pub mod outlets;
pub mod incidents;
pub mod recorder;
pub mod replay;
pub mod report;
pub mod journal;
pub mod service;
