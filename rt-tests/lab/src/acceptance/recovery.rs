//! Processes that die or freeze, and how they are back.
use anyhow::ensure;

use super::{Ground, STATUS, passed};
use crate::checks::Check;

/// Kills the process of `unit` and waits until another one of it runs; gives how long that took, ms.
fn kill(ground: &mut Ground, unit: &str) -> anyhow::Result<u64> {
    let said = ground.guest.must(&format!(
        "old=$(systemctl show -P MainPID {unit}); begun=$(date +%s%N); kill -9 $old
         for i in $(seq 3000); do
             new=$(systemctl show -P MainPID {unit})
             if [ $new != 0 ] && [ $new != $old ] && systemctl -q is-active {unit}; then
                 echo $((($(date +%s%N) - begun) / 1000000)); exit 0
             fi
             sleep 0.01
         done
         echo never; exit 1"
    ))?;
    Ok(said.trim().parse()?)
}

/// Asks to go on until the axes do: asked before somebody sends again, the machine holds again.
fn resumed() -> String {
    format!("{{ kadenz resume; sleep 0.3; {STATUS} | grep -q '\"is_at_rest\":false'; }}")
}

pub(super) const CLIENTS_ARE_BACK: Check<Ground> = Check {
    name: "logger and monitor killed (kill -9) under way are started again, and the axes move on",
    run: |ground| {
        ground.guest.must("systemctl start kadenz-monitor.service")?;
        ground.moves()?;
        for unit in ["kadenz-logger@main.service", "kadenz-monitor.service"] {
            let ms = kill(ground, unit)?;
            println!("        {unit} is back after {ms} ms");
            ground.is_undisturbed()?;
        }
        ground.rests()?;
        passed()
    },
};

pub(super) const GATEWAYS_ARE_BACK: Check<Ground> = Check {
    name: "gateways view and operate killed under way are started again and serve, and the axes move on",
    run: |ground| {
        ground.moves()?;
        for role in ["view", "operate"] {
            let ms = kill(ground, &format!("kadenz-gateway@{role}.service"))?;
            println!("        gateway {role} is back after {ms} ms");
            ground.until("it serves", &format!("test -e /run/kadenz/{role}.epoch"))?;
            ground.until("the axes move", &format!("{STATUS} | grep -q '\"is_at_rest\":false'"))?;
            ground.is_undisturbed()?;
        }
        ground.rests()?;
        passed()
    },
};

pub(super) const PLAN_GATEWAY_IS_BACK: Check<Ground> = Check {
    name: "a plan gateway killed under way is started again; axes that came to rest meanwhile go on along their path",
    run: |ground| {
        ground.moves()?;
        let ms = kill(ground, "kadenz-gateway@plan.service")?;
        println!("        gateway plan is back after {ms} ms");
        ground.until("it serves", "test -e /run/kadenz/plan.epoch")?;
        // An emulated CPU may take longer for that than the knots ahead last: then they rest, and go on when asked.
        ground.until("the axes move", &resumed())?;
        ground.rests()?;
        passed()
    },
};

pub(super) const PLANNER_IS_BACK: Check<Ground> = Check {
    name: "a planner killed under way leaves the axes at rest on their path; another goes on when a person says so",
    run: |ground| {
        ground.moves()?;
        let ms = kill(ground, "kadenz-planner@active.service")?;
        println!("        the planner is back after {ms} ms");
        ground.until("the axes rest", &format!("{STATUS} | grep -q '\"is_at_rest\":true'"))?;
        let status = ground.status()?;
        ensure!(status["reason"] == "source-silent", "{status}");
        ground.until("the axes move again", &resumed())?;
        ground.rests()?;
        passed()
    },
};

pub(super) const DAEMON_IS_BACK: Check<Ground> = Check {
    name: "kadenzd killed under way is started again at once, and the ring of the dead one is kept",
    run: |ground| {
        ground.moves()?;
        let dead = ground.status()?["daemon_id"].as_str().unwrap_or_default().to_owned();
        let ms = kill(ground, "kadenzd.service")?;
        println!("        kadenzd is back in service after {ms} ms");
        ground.guest.must(&format!("kadenz recorder dump /run/kadenz/flight.ring.{dead}"))?;
        ground.moves()?;
        ground.rests()?;
        passed()
    },
};

pub(super) const A_FROZEN_LOOP_IS_ENDED: Check<Ground> = Check {
    name: "a loop that is kept from running is ended by the watchdog and started again",
    run: |ground| {
        let before = ground.property("kadenzd.service", "MainPID")?;
        // A task above the loop on its CPU: the loop stands still, while the daemon's other threads live. A thread that
        // does not run cannot end either, so the process is gone when the task is.
        ground.guest.must(
            "systemd-run -q --unit=hog -p CPUAffinity=1 -p CPUSchedulingPolicy=fifo -p CPUSchedulingPriority=99 \
                 -p RuntimeMaxSec=4 sh -c 'while :; do :; done'",
        )?;
        ground.until(
            "the watchdog has ended it",
            &format!("[ $(systemctl show -P MainPID kadenzd.service) != {before} ]"),
        )?;
        ground.until("it is back", "systemctl -q is-active kadenzd.service")?;
        ground.moves()?;
        ground.rests()?;
        passed()
    },
};
