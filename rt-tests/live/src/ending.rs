//! Ctrl-C as a bit: the demo ends the machine in order, it is not torn down.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};

/// Set by SIGINT or SIGTERM.
#[derive(Clone, Debug)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Catches the signals from now on, for the whole process. Call it before any thread exists.
    ///
    /// # Errors
    /// The signals cannot be blocked.
    pub fn on_signal() -> anyhow::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block().context("blocking signals")?;
        let ending = Self(Arc::new(AtomicBool::new(false)));
        let bit = Arc::clone(&ending.0);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if set.wait().is_ok() {
                // ORDERING: relaxed, the bit stands for itself.
                bit.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(ending)
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        // ORDERING: relaxed, the bit stands for itself.
        self.0.load(Ordering::Relaxed)
    }
}
