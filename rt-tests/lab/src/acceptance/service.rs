//! The machine as a service: start, places and users of its threads, stop, journal, boot.
use anyhow::{Context, ensure};

use super::{Ground, STATUS, UNITS, passed};
use crate::checks::Check;

pub(super) const STARTS: Check<Ground> = Check {
    name: "systemctl start kadenz.target brings the machine to service, and a person may enable it",
    run: |ground| {
        ground.guest.must("systemctl start kadenz.target")?;
        for unit in UNITS {
            ground
                .until(&format!("{unit} is active"), &format!("systemctl -q is-active {unit}"))?;
        }
        ensure!(
            !ground.property("kadenzd.service", "StatusText")?.is_empty(),
            "kadenzd has no status"
        );
        ground.is_seen()?;
        ground.guest.must("useradd --groups kadenz anna")?;
        ground.guest.must("runuser -u anna -- kadenz enable")?;
        ground.until("torque is on", &format!("{STATUS} | grep -q '\"phase\":\"standstill\"'"))?;
        ground.rests()?;
        passed()
    },
};

pub(super) const DOCTOR_FINDS_NO_ERROR: Check<Ground> = Check {
    name: "kadenz doctor finds no error, with the loop at work and without it",
    run: |ground| {
        for at_work in [true, false] {
            if !at_work {
                ground.guest.must("systemctl stop kadenz.target kadenzd.service kadenz.slice")?;
            }
            let told = ground
                .json("kadenz --json doctor --config /etc/kadenz/machine.toml --seconds 3")?;
            let findings = told["findings"].as_array().context("no findings")?;
            let errors: Vec<String> = findings
                .iter()
                .filter(|finding| finding["status"] == "error")
                .map(ToString::to_string)
                .collect();
            ensure!(errors.is_empty() && findings.len() > 20, "{}", errors.join("\n"));
        }
        ground.guest.must("systemctl start kadenz.target")?;
        ground.is_seen()?;
        passed()
    },
};

pub(super) const THREADS_ARE_WHERE_THEY_BELONG: Check<Ground> = Check {
    name: "the loop's thread is FIFO on the isolated CPU, every other thread of the machine may only run elsewhere",
    run: |ground| {
        let said = ground.guest.must(
            "for task in /proc/[0-9]*/task/*; do
                 case $(cat ${task%/task/*}/comm 2>/dev/null) in kadenz*) ;; *) continue;; esac
                 echo $(cat $task/comm) $(grep Cpus_allowed_list $task/status | cut -f2) \
                     $(chrt -p ${task##*/} | sed 's/.*: //' | tr '\\n' ' ')
             done",
        )?;
        let mut loops = 0;
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, cpus, policy, priority] = words[..] else { continue };
            if name == "kadenz-rt" {
                loops += 1;
                ensure!((cpus, policy, priority) == ("1", "SCHED_FIFO", "80"), "the loop: {line}");
            } else {
                ensure!(cpus == "0", "it may run on the loop's CPU: {line}");
            }
        }
        ensure!(loops == 1, "{loops} threads are the loop:\n{said}");
        passed()
    },
};

pub(super) const NOBODY_IS_ROOT: Check<Ground> = Check {
    name: "no process of the machine is root's or has a capability",
    run: |ground| {
        let said = ground.guest.must(
            "for unit in $(systemctl list-units --plain --no-legend 'kadenz*.service' | cut -d' ' -f1); do
                 pid=$(systemctl show -P MainPID $unit)
                 echo $unit $(grep ^Uid /proc/$pid/status | cut -f2) $(grep ^CapEff /proc/$pid/status | cut -f2)
             done",
        )?;
        ensure!(said.lines().count() >= UNITS.len(), "{said}");
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            ensure!(
                words.len() == 3 && words[1] != "0" && words[2].trim_matches('0').is_empty(),
                "{line}"
            );
        }
        passed()
    },
};

pub(super) const MOVES: Check<Ground> = Check {
    name: "a trajectory runs to its end on the simulated plant, with no cycle missed by our own doing",
    run: |ground| {
        ground.guest.must("kadenz enable")?;
        ground.guest.must(&format!("kadenz run {}", super::SHORT_TRAJECTORY))?;
        let status = ground.status()?;
        ensure!(status["loop"]["missed_by_cause"]["own"] == 0, "{}", status["loop"]);
        ground.rests()?;
        passed()
    },
};

pub(super) const STOPS_IN_ORDER: Check<Ground> = Check {
    name: "systemctl stop under way ends in order, the last recorded cycle has torque off, and nothing of it fails",
    run: |ground| {
        ground.moves()?;
        ground.guest.must("systemctl stop kadenz.target kadenzd.service kadenz.slice")?;
        for unit in UNITS {
            let state = ground.property(unit, "ActiveState")?;
            let result = ground.property(unit, "Result")?;
            ensure!(state == "inactive" && result == "success", "{unit}: {state}, {result}");
        }
        let dump = ground.guest.must(
            "ring=$(ls -t /var/lib/kadenz/flight/*.kdzrec | head -1)
             kadenz recorder dump $ring --csv /tmp/stop.csv && tail -n 1 /tmp/stop.csv && wc -l < /tmp/stop.csv",
        )?;
        ensure!(
            dump.contains("disabled"),
            "the last cycle recorded is not at rest with torque off: {dump}"
        );
        ground.guest.must("systemctl start kadenz.target")?;
        ground.is_seen()?;
        passed()
    },
};

pub(super) const JOURNAL_HAS_PRIORITIES: Check<Ground> = Check {
    name: "the journal tells errors from information by their priority, and a wrong configuration is not tried twice",
    run: |ground| {
        ground.guest.must("journalctl --sync")?;
        let of = |ground: &mut Ground, range: &str| {
            ground.guest.must(&format!(
                "journalctl -u 'kadenz*' _COMM=kadenzd -p {range} -o cat --no-pager | wc -l"
            ))
        };
        let information: u32 = of(ground, "info..info")?.trim().parse()?;
        ensure!(information > 0, "nothing of kadenzd is information");
        // A configuration that is wrong: an error, and no second attempt.
        ground.guest.must(
            "systemctl stop kadenz.target
             cp /etc/kadenz/machine.toml /tmp/right.toml
             sed -i 's/^period_us.*/period_us = \"soon\"/' /etc/kadenz/machine.toml
             ! systemctl start kadenzd.service",
        )?;
        let restarts = ground.property("kadenzd.service", "NRestarts")?;
        let status = ground.property("kadenzd.service", "ExecMainStatus")?;
        ensure!(
            (restarts.as_str(), status.as_str()) == ("0", "78"),
            "{restarts} restarts, exit code {status}"
        );
        ground.guest.must("journalctl --sync")?;
        let errors =
            ground.guest.must("journalctl -u kadenzd -p err -o cat --no-pager | tail -n 30")?;
        ensure!(errors.contains("period_us"), "the error is not told as one: {errors}");
        ground.guest.must(
            "cp /tmp/right.toml /etc/kadenz/machine.toml; systemctl reset-failed; systemctl start kadenz.target",
        )?;
        passed()
    },
};

pub(super) const COMES_UP_BY_ITSELF: Check<Ground> = Check {
    name: "enabled, the machine is in service by itself after a boot",
    run: |ground| {
        ground.guest.must("systemctl enable kadenz.target")?;
        ground.guest.must("systemctl stop kadenz.target")?;
        ground.guest.reboot_userspace()?;
        ground.is_seen()?;
        let from: u64 =
            ground.guest.must("systemctl show -P UserspaceTimestampMonotonic")?.trim().parse()?;
        let to: u64 =
            ground.property("kadenzd.service", "ActiveEnterTimestampMonotonic")?.parse()?;
        println!(
            "        from the start of user space to service: {:.1} s",
            to.saturating_sub(from) as f64 / 1e6
        );
        passed()
    },
};
