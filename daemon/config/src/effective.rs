//! The canonical text of a machine, every default spelled out, and its hash; it reads back as the same machine.

use std::fmt::{Display, Write};

use sha2::{Digest, Sha256};

use crate::machine::{Axis, BusKind, Cpu, Machine, OverrunPolicy};
use crate::schema;

/// The machine as TOML with every default spelled out (`--print-config`).
///
/// Reading it back gives an equal [`Machine`], and equal machines give equal text.
#[must_use]
pub fn effective_toml(machine: &Machine) -> String {
    let mut out = Text(String::new());
    out.table("[machine]");
    out.text(schema::NAME.key, &machine.name);
    out.value(schema::PERIOD_US.key, machine.period_us);
    service(&mut out, machine);
    for bus in &machine.buses {
        out.table("[[bus]]");
        out.text(schema::NAME.key, &bus.name);
        let BusKind::Sim { seed } = bus.kind;
        out.text(schema::BUS_KIND.key, "sim");
        out.value(schema::SEED.key, seed);
    }
    for group in &machine.groups {
        out.table("[[group]]");
        out.text(schema::NAME.key, &group.name);
    }
    for axis in &machine.axes {
        axis_tables(&mut out, machine, axis);
    }
    out.0
}

/// SHA-256 of [`effective_toml`]: names this configuration in logs and recordings.
#[must_use]
pub fn hash(machine: &Machine) -> [u8; 32] {
    Sha256::digest(effective_toml(machine)).into()
}

/// The tables between `[machine]` and the first `[[bus]]`.
fn service(out: &mut Text, machine: &Machine) {
    let Machine { host, source, overrun, recorder, gateways, .. } = machine;
    out.table("[host]");
    match host.cpu {
        Cpu::Last => out.text(schema::CPU.key, "last"),
        Cpu::Number(number) => out.value(schema::CPU.key, number),
    }
    out.value(schema::PRIORITY_FIFO.key, host.priority_fifo);
    let exempt: Vec<_> = host.exempt.iter().map(|one| format!("\"{one}\"")).collect();
    out.value(schema::EXEMPT.key, format_args!("[{}]", exempt.join(", ")));
    out.table("[source]");
    out.value(schema::LEASE_MS.key, source.lease_ms);
    out.value(schema::HORIZON_MS.key, source.horizon_ms);
    out.table("[overrun]");
    match overrun.policy {
        OverrunPolicy::SkipInPhase => out.text(schema::POLICY.key, "skip-in-phase"),
        OverrunPolicy::StopAfter { missed_per_s_max } => {
            out.text(schema::POLICY.key, "stop-after");
            out.value(schema::MISSED_PER_S_MAX.key, missed_per_s_max);
        }
    }
    out.value(schema::LATE_WAKE_US.key, overrun.late_wake_us);
    out.table("[recorder]");
    out.value(schema::ENABLED.key, recorder.enabled);
    out.value(schema::RING_S.key, recorder.ring_s);
    out.value(schema::SAVE_EVERY_MS.key, recorder.save_every_ms);
    if let Some(directory) = &recorder.directory {
        // Read from a text, so it is one.
        out.text(schema::DIRECTORY.key, &directory.to_string_lossy());
    }
    out.value(schema::LIMIT_MB.key, recorder.limit_mb);
    out.table("[gateways]");
    out.value(schema::OUT_OFFSET_US.key, gateways.out_offset_us);
    out.value(schema::IN_LEAD_US.key, gateways.in_lead_us);
    out.value(schema::GATEWAY_PRIORITY_FIFO.key, gateways.priority_fifo);
    if let Some(roles) = &machine.roles {
        out.table("[roles]");
        out.text(schema::VIEW.key, &roles.view);
        out.text(schema::PLAN.key, &roles.plan);
        out.text(schema::OPERATE.key, &roles.operate);
        out.text(schema::OPERATE_GROUP.key, &roles.operate_group);
    }
}

fn axis_tables(out: &mut Text, machine: &Machine, axis: &Axis) {
    let Axis { kind, limits, following_error, plant, .. } = axis;
    let kind = *kind;
    out.table("[[axis]]");
    out.text(schema::NAME.key, &axis.name);
    out.text(schema::AXIS_KIND.key, kind.name());
    // An index beyond the list is the caller's slip; the empty name is then refused on reading.
    let bus = machine.buses.get(axis.bus_index).map_or("", |bus| &bus.name);
    out.text(schema::AXIS_BUS.key, bus);
    let group = machine.groups.get(axis.group_index).map_or("", |group| &group.name);
    out.text(schema::AXIS_GROUP.key, group);
    out.value(schema::DIVISOR.key, axis.divisor);
    out.real(schema::COUNTS_PER_UNIT.of(kind).key, axis.counts_per_unit);
    out.real(schema::POSITION_START.of(kind).key, axis.position_start);
    out.table("[axis.limits]");
    out.real(schema::POSITION_MIN.of(kind).key, limits.position_min);
    out.real(schema::POSITION_MAX.of(kind).key, limits.position_max);
    out.real(schema::VELOCITY.of(kind).key, limits.velocity);
    out.real(schema::ACCELERATION.of(kind).key, limits.acceleration);
    out.real(schema::JERK.of(kind).key, limits.jerk);
    out.table("[axis.following_error]");
    out.real(schema::WINDOW.of(kind).key, following_error.window);
    out.value(schema::TIME_MS.key, following_error.time_ms);
    out.table("[axis.plant]");
    out.real(schema::INERTIA.of(kind).key, plant.inertia);
    out.real(schema::VISCOUS.of(kind).key, plant.viscous);
    out.real(schema::COULOMB.of(kind).key, plant.coulomb);
    out.real(schema::EFFORT_LIMIT.of(kind).key, plant.effort_limit);
    out.real(schema::VELOCITY_BANDWIDTH_HZ.key, plant.velocity_bandwidth_hz);
}

struct Text(String);

impl Text {
    fn table(&mut self, header: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(header);
        self.0.push('\n');
    }

    fn value(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key} = {value}").expect("writing to a String cannot fail");
    }

    /// The shortest digits that read back as the same number, always with a point or exponent.
    fn real(&mut self, key: &str, value: f64) {
        self.value(key, format_args!("{value:?}"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.value(key, toml::Value::from(value));
    }
}
