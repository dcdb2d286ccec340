//! Findings as text, as a list to paste, and as JSON.
use serde_json::{Value, json};

use super::finding::{Check, Finding, Remedy, Status};
use super::probe::Probe;
use super::subject::Subject;

/// Width of the first two columns.
const STATUS_WIDTH: usize = 15;
const NAME_WIDTH: usize = 20;

/// For people: a line for each finding, and below what is not in order why it matters and what mends it.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let status = match finding.is_exempt {
            true => "error, exempt",
            false => finding.status.word(),
        };
        let name = finding.check.name();
        lines.push(format!(
            "{status:STATUS_WIDTH$}{name:NAME_WIDTH$} {}",
            kadenz_link::text::printable(&finding.measured)
        ));
        if matches!(finding.status, Status::Warn | Status::Error) {
            let indent = " ".repeat(STATUS_WIDTH + NAME_WIDTH + 1);
            lines.push(format!("{indent}{}", finding.check.why()));
            lines.extend(finding.remedies.iter().map(|one| format!("{indent}→ {}", one.words())));
        }
    }
    lines.join("\n")
}

/// How many of each, in words.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let count = |status| findings.iter().filter(|one| one.status == status).count();
    let exempt = findings.iter().filter(|one| one.is_exempt).count();
    format!(
        "{} ok, {} warn, {} error ({exempt} of them exempt), {} not applicable",
        count(Status::Ok),
        count(Status::Warn),
        count(Status::Error),
        count(Status::NotApplicable)
    )
}

/// For a shell and its owner: parameters in one line, commands, and lines of files as comments.
pub(crate) fn hints(findings: &[Finding]) -> String {
    let mut parameters: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for finding in findings {
        let mut said = Vec::new();
        for remedy in &finding.remedies {
            match remedy {
                Remedy::Boot(text) => {
                    let new = text.split(' ').filter(|one| !parameters.contains(one));
                    parameters.extend(new.collect::<Vec<_>>());
                }
                Remedy::Run(command) => said.push(command.clone()),
                Remedy::Line { place, line } => said.push(format!("# {place}: {line}")),
                Remedy::Hand(deed) => said.push(format!("# {deed}")),
            }
        }
        if !said.is_empty() {
            lines.push(format!("# {}", finding.check.name()));
            lines.extend(said);
        }
    }
    if !parameters.is_empty() {
        lines.push("# the kernel's command line (/etc/default/grub, then update-grub):".to_owned());
        lines.push(format!("# GRUB_CMDLINE_LINUX=\"{}\"", parameters.join(" ")));
    }
    match lines.is_empty() {
        true => "# nothing to mend".to_owned(),
        false => lines.join("\n"),
    }
}

/// For scripts.
pub(crate) fn json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let remedies: Vec<String> = finding.remedies.iter().map(Remedy::words).collect();
        json!({
            "name": finding.check.name(),
            "status": finding.status.word(),
            "is_exempt": finding.is_exempt,
            "measured": finding.measured,
            "why": finding.check.why(),
            "remedies": remedies,
        })
    };
    findings.iter().map(one).collect()
}

/// The probe's figures for scripts.
pub(crate) fn probe_json(subject: &Subject, probe: &Probe) -> Value {
    json!({
        "cpu": subject.cpu,
        "priority_fifo": subject.priority_fifo,
        "is_fifo": probe.no_fifo.is_none(),
        "period_ns": subject.period_ns,
        "wake_ups": probe.count(),
        "missed": probe.missed,
        "late": probe.later_than(subject.late_wake_ns),
        "wake_ns": {
            "p50": probe.at(500),
            "p90": probe.at(900),
            "p99": probe.at(990),
            "p999": probe.at(999),
            "max": probe.max_ns,
        },
    })
}

/// In the order of [`Check::ALL`], so that related findings stand together.
pub(crate) fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.check);
    debug_assert!(findings.iter().map(|one| one.check).eq(Check::ALL.iter().copied()));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_hold_each_parameter_once_and_nothing_of_what_is_in_order() {
        let findings = [
            Finding::warn(Check::NohzFull, "off").boot("nohz_full=1"),
            Finding::warn(Check::LoopCpuTick, "250").boot("nohz_full=1 rcu_nocbs=1"),
            Finding::ok(Check::Swap, "off").run("swapoff -a"),
            Finding::error(Check::Scheduler, "no").line("unit", "LimitRTPRIO=81"),
        ];
        let text = hints(&findings);
        assert!(text.contains("GRUB_CMDLINE_LINUX=\"nohz_full=1 rcu_nocbs=1\""), "{text}");
        assert!(text.contains("# unit: LimitRTPRIO=81") && !text.contains("swapoff"), "{text}");
        assert_eq!(hints(&[]), "# nothing to mend");
    }

    #[test]
    fn what_is_not_in_order_says_why_and_how_to_mend_it() {
        let findings = [
            Finding::ok(Check::Swap, "off"),
            Finding::warn(Check::HugePages, "[always]").run("echo madvise"),
        ];
        let text = text(&findings);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains(Check::HugePages.why()) && text.contains("→ `echo madvise`"));
        assert!(summary(&findings).starts_with("1 ok, 1 warn, 0 error"));
    }
}
