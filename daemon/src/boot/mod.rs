//! The mainland: everything that happens before the loop and beside it. May allocate, lock and wait.
pub mod host;
pub mod machine;
pub mod outlets;
pub mod attribution;
pub mod saver;
pub mod replay;
pub mod report;
pub mod journal;
