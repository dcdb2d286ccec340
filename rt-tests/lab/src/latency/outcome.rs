//! All runs, what they come to, and whether it is what is promised.
use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use anyhow::Context;
use serde_json::{Value, json};

use super::golden::{self, Figures};
use super::histogram::{Histogram, side_by_side};
use super::stage::{self, ARMS, PHASES, Part, Run};
use crate::{Lab, host};

/// How much later than cyclictest kadenzd may wake, at p50 and at p99, ns of virtual time.
const ADDED_NS_MAX: i64 = 1_000;
/// Time that one instruction takes in counted time, ns.
const INSTRUCTION_NS: u64 = 2;
/// Width of a bin of the printed histograms, ns.
const BIN_NS: u64 = 500;

/// What was measured.
pub struct Outcome {
    /// One run per phase.
    runs: Vec<Run>,
    /// Whether the first phase gave the same bytes again.
    identical_twice: bool,
    versions: Value,
}

/// Measures every phase once and the first twice, two guests at a time.
///
/// # Errors
/// A guest fails, or says nothing that is a measurement.
pub fn measure(lab: &Lab, cycles: u32) -> anyhow::Result<Outcome> {
    let folder = lab.cache().scratch("latency")?;
    stage::furnish(&folder)?;
    let wanted: Vec<_> = PHASES.iter().chain(PHASES.first()).collect();
    let mut runs = Vec::new();
    for pair in wanted.chunks(2) {
        let both = thread::scope(|scope| {
            let begun: Vec<_> = pair
                .iter()
                .map(|phase| scope.spawn(|| stage::run(lab, &folder, **phase, cycles)))
                .collect();
            let joined = begun.into_iter().map(|one| one.join());
            joined.collect::<Result<Vec<_>, _>>()
        });
        let both = both.map_err(|_| anyhow::anyhow!("a measuring thread panicked"))?;
        for (run, phase) in both.into_iter().zip(pair) {
            let run = run.with_context(|| format!("{phase:?}"))?;
            println!("{phase:?}: {:.0} s on the host", run.took.as_secs_f64());
            runs.push(run);
        }
    }
    let again = runs.pop().context("the first phase again")?;
    let identical_twice = runs.first().is_some_and(|first| first.said == again.said);
    let versions = json!({
        "kernel": lab.kernel().release,
        "kernel_package": lab.kernel().package_version,
        "qemu": host::qemu_version()?,
    });
    Ok(Outcome { runs, identical_twice, versions })
}

impl Outcome {
    /// All phases of one company together.
    fn pooled(&self, arm: &str) -> Part {
        let mut pooled = Part::default();
        for part in self.runs.iter().filter_map(|run| run.parts.get(arm)) {
            pooled.floor.add(&part.floor);
            pooled.wake.add(&part.wake);
            pooled.pass.add(&part.pass);
            pooled.missed += part.missed;
        }
        pooled
    }

    fn figures(&self, arm: &str) -> Figures {
        let Part { floor, wake, pass, .. } = self.pooled(arm);
        Figures {
            p50_added_ns: added(&wake, &floor, 500),
            p99_added_ns: added(&wake, &floor, 990),
            pass_instructions: pass.percentile(500) / INSTRUCTION_NS,
        }
    }

    /// What is not as promised, or has changed against the golden figures in `golden`.
    ///
    /// # Errors
    /// The golden file cannot be read.
    pub fn broken(&self, golden: &Path) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        if !self.identical_twice {
            broken.push("the same run gave other bytes the second time".to_owned());
        }
        let golden = golden::read(golden)?;
        for (arm, _) in ARMS {
            let figures = self.figures(arm);
            for (at, added) in [("p50", figures.p50_added_ns), ("p99", figures.p99_added_ns)] {
                if added > ADDED_NS_MAX {
                    broken.push(format!(
                        "{arm}: kadenzd wakes {added} ns later than cyclictest at {at}; {ADDED_NS_MAX} ns are allowed"
                    ));
                }
            }
            let missed = self.pooled(arm).missed;
            if missed > 0 {
                broken.push(format!("{arm}: kadenzd missed {missed} cycles"));
            }
            broken.extend(golden::changed(arm, &figures, golden.get(arm)));
        }
        Ok(broken)
    }

    /// The figures that a golden file holds.
    #[must_use]
    pub fn golden(&self) -> golden::Golden {
        ARMS.iter().map(|(arm, _)| ((*arm).to_owned(), self.figures(arm))).collect()
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut value = json!({
            "schema_version": 1,
            "versions": self.versions,
            "identical_twice": self.identical_twice,
            "cyclictest_ns": self.pooled("churn").floor.json(),
            "kadenzd": {},
            "arms": {},
        });
        for (arm, about) in ARMS {
            let Part { floor, wake, pass, missed } = self.pooled(arm);
            let figures = self.figures(arm);
            value["kadenzd"][format!("{arm}_ns")] = wake.json();
            let phases = self.runs.iter().zip(PHASES).filter_map(|(run, phase)| {
                let part = run.parts.get(arm)?;
                Some(json!({
                    "shift_us": phase.shift_us,
                    "apart_us": phase.apart_us,
                    "cyclictest_ns": part.floor.json(),
                    "kadenzd_ns": part.wake.json(),
                }))
            });
            value["arms"][arm] = json!({
                "about": about,
                "samples": {"cyclictest": floor.samples(), "kadenzd": wake.samples()},
                "cyclictest_ns": floor.json(),
                "kadenzd_ns": wake.json(),
                "added_ns": {"p50": figures.p50_added_ns, "p99": figures.p99_added_ns},
                "missed_cycles": missed,
                "pass_ns": pass.json(),
                "instructions": {
                    "timer_to_first_line_min": wake.min() / INSTRUCTION_NS,
                    "timer_to_first_line_p50": wake.percentile(500) / INSTRUCTION_NS,
                    "pass_p50": figures.pass_instructions,
                },
                "phases": phases.collect::<Vec<_>>(),
            });
        }
        value
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "kernel {}, QEMU {}; counted time, {INSTRUCTION_NS} ns per instruction\n",
            self.versions["kernel_package"], self.versions["qemu"]
        );
        for (arm, about) in ARMS {
            let Part { floor, wake, pass, missed } = self.pooled(arm);
            let _ = writeln!(text, "\n{arm}: {about}; {missed} cycles missed");
            for (name, one) in [("cyclictest", &floor), ("kadenzd", &wake), ("whole pass", &pass)] {
                text += &line(name, one);
            }
            let maxima = self.runs.iter().filter_map(|run| run.parts.get(arm));
            let maxima = maxima.map(|part| {
                let [floor, wake] = [&part.floor, &part.wake].map(|one| us(one.percentile(1000)));
                format!("{floor:.2} / {wake:.2}")
            });
            let maxima = maxima.collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  max by phase, cyclictest / kadenzd: {maxima} µs");
            let figures = self.figures(arm);
            let _ = writeln!(
                text,
                "  added: p50 {} ns, p99 {} ns; instructions from timer to first line {} (min {}), of a pass {}",
                figures.p50_added_ns,
                figures.p99_added_ns,
                wake.percentile(500) / INSTRUCTION_NS,
                wake.min() / INSTRUCTION_NS,
                figures.pass_instructions
            );
            let _ = writeln!(text, "  {:>7} {:>40}|kadenzd", "µs", "cyclictest");
            text += &side_by_side(&floor, &wake, BIN_NS);
        }
        let _ = writeln!(text, "\nthe same bytes twice: {}", self.identical_twice);
        text
    }
}

fn added(wake: &Histogram, floor: &Histogram, permille: u64) -> i64 {
    wake.percentile(permille).cast_signed() - floor.percentile(permille).cast_signed()
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn line(name: &str, histogram: &Histogram) -> String {
    let at = |permille| us(histogram.percentile(permille));
    format!(
        "  {name:11} min {:6.2}  p50 {:6.2}  p90 {:6.2}  p99 {:6.2}  p99.9 {:6.2}  max {:6.2} µs, {} samples\n",
        us(histogram.min()),
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000),
        histogram.samples()
    )
}
