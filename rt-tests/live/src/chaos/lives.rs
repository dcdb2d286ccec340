//! Client lives: started, killed, stopped and continued at random instants, several at a time.
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::Hand;
use super::crowd::{Client, pass_ms};
use super::stage::Stage;

/// Lives at a time; a domain has places for 14 clients besides the observer and its own.
const AT_A_TIME: usize = 6;
/// Between two starts, ms: with 3 ms of clearing for each dead client the gateways' canaries keep up.
const START_EVERY_MS: u64 = 45;
/// Every so many lives one of the set's own clients is killed, too.
const OWN_EVERY: u64 = 60;

/// What becomes of a life.
#[derive(Clone, Copy)]
enum Fate {
    /// Killed.
    Kill,
    /// Asked to end.
    Ask,
    /// Stopped, then killed.
    StopAndKill,
    /// Stopped, continued, then killed.
    StopAndContinue,
}

/// One step of a life to come.
struct Due {
    at: Instant,
    signals: Vec<(u64, Signal)>,
}

struct Life {
    client: Client,
    due: Due,
}

fn fate_of(hand: &mut Hand<'_>, now: Instant) -> Due {
    let fates = [Fate::Kill, Fate::Kill, Fate::Ask, Fate::StopAndKill, Fate::StopAndContinue];
    let fate = *hand.random.pick(&fates);
    // From within its start to well within its work.
    let at = now + Duration::from_millis(hand.random.within(0, 300));
    let (short, long) = (hand.random.within(1, 60), hand.random.within(30, 250));
    let signals = match fate {
        Fate::Kill => vec![(0, Signal::SIGKILL)],
        Fate::Ask => vec![(0, Signal::SIGTERM), (long, Signal::SIGKILL)],
        Fate::StopAndKill => vec![(0, Signal::SIGSTOP), (long, Signal::SIGKILL)],
        Fate::StopAndContinue => {
            vec![(0, Signal::SIGSTOP), (long, Signal::SIGCONT), (short, Signal::SIGKILL)]
        }
    };
    Due { at, signals: signals.into_iter().rev().collect() }
}

fn start(stage: &Stage, hand: &mut Hand<'_>) -> anyhow::Result<Client> {
    let dir = stage.dir();
    match hand.random.below(100) {
        0..68 => Client::start(dir, "view", &[], None),
        68..90 => Client::start(dir, "knots", &[], None),
        90..96 => Client::program("kadenz-monitor", &["--json"], dir),
        _ => {
            let out = hand.ground.out.join("storm-recordings");
            Client::program("kadenz-logger", &["--out", &out.to_string_lossy()], dir)
        }
    }
}

/// All lives of the run but those of other attacks.
pub(super) fn storm(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let wanted = hand.ground.lives;
    let mut living: Vec<Life> = Vec::new();
    let mut next_start = Instant::now();
    while hand.evidence.lives < wanted {
        let now = Instant::now();
        let started = hand.evidence.lives + living.len() as u64;
        if living.len() < AT_A_TIME && now >= next_start && started < wanted {
            let client = start(stage, hand)?;
            living.push(Life { client, due: fate_of(hand, now) });
            next_start = now + Duration::from_millis(START_EVERY_MS);
        }
        let mut index = 0;
        while let Some(life) = living.get_mut(index) {
            if now < life.due.at {
                index += 1;
                continue;
            }
            match life.due.signals.pop() {
                Some((_, signal)) => {
                    life.client.signal(signal);
                    hand.evidence.actions += 1;
                    let after_ms = life.due.signals.last().map_or(0, |(ms, _)| *ms);
                    life.due.at = now + Duration::from_millis(after_ms);
                }
                None => {
                    living.swap_remove(index).client.kill();
                    hand.evidence.lives += 1;
                    if hand.evidence.lives.is_multiple_of(OWN_EVERY) {
                        kill_own(stage, hand)?;
                    }
                }
            }
        }
        pass_ms(2);
    }
    Ok(())
}

/// Kills the planner or the logger of the set; a person resumes afterwards.
fn kill_own(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let name = *hand.random.pick(&["kadenz-planner", "kadenz-planner", "kadenz-logger"]);
    let victim = stage.process(&[name])?;
    let _gone = kill(victim, Signal::SIGKILL);
    hand.evidence.lives += 1;
    hand.evidence.actions += 1;
    hand.recover(stage)?;
    stage.speed_up()?;
    Ok(())
}
