//! What both programs share: a run from its name and seed, and the words of a failure.
use anyhow::Context;

use crate::machines;
use crate::simulation::{Company, Simulation};

/// A finished run.
pub struct Finished {
    /// The simulation, ended.
    pub simulation: Simulation,
    /// Seed of the run.
    pub seed: u64,
}

/// Runs `cycles` cycles of `machine` with `seed` in its company, then shuts down.
///
/// # Errors
/// A promise was broken: seed, cycle, axis, numbers, and the command that repeats the run.
pub fn simulate(
    machine: &str,
    seed: u64,
    cycles: u64,
    file_bytes_max: usize,
) -> anyhow::Result<Finished> {
    let company = Company::of_seed(seed);
    let run = || {
        let described = machines::load(machine)?;
        let mut simulation = Simulation::with_company(described, seed, company, file_bytes_max)?;
        simulation.run(cycles)?;
        simulation.end()?;
        Ok::<_, anyhow::Error>(simulation)
    };
    let simulation = run().with_context(|| {
        format!(
            "machine {machine}, seed {seed} ({company:?}); repeat it with: cargo run --release -p \
             rt-tests --bin simulate -- --machine {machine} --seed {seed} --cycles {cycles}"
        )
    })?;
    Ok(Finished { simulation, seed })
}
