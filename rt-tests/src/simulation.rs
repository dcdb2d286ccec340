//! One run: an island, its actors, its checker, its recording; a cycle at a time. Start here.
use anyhow::{Context, ensure};
use kadenz_config::Machine;
use servo_core::State;
use shm_layout::code::{EventKind, Phase, Reason, RequestKind, Verdict};

use crate::actors::operator::Operator;
use crate::actors::planner::{Manners, Planner, Programs};
use crate::actors::vandal::Vandal;
use crate::actors::weather::{Climate, Weather};
use crate::checker::Checker;
use crate::island::{Island, Pace, Record};
use crate::recording::Recording;
use crate::summary::Summary;

/// Longest time from the wish to end until torque is off: the longest stop, and drives that do not
/// answer, s.
const END_S_MAX: f64 = 8.0;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Correct planners that are late and die; polite operators; rough weather.
    Honest,
    /// Planners that are wrong, operators that are rude.
    Wrong,
    /// All that, and vandals in every inbound lane.
    Hostile,
}

impl Company {
    /// The company of a seed: all of them come in turn.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::Honest,
            1 => Self::Wrong,
            _ => Self::Hostile,
        }
    }
}

/// Where the machine stands, for a failure's message.
fn in_words(record: &Record) -> String {
    let header = &record.header;
    let states: Vec<String> =
        record.axes.iter().map(|axis| format!("{:04x}", axis.statusword)).collect();
    let events: Vec<&str> =
        record.events.iter().map(|event| EventKind::word_of(event.kind)).collect();
    format!(
        "{}, {}, {}, skipped {}, path {:#x}, statuswords {}, events {events:?}",
        Phase::word_of(header.phase),
        Verdict::word_of(header.verdict),
        Reason::word_of(header.reason),
        header.skipped,
        header.path_id,
        states.join(" ")
    )
}

/// A simulation under way.
pub struct Simulation {
    /// The island and its plant.
    pub island: Island,
    /// The planners, in the order of their slots.
    pub planners: Vec<Planner>,
    /// The operator.
    pub operator: Operator,
    /// All plans made.
    pub programs: Programs,
    /// The checker.
    pub checker: Checker,
    /// The replay gate.
    pub recording: Recording,
    operator_is_free: bool,
    vandal: Vandal,
    weather: Weather,
    /// Whether every accepted knot must be one of the programs'.
    honest: bool,
    last: Option<Record>,
    cycle: u64,
}

impl Simulation {
    /// A run with `company`; the recording's file takes up to `file_bytes_max`.
    ///
    /// # Errors
    /// The machine's plant is not plausible.
    pub fn with_company(
        machine: Machine,
        seed: u64,
        company: Company,
        file_bytes_max: usize,
    ) -> anyhow::Result<Self> {
        let honest = company == Company::Honest;
        let manners = if honest { Manners::SICKLY } else { Manners::WRONG };
        let mut simulation = Self::new(machine, seed, manners, 2, file_bytes_max)?;
        let inbound = simulation.island.inbound;
        simulation.operator = Operator::new(seed, inbound.request_writer()?, 1_000, !honest);
        simulation.operator_is_free = true;
        simulation.weather = Weather::new(seed, Climate::ROUGH);
        let attacks = if company == Company::Hostile { 4_000 } else { 0 };
        simulation.vandal = Vandal::new(seed, inbound, attacks);
        simulation.honest = honest;
        Ok(simulation)
    }

    /// A quiet bench: one good planner, an operator that only does as told, no weather.
    ///
    /// # Errors
    /// The machine's plant is not plausible.
    pub fn bench(machine: Machine, seed: u64) -> anyhow::Result<Self> {
        Self::new(machine, seed, Manners::GOOD, 1, 1 << 20)
    }

    fn new(
        machine: Machine,
        seed: u64,
        manners: Manners,
        planners: usize,
        file_bytes_max: usize,
    ) -> anyhow::Result<Self> {
        let scales = machine.axes.iter().map(|axis| axis.counts_per_unit).collect();
        let island = Island::new(machine)?;
        let inbound = island.inbound;
        let planners = (0..planners)
            .map(|slot| Ok(Planner::new(seed, slot, inbound.mailbox_writer(slot)?, manners)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            planners,
            operator: Operator::new(seed, inbound.request_writer()?, 0, false),
            operator_is_free: false,
            programs: Programs::new(),
            checker: Checker::new(&island.setup, scales),
            recording: Recording::new(&island.machine, &island.setup, file_bytes_max),
            vandal: Vandal::new(seed, inbound, 0),
            weather: Weather::new(seed, Climate::default()),
            honest: true,
            last: None,
            cycle: 0,
            island,
        })
    }

    /// Cycles passed.
    #[must_use]
    pub const fn cycle(&self) -> u64 {
        self.cycle
    }

    /// What happened so far.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.checker.summary
    }

    /// The last record published; `None` before the first cycle.
    #[must_use]
    pub const fn last(&self) -> Option<&Record> {
        self.last.as_ref()
    }

    /// Asks the machine for something, as an operator would.
    pub fn ask(&mut self, kind: RequestKind, value: f64) {
        self.operator.ask(kind, value);
    }

    /// One cycle, timed by the weather.
    ///
    /// # Errors
    /// A promise was broken; the message names cycle, axis and numbers.
    pub fn step(&mut self) -> anyhow::Result<&Record> {
        let pace = self.weather.act(&mut self.island, self.cycle);
        self.step_at(pace)
    }

    /// One cycle, timed by the caller.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_at(&mut self, pace: Pace) -> anyhow::Result<&Record> {
        if let Some(seen) = &self.last {
            for planner in &mut self.planners {
                planner.act(&self.island.setup, seen, self.cycle, &mut self.programs);
            }
            if self.operator_is_free {
                self.operator.act(seen, self.island.wake.wake_ns);
            }
            self.vandal.act();
        }
        let record = self.island.pass(pace)?;
        let cycle = self.cycle;
        let judged = self.checker.check(&self.island.state.intake, &record);
        judged.with_context(|| format!("cycle {cycle} ({})", in_words(&record)))?;
        self.check_programs().with_context(|| format!("cycle {cycle}"))?;
        self.recording.take(&self.island).with_context(|| format!("cycle {cycle}"))?;
        self.cycle += 1;
        Ok(self.last.insert(record))
    }

    /// Runs `cycles` cycles.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn run(&mut self, cycles: u64) -> anyhow::Result<()> {
        (0..cycles).try_for_each(|_| self.step().map(|_| ()))
    }

    /// Asks the daemon to end and runs until it has.
    ///
    /// # Errors
    /// As [`Self::step`], or it did not end in time.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.island.shut_down();
        let cycles_max = END_S_MAX / self.island.setup.period_s();
        let begun = self.cycle;
        while !self.island.state.has_ended() {
            self.step()?;
            let lasted = self.cycle - begun;
            ensure!(lasted as f64 <= cycles_max, "not ended {lasted} cycles after it was asked to");
        }
        Ok(())
    }

    /// The daemon is killed and a new one starts at once: the plant runs on, all memory is gone, and
    /// checker and recording begin anew.
    pub fn restart_daemon(&mut self) {
        *self.island.state = State::new();
        let scales = self.island.machine.axes.iter().map(|axis| axis.counts_per_unit).collect();
        self.checker = Checker::new(&self.island.setup, scales);
        self.recording = Recording::new(&self.island.machine, &self.island.setup, 1 << 20);
        self.last = None;
    }

    /// No honest planner's knot arrives as another's or as another number.
    fn check_programs(&self) -> anyhow::Result<()> {
        if !self.honest {
            return Ok(());
        }
        for one in self.checker.accepted_last() {
            let plan = self.programs.get(&one.path_id).context("a path that nobody planned")?;
            let planned = usize::try_from(one.knot.index).ok().and_then(|at| plan.knots.get(at));
            let (tau_s, axes) = planned.context("a knot that nobody planned")?;
            ensure!(
                tau_s.to_bits() == one.knot.tau_s.to_bits()
                    && axes.iter().zip(&one.knot.axes).all(|(a, b)| a == b),
                "knot {} of path {:#x} is not the one planned",
                one.knot.index,
                one.path_id
            );
        }
        Ok(())
    }
}
