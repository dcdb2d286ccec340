//! A planner process on the far side of its gateway: streams plans from the published state, falls
//! silent, dies, comes back. What it does wrong on purpose is in mischief.
use std::collections::HashMap;

use kadenz_lanes::MailboxWriter;
use servo_core::setup::Setup;
use shm_layout::code::{Phase, Verdict};
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::{KNOTS_PER_BATCH_MAX, LAYOUT_HASH};

use super::mischief::Mischief;
use crate::island::Record;
use crate::plan::Plan;
use crate::random::Random;

/// Plans by path id: what a planner's program file is in life, readable after a restart.
pub type Programs = HashMap<u64, Plan>;

/// How a planner behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Batches are sent every so many cycles, from and to.
    pub batch_cycles: (u64, u64),
    /// Chance per batch, in a million, of coming far too late.
    pub late: u64,
    /// Chance per batch, in a million, of the process dying.
    pub death: u64,
    /// Chance per batch, in a million, of a defect in it.
    pub mischief: u64,
    /// Share of plans that go to the brink of what admission allows, in percent.
    pub wild_percent: u64,
    /// Largest share of the limits that is planned with.
    pub share_max: f64,
    /// Path time kept ahead, s, from and to.
    pub horizon_s: (f64, f64),
}

impl Manners {
    /// On time, alive and correct.
    pub const GOOD: Self = Self {
        batch_cycles: (8, 20),
        late: 0,
        death: 0,
        mischief: 0,
        wild_percent: 0,
        share_max: 0.8,
        horizon_s: (1.0, 1.0),
    };
    /// Often late, sometimes dead, correct.
    pub const SICKLY: Self =
        Self { late: 20_000, death: 2_000, share_max: 0.97, horizon_s: (0.05, 1.2), ..Self::GOOD };
    /// All that and wrong.
    pub const WRONG: Self = Self { mischief: 60_000, wild_percent: 30, ..Self::SICKLY };
}

/// One planner.
pub struct Planner {
    random: Random,
    writer: MailboxWriter<'static>,
    mischief: Mischief,
    /// How it behaves.
    pub manners: Manners,
    /// Its id, as the gateway verified it; a new one in every life.
    pub source_id: u64,
    lives: u64,
    slot: u64,
    heartbeat: u64,
    next_batch: u64,
    /// Silent until this cycle.
    silent_until: u64,
    horizon_s: f64,
    /// The path it would run or is running.
    path_id: Option<u64>,
    was_begun: bool,
    paths_planned: u64,
    /// Whether new paths are begun.
    pub is_willing: bool,
}

impl Planner {
    /// A planner that posts into the mailbox of `slot`.
    #[must_use]
    pub fn new(seed: u64, slot: usize, writer: MailboxWriter<'static>, manners: Manners) -> Self {
        Self {
            random: Random::stream(seed, &format!("planner {slot}")),
            writer,
            mischief: Mischief::new(seed, slot),
            manners,
            source_id: 1 + 1_000 * (slot as u64 + 1),
            lives: 0,
            slot: slot as u64,
            heartbeat: 0,
            next_batch: 0,
            silent_until: 0,
            horizon_s: 1.0,
            path_id: None,
            was_begun: false,
            paths_planned: 0,
            is_willing: true,
        }
    }

    /// It sends this plan, enabled or not, until it chooses another.
    pub fn offer(&mut self, plan: &Plan) {
        self.path_id = Some(plan.path_id);
        self.was_begun = false;
    }

    /// It says nothing before `cycle`.
    pub const fn be_silent_until(&mut self, cycle: u64) {
        self.silent_until = cycle;
    }

    /// It dies; its successor, with another id, speaks from `cycle` on and, when `resumes`, knows
    /// which path was under way.
    pub const fn die_until(&mut self, cycle: u64, resumes: bool) {
        self.silent_until = cycle;
        self.lives += 1;
        self.source_id = 1 + self.lives + 1_000 * (self.slot + 1);
        self.heartbeat = 0;
        if !resumes {
            self.path_id = None;
        }
    }

    /// One cycle of its life: `seen` is what the last cycle published.
    pub fn act(&mut self, setup: &Setup, seen: &Record, cycle: u64, programs: &mut Programs) {
        if cycle < self.silent_until || cycle < self.next_batch {
            return;
        }
        let (low, high) = self.manners.batch_cycles;
        self.next_batch = cycle + self.random.within(low, high);
        if self.random.per_million(self.manners.late) {
            self.silent_until = cycle + self.random.within(20, 800);
            return;
        }
        if self.random.per_million(self.manners.death) {
            let resumes = self.random.percent(60);
            let until = cycle + self.random.within(10, 3_000);
            self.die_until(until, resumes);
            return;
        }
        if self.random.percent(5) {
            let (low, high) = self.manners.horizon_s;
            self.horizon_s = self.random.between(low, high);
        }
        self.choose_path(setup, seen, programs);
        let mut batch = self.batch(setup, seen, programs);
        let copies = if self.random.per_million(self.manners.mischief) {
            self.mischief.spoil(&mut batch)
        } else {
            1
        };
        for _ in 0..copies {
            self.writer.post(&[&batch]);
        }
    }

    /// Goes on with the path under way if it knows it; plans another when the machine stands free.
    fn choose_path(&mut self, setup: &Setup, seen: &Record, programs: &mut Programs) {
        let header = &seen.header;
        if header.path_id != 0 {
            self.path_id = programs.contains_key(&header.path_id).then_some(header.path_id);
            self.was_begun = true;
            return;
        }
        let stands = header.phase == Phase::Standstill.code()
            && header.verdict == Verdict::Follow.code()
            && self.is_willing;
        if !stands {
            return;
        }
        let start: Vec<f64> = seen.axes.iter().map(|axis| axis.position_reference).collect();
        let fits = self.path_id.and_then(|id| programs.get(&id)).is_some_and(|plan| {
            plan.knots.first().is_some_and(|(_, row)| {
                row.iter().zip(&start).all(|(knot, p)| knot.position.to_bits() == p.to_bits())
            })
        });
        // Now and then it thinks better of a plan that waits.
        let waiting = fits && !self.was_begun && self.random.percent(80);
        if !waiting {
            self.was_begun = false;
            self.paths_planned += 1;
            let path_id = (self.source_id << 24) | self.paths_planned;
            let share = self.random.between(0.3, self.manners.share_max);
            let plan = if self.manners.wild_percent > 0
                && self.random.percent(self.manners.wild_percent)
            {
                Plan::wild(&mut self.random, setup, &start, path_id)
            } else {
                Plan::random(&mut self.random, setup, &start, share, path_id)
            };
            programs.insert(path_id, plan);
            self.path_id = Some(path_id);
        }
    }

    /// The batch it sends now: knots from the one wanted next to the horizon, or a mere heartbeat.
    fn batch(&mut self, setup: &Setup, seen: &Record, programs: &Programs) -> Vec<u64> {
        let header = &seen.header;
        let plan = self.path_id.and_then(|id| programs.get(&id));
        let begin_s = plan.and_then(|plan| plan.knots.first()).map_or(0.0, |knot| knot.0);
        let under_way = plan.is_some_and(|plan| plan.path_id == header.path_id);
        let (from, tau_s) =
            if under_way { (header.knot_next_index as usize, header.tau_s) } else { (0, begin_s) };
        // Overlap is harmless by contract; it happens whenever a state record comes late.
        let from = from.saturating_sub(self.random.below(4) as usize);
        let knots = plan.map_or(&[][..], |plan| plan.knots.get(from..).unwrap_or(&[]));
        let count = knots
            .iter()
            .take(KNOTS_PER_BATCH_MAX)
            .take_while(|(at_s, _)| *at_s <= tau_s + self.horizon_s)
            .count()
            .max(2)
            .min(knots.len());
        self.heartbeat += 1;
        let mut head = KnotBatchHeader {
            layout_hash: LAYOUT_HASH,
            path_id: plan.map_or(1, |plan| plan.path_id),
            first_index: from as u64,
            trace_id: 0x7ace_0000 + self.heartbeat,
            heartbeat: self.heartbeat,
            source_id: self.source_id,
            knot_count: u16::try_from(count).unwrap_or(0),
            axis_count: u16::try_from(setup.axis_count).unwrap_or(0),
            last_is_final: u16::from(
                count > 0 && count == knots.len() && plan.is_some_and(|plan| plan.ends),
            ),
            ..KnotBatchHeader::zeroed()
        };
        for (slot, (at_s, _)) in head.tau_s.iter_mut().zip(&knots[..count]) {
            *slot = *at_s;
        }
        let mut words = head.as_words().to_vec();
        for (_, row) in &knots[..count] {
            words.extend_from_slice(KnotAxis::slice_as_words(row));
        }
        words
    }
}
