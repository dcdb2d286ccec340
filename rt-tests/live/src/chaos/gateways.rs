//! Gateways killed, stopped as a whole, and held by one of their threads.
use std::fs;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Hand;
use super::crowd::{Client, pass_ms};
use super::stage::Stage;

const ROLES: [&str; 3] = ["view", "plan", "operate"];

fn gateway(stage: &Stage, role: &str) -> anyhow::Result<Pid> {
    stage.process(&["kadenz-gateway", &format!("--role {role}")])
}

pub(super) fn kills(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    for _ in 0..hand.ground.of(8, 1) {
        for role in ROLES {
            stage.speed_up()?;
            pass_ms(hand.random.below(40));
            let _gone = kill(gateway(stage, role)?, Signal::SIGKILL);
            hand.did(1, 0);
            if hand.random.percent(30) {
                // Its successor dies within its start.
                pass_ms(hand.random.within(10, 40));
                let _gone = kill(gateway(stage, role)?, Signal::SIGKILL);
                hand.did(1, 0);
            }
            hand.recover(stage)?;
        }
    }
    // All of them at once.
    stage.speed_up()?;
    for pid in stage.set.pids(&["kadenz-gateway"]) {
        let _gone = kill(pid, Signal::SIGKILL);
        hand.did(1, 0);
    }
    hand.recover(stage)
}

pub(super) fn freezes(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    for _ in 0..hand.ground.of(4, 1) {
        for role in ROLES {
            stage.speed_up()?;
            let pid = gateway(stage, role)?;
            let _gone = kill(pid, Signal::SIGSTOP);
            hand.did(1, 0);
            if hand.random.percent(40) {
                // For a moment only: it goes on where it was.
                pass_ms(hand.random.within(5, 120));
                let _gone = kill(pid, Signal::SIGCONT);
            }
            hand.recover(stage)?;
        }
    }
    Ok(())
}

pub(super) fn hangs(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    for _ in 0..hand.ground.of(2, 1) {
        for role in ROLES {
            stage.speed_up()?;
            let pid = gateway(stage, role)?;
            hold(stage, hand, &[pid.as_raw()])?;
        }
        // A canary that is away is noticed after 200 welcomes of 10 ms each: the passes go on meanwhile.
        let canary = thread_of(gateway(stage, "view")?, "canary")?;
        hold(stage, hand, &[canary])?;
    }
    Ok(())
}

/// Holds `threads` until whoever notices has ended their process, then waits for service.
fn hold(stage: &mut Stage, hand: &mut Hand<'_>, threads: &[i32]) -> anyhow::Result<()> {
    let list: Vec<String> = threads.iter().map(ToString::to_string).collect();
    let arguments = ["--ms".into(), "10000".into(), "--pids".into(), list.join(",")];
    let holder = Client::start(stage.dir(), "hang", &arguments, None)?;
    pass_ms(50);
    hand.recover(stage)?;
    hand.did(1, 0);
    // It ends once what it holds is gone.
    let deed = holder.deed()?.context("a thread could not be held")?;
    hand.evidence.failures.extend(deed.failures);
    Ok(())
}

fn thread_of(pid: Pid, name: &str) -> anyhow::Result<i32> {
    for entry in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        if fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim() == name {
            return entry.file_name().to_string_lossy().parse().context("a thread's id");
        }
    }
    anyhow::bail!("process {pid} has no thread {name}")
}
