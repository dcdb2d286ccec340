//! What the lab promises of itself, checked: the kernel, the isolation, the four ways to have a guest.
use anyhow::{Context, ensure};

use crate::checks::{Check, Finding, Verdict, run};
use crate::leftovers;
use crate::{Boot, Guest, Isolation, Lab, RootKind};

/// Every check of the lab itself.
pub const CHECKS: [Check<Lab>; 9] = [
    Check {
        name: "systemd is up in namespaces of the host and passes an exit code on",
        run: |lab| serves(&mut lab.namespaces(&Boot::default())?),
    },
    Check {
        name: "the snapshot comes back as a running PREEMPT_RT machine",
        run: |lab| {
            let mut guest = lab.warm(&Boot::default())?;
            is_realtime(&mut guest)?;
            serves(&mut guest)
        },
    },
    Check {
        name: "a fresh boot is PREEMPT_RT with its last CPU isolated, full_nohz and free of others' interrupts",
        run: isolated_by_boot,
    },
    Check {
        name: "the full root boots without a failed unit",
        run: |lab| {
            let mut guest = lab.cold(&Boot { root: RootKind::Full, ..Boot::default() })?;
            let said = guest.run("systemctl is-system-running --wait; systemctl --failed")?.said;
            ensure!(said.starts_with("running"), "{said}");
            Ok(Verdict::Passed)
        },
    },
    Check {
        name: "a cpuset partition on a slice is isolated when isolcpus is not given",
        run: |lab| partition(lab, Isolation::Partition, "isolated"),
    },
    Check {
        name: "a cpuset partition is reported as invalid when isolcpus is given",
        run: |lab| partition(lab, Isolation::Boot, "isolated invalid"),
    },
    Check {
        name: "counted time is the same twice, to the byte",
        run: |lab| {
            let script =
                "cyclictest -q -m -p80 -t1 -a1 -i1000 -N -h60000 -l500 | grep -v ' 000000$'
                cat /proc/uptime";
            let boot = Boot::default();
            let (one, other) = (lab.icount(&boot, script)?, lab.icount(&boot, script)?);
            ensure!(one.code == 0, "{}", one.said);
            ensure!(one.said == other.said, "{}\nand then\n{}", one.said, other.said);
            Ok(Verdict::Passed)
        },
    },
    Check {
        name: "a lab that is killed in mid-run leaves no process, cgroup or scratch: namespaces",
        run: |lab| leftovers::after_a_kill(lab, "namespaces"),
    },
    Check {
        name: "a lab that is killed in mid-run leaves no process or scratch: virtual machine",
        run: |lab| leftovers::after_a_kill(lab, "warm"),
    },
];

/// Runs them.
pub fn check(lab: &mut Lab) -> Vec<Finding> {
    run(&CHECKS, lab)
}

fn serves(guest: &mut Guest) -> anyhow::Result<Verdict> {
    let one = guest.run("cat /proc/1/comm; exit 37")?;
    ensure!(one.said.trim() == "systemd" && one.code == 37, "{one:?}");
    Ok(Verdict::Passed)
}

fn is_realtime(guest: &mut Guest) -> anyhow::Result<()> {
    let said = guest.must("cat /sys/kernel/realtime; uname -v")?;
    ensure!(said.starts_with("1\n") && said.contains("PREEMPT_RT"), "{said}");
    Ok(())
}

fn isolated_by_boot(lab: &mut Lab) -> anyhow::Result<Verdict> {
    let mut guest = lab.cold(&Boot::default())?;
    is_realtime(&mut guest)?;
    let system = "/sys/devices/system";
    let said = guest.must(&format!("cat {system}/cpu/isolated {system}/cpu/nohz_full"))?;
    ensure!(said == "1\n1\n", "isolated and nohz_full: {said}");
    let source =
        guest.must(&format!("cat {system}/clocksource/clocksource0/current_clocksource"))?;
    ensure!(source.trim() == "tsc", "the clock source is {source}");
    let masks = guest.must("cat /proc/irq/default_smp_affinity")?;
    ensure!(masks.trim() == "1", "interrupts go to the CPUs {masks}");
    Ok(Verdict::Passed)
}

/// Makes a partition of the last CPU on a slice, and looks what the kernel makes of it.
fn partition(lab: &Lab, isolation: Isolation, expected: &str) -> anyhow::Result<Verdict> {
    let mut guest = lab.cold(&Boot { isolation, ..Boot::default() })?;
    let said = guest.must(
        "systemd-run -q --slice=rt.slice sleep infinity
         cd /sys/fs/cgroup
         echo +cpuset > cgroup.subtree_control
         echo 1 > rt.slice/cpuset.cpus
         echo isolated > rt.slice/cpuset.cpus.partition
         cat rt.slice/cpuset.cpus.partition",
    )?;
    let told = said.lines().last().context("the kernel says nothing of the partition")?;
    let is_as_expected = match expected {
        "isolated" => told.trim() == "isolated",
        _ => told.starts_with(expected),
    };
    ensure!(is_as_expected, "the partition is `{told}`, not `{expected}`");
    Ok(Verdict::Passed)
}
