//! `kadenz incidents`: breaches of timing, one line each, with the cause in words.
use std::time::{Duration, Instant};

use kadenz_paths::RuntimeDir;
use serde_json::{Map, Value, json};
use shm_layout::INCIDENT_REACH;
use shm_layout::code::{Cause, Finding, IncidentKind};
use shm_layout::incident::{Incident, STAGE_WORDS};

use crate::machine::{LOOK_EVERY, Machine};
use crate::reply::{Failure, Reply};
use crate::signals::{ENDING, Signals};
use crate::terminal;

/// State comes every period.
const STATE_TIME: Duration = Duration::from_secs(1);
/// The gateway welcomes new readers with what was before their time every 10 ms.
const HISTORY_TIME: Duration = Duration::from_millis(300);

/// The latest incidents; with `follow` also those that come, until a signal.
pub(crate) fn incidents(dir: &RuntimeDir, follow: bool, as_json: bool) -> Result<Reply, Failure> {
    let signals = follow.then(|| Signals::take(&ENDING)).transpose()?;
    let mut machine = Machine::enter(dir)?;
    let Some(()) = machine.find(STATE_TIME, |_| Some(()))? else { return Err(machine.silence()) };
    let mut latest = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < HISTORY_TIME {
        latest.append(&mut waiting(&mut machine)?);
        std::thread::sleep(LOOK_EVERY);
    }
    let Some(signals) = signals else { return reply(&mut machine, &latest) };
    latest.iter().for_each(|incident| show(incident, as_json));
    while signals.next_within(Duration::from_millis(20)).is_none() {
        waiting(&mut machine)?.iter().for_each(|incident| show(incident, as_json));
    }
    Ok(Reply::new(0, ""))
}

/// What has come since the last look.
fn waiting(machine: &mut Machine) -> Result<Vec<Incident>, Failure> {
    // State is what follows the gateway through its restarts.
    machine.find(Duration::ZERO, |_| Some(()))?;
    let mut found = Vec::new();
    while let Ok(Some(incident)) = machine.view()?.next_incident() {
        found.push(incident);
    }
    Ok(found)
}

fn show(incident: &Incident, as_json: bool) {
    if as_json {
        terminal::out(&Value::Object(fields(incident)).to_string());
    } else {
        terminal::out(&line(incident));
    }
}

fn line(incident: &Incident) -> String {
    format!("{:6}  {incident}", incident.sequence)
}

fn reply(machine: &mut Machine, latest: &[Incident]) -> Result<Reply, Failure> {
    let (mut count, mut suppressed) = (latest.len() as u64, 0);
    if let Ok(Some(health)) = machine.view()?.health() {
        (count, suppressed) = (health.incidents, health.incidents_suppressed);
    }
    let mut lines: Vec<String> = latest.iter().map(line).collect();
    let kept_back = match suppressed {
        0 => String::new(),
        some => format!(", {some} of them kept back by the rate limit"),
    };
    lines.push(format!("{count} incidents since the loop began{kept_back}"));
    let list: Vec<Value> = latest.iter().map(|one| Value::Object(fields(one))).collect();
    let reply = Reply::new(0, lines.join("\n")).with("incidents", list);
    Ok(reply.with("count", count).with("suppressed", suppressed))
}

/// Every number of an incident, its codes as words.
fn fields(incident: &Incident) -> Map<String, Value> {
    let stages = |times: [u32; shm_layout::STAGES]| -> Map<String, Value> {
        STAGE_WORDS.iter().zip(times).map(|(word, ns)| ((*word).to_owned(), json!(ns))).collect()
    };
    let value = json!({
        "schema_version": 1,
        "explanation": incident.to_string(),
        "sequence": incident.sequence,
        "kind": IncidentKind::word_of(incident.kind),
        "cause": Cause::word_of(incident.cause),
        "finding": Finding::word_of(incident.finding),
        "stage": incident.stage_word(),
        "lost_ns": incident.lost_ns,
        "cycle": incident.cycle,
        "grid_ns": incident.grid_ns,
        "wake_ns": incident.wake_ns,
        "wake_latency_ns": incident.wake_latency_ns(),
        "cycle_time_ns": incident.cycle_time_ns,
        "missed_cycles": incident.skipped,
        "suppressed_before": incident.suppressed,
        "system_call": incident.system_call,
        "stage_ns": stages(incident.stage_ns),
        "stage_usual_ns": stages(incident.stage_usual_ns),
        "evidence": evidence(incident),
        "around": {
            "reach": INCIDENT_REACH,
            "wake_latency_ns": incident.around_latency_ns.to_vec(),
            "cycle_time_ns": incident.around_time_ns.to_vec(),
        },
    });
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What was counted across the window; `null` where this host cannot be read.
fn evidence(incident: &Incident) -> Value {
    use shm_layout::code::evidence as bits;
    let read = |bit: u32, count: u64| (incident.evidence & bit != 0).then_some(count);
    json!({
        "window_ns": incident.window_ns,
        "cpu_time_ns": read(bits::THREAD, incident.cpu_time_ns),
        "run_delay_ns": read(bits::THREAD, incident.run_delay_ns),
        "minor_faults": read(bits::THREAD, incident.minor_faults.into()),
        "major_faults": read(bits::THREAD, incident.major_faults.into()),
        "involuntary_switches": read(bits::THREAD, incident.involuntary_switches.into()),
        "own_threads_ns": read(bits::OWN_THREADS, incident.own_threads_ns),
        "steal_ns": read(bits::STEAL, incident.steal_ns),
        "busy_permille": read(bits::STEAL, incident.busy_permille.into()),
        "interrupts": read(bits::INTERRUPTS, incident.interrupts),
        "softirqs": read(bits::INTERRUPTS, incident.softirqs),
        "throttling_on": incident.evidence & bits::THROTTLING != 0,
        "smi_count": read(bits::SMI, incident.smi_count.into()),
        "bus_late_ns": incident.bus_late_ns,
        "allocations": incident.allocations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_one_line_that_begins_with_its_cause() {
        let of = |cause: Cause, finding: Finding| Incident {
            kind: IncidentKind::MissedCycles.code(),
            cause: cause.code(),
            finding: finding.code(),
            lost_ns: 98_200_000,
            cycle: 7,
            wake_ns: 98_200_000,
            cycle_time_ns: 21_000,
            skipped: 97,
            stage: u32::MAX,
            ..Incident::zeroed()
        };
        assert_eq!(
            of(Cause::Host, Finding::Steal).to_string(),
            "host stole 98.2 ms — missed-cycles, cycle 7: woke 98.2 ms late, ran 21 µs, 97 missed [host]"
        );
        let mut stage = of(Cause::Own, Finding::Stage);
        (stage.stage, stage.lost_ns, stage.stage_usual_ns[4]) = (4, 71_000, 2_000);
        assert!(stage.to_string().starts_with("ours: control 73 µs, usually 2 µs — "), "{stage}");
        let mut bus = of(Cause::Bus, Finding::BusLate);
        bus.lost_ns = 412_000;
        assert!(bus.to_string().starts_with("bus answered 412 µs late — "), "{bus}");
        for (finding, ..) in Finding::ALL {
            let text = of(Cause::Kernel, *finding).to_string();
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_null_and_wild_codes_are_unknown() {
        let wild = Incident { cause: 99, kind: 99, finding: 99, stage: 99, ..Incident::zeroed() };
        let told = fields(&wild);
        assert_eq!((&told["cause"], &told["stage"]), (&json!("unknown"), &Value::Null));
        assert_eq!(told["evidence"]["smi_count"], Value::Null);
        assert_eq!(told["around"]["wake_latency_ns"].as_array().map(Vec::len), Some(17));
    }
}
