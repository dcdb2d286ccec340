//! The floors of a way to a client: a bare seqlock and bare iceoryx2, without a gateway, lanes or a loop.
//!
//! *Ping-pong* is spinning on both ends, half of the round trip: what the hand-over alone costs. *Timed* is
//! a thread that sleeps to a grid at a gateway's priority, writes one record through iceoryx2, and a reader
//! that spins: what anything costs that is sent at a stated time, the kernel's own wake-up included.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use kadenzd::rt::clock::{now_ns, sleep_until};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Words of a record of six axes.
const WORDS: usize = 232;
/// Round trips before any is counted.
const WARM_UP: usize = 1_000;
/// Grid points before any is counted.
const WARM_UP_POINTS: u64 = 50;
/// FIFO priority of a gateway.
const GATEWAY_PRIORITY: u8 = 40;

type Port = (Publisher<ipc::Service, [u64], ()>, Subscriber<ipc::Service, [u64], ()>);

/// Pins the calling thread to `cpu`.
///
/// # Errors
/// It may not run there.
pub fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &only).with_context(|| format!("pinning to CPU {cpu}"))
}

/// A record behind a sequence, as plain as it can be written.
struct Seqlock {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Seqlock {
    const fn new() -> Self {
        Self { sequence: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] }
    }

    fn write(&self, number: u64) {
        for word in &self.words {
            // ORDERING: relaxed, the store of the sequence below makes all of them visible.
            word.store(number, Ordering::Relaxed);
        }
        // ORDERING: release, pairs with the acquire of the reader.
        self.sequence.store(number, Ordering::Release);
    }

    fn await_record(&self, number: u64) -> u64 {
        // BOUND: the other thread writes `number` next, or ends the process with an error.
        // ORDERING: acquire, pairs with the release of the writer.
        while self.sequence.load(Ordering::Acquire) < number {
            std::hint::spin_loop();
        }
        // ORDERING: relaxed, ordered by the acquire above.
        self.words.iter().map(|word| word.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// Half round trips of a bare seqlock between two CPUs, ns.
///
/// # Errors
/// The threads cannot be pinned.
pub fn seqlock_ping_pong(cpus: [usize; 2], count: usize) -> anyhow::Result<Vec<u64>> {
    let locks = Arc::new([Seqlock::new(), Seqlock::new()]);
    let total = (count + WARM_UP) as u64;
    let theirs = Arc::clone(&locks);
    let echo = std::thread::spawn(move || {
        pin(cpus[1])?;
        for number in 1..=total {
            std::hint::black_box(theirs[0].await_record(number));
            theirs[1].write(number);
        }
        anyhow::Ok(())
    });
    pin(cpus[0])?;
    let mut halves = Vec::with_capacity(count);
    for number in 1..=total {
        let begun_ns = now_ns();
        locks[0].write(number);
        std::hint::black_box(locks[1].await_record(number));
        halves.push((now_ns() - begun_ns) / 2);
    }
    echo.join().map_err(|_| anyhow!("the echo thread panicked"))??;
    Ok(halves.split_off(WARM_UP))
}

/// A port of `name`, all of its own.
fn port(name: &str) -> anyhow::Result<Port> {
    let node = NodeBuilder::new().config(&Config::default()).create::<ipc::Service>()?;
    let name = format!("kadenz-raw-{}-{name}", std::process::id());
    let service = node
        .service_builder(&name.as_str().try_into()?)
        .publish_subscribe::<[u64]>()
        .subscriber_max_buffer_size(64)
        .enable_safe_overflow(true)
        .open_or_create()?;
    let publisher = service.publisher_builder().initial_max_slice_len(WORDS).create()?;
    let subscriber = service.subscriber_builder().create()?;
    Ok((publisher, subscriber))
}

fn send(publisher: &Publisher<ipc::Service, [u64], ()>, first: u64) -> anyhow::Result<()> {
    let sample = publisher.loan_slice_uninit(WORDS)?;
    let sample = sample.write_from_fn(|index| if index == 0 { first } else { index as u64 });
    sample.send()?;
    Ok(())
}

/// The next record's first word; spins.
fn receive(subscriber: &Subscriber<ipc::Service, [u64], ()>) -> anyhow::Result<u64> {
    // BOUND: the other thread sends next, or ends the process with an error.
    loop {
        if let Some(sample) = subscriber.receive()? {
            let sum = sample.payload().iter().fold(0, |sum: u64, word| sum.wrapping_add(*word));
            std::hint::black_box(sum);
            return sample.payload().first().copied().context("an empty record");
        }
        std::hint::spin_loop();
    }
}

/// Half round trips of bare iceoryx2 between two CPUs, ns.
///
/// # Errors
/// iceoryx2 does not serve.
pub fn iceoryx2_ping_pong(cpus: [usize; 2], count: usize) -> anyhow::Result<Vec<u64>> {
    let total = (count + WARM_UP) as u64;
    let ready = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&ready);
    let echo = std::thread::spawn(move || {
        pin(cpus[1])?;
        let ((_ping_out, ping), (pong, _pong_in)) = (port("ping")?, port("pong")?);
        // ORDERING: release, the ports above are there when it is seen.
        theirs.store(true, Ordering::Release);
        for _ in 0..total {
            send(&pong, receive(&ping)?)?;
        }
        anyhow::Ok(())
    });
    pin(cpus[0])?;
    let ((ping, _ping_in), (_pong_out, pong)) = (port("ping")?, port("pong")?);
    // ORDERING: acquire, pairs with the release above. BOUND: until the echo is there or has failed.
    while !ready.load(Ordering::Acquire) && !echo.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut halves = Vec::with_capacity(count);
    for number in 1..=total {
        if echo.is_finished() && number < total {
            break;
        }
        let begun_ns = now_ns();
        send(&ping, number)?;
        receive(&pong)?;
        halves.push((now_ns() - begun_ns) / 2);
    }
    echo.join().map_err(|_| anyhow!("the echo thread panicked"))??;
    Ok(halves.split_off(WARM_UP.min(halves.len())))
}

/// From a grid point to the record in a spinning reader's hands, over `points` points, ns: what bare iceoryx2
/// does in the place of a gateway.
///
/// # Errors
/// The sender cannot be given a gateway's priority, or iceoryx2 does not serve.
pub fn iceoryx2_timed(
    [sender_cpu, reader_cpu]: [usize; 2],
    period_ns: u64,
    points: u64,
) -> anyhow::Result<Vec<u64>> {
    let total = points + WARM_UP_POINTS;
    let sender = std::thread::spawn(move || {
        pin(sender_cpu)?;
        gateway_priority()?;
        let (publisher, _own) = port("timed")?;
        let origin_ns = now_ns() + 100 * period_ns;
        for point in 0..=total {
            let due_ns = origin_ns + point * period_ns;
            sleep_until(due_ns);
            // The last one tells the reader that it was the last.
            send(&publisher, if point < total { due_ns } else { u64::MAX })?;
        }
        anyhow::Ok(())
    });
    pin(reader_cpu)?;
    let (_none, subscriber) = port("timed")?;
    let mut ages = Vec::new();
    loop {
        let Some(sample) = subscriber.receive()? else {
            if sender.is_finished() {
                break;
            }
            std::hint::spin_loop();
            continue;
        };
        let at_ns = now_ns();
        match sample.payload().first().copied() {
            Some(u64::MAX) | None => break,
            Some(due_ns) => ages.push(at_ns.saturating_sub(due_ns)),
        }
    }
    sender.join().map_err(|_| anyhow!("the sender panicked"))??;
    let warm = usize::try_from(WARM_UP_POINTS)?.min(ages.len());
    Ok(ages.split_off(warm))
}

/// How late a bare thread of a gateway's priority wakes at `points` points, ns each.
///
/// # Errors
/// The thread cannot be given a gateway's priority.
pub fn timer_lateness(period_ns: u64, points: u64) -> anyhow::Result<Vec<u64>> {
    let sleeper = std::thread::spawn(move || {
        gateway_priority()?;
        let origin_ns = now_ns() + period_ns;
        let lateness = (0..points).map(|point| {
            let due_ns = origin_ns + point * period_ns;
            sleep_until(due_ns);
            now_ns().saturating_sub(due_ns)
        });
        anyhow::Ok(lateness.collect())
    });
    sleeper.join().map_err(|_| anyhow!("the sleeper panicked"))?
}

fn gateway_priority() -> anyhow::Result<()> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let value =
        ThreadPriorityValue::try_from(GATEWAY_PRIORITY).map_err(|error| anyhow!("{error}"))?;
    let priority = ThreadPriority::Crossplatform(value);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
        .map_err(|error| anyhow!("SCHED_FIFO {GATEWAY_PRIORITY}: {error}; run as root"))
}
