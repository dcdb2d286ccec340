//! `kadenz doctor`: is this host fit for a machine? Tries and measures, tells what mends it, and writes down
//! the host it judged. Nothing of the machine moves.
mod finding;
mod subject;
mod kernel;
mod cpu;
mod rights;
mod places;
mod devices;
mod watch;
mod probe;
mod loop_cpu;
mod show;

use kadenz_host::{Fingerprint, fingerprint};
use kadenz_paths::RuntimeDir;
use serde_json::json;

use self::finding::{Check, Finding};
use self::probe::Probe;
use self::subject::Subject;
use crate::args::DoctorOptions;
use crate::reply::{EXIT_REFUSED, Failure, Reply};
use crate::terminal;

/// Examines the host for the machine of `options`.
pub(crate) fn doctor(
    dir: &RuntimeDir,
    options: &DoctorOptions,
    json: bool,
) -> Result<Reply, Failure> {
    let subject = Subject::of(dir, options)?;
    if !json {
        terminal::err(&format!("kadenz doctor: CPU {}, {} s", subject.cpu, subject.seconds));
    }
    // Rights first: they lock the memory that the probe runs in.
    let mut findings = rights::findings(&subject);
    findings.extend(kernel::findings(&subject));
    findings.extend(cpu::findings(&subject));
    findings.extend(places::findings(&subject));
    findings.extend(devices::findings(&subject));
    let (on_cpu, probe) = loop_cpu::findings(&subject);
    findings.extend(on_cpu);
    let errors = findings.iter().filter(|finding| finding.counts()).count();
    findings.push(remember(options, errors, probe.as_ref()));
    let findings = show::in_order(findings);

    let errors = findings.iter().filter(|finding| finding.counts()).count();
    let code = if errors > 0 { EXIT_REFUSED } else { 0 };
    if !json {
        // Whatever the verdict: a list to paste, or to keep, is what was asked for.
        terminal::out(&match options.fix_hints {
            true => show::hints(&findings),
            false => show::text(&findings),
        });
    }
    let text = match (code, options.fix_hints) {
        (0, true) => String::new(),
        (0, false) => format!("fit: {}", show::summary(&findings)),
        _ => format!("this host is not fit: {}", show::summary(&findings)),
    };
    let mut reply = Reply::new(code, text)
        .with("cpu", subject.cpu)
        .with("findings", show::json(&findings))
        .with("fingerprint_file", fingerprint::file().display().to_string());
    if let Some(machine) = &subject.machine {
        reply = reply.with("machine", machine.name.clone());
    }
    if let Some(probe) = &probe {
        reply = reply.with("probe", show::probe_json(&subject, probe));
    }
    if options.fix_hints {
        reply = reply.with("hints", json!(show::hints(&findings).lines().collect::<Vec<_>>()));
    }
    Ok(reply)
}

/// Writes down the host that was judged, if it is fit and this is wanted.
fn remember(options: &DoctorOptions, errors: usize, probe: Option<&Probe>) -> Finding {
    let check = Check::Fingerprint;
    let file = fingerprint::file();
    let at = file.display();
    let files = kadenz_host::Files::here();
    let changes = fingerprint::changes_since_judged(&files, &file);
    let changed: Vec<String> = changes.iter().flatten().map(ToString::to_string).collect();
    let kept = match (&changes, changed.is_empty()) {
        (None, _) => format!("none in {at}"),
        (Some(_), true) => format!("the host is as it was judged ({at})"),
        (Some(_), false) => format!("since it was judged: {} ({at})", changed.join("; ")),
    };
    if options.no_store || errors > 0 {
        let why = if options.no_store { "--no-store" } else { "the host is not fit" };
        let words = format!("{kept}; not stored: {why}");
        return match changed.is_empty() {
            true => Finding::ok(check, words),
            false => Finding::warn(check, words)
                .run("kadenz doctor")
                .run("kadenz enable --acknowledge-host"),
        };
    }
    let now =
        Fingerprint { wake_ns_p99: probe.map(|probe| probe.at(990)), ..Fingerprint::of(&files) };
    match now.store(&file) {
        Ok(()) => Finding::ok(check, format!("{kept}; stored in {at}")),
        // An ordinary user may look; what was judged is root's to write down.
        Err(error) => Finding::warn(check, format!("{kept}; not stored: {error:#}"))
            .run("sudo kadenz doctor")
            .line("the environment", "KADENZ_STATE_DIR=DIR"),
    }
}
