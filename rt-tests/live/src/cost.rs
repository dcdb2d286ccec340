//! What one pass of the loop costs: a moving body run pass by pass, and what it may cost at most.
use anyhow::{Context, ensure};
use kadenz_lanes::BroadcastReader;
use kadenzd::rt::clock::now_ns;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use servo_core::ports::{Stage, Wake};
use shm_layout::code::Phase;

use crate::body::{Body, machine_of};
use crate::latency::block::percentile_of;

/// Passes after which the wave runs at full amplitude.
const WARM_UP: u64 = 4_000;
/// Batches of a time measurement. What disturbs a computation makes it slower, never quicker: the quickest
/// batch's median is the one that says most about the computation.
const BATCHES: u64 = 5;
/// What a CSP axis may cost, ns, lanes and recorder included, simulated drives not.
const AXIS_NS_MAX: u64 = 250;
/// Axes from which that is judged: below, what every pass costs stands out.
const AXES_JUDGED: usize = 32;

/// A moving body, its wave at full amplitude, and what is needed to run it pass by pass.
pub struct Bench {
    body: Body,
    readers: Vec<BroadcastReader<'static>>,
    words: Vec<u64>,
    index: u64,
    real_time: bool,
}

/// Times of one kind of pass, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The whole pass.
    pub pass_ns: u64,
    /// Of it: the stage in which the simulated drives compute.
    pub drives_ns: u64,
    /// How much longer a pass is that takes a knot.
    pub knot_ns: u64,
}

/// What passes did that they must not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// Heap allocations.
    pub allocations: u64,
    /// Page faults.
    pub page_faults: i64,
}

impl Bench {
    /// A body of `axes` axes and `clients` readers, warmed up. Its time is the real one, or, for a run a thousand
    /// times slower, one that advances by a period per pass.
    ///
    /// # Errors
    /// Its axes do not move.
    pub fn moving(axes: usize, clients: usize, real_time: bool) -> anyhow::Result<Self> {
        let body = Body::new(&machine_of(axes)?)?;
        let readers = (0..clients).map(|_| body.state_reader()).collect::<anyhow::Result<_>>()?;
        let mut bench = Self { body, readers, words: vec![0; 4096], index: 0, real_time };
        for _ in 0..WARM_UP {
            bench.pass(|body, wake| body.servo.work(wake));
        }
        let state = &bench.body.servo.state;
        ensure!(
            state.guard.phase == Phase::Moving,
            "the axes should move; phase {:?}, refused {:?}",
            state.guard.phase,
            state.motion.refusal
        );
        Ok(bench)
    }

    /// One pass, run by `work`, then the readers, as gateways read.
    pub fn pass<T>(&mut self, work: impl FnOnce(&mut Body, &Wake) -> T) -> T {
        let index = self.index;
        self.index += 1;
        if index == 100 {
            self.body.enable();
        }
        if index.is_multiple_of(4) && index > 300 {
            self.body.feed();
        }
        let due_ns = if self.real_time {
            now_ns()
        } else {
            1_000_000_000 + index * self.body.servo.setup.period_ns
        };
        let wake = Wake { grid_index: index, grid_ns: due_ns, wake_ns: due_ns, skipped: 0 };
        let worked = work(&mut self.body, &wake);
        for reader in &mut self.readers {
            reader.read_next(&mut self.words);
        }
        worked
    }

    /// Times of `passes` passes back to back.
    ///
    /// # Errors
    /// No passes.
    pub fn times(&mut self, passes: u64) -> anyhow::Result<Times> {
        let mut best: Option<Times> = None;
        for _ in 0..BATCHES {
            let (mut whole, mut drives) = (Vec::new(), Vec::new());
            let (mut with_knot, mut without) = (Vec::new(), Vec::new());
            for _ in 0..passes / BATCHES {
                let (pass_ns, drives_ns, knots) = self.pass(timed_pass);
                whole.push(pass_ns);
                drives.push(drives_ns);
                match knots {
                    0 => without.push(pass_ns),
                    1 => with_knot.push(pass_ns),
                    _ => {}
                }
            }
            let [pass_ns, drives_ns, with_ns, without_ns] = [whole, drives, with_knot, without]
                .map(|mut times| {
                    times.sort_unstable();
                    percentile_of(&times, 500)
                });
            let times = Times { pass_ns, drives_ns, knot_ns: with_ns.saturating_sub(without_ns) };
            if best.is_none_or(|best| pass_ns < best.pass_ns) {
                best = Some(times);
            }
        }
        best.filter(|best| best.pass_ns > 0).context("no passes were measured")
    }

    /// Allocations and page faults inside `passes` passes.
    ///
    /// # Errors
    /// The kernel does not count faults.
    pub fn inside(&mut self, passes: u64) -> anyhow::Result<Inside> {
        let faults = || {
            getrusage(UsageWho::RUSAGE_THREAD)
                .map(|usage| usage.minor_page_faults() + usage.major_page_faults())
        };
        let mut page_faults = 0;
        for _ in 0..passes {
            page_faults += self.pass(|body, wake| -> anyhow::Result<i64> {
                let before = faults()?;
                kadenzd::gate_rt_allocations(true);
                body.servo.work(wake);
                kadenzd::gate_rt_allocations(false);
                Ok(faults()? - before)
            })?;
        }
        Ok(Inside { allocations: kadenzd::rt_allocations(), page_faults })
    }
}

/// Time of a pass and of its drives, ns, and the knots it took.
fn timed_pass(body: &mut Body, wake: &Wake) -> (u64, u64, u64) {
    let accepted = body.servo.state.motion.accepted;
    let begun_ns = now_ns();
    body.servo.work(wake);
    let pass_ns = now_ns() - begun_ns;
    let ends_ns = body.servo.lanes.stage_end_ns;
    let drives_ns = ends_ns[Stage::Send as usize].saturating_sub(ends_ns[Stage::Limit as usize]);
    (pass_ns, u64::from(drives_ns), body.servo.state.motion.accepted - accepted)
}

/// One row: so many axes, or so many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Axes or clients.
    pub count: usize,
    /// Instructions of a pass.
    pub instructions: u64,
    /// Of them: the simulated drives.
    pub drive_instructions: u64,
    /// Times of a pass.
    pub times: Times,
}

impl Row {
    /// A pass without the simulated drives, ns.
    #[must_use]
    pub const fn own_ns(&self) -> u64 {
        self.times.pass_ns.saturating_sub(self.times.drives_ns)
    }

    /// The row as its JSON; `what` names the count.
    #[must_use]
    pub fn json(&self, what: &str) -> Value {
        json!({
            what: self.count,
            "instructions": self.instructions,
            "drive_instructions": self.drive_instructions,
            "ns": self.times.pass_ns,
            "drives_ns": self.times.drives_ns,
            "knot_ns": self.times.knot_ns,
        })
    }
}

/// Everything that was counted.
#[derive(Clone, Debug)]
pub struct Cost {
    /// By axes, no client.
    pub by_axes: Vec<Row>,
    /// By clients, six axes.
    pub by_clients: Vec<Row>,
    /// Allocations and faults.
    pub inside: Inside,
    /// Whether memory could be locked: without, page faults are the host's affair.
    pub is_locked: bool,
    /// System calls of passes.
    pub syscalls: u64,
}

impl Cost {
    /// Promises not kept, in words.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for row in self.by_axes.iter().filter(|row| row.count >= AXES_JUDGED) {
            let (most_ns, own_ns) = (AXIS_NS_MAX * row.count as u64, row.own_ns());
            if own_ns > most_ns {
                broken.push(format!(
                    "{} axes: a pass takes {own_ns} ns, {most_ns} are promised",
                    row.count
                ));
            }
        }
        let by_clients: Vec<u64> = self.by_clients.iter().map(|row| row.instructions).collect();
        if by_clients.windows(2).any(|pair| pair[0] != pair[1]) {
            broken.push(format!("a pass's instructions depend on how many read: {by_clients:?}"));
        }
        let Inside { allocations, page_faults } = self.inside;
        if allocations > 0 || self.syscalls > 0 {
            let calls = self.syscalls;
            broken.push(format!("passes made {allocations} allocations and {calls} system calls"));
        }
        if self.is_locked && page_faults > 0 {
            broken.push(format!("passes took {page_faults} page faults though memory is locked"));
        }
        broken
    }

    /// The cost as its JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows =
            |rows: &[Row], what: &str| rows.iter().map(|row| row.json(what)).collect::<Value>();
        json!({
            "schema_version": 1,
            "by_axes": rows(&self.by_axes, "axes"),
            "by_clients": rows(&self.by_clients, "clients"),
            "allocations": self.inside.allocations,
            "page_faults": self.inside.page_faults,
            "syscalls": self.syscalls,
            "not_kept": self.broken(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Cost {
        let row = |count: usize, pass_ns: u64| Row {
            count,
            instructions: 20_000,
            drive_instructions: 0,
            times: Times { pass_ns, drives_ns: 100, knot_ns: 0 },
        };
        Cost {
            by_axes: vec![row(1, 1_000), row(32, 8_100), row(64, 16_100)],
            by_clients: vec![row(0, 2_000), row(32, 2_400)],
            inside: Inside::default(),
            is_locked: true,
            syscalls: 0,
        }
    }

    #[test]
    fn what_is_promised_passes_and_each_promise_can_be_broken() {
        assert_eq!(kept().broken(), Vec::<String>::new());
        type Breaks = fn(&mut Cost);
        let breaks: [(&str, Breaks); 6] = [
            ("32 axes", |cost| cost.by_axes[1].times.pass_ns += 1),
            ("64 axes", |cost| cost.by_axes[2].times.pass_ns += 1),
            ("how many read", |cost| cost.by_clients[1].instructions += 1),
            ("allocations", |cost| cost.inside.allocations = 1),
            ("system calls", |cost| cost.syscalls = 1),
            ("page faults", |cost| cost.inside.page_faults = 1),
        ];
        for (word, breaks) in breaks {
            let mut cost = kept();
            breaks(&mut cost);
            let broken = cost.broken();
            assert!(broken.len() == 1 && broken[0].contains(word), "{word}: {broken:?}");
        }
    }

    #[test]
    fn a_bench_moves_and_is_measured() {
        let mut bench = Bench::moving(2, 3, true).unwrap();
        let times = bench.times(500).unwrap();
        assert!(times.pass_ns > times.drives_ns && times.drives_ns > 0, "{times:?}");
    }
}
