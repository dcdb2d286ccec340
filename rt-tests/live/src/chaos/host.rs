//! What a host does to a machine: clocks stepped, CPUs and memory bandwidth used up.
use std::time::Duration;

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::Hand;
use super::crowd::{Client, pass_ms};
use super::stage::Stage;

/// Puts the true time back when dropped, whatever happens meanwhile.
struct TrueTime {
    offset: TimeSpec,
}

impl TrueTime {
    fn remember() -> anyhow::Result<Self> {
        let real = clock_gettime(ClockId::CLOCK_REALTIME)?;
        Ok(Self { offset: real - clock_gettime(ClockId::CLOCK_MONOTONIC)? })
    }

    fn step(&self, by_ms: i64) -> nix::Result<()> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)? + self.offset;
        clock_settime(ClockId::CLOCK_REALTIME, now + TimeSpec::milliseconds(by_ms))
    }
}

impl Drop for TrueTime {
    fn drop(&mut self) {
        let _refused_as_before = self.step(0);
    }
}

pub(super) fn clock_steps(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let from = stage.until("a look", |_| Ok(true))?.cycle;
    let time = TrueTime::remember()?;
    for _ in 0..hand.ground.of(20, 5) {
        let by_ms = i64::try_from(hand.random.within(1, 30_000))?;
        let by_ms = if hand.random.percent(50) { by_ms } else { -by_ms };
        time.step(by_ms)?;
        // Short: everything else on this host lives with it.
        pass_ms(hand.random.within(5, 25));
        time.step(0)?;
        hand.did(2, 0);
        pass_ms(30);
    }
    drop(time);
    stage.until("the loop to go on", |sight| Ok(sight.cycle > from + 100))?;
    Ok(())
}

fn hogs(stage: &Stage, hand: &mut Hand<'_>, kind: &str, per_cpu: usize) -> anyhow::Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let hogs = (0..cpus * per_cpu)
        .map(|_| Client::start(stage.dir(), kind, &[], None))
        .collect::<anyhow::Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_millis(hand.ground.of(5_000, 500)));
    for hog in hogs {
        hog.kill();
        hand.did(1, 0);
        hand.evidence.lives += 1;
    }
    Ok(())
}

pub(super) fn cpu_hogs(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    hogs(stage, hand, "hog-cpu", 2)
}

pub(super) fn memory_hogs(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    hogs(stage, hand, "hog-memory", 1)
}
