//! The loop's whole pass, as kadenzd ships it, under RealtimeSanitizer: a call into the C library that
//! could block ends this process with a report. With the name of a defect it commits that defect.
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use live_tests::body::{Body, machine_of};
use servo_core::ports::Wake;
use shm_layout::code::Phase;

mod sys;

/// Axes of the arm.
const AXES: usize = 6;
/// Passes with the axes moving.
const MOVING_PASSES: u64 = 4_000;
/// Passes until the wave has grown to its full amplitude.
const WARM_UP: u64 = 3_000;
/// A lock that nobody reports is let go after this; only a gate that fails waits for it.
const HELD: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        None => prove(),
        Some("allocation") => commit(|| drop(std::hint::black_box(vec![0_u8; 100]))),
        Some("file") => commit(|| drop(std::fs::File::open("/proc/self/stat"))),
        Some("lock") => commit_lock(),
        Some(other) => Err(anyhow::anyhow!("{other}: the defects are allocation, file and lock")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rtsan-proof: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A body and the time of its next pass.
struct Bench {
    body: Body,
    index: u64,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { body: Body::new(&machine_of(AXES)?)?, index: 0 })
    }

    /// One pass of the loop as a real-time function, then `more` in the same function.
    fn pass(&mut self, more: impl FnOnce()) {
        let index = self.index;
        self.index += 1;
        if index == 100 {
            self.body.enable();
        }
        if index > 300 && index.is_multiple_of(4) {
            self.body.feed();
        }
        let grid_ns = 1_000_000_000 + index * self.body.servo.setup.period_ns;
        let wake = Wake { grid_index: index, grid_ns, wake_ns: grid_ns + 10_000, skipped: 0 };
        sys::real_time(|| {
            self.body.servo.work(&wake);
            more();
        });
    }
}

/// Passes from standstill through enabling to full motion, then the loop's own run on its real clock:
/// asked to end, it brakes on the path, takes torque off and returns.
fn prove() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    let mut moving = 0;
    for _ in 0..WARM_UP + MOVING_PASSES {
        bench.pass(|| ());
        moving += u64::from(bench.body.servo.state.guard.phase == Phase::Moving);
    }
    ensure!(moving >= MOVING_PASSES, "only {moving} of {MOVING_PASSES} passes moved axes");
    bench.body.wish().shut_down();
    sys::real_time(|| bench.body.servo.run());
    ensure!(bench.body.servo.state.has_ended(), "the loop returned without having ended");
    println!("{} passes, {moving} of them moving, and a run to its end: no report", bench.index);
    Ok(())
}

/// One pass with a defect in it, which must not return.
fn commit(defect: impl FnOnce()) -> anyhow::Result<()> {
    Bench::new()?.pass(defect);
    anyhow::bail!("the defect went by unnoticed")
}

/// A lock that another thread holds: uncontended ones never reach the C library.
fn commit_lock() -> anyhow::Result<()> {
    let lock = Mutex::new(());
    let lock = &lock;
    let (held, is_held) = mpsc::channel();
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let guard = lock.lock();
            let _ = held.send(());
            let _ = is_done.recv_timeout(HELD);
            drop(guard);
        });
        is_held.recv().context("the thread that holds the lock is gone")?;
        let outcome = commit(|| drop(lock.lock()));
        drop(done);
        outcome
    })
}
