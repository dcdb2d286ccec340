//! A client's own watchdog: scribbled shared memory can make iceoryx2 loop for ever, so a client that
//! stays inside one call ends itself with a word, and whoever started it starts it again.
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// Exit code of a client that hung (`EX_TEMPFAIL`: start it again).
pub const EXIT_HUNG: i32 = 75;
/// Default limit: hosts were seen to stand still for 100 ms, a hang lasts for ever.
pub const DEFAULT_LIMIT: Duration = Duration::from_millis(500);

const TICK: Duration = Duration::from_millis(50);
/// A tick later than this means that the watchdog itself was held up and may not judge.
const LATE: Duration = Duration::from_millis(50);

/// Marks when one thread is inside an iceoryx2 call. Odd while inside; every call has its own number.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<AtomicU64>);

impl Calls {
    /// The call lasts until the returned guard is dropped.
    pub(crate) fn enter(&self) -> Inside {
        // ORDERING: Relaxed, a count that is only compared with itself.
        self.0.fetch_add(1, Ordering::Relaxed);
        Inside(self.clone())
    }
}

/// Held while a call lasts.
#[must_use]
pub(crate) struct Inside(Calls);

impl Drop for Inside {
    fn drop(&mut self) {
        // ORDERING: Relaxed, as in `enter`.
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts undisturbed ticks that one call has lasted.
#[derive(Debug, Default)]
struct Judge {
    number: u64,
    ticks: u32,
}

impl Judge {
    /// Takes one tick; true when the same call has lasted for `limit_ticks` undisturbed ticks.
    fn tick(&mut self, number: u64, late: bool, limit_ticks: u32) -> bool {
        let is_inside = number % 2 == 1;
        if late || !is_inside || number != self.number {
            *self = Self { number, ticks: 0 };
            return false;
        }
        self.ticks += 1;
        self.ticks >= limit_ticks
    }
}

/// The watchdog of a process. It ends with the process.
#[derive(Clone, Debug)]
pub struct Watchdog {
    watched: Arc<Mutex<Vec<Weak<AtomicU64>>>>,
}

impl Watchdog {
    /// Starts the watchdog thread. Signals the process wants to handle must be blocked before.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(limit: Duration) -> std::io::Result<Self> {
        let watched = Arc::new(Mutex::new(Vec::new()));
        let watchdog = Self { watched: Arc::clone(&watched) };
        let ticks = limit.as_nanos().div_ceil(TICK.as_nanos()).max(1);
        let limit_ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&watched, limit_ticks))?;
        Ok(watchdog)
    }

    /// Watches one more thread's calls, as long as they exist.
    pub(crate) fn watch(&self, calls: &Calls) {
        if let Ok(mut watched) = self.watched.lock() {
            watched.push(Arc::downgrade(&calls.0));
        }
    }
}

fn watch(watched: &Mutex<Vec<Weak<AtomicU64>>>, limit_ticks: u32) -> ! {
    let mut judges: Vec<Judge> = Vec::new();
    loop {
        let before = Instant::now();
        thread::sleep(TICK);
        let late = before.elapsed() > TICK + LATE;
        let numbers: Vec<u64> = match watched.lock() {
            // A view that is gone counts as outside: 0 is even. Its place is kept, views are few.
            // ORDERING: Relaxed, see `Calls::enter`.
            Ok(list) => {
                let number =
                    |weak: &Weak<AtomicU64>| weak.upgrade().map(|n| n.load(Ordering::Relaxed));
                list.iter().map(|weak| number(weak).unwrap_or(0)).collect()
            }
            Err(_) => continue,
        };
        judges.resize_with(numbers.len(), Judge::default);
        for (judge, number) in judges.iter_mut().zip(numbers) {
            if judge.tick(number, late, limit_ticks) {
                end_hung();
            }
        }
    }
}

fn end_hung() -> ! {
    // The process ends whether or not anybody can read why.
    let _unread = std::io::stderr().write_all(
        b"hung inside iceoryx2 (its shared memory may be corrupt): ending, start me again\n",
    );
    sys::end_now(EXIT_HUNG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_lasts_the_limit_is_hung_and_a_shorter_one_is_not() {
        let mut judge = Judge::default();
        let verdicts: Vec<bool> = (0..12).map(|_| judge.tick(7, false, 10)).collect();
        assert_eq!(verdicts.iter().position(|hung| *hung), Some(10));
        let mut judge = Judge::default();
        assert!((0..1000).all(|n| !judge.tick(2 * (n / 9) + 1, false, 10)));
    }

    #[test]
    fn a_thread_outside_is_never_hung() {
        let mut judge = Judge::default();
        assert!((0..1000).all(|_| !judge.tick(8, false, 10)));
    }

    #[test]
    fn a_late_watchdog_does_not_judge() {
        let mut judge = Judge::default();
        assert!((0..1000).all(|n| !judge.tick(7, n % 9 == 0, 10)));
    }

    #[test]
    fn numbers_are_odd_exactly_while_inside() {
        let calls = Calls::default();
        let read = || calls.0.load(Ordering::Relaxed);
        assert_eq!(read() % 2, 0);
        let inside = calls.enter();
        assert_eq!(read() % 2, 1);
        drop(inside);
        assert_eq!(read(), 2);
    }

    #[test]
    fn a_client_that_hangs_ends_itself_with_75() {
        const CHILD: &str = "KADENZ_TEST_WATCHDOG_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let calls = Calls::default();
            Watchdog::start(Duration::from_millis(100)).unwrap().watch(&calls);
            let _inside = calls.enter();
            loop {
                thread::park();
            }
        }
        let name = "watchdog::tests::a_client_that_hangs_ends_itself_with_75";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.code(), Some(EXIT_HUNG));
        assert!(String::from_utf8_lossy(&child.stderr).contains("hung inside iceoryx2"));
    }
}
