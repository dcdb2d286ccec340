//! What the package promises on a real machine, checked on one: installed with dpkg, started by systemd, on the
//! PREEMPT_RT kernel, its axes moving.
mod install;
mod recovery;
mod service;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::checks::{Check, Finding, Verdict, groundless, run};
use crate::{Boot, Guest, Isolation, Lab, RootKind};

/// All of a series share one guest, in this order: each finds the machine as the one before has left it.
const CHECKS: &[Check<Ground>] = &[
    install::INSTALLS,
    service::STARTS,
    service::DOCTOR_FINDS_NO_ERROR,
    service::THREADS_ARE_WHERE_THEY_BELONG,
    service::NOBODY_IS_ROOT,
    service::MOVES,
    recovery::CLIENTS_ARE_BACK,
    recovery::GATEWAYS_ARE_BACK,
    recovery::PLAN_GATEWAY_IS_BACK,
    recovery::PLANNER_IS_BACK,
    recovery::DAEMON_IS_BACK,
    recovery::A_FROZEN_LOOP_IS_ENDED,
    install::CLIENTS_ARE_REPLACED_WHILE_AXES_MOVE,
    install::DAEMON_IS_REPLACED_IN_A_PLANNED_STOP,
    service::STOPS_IN_ORDER,
    service::JOURNAL_HAS_PRIORITIES,
    service::COMES_UP_BY_ITSELF,
    install::REMOVAL_LEAVES_RECORDINGS,
];

/// A guest on which the package is put to the test.
pub(crate) struct Ground {
    /// The guest.
    pub(crate) guest: Guest,
}

/// Where the package and what goes with it stands in the guest.
const PACKAGE: &str = "/host/kadenz.deb";
/// A path of half a minute for the package's machine.
const TRAJECTORY: &str = "/host/iso9283_arm.csv";
/// One of two seconds.
const SHORT_TRAJECTORY: &str = "/host/short.csv";

/// Runs the series with the package `deb`, made before (`cargo run -p xtask -- deb`).
pub fn check(lab: &Lab, deb: &Path) -> Vec<Finding> {
    match ground(lab, deb) {
        Ok(mut ground) => CHECKS.chunks(1).flat_map(|check| ground.tries(check)).collect(),
        Err(reason) => groundless(CHECKS, &reason),
    }
}

fn ground(lab: &Lab, deb: &Path) -> anyhow::Result<Ground> {
    let folder = lab.cache().scratch("acceptance")?;
    let put = |from: &Path, name: &str| {
        std::fs::copy(from, folder.join(name)).with_context(|| from.display().to_string())
    };
    put(deb, "kadenz.deb")?;
    put(&trajectory(), "iso9283_arm.csv")?;
    std::fs::write(
        folder.join("short.csv"),
        "t_s,j1_rad,j2_rad\n0,0,0\n1,0.1,-0.05\n2,0.2,-0.1\n",
    )?;
    let boot = Boot {
        root: RootKind::Full,
        isolation: Isolation::Boot,
        // The loop is to keep its period, and nothing of this host may be taken for the guest's.
        counted: true,
        host_dir: Some(folder),
        patience: Duration::from_secs(1_200),
        ..Boot::default()
    };
    Ok(Ground { guest: lab.cold(&boot)? })
}

fn trajectory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/planner/trajectories/iso9283_arm.csv")
}

impl Ground {
    /// Runs a check; when it fails, the journal tells what the machine said meanwhile.
    fn tries(&mut self, check: &[Check<Self>]) -> Vec<Finding> {
        let findings = run(check, self);
        if findings.iter().any(|one| matches!(one.verdict, Verdict::Failed(_))) {
            let journal = "journalctl --no-pager -o short-monotonic -n 30 -u 'kadenz*'";
            if let Ok(told) = self.guest.must(journal) {
                println!("{told}");
            }
        }
        findings
    }

    /// What a command says that answers in JSON.
    fn json(&mut self, command: &str) -> anyhow::Result<Value> {
        let said = self.guest.run(command)?;
        serde_json::from_str(said.said.trim())
            .with_context(|| format!("`{command}` said {}", said.said))
    }

    fn status(&mut self) -> anyhow::Result<Value> {
        self.json("kadenz --json status")
    }

    /// Waits, in the guest, until the shell condition `holds`.
    fn until(&mut self, what: &str, holds: &str) -> anyhow::Result<()> {
        let script = format!(
            "end=$((SECONDS + {PATIENCE_S}))
             until {holds}; do [ $SECONDS -lt $end ] || exit 1; sleep 0.3; done"
        );
        let output = self.guest.run(&script)?;
        if output.code != 0 {
            let journal = self.guest.run("journalctl -n 40 --no-pager -o short-monotonic")?.said;
            anyhow::bail!("not within {PATIENCE_S} s: {what}\n{journal}");
        }
        Ok(())
    }

    /// Waits until the machine can be looked at, torque off.
    fn is_seen(&mut self) -> anyhow::Result<()> {
        self.until(
            "the machine can be seen",
            &format!("{STATUS} | grep -q '\"phase\":\"disabled\"'"),
        )
    }

    /// A property of a unit, as systemd tells it.
    fn property(&mut self, unit: &str, name: &str) -> anyhow::Result<String> {
        Ok(self.guest.must(&format!("systemctl show -P {name} {unit}"))?.trim().to_owned())
    }

    /// Torque on, and the axes under way along the path.
    fn moves(&mut self) -> anyhow::Result<()> {
        self.until("somebody may enable it", "kadenz enable")?;
        self.until("the planner takes a file", &format!("kadenz run --detach {TRAJECTORY}"))?;
        self.until("the axes move", &format!("{STATUS} | grep -q '\"is_at_rest\":false'"))
    }

    /// Whether the axes are under way, undisturbed: not at rest, and nothing holds them.
    fn is_undisturbed(&mut self) -> anyhow::Result<()> {
        let status = self.status()?;
        ensure!(
            status["is_at_rest"] == false && status["reason"] == "none",
            "the motion was disturbed: {status}"
        );
        Ok(())
    }

    /// Brings the machine to rest with torque off, whatever it did.
    fn rests(&mut self) -> anyhow::Result<()> {
        self.guest.must("kadenz disable")?;
        self.until("the axes rest", &format!("{STATUS} | grep -q '\"is_at_rest\":true'"))
    }
}

/// A guard against waiting for ever, in the guest's seconds; never a measure of anything.
const PATIENCE_S: u32 = 30;
/// The machine in one line, for grep.
const STATUS: &str = "kadenz --json status 2>/dev/null | tr -d ' \\n'";
/// Every unit of the machine that the target starts.
const UNITS: [&str; 6] = [
    "kadenzd.service",
    "kadenz-gateway@view.service",
    "kadenz-gateway@plan.service",
    "kadenz-gateway@operate.service",
    "kadenz-planner@active.service",
    "kadenz-logger@main.service",
];

fn passed() -> anyhow::Result<Verdict> {
    Ok(Verdict::Passed)
}
