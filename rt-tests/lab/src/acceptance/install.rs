//! Coming and going: install, upgrade while the machine works, removal.
use anyhow::ensure;

use super::{Ground, PACKAGE, UNITS, passed};
use crate::checks::{Check, Verdict};

pub(super) const INSTALLS: Check<Ground> = Check {
    name: "the package installs with dpkg, its units are there and none of them is enabled or runs",
    run: |ground| {
        ground.guest.must(&format!("dpkg -i {PACKAGE}"))?;
        let enabled = ground.guest.run("systemctl is-enabled kadenz.target")?.said;
        ensure!(enabled.trim() == "disabled", "kadenz.target is {enabled}");
        for unit in UNITS {
            let loaded = ground.property(unit, "LoadState")?;
            let active = ground.property(unit, "ActiveState")?;
            ensure!(loaded == "loaded" && active == "inactive", "{unit}: {loaded}, {active}");
        }
        // A root without documentation keeps dpkg from unpacking it: the package's list has it.
        ground.guest.must("dpkg -L kadenz | grep -q /usr/share/man/man1/kadenz.1.gz")?;
        ground.guest.must("kadenz check /etc/kadenz/machine.toml")?;
        // An emulated CPU is thirty times slower than a real one: a tenth of the cycles is what it can do.
        ground
            .guest
            .must("sed -i 's/^period_us = .*/period_us = 10000/' /etc/kadenz/machine.toml")?;
        ground.guest.must("grep -q '^period_us = 10000' /etc/kadenz/machine.toml")?;
        ground.guest.must("kadenz check /etc/kadenz/machine.toml")?;
        passed()
    },
};

pub(super) const CLIENTS_ARE_REPLACED_WHILE_AXES_MOVE: Check<Ground> = Check {
    name: "an upgrade of the package replaces gateways and clients while the axes move on undisturbed",
    run: replace_clients,
};

fn replace_clients(ground: &mut Ground) -> anyhow::Result<Verdict> {
    ground.moves()?;
    let pid = |ground: &mut Ground, unit: &str| ground.property(unit, "MainPID");
    let before: Vec<String> = pids(ground, pid)?;
    let said = ground.guest.must(&format!("dpkg -i {PACKAGE}"))?;
    ensure!(said.contains("plan a stop of the machine"), "{said}");
    ground.is_undisturbed()?;
    for unit in UNITS {
        ground.until(&format!("{unit} is active"), &format!("systemctl -q is-active {unit}"))?;
    }
    let after = pids(ground, pid)?;
    for ((unit, before), after) in UNITS.iter().zip(&before).zip(&after) {
        // What the path needs is left to a machine that moves.
        let stays = *unit == "kadenzd.service" || unit.contains("plan");
        ensure!((before == after) == stays, "{unit}: process {before}, then {after}");
    }
    ground.is_undisturbed()?;
    ground.rests()?;
    passed()
}

fn pids(
    ground: &mut Ground,
    pid: impl Fn(&mut Ground, &str) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<String>> {
    UNITS.iter().map(|unit| pid(ground, unit)).collect()
}

pub(super) const DAEMON_IS_REPLACED_IN_A_PLANNED_STOP: Check<Ground> = Check {
    name: "a restart of kadenzd under way brakes on the path, ends in order, and the machine can move again",
    run: |ground| {
        ground.moves()?;
        let before = ground.status()?["daemon_id"].clone();
        ground.guest.must("systemctl restart kadenzd.service")?;
        ground.is_seen()?;
        ensure!(ground.status()?["daemon_id"] != before, "it is the same daemon");
        let result = ground
            .guest
            .must("journalctl -u kadenzd -o cat --no-pager | grep -c 'stopping on the path'")?;
        ensure!(result.trim() != "0", "the old daemon was not asked to stop on its path");
        ground.moves()?;
        ground.rests()?;
        passed()
    },
};

pub(super) const REMOVAL_LEAVES_RECORDINGS: Check<Ground> = Check {
    name: "removal stops the machine in order and leaves recordings and configuration, purge leaves recordings",
    run: |ground| {
        let count = "find /var/lib/kadenz -type f | wc -l";
        ground.moves()?;
        ground.guest.must("dpkg -r kadenz")?;
        ensure!(ground.guest.must("pgrep -c kadenz || true")?.trim() == "0", "processes are left");
        let left: u32 = ground.guest.must(count)?.trim().parse()?;
        ensure!(left > 0, "no recording is left");
        ground.guest.must("test -e /etc/kadenz/machine.toml && ! test -e /usr/bin/kadenzd")?;
        ground.guest.must("dpkg -P kadenz")?;
        let kept: u32 = ground.guest.must(count)?.trim().parse()?;
        ensure!(kept == left, "{left} files of recordings before the purge, {kept} after");
        ground.guest.must("! test -e /etc/kadenz/machine.toml && ! test -e /run/kadenz")?;
        passed()
    },
};
