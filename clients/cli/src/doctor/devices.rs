//! What carries a bus: network interfaces and serial converters.
use kadenz_host::nic;

use super::finding::{Check, Finding};
use super::subject::Subject;

/// Drivers of network cards that are known to answer in time under PREEMPT_RT.
const DRIVERS_KNOWN: [&str; 6] = ["igb", "igc", "e1000e", "r8169", "stmmac", "macb"];
/// Latency timer that holds nothing back, ms.
const LATENCY_TIMER_MS: i64 = 1;
/// Gathering for longer costs a cycle more than the card's own work, µs.
const COALESCING_US_MAX: u32 = 5;

/// Every finding about them.
pub(crate) fn findings(subject: &Subject) -> Vec<Finding> {
    let mut findings = match &subject.interface {
        Some(interface) if nic::exists(&subject.files, interface) => {
            vec![driver(subject, interface), interrupts(subject, interface), coalescing(interface)]
        }
        Some(interface) => {
            let words = format!("there is no interface {interface}; `ip link` shows them");
            vec![
                Finding::error(Check::NicDriver, words).hand("name one that is there"),
                Finding::not_applicable(Check::NicInterrupts, format!("no interface {interface}")),
                Finding::not_applicable(Check::NicCoalescing, format!("no interface {interface}")),
            ]
        }
        None => [Check::NicDriver, Check::NicInterrupts, Check::NicCoalescing]
            .map(|check| {
                Finding::not_applicable(check, "no bus runs over a network (--interface NAME)")
            })
            .to_vec(),
    };
    findings.push(serial_latency(subject));
    findings
}

fn driver(subject: &Subject, interface: &str) -> Finding {
    let check = Check::NicDriver;
    match nic::driver(&subject.files, interface) {
        None => Finding::warn(check, format!("{interface} is no hardware: it has no device"))
            .hand("choose the interface of a network card"),
        Some(driver) if DRIVERS_KNOWN.contains(&driver.as_str()) => Finding::ok(check, driver),
        Some(driver) => Finding::warn(check, format!("{driver}: not known to answer in time"))
            .hand("measure the bus's answers, or use a card with igb, igc or e1000e"),
    }
}

fn interrupts(subject: &Subject, interface: &str) -> Finding {
    let check = Check::NicInterrupts;
    let found = nic::interrupts(&subject.files, interface);
    if found.is_empty() {
        return Finding::not_applicable(check, format!("{interface} has no interrupts"));
    }
    let words: Vec<String> =
        found.iter().map(|one| format!("{} on CPU {}", one.number, one.cpus)).collect();
    let words = words.join(", ");
    let on_ours: Vec<String> = found
        .iter()
        .filter(|one| one.cpus.contains(subject.cpu))
        .map(|one| one.number.to_string())
        .collect();
    if on_ours.is_empty() {
        return Finding::ok(check, words);
    }
    Finding::warn(check, words).run(format!(
        "for irq in {}; do echo {} > /proc/irq/$irq/smp_affinity_list; done",
        on_ours.join(" "),
        subject.other_cpus()
    ))
}

fn coalescing(interface: &str) -> Finding {
    let check = Check::NicCoalescing;
    let told = match nic::coalescing(interface) {
        Ok(told) => told,
        Err(error) => {
            return Finding::not_applicable(check, format!("the driver does not say ({error})"));
        }
    };
    let words = format!(
        "in: {} µs or {} frames, out: {} µs or {} frames{}",
        told.rx_us,
        told.rx_frames,
        told.tx_us,
        told.tx_frames,
        if told.is_adaptive { ", adaptive" } else { "" }
    );
    let waits = told.rx_us > COALESCING_US_MAX || told.tx_us > COALESCING_US_MAX;
    let finding = match waits || told.is_adaptive {
        true => Finding::warn(check, words),
        false => Finding::ok(check, words),
    };
    finding.run(format!(
        "ethtool -C {interface} adaptive-rx off adaptive-tx off rx-usecs 0 tx-usecs 0"
    ))
}

fn serial_latency(subject: &Subject) -> Finding {
    let check = Check::SerialLatency;
    let base = "/sys/bus/usb-serial/devices";
    let timers: Vec<(String, i64)> = subject
        .files
        .names(base)
        .into_iter()
        .filter_map(|name| {
            let timer = subject.files.number(&format!("{base}/{name}/latency_timer"))?;
            Some((name, timer))
        })
        .collect();
    if timers.is_empty() {
        return Finding::not_applicable(check, "no USB serial converter with a latency timer");
    }
    let words: Vec<String> = timers.iter().map(|(name, ms)| format!("{name} {ms} ms")).collect();
    let words = words.join(", ");
    let slow = timers.iter().filter(|(_, ms)| *ms > LATENCY_TIMER_MS);
    slow.fold(None, |finding: Option<Finding>, (name, _)| {
        let finding = finding.unwrap_or_else(|| Finding::warn(check, words.clone()));
        Some(finding.run(format!("echo {LATENCY_TIMER_MS} > {base}/{name}/latency_timer")))
    })
    .unwrap_or_else(|| Finding::ok(check, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadenz_host::Files;

    #[test]
    fn a_converter_that_holds_bytes_back_is_told_with_the_command_that_ends_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, ms: &str| {
            let at = root.path().join("sys/bus/usb-serial/devices").join(name);
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("latency_timer"), ms).unwrap();
        };
        let mut subject = super::super::subject::tests::subject();
        subject.files = Files::under(root.path());
        let status = |subject: &Subject| serial_latency(subject).status.word();
        assert_eq!(status(&subject), "not-applicable");
        write("ttyUSB0", "1\n");
        assert_eq!(status(&subject), "ok");
        write("ttyUSB1", "16\n");
        let finding = serial_latency(&subject);
        assert_eq!(finding.status.word(), "warn");
        assert!(finding.remedies[0].words().contains("ttyUSB1/latency_timer"));
    }
}
