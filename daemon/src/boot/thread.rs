//! The life of the RT thread: prepared, restricted, let go, parked. It may wake nobody once it is
//! restricted, so what it has come to is looked at, never waited for.
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail};
use kadenz_config::Machine;
use servo_core::ports::Bus;

use super::host::{self, HostReady, Lack};
use super::restriction::Restriction;
use crate::rt::Loop;
use crate::rt::clock::{now_ns, sleep_until};

/// The RT thread's stack, all of it locked and present.
const STACK_BYTES: usize = 2 << 20;
/// How often either side looks at how far the other has come.
const LOOK_NS: u64 = 1_000_000;
/// A parked thread sleeps this long at a time.
const PARKED_NS: u64 = 1_000_000_000;

/// How far the thread has come; only rises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Milestone {
    Preparing,
    Restricted,
    LetGo,
    Ended,
}

struct Progress(AtomicU8);

impl Progress {
    const fn begun() -> Self {
        Self(AtomicU8::new(Milestone::Preparing as u8))
    }
    fn reach(&self, milestone: Milestone) {
        // ORDERING: release, pairs with the acquire in `has`: what was done before is seen.
        self.0.store(milestone as u8, Ordering::Release);
    }
    fn has(&self, milestone: Milestone) -> bool {
        // ORDERING: acquire, as above.
        self.0.load(Ordering::Acquire) >= milestone as u8
    }
}

/// A thread that stands ready for its loop, or runs it.
pub struct RtThread {
    /// Its number in the kernel.
    pub thread_id: i32,
    /// The CPU it is pinned to.
    pub cpu: usize,
    /// What the host lacks and the configuration exempts.
    pub lacks: Vec<Lack>,
    progress: Arc<Progress>,
    handle: JoinHandle<()>,
    _host: Arc<HostReady>,
}

impl RtThread {
    /// Starts the thread: stack present, pinned, FIFO, then restricted to its listed system calls. Its
    /// loop waits for [`RtThread::let_go`].
    ///
    /// # Errors
    /// What the host lacks and the configuration does not exempt, with the remedy.
    pub fn start<B: Bus + Send + 'static>(
        mut servo: Loop<B>,
        machine: &Machine,
        ready: HostReady,
    ) -> anyhow::Result<Self> {
        let restriction = Restriction::prepare()?;
        let (tell, told) = mpsc::channel();
        let progress = Arc::new(Progress::begun());
        let ready = Arc::new(ready);
        let (machine, host, own) = (machine.clone(), Arc::clone(&ready), Arc::clone(&progress));
        let life = move || {
            let prepared = host::become_rt_thread(&machine, &host)
                .map(|lacks| (lacks, nix::unistd::gettid().as_raw()));
            let is_fit = prepared.is_ok();
            if tell.send(prepared).is_err() || !is_fit {
                return;
            }
            if let Err(error) = restriction.install() {
                // Whoever waits for the milestone hears of it instead.
                let _listener_gone = tell.send(Err(error));
                return;
            }
            own.reach(Milestone::Restricted);
            while !own.has(Milestone::LetGo) {
                sleep_until(now_ns().saturating_add(LOOK_NS));
            }
            servo.run();
            own.reach(Milestone::Ended);
            park();
        };
        let handle = thread::Builder::new()
            .name("kadenz-rt".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(life)
            .context("starting the RT thread")?;
        let (lacks, thread_id) = told.recv().context("the RT thread ended at once")??;
        while !progress.has(Milestone::Restricted) {
            match told.recv_timeout(Duration::from_nanos(LOOK_NS)) {
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the RT thread ended at once"),
            }
        }
        let lacks = ready.lacks.iter().cloned().chain(lacks).collect();
        Ok(Self { thread_id, cpu: ready.cpu, lacks, progress, handle, _host: ready })
    }

    /// The loop begins.
    pub fn let_go(&self) {
        self.progress.reach(Milestone::LetGo);
    }

    /// Whether the loop has ended in order; the thread is parked then.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.progress.has(Milestone::Ended)
    }

    /// Whether the thread is gone without having ended its loop.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Sleeps until the process ends: under its filter the thread could not even end in order.
fn park() -> ! {
    // BOUND: endless by intent; the process ends around it.
    loop {
        sleep_until(now_ns().saturating_add(PARKED_NS));
    }
}
