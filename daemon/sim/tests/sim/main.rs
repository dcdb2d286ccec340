//! The simulated plant seen from its public face; one binary, so that it links once.

mod bench;
mod state_machine;
mod motion;
mod hostile;
