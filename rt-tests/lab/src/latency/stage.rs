//! One run: a guest in counted time in which kadenzd moves its axes, cyclictest wakes half a period later, and clients
//! come, stay and are killed beside both.
//!
//! All of it on one CPU. In counted time several CPUs take turns, and time passes for all while one has its turn: what
//! a second CPU does would count as lateness of the first (a wake-up beside a busy CPU was seen at 13 or at 25 µs, by
//! the number of the CPU alone, where it takes 10 beside an idle one; 2026-11-25). One CPU has no turns, and the
//! company that the loop must preempt is the harder case.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::histogram::Histogram;
use crate::{Boot, Isolation, Lab, programs};

const SCRIPT: &str = include_str!("arms.sh");
/// Six joints, the circle and rectangles of a robot's test path.
const PATH: &str = include_str!("../../../../clients/planner/trajectories/iso9283_arm.csv");
const MACHINE: &str = include_str!("../../../../daemon/config/machines/demo-arm.toml");
/// What a guest lacks: one user does for gateways and loop, and its only CPU is everybody's.
const EXEMPT: &str = "exempt = [\"one-user\", \"isolated-cpu\"]\n";
/// Guard against waiting for ever; never a measure of anything.
const PATIENCE: Duration = Duration::from_secs(900);

/// What stands beside the loop, in the order in which it is tried.
pub const ARMS: [(&str, &str); 3] = [
    ("idle", "gateways and a planner, no client"),
    ("clients", "eight clients: the planner and seven monitors"),
    ("churn", "clients that come and are killed, three a second"),
];

/// How one run differs from the next.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// How long everything waits before it begins: where its grids fall among the kernel's own timers.
    pub shift_us: u32,
    /// How long after the loop cyclictest wakes, of a period of 1,000.
    pub apart_us: u32,
}

/// Three phases.
pub const PHASES: [Phase; 3] = [
    Phase { shift_us: 0, apart_us: 500 },
    Phase { shift_us: 337, apart_us: 425 },
    Phase { shift_us: 671, apart_us: 575 },
];

/// What one run found beside one company.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Wake-up latency of cyclictest, ns.
    pub floor: Histogram,
    /// Wake-up latency of kadenzd's loop, ns.
    pub wake: Histogram,
    /// Grid points that kadenzd passed over.
    pub missed: u64,
    /// From a wake-up to the end of the pass's last stage, ns.
    pub pass: Histogram,
}

/// What one run found, and its words to the byte.
#[derive(Clone, Debug)]
pub struct Run {
    /// By the name of the company.
    pub parts: BTreeMap<String, Part>,
    /// All that was printed.
    pub said: String,
    /// How long it took on the host.
    pub took: Duration,
}

/// Puts what a guest needs into `folder`.
///
/// # Errors
/// The programs cannot be built, or the file system.
pub fn furnish(folder: &Path) -> anyhow::Result<()> {
    programs::stage(&folder.join("bin"))?;
    fs::write(folder.join("path.csv"), PATH)?;
    fs::write(folder.join("machine.toml"), machine(MACHINE)?)?;
    Ok(())
}

/// The embedded machine without its exemptions, and its loop on the last CPU that it is given.
fn machine(text: &str) -> anyhow::Result<String> {
    let begin = text.find("exempt = [").context("the embedded machine exempts nothing")?;
    let length = text[begin..].find("]\n").context("the embedded machine's exemptions")? + 2;
    Ok([&text[..begin], EXEMPT, &text[begin + length..]].concat())
}

/// Boots and measures: `cycles` of each company.
///
/// # Errors
/// The guest fails, or says nothing that is a measurement.
pub fn run(lab: &Lab, folder: &Path, phase: Phase, cycles: u32) -> anyhow::Result<Run> {
    let boot = Boot {
        isolation: Isolation::None,
        cpus: 1,
        isolated: 0,
        host_dir: Some(folder.to_owned()),
        patience: PATIENCE,
        ..Boot::default()
    };
    let Phase { shift_us, apart_us } = phase;
    let head = format!("SHIFT_S=0.{shift_us:06} CYCLES={cycles} APART_US={apart_us}\n");
    let output = lab.icount(&boot, &(head + SCRIPT))?;
    ensure!(output.code == 0, "in the guest: {}\n{}", output.code, output.said);
    let parts = parts(&output.said)?;
    for (name, part) in &parts {
        let (floor, wake) = (part.floor.samples(), part.wake.samples());
        // cyclictest tells those beyond its histogram apart; then it is no floor.
        ensure!(
            floor == u64::from(cycles) && wake >= floor,
            "{name}: {floor} wake-ups of cyclictest and {wake} of kadenzd where {cycles} were asked for"
        );
    }
    Ok(Run { parts, said: output.said, took: output.took })
}

/// Reads what `arms.sh` prints: a heading, then a histogram, again and again.
fn parts(said: &str) -> anyhow::Result<BTreeMap<String, Part>> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    let body = said.strip_suffix("done\n").context("the guest did not come to its end")?;
    let mut blocks: Vec<(&str, String)> = Vec::new();
    for line in body.lines() {
        match blocks.last_mut() {
            _ if line.starts_with(char::is_alphabetic) => blocks.push((line, String::new())),
            Some((_, text)) => *text += &format!("{line}\n"),
            None => anyhow::bail!("the guest said `{line}` before any heading"),
        }
    }
    for (heading, text) in &blocks {
        let histogram = Histogram::parse(text).with_context(|| (*heading).to_owned())?;
        let words: Vec<&str> = heading.split(' ').collect();
        match words.as_slice() {
            ["cyclictest", name] => parts.entry((*name).to_owned()).or_default().floor = histogram,
            ["kadenzd", name, "4"] => parts.entry((*name).to_owned()).or_default().wake = histogram,
            ["kadenzd", name, "5"] => {
                parts.entry((*name).to_owned()).or_default().missed = histogram.sum();
            }
            ["kadenzd", name, "6"] => parts.entry((*name).to_owned()).or_default().pass = histogram,
            _ => anyhow::bail!("the guest said `{heading}`\n{text}"),
        }
    }
    let missing = ARMS.iter().find(|(name, _)| !parts.contains_key(*name));
    ensure!(missing.is_none(), "the guest measured nothing of {missing:?}");
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_machine_exempts_what_a_guest_lacks_and_nothing_else() {
        let text = machine(MACHINE).unwrap();
        assert!(text.contains(EXEMPT) && !text.contains("\"preempt-rt\""));
        assert!(text.contains("[[axis]]") && text.contains("priority_fifo = 80"));
    }

    #[test]
    fn what_the_guest_prints_is_read_or_refused() {
        let mut said = String::new();
        for (name, _) in ARMS {
            said += &format!(
                "cyclictest {name}\n0010 0002\nkadenzd {name} 4\n12 2\nkadenzd {name} 5\n0 2\n\
                 kadenzd {name} 6\n900 2\n"
            );
        }
        let found = parts(&format!("{said}done\n")).unwrap();
        assert_eq!(found["churn"].wake.percentile(500), 12);
        assert_eq!(found["idle"].pass.percentile(500), 900);
        assert!(parts(&said).is_err(), "without its end it is cut off");
        assert!(parts(&format!("kadenzd: no\n{said}done\n")).is_err());
    }
}
