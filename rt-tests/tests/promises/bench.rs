//! The bench: one quiet simulation, and words for what is seen on it.
use kadenz_config::Machine;
use kadenz_config::machine::OverrunPolicy;
use rt_tests::actors::planner::Planner;
use rt_tests::island::Record;
use rt_tests::machines;
use rt_tests::simulation::Simulation;
use shm_layout::code::{EventKind, Phase, RequestKind, state_flag};

/// Cycles that must suffice for anything that has to come to an end on the bench.
const PATIENCE: u64 = 30_000;

/// One quiet simulation.
pub(crate) struct Bench(pub(crate) Simulation);

impl Bench {
    pub(crate) fn new(machine: &str, seed: u64) -> Self {
        Self::on(machines::load(machine).expect("a known machine"), seed)
    }

    pub(crate) fn on(machine: Machine, seed: u64) -> Self {
        let mut bench = Self(Simulation::bench(machine, seed).expect("a bench"));
        bench.run(50);
        bench
    }

    /// Enabled, and moving at more than a third of the top rate along some path.
    pub(crate) fn moving(machine: &str, seed: u64) -> Self {
        Self::new(machine, seed).moves()
    }

    /// A moving arm that stops after `missed_per_s_max` missed cycles.
    pub(crate) fn strict(missed_per_s_max: u32, seed: u64) -> Self {
        let mut machine = machines::load("demo-arm").expect("a known machine");
        machine.overrun.policy = OverrunPolicy::StopAfter { missed_per_s_max };
        Self::on(machine, seed).moves()
    }

    fn moves(mut self) -> Self {
        let bench = &mut self;
        bench.ask(RequestKind::Enable, 0.0);
        bench.until("axes move well inside a path", |now| {
            now.header.path_rate > 0.99
                && speed(now) > 0.2
                && now.header.flags & state_flag::PATH_COMPLETE == 0
        });
        self
    }

    pub(crate) fn run(&mut self, cycles: u64) {
        if let Err(error) = self.0.run(cycles) {
            panic!("{error:#}");
        }
    }

    pub(crate) fn ask(&mut self, kind: RequestKind, value: f64) {
        self.0.ask(kind, value);
    }

    pub(crate) fn now(&self) -> &Record {
        self.0.last().expect("a first cycle")
    }

    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Record) -> bool) -> u64 {
        for cycles in 1..=PATIENCE {
            match self.0.step() {
                Ok(now) if holds(now) => return cycles,
                Ok(_) => {}
                Err(error) => panic!("{error:#}"),
            }
        }
        panic!("not in {PATIENCE} cycles: {what}; {:?}", self.now().header);
    }

    pub(crate) fn planner(&mut self) -> &mut Planner {
        &mut self.0.planners[0]
    }
}

pub(crate) fn speed(now: &Record) -> f64 {
    now.axes.iter().fold(0.0, |most, axis| axis.velocity_reference.abs().max(most))
}

pub(crate) fn is_at_rest(now: &Record) -> bool {
    now.header.flags & state_flag::AT_REST != 0
}

pub(crate) fn phase_is(now: &Record, phase: Phase) -> bool {
    now.header.phase == phase.code()
}

pub(crate) fn positions(now: &Record) -> Vec<f64> {
    now.axes.iter().map(|axis| axis.position_reference).collect()
}

pub(crate) fn answer(now: &Record, kind: RequestKind) -> Option<u32> {
    let answered = now.events.iter().find(|event| {
        event.kind == EventKind::RequestAnswered.code() && event.detail == kind.code()
    });
    answered.map(|event| event.code)
}
