//! From the document to the machine: all tables but the axes, the defaults, and the checks between tables.

use crate::asked::Rule;
use crate::machine::{
    Axis, Bus, BusKind, Cpu, Gateways, Group, Host, Limits, Machine, Overrun, OverrunPolicy, Roles,
    Source, horizon_ms_min,
};
use crate::names::{Names, checked_name};
use crate::report::Report;
use crate::spot::{Given, Spot};
use crate::walk::Section;
use crate::wording::{nearest, number};
use crate::{Exemption, axis, recorder, schema};

/// The whole machine; `None` when something in it was refused (and reported).
pub(crate) fn machine(mut root: Section<'_>) -> Option<Machine> {
    let report = root.report();
    let (name, period_us) = general(root.required_section(&schema::MACHINE));
    let (host, exempt_spot) = host(root.section("host"));
    let (source, horizon_spot) = source(root.section("source"), period_us);
    let overrun = overrun(root.section("overrun"), period_us);
    let recorder = recorder::read(root.section("recorder"));
    let gateways =
        gateways(root.section("gateways"), period_us, host.as_ref().map(|host| host.priority_fifo));
    let is_one_user = host.as_ref().map(|host| host.exempt.contains(&Exemption::OneUser));
    let roles = roles(root.section("roles"), is_one_user, &exempt_spot);

    let mut bus_names = Names::new("bus");
    let buses: Vec<_> = root.sections("bus", schema::BUS_COUNT_MAX);
    let buses: Vec<_> = buses.into_iter().map(|section| bus(section, &mut bus_names)).collect();
    let mut group_names = Names::new("group");
    let groups = root.sections("group", schema::GROUP_COUNT_MAX);
    let groups: Vec<_> = groups.into_iter().map(|one| group(one, &mut group_names)).collect();
    let mut axis_names = Names::new("axis");
    let mut axes = Vec::new();
    for mut section in root.sections("axis", schema::AXIS_COUNT_MAX) {
        let name = axis_names.read(&mut section);
        axes.push(axis::read(section, name, &bus_names, &group_names, period_us));
    }
    root.finish();

    // A refused axis may be the one that uses the bus, or needs the longest horizon.
    let axes: Vec<Axis> = axes.into_iter().collect::<Option<_>>()?;
    if axes.is_empty() {
        return None;
    }
    let used: Vec<_> = axes.iter().map(|axis| axis.bus_index).collect();
    bus_names.refuse_unused(&used, report);
    let used: Vec<_> = axes.iter().map(|axis| axis.group_index).collect();
    group_names.refuse_unused(&used, report);
    let (source, gateways, period_us) = (source?, gateways?, period_us?);
    check_horizon(source, period_us + gateways.in_lead_us, &axes, &horizon_spot, report);
    Some(Machine {
        name: name?,
        period_us,
        host: host?,
        source,
        overrun: overrun?,
        recorder: recorder?,
        gateways,
        roles: roles?,
        buses: buses.into_iter().collect::<Option<_>>()?,
        groups: groups.into_iter().collect::<Option<_>>()?,
        axes,
    })
}

fn check_horizon(
    source: Source,
    gateway_phase_us: u32,
    axes: &[Axis],
    spot: &Spot,
    report: &Report<'_>,
) {
    let stop_time_s = |axis: &&Axis| Limits::stop_time_s(&axis.limits);
    let slowest = axes.iter().max_by(|a, b| stop_time_s(a).total_cmp(&stop_time_s(b)));
    let Some(slowest) = slowest else { return };
    let least_ms = horizon_ms_min(stop_time_s(&slowest), gateway_phase_us);
    if f64::from(source.horizon_ms) < least_ms {
        let why = format!(
            "shorter than a stop: must be at least {} ms, which is {} ms that axis `{}` needs \
             from full speed to rest and 2 x {} ms on the way through a gateway; raise it, or \
             raise acceleration or jerk of `{}`",
            least_ms.ceil(),
            number((stop_time_s(&slowest) * 1e4).round() * 0.1),
            slowest.name,
            f64::from(gateway_phase_us) * 1e-3,
            slowest.name,
        );
        spot.refuse(report, &why);
    }
}

fn general(mut section: Section<'_>) -> (Option<String>, Option<u32>) {
    let name = section.text(&schema::NAME);
    let name = name.and_then(|given| checked_name(&given, section.report()));
    let period_us = section.whole_or(&schema::PERIOD_US, 1000);
    section.finish();
    (name, period_us)
}

fn host(mut section: Section<'_>) -> (Option<Host>, Spot) {
    let cpu = cpu(&mut section);
    let priority_fifo = section.whole_or(&schema::PRIORITY_FIFO, 80);
    let exempt = exempt(&mut section);
    let exempt_spot = section.spot(schema::EXEMPT.key);
    section.finish();
    let host = || Some(Host { cpu: cpu?, priority_fifo: priority_fifo?, exempt: exempt? });
    (host(), exempt_spot)
}

fn cpu(section: &mut Section<'_>) -> Option<Cpu> {
    section.ask(Rule::Whole(schema::CPU_NUMBER), false);
    if section.holds_whole(schema::CPU.key) {
        return section.whole_or(&schema::CPU_NUMBER, 0).map(Cpu::Number);
    }
    let given = section.text_if_present(&schema::CPU);
    match given {
        Some(given) if given.value == "last" => Some(Cpu::Last),
        Some(given) => {
            let why = format!("is no CPU; {}", schema::CPU.remedy);
            given.spot.refuse(section.report(), &why);
            None
        }
        None if section.has(schema::CPU.key) => None,
        None => Some(Cpu::Last),
    }
}

fn exempt(section: &mut Section<'_>) -> Option<Vec<Exemption>> {
    let report = section.report();
    let (given, mut is_clean) = section.texts(&schema::EXEMPT);
    let names = || Exemption::ALL.into_iter().map(Exemption::name);
    let mut known = Vec::new();
    for Given { value, spot } in given {
        let why = match Exemption::from_name(value) {
            Some(exemption) if !known.contains(&exemption) => {
                known.push(exemption);
                continue;
            }
            Some(_) => "stands here twice; remove one".to_owned(),
            None => match nearest(value, names()) {
                Some(name) => format!("is no finding about a host; did you mean `{name}`?"),
                None => {
                    let names: Vec<_> = names().collect();
                    format!("is no finding about a host; known: {}", names.join(", "))
                }
            },
        };
        spot.refuse(report, &why);
        is_clean = false;
    }
    known.sort_unstable();
    is_clean.then_some(known)
}

fn source(mut section: Section<'_>, period_us: Option<u32>) -> (Option<Source>, Spot) {
    let lease_ms: Option<u32> = section.whole_or(&schema::LEASE_MS, 50);
    let horizon_ms = section.whole_or(&schema::HORIZON_MS, 1000);
    if let (Some(lease_ms), Some(period_us)) = (lease_ms, period_us)
        && lease_ms * 1000 < 2 * period_us
    {
        let why = format!(
            "a lease of {lease_ms} ms is shorter than two periods of {period_us} µs: every source \
             would count as gone; raise it"
        );
        section.refuse(schema::LEASE_MS.key, &why);
    }
    let horizon_spot = section.spot(schema::HORIZON_MS.key);
    section.finish();
    let source = || Some(Source { lease_ms: lease_ms?, horizon_ms: horizon_ms? });
    (source(), horizon_spot)
}

fn overrun(mut section: Section<'_>, period_us: Option<u32>) -> Option<Overrun> {
    let policy = section.text_if_present(&schema::POLICY);
    let is_counted = section.has(schema::MISSED_PER_S_MAX.key);
    let missed_per_s_max = section.whole_or(&schema::MISSED_PER_S_MAX, 10);
    let stops = match policy {
        Some(given) => match given.value {
            "skip-in-phase" => Some(false),
            "stop-after" => Some(true),
            _ => {
                let why = format!("is no overrun policy; {}", schema::POLICY.remedy);
                given.spot.refuse(section.report(), &why);
                None
            }
        },
        None if section.has(schema::POLICY.key) => None,
        None => Some(false),
    };
    if stops == Some(false) && is_counted {
        let why = "counts for policy \"stop-after\" alone; set that policy, or remove this key";
        section.refuse(schema::MISSED_PER_S_MAX.key, why);
    }
    let late_wake_us = section.whole_or(&schema::LATE_WAKE_US, period_us.unwrap_or(1000) / 4);
    section.finish();
    let policy = if stops? {
        OverrunPolicy::StopAfter { missed_per_s_max: missed_per_s_max? }
    } else {
        OverrunPolicy::SkipInPhase
    };
    Some(Overrun { policy, late_wake_us: late_wake_us? })
}

fn gateways(
    mut section: Section<'_>,
    period_us: Option<u32>,
    loop_priority_fifo: Option<u8>,
) -> Option<Gateways> {
    let out_offset_us: Option<u32> = section.whole_or(&schema::OUT_OFFSET_US, 150);
    let in_lead_us: Option<u32> = section.whole_or(&schema::IN_LEAD_US, 100);
    let priority_fifo: Option<u8> = section.whole_or(&schema::GATEWAY_PRIORITY_FIFO, 40);
    if let (Some(offset), Some(lead), Some(period)) = (out_offset_us, in_lead_us, period_us)
        && offset + lead >= period
    {
        let why = format!(
            "copy-out {offset} µs after the wake must come before copy-in {lead} µs ahead of the \
             next, but the period is {period} µs; lower out_offset_us or in_lead_us, or raise \
             machine.period_us"
        );
        section.refuse(schema::OUT_OFFSET_US.key, &why);
    }
    if let (Some(own), Some(of_loop)) = (priority_fifo, loop_priority_fifo)
        && own >= of_loop
    {
        let why = format!(
            "gateways at {own} would not yield to the loop at host.priority_fifo = {of_loop}; set \
             it below {of_loop}"
        );
        section.refuse(schema::GATEWAY_PRIORITY_FIFO.key, &why);
    }
    section.finish();
    Some(Gateways {
        out_offset_us: out_offset_us?,
        in_lead_us: in_lead_us?,
        priority_fifo: priority_fifo?,
    })
}

/// `Some(None)` is a machine without roles, exempt from them.
fn roles(
    mut section: Section<'_>,
    is_one_user: Option<bool>,
    exempt_spot: &Spot,
) -> Option<Option<Roles>> {
    let report = section.report();
    if !section.is_present() {
        // A [roles] that is there but no table has been refused already.
        if is_one_user == Some(false) && !section.is_muted() {
            let message = "key `roles` is missing: add a table [roles] with the unix users of the \
                           gateways, or \"one-user\" to host.exempt to run them all as one user";
            report.add(exempt_spot.span.clone(), message.to_owned());
        }
        return Some(None);
    }
    let mut given = Vec::new();
    let view = user(&mut section, &schema::VIEW, "kadenz-view", &mut given);
    let plan = user(&mut section, &schema::PLAN, "kadenz-plan", &mut given);
    let operate = user(&mut section, &schema::OPERATE, "kadenz-operate", &mut given);
    let operate_group = user(&mut section, &schema::OPERATE_GROUP, "kadenz", &mut Vec::new());
    section.finish();
    Some(Some(Roles { view: view?, plan: plan?, operate: operate?, operate_group: operate_group? }))
}

/// A unix user that no other role has; the names so far and where they stand are in `given`.
fn user(
    section: &mut Section<'_>,
    spec: &schema::Other,
    default: &str,
    given: &mut Vec<(&'static str, String)>,
) -> Option<String> {
    let name = match section.text_if_present(spec) {
        Some(Given { value, spot }) => {
            if !is_unix_name(value) {
                spot.refuse(section.report(), &format!("is no unix name; {}", spec.remedy));
                return None;
            }
            value.to_owned()
        }
        None if section.has(spec.key) => return None,
        None => default.to_owned(),
    };
    if let Some((other, _)) = given.iter().find(|(_, taken)| *taken == name) {
        let why = format!(
            "`{name}` is also `{other}`: the user decides the role, so each needs its own; choose \
             another"
        );
        section.refuse(spec.key, &why);
    }
    given.push((spec.key, name.clone()));
    Some(name)
}

/// What useradd accepts: 1..=31 of `[a-z0-9_-]`, not beginning with a digit or `-`.
fn is_unix_name(name: &str) -> bool {
    let is_fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    (1..=31).contains(&name.len())
        && name.bytes().all(is_fit)
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
}

fn bus<'a>(mut section: Section<'a>, names: &mut Names<'a>) -> Option<Bus> {
    let name = names.read(&mut section);
    let kind = section.text(&schema::BUS_KIND);
    let seed = section.whole_or(&schema::SEED, 1);
    let is_sim = kind.is_some_and(|kind| {
        let why = match kind.value {
            "sim" => return true,
            "ethercat" | "dynamixel" => "this version drives `sim` only; write \"sim\"",
            _ => "is no kind of bus; this version drives `sim` only; write \"sim\"",
        };
        kind.spot.refuse(section.report(), why);
        false
    });
    section.finish();
    Some(Bus { name: name?, kind: BusKind::Sim { seed: seed.filter(|_| is_sim)? } })
}

fn group<'a>(mut section: Section<'a>, names: &mut Names<'a>) -> Option<Group> {
    let name = names.read(&mut section);
    section.finish();
    Some(Group { name: name? })
}
