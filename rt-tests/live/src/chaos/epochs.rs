//! Counts lives of gateways by their announcements; what they do is not looked at.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kadenz_link::paths::RuntimeDir;
use shm_layout::code::Role;

/// Counts the lives of gateways that came to serve: every one is announced.
pub(super) struct Epochs {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Epochs {
    pub(super) fn watch(dir: &RuntimeDir) -> anyhow::Result<Self> {
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ending, dir) = (Arc::clone(&count), Arc::clone(&stop), dir.clone());
        let thread = thread::Builder::new().name("epochs".to_owned()).spawn(move || {
            let roles = [Role::View, Role::Plan, Role::Operate];
            let mut last = [None; 3];
            // ORDERING: relaxed, a bit and a count that stand for themselves.
            while !ending.load(Ordering::Relaxed) {
                for (role, last) in roles.into_iter().zip(&mut last) {
                    if let Ok(Some(token)) = dir.read_epoch(role)
                        && *last != Some(token)
                    {
                        let is_first = last.replace(token).is_none();
                        // ORDERING: relaxed, as above.
                        counted.fetch_add(u64::from(!is_first), Ordering::Relaxed);
                    }
                }
                thread::sleep(Duration::from_millis(4));
            }
        })?;
        Ok(Self { count, stop, thread: Some(thread) })
    }

    pub(super) fn changes(&self) -> u64 {
        // ORDERING: relaxed, a count that stands for itself.
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Epochs {
    fn drop(&mut self) {
        // ORDERING: relaxed, the bit stands for itself.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
