//! A second daemon beside the first, and a killed one's successor.
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};

use super::Hand;
use super::crowd::pass_ms;
use super::leaks;
use super::sight::{Stolen, wait_for};
use super::stage::{PATIENCE, Scenery, Stage, judge_arm, runtime_dir};
use crate::{binary, ends_with_us};

fn start_another(program: &str, before: &[&str], stage: &Stage) -> anyhow::Result<Output> {
    let mut command = Command::new(binary(program)?);
    command
        .args(before)
        .arg("--runtime-dir")
        .arg(stage.dir().as_path())
        .args(["--demo", "demo-arm"]);
    ends_with_us(&mut command).stdin(Stdio::null()).output().context("starting another")
}

pub(super) fn second(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    for _ in 0..hand.ground.of(4, 1) {
        for (program, verb) in [("kadenzd", &[][..]), ("kadenz", &["up"][..])] {
            let output = start_another(program, verb, stage)?;
            let words = String::from_utf8_lossy(&output.stderr);
            let refused = !output.status.success()
                && (words.contains("held by a living kadenzd")
                    || words.contains("serves there already"));
            hand.did(1, u64::from(refused));
            if !refused {
                hand.fail(format!("a second {program} ended with {}: {words}", output.status));
            }
        }
    }
    Ok(())
}

/// Leftovers as bad as a killed daemon's directory can be made by its own user.
fn spoil_leftovers(stage: &Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let dir = stage.dir().as_path();
    for name in ["flight.ring", "kadenzd.lock", "view.epoch", "plan.epoch"] {
        let length = usize::try_from(hand.random.within(1, 5_000))?;
        let noise: Vec<u8> = (0..length).map(|_| hand.random.bits().to_le_bytes()[0]).collect();
        fs::write(dir.join(name), noise)?;
        hand.did(1, 0);
    }
    for role in ["view", "plan"] {
        let junk = dir.join(role).join("e00000000").join("nodes").join("junk");
        fs::create_dir_all(&junk)?;
        fs::write(junk.join("file"), "x")?;
        hand.did(1, 0);
    }
    Ok(())
}

pub(super) fn kill_and_restart(hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let before = leaks::shared_memory();
    let ground = hand.ground;
    for _ in 0..ground.of(6, 1) {
        let mut stage = Stage::start(ground, "kill", &Scenery::default())?;
        stage.speed_up()?;
        pass_ms(hand.random.below(300));
        let missed = stage.observer.newest().map_or([0; 5], |sight| sight.missed_by_cause);
        kill(stage.process(&["kadenzd"])?, Signal::SIGKILL)?;
        hand.did(1, 0);
        hand.evidence.lives += 1;
        wait_for(PATIENCE, || (!stage.set.is_alive()).then_some(()))
            .context("`kadenz up` does not end after its kadenzd")?;
        spoil_leftovers(&stage, hand)?;
        let inputs = stage.inputs().clone();
        drop(stage);
        let motion = judge_arm(&inputs)?;
        ensure!(motion.cycles > 0, "nothing was recorded before the kill");
        hand.take_life(&motion, missed);

        let (begun, stolen) = (Instant::now(), Stolen::now());
        let stage = Stage::start(ground, "kill", &Scenery::default())?;
        let took_ms = u64::try_from(begun.elapsed().as_millis())?;
        hand.evidence.note_recovery(took_ms, stolen.since_ms());
        let curtain = stage.end(true)?;
        hand.take_life(&curtain.motion, curtain.missed_by_cause);
    }
    // The directory was there before the successors, who leave it standing.
    let dir = runtime_dir("kill")?;
    fs::remove_dir_all(dir.as_path())?;
    hand.evidence.leaked_files = leaks::left_since(&before, dir.as_path());
    Ok(())
}
