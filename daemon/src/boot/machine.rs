//! From the configuration to what the island and the catalog are told.
use kadenz_config::machine::{AxisKind, BusKind, Machine, OverrunPolicy};
use servo_core::motion::AxisLimits;
use servo_core::setup::{AxisSetup, BusSetup, SKIPS_BRIDGED_MAX, SKIPS_FOLLOWED_MAX, Setup};
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::{
    AXES_MAX, BUSES_MAX, GROUPS_MAX, LAYOUT_HASH, NAME_BYTES, VERSION_MAJOR, VERSION_MINOR, code,
};

/// Frames in a row that may be lost before the machine stops.
const LOST_IN_ROW_MAX: u32 = 4;
/// How long drives may take to reach Operation enabled.
const ENABLE_MS_MAX: u64 = 3_000;

/// The machine as the island is told it.
#[must_use]
pub fn setup(machine: &Machine, daemon_id: u64) -> Setup {
    let period_ns = u64::from(machine.period_us) * 1_000;
    let cycles = |ms: u64| u32::try_from(ms * 1_000_000 / period_ns).unwrap_or(u32::MAX);
    let idle_axis = AxisSetup {
        limits: AxisLimits {
            position_min: 0.0,
            position_max: 0.0,
            velocity: 0.0,
            acceleration: 0.0,
            jerk: 0.0,
        },
        effort_max: 0.0,
        following_error_window: 0.0,
        following_error_cycles: 0,
        bus_index: 0,
        group_index: 0,
        divisor: 1,
    };
    let mut setup = Setup {
        period_ns,
        daemon_id,
        config_hash: kadenz_config::hash(machine),
        axis_count: machine.axes.len(),
        bus_count: machine.buses.len(),
        group_count: machine.groups.len(),
        axes: [idle_axis; AXES_MAX],
        buses: [BusSetup { kind: 0, lost_in_row_max: 0 }; BUSES_MAX],
        group_masks: [0; GROUPS_MAX],
        lease_ns: u64::from(machine.source.lease_ms) * 1_000_000,
        stop_path_time_s: machine.stop_path_time_s(),
        skips_followed_max: SKIPS_FOLLOWED_MAX,
        skips_bridged_max: SKIPS_BRIDGED_MAX,
        missed_per_s_max: match machine.overrun.policy {
            OverrunPolicy::SkipInPhase => None,
            OverrunPolicy::StopAfter { missed_per_s_max } => Some(missed_per_s_max),
        },
        enable_cycles_max: cycles(ENABLE_MS_MAX),
    };
    for (index, (slot, axis)) in setup.axes.iter_mut().zip(&machine.axes).enumerate() {
        *slot = AxisSetup {
            limits: AxisLimits {
                position_min: axis.limits.position_min,
                position_max: axis.limits.position_max,
                velocity: axis.limits.velocity,
                acceleration: axis.limits.acceleration,
                jerk: axis.limits.jerk,
            },
            effort_max: axis.plant.effort_limit,
            following_error_window: axis.following_error.window,
            following_error_cycles: cycles(u64::from(axis.following_error.time_ms)),
            bus_index: narrow(axis.bus_index),
            group_index: narrow(axis.group_index),
            divisor: axis.divisor,
        };
        setup.group_masks[axis.group_index] |= 1 << index;
    }
    for (slot, bus) in setup.buses.iter_mut().zip(&machine.buses) {
        let BusKind::Sim { .. } = bus.kind;
        *slot = BusSetup { kind: code::BusKind::Sim.code(), lost_in_row_max: LOST_IN_ROW_MAX };
    }
    setup
}

/// The machine as planners and people are told it.
#[must_use]
pub fn catalog(machine: &Machine, setup: &Setup) -> (CatalogHeader, Vec<CatalogAxis>) {
    let mut header = CatalogHeader {
        layout_hash: LAYOUT_HASH,
        version_major: VERSION_MAJOR,
        version_minor: VERSION_MINOR,
        axis_count: narrow(setup.axis_count),
        bus_count: narrow(setup.bus_count),
        daemon_id: setup.daemon_id,
        config_hash: setup.config_hash,
        machine_name: name(&machine.name),
        period_ns: setup.period_ns,
        lease_ns: setup.lease_ns,
        horizon_s: f64::from(machine.source.horizon_ms) * 1e-3,
        stop_path_time_s: setup.stop_path_time_s,
        out_offset_ns: u64::from(machine.gateways.out_offset_us) * 1_000,
        in_lead_ns: u64::from(machine.gateways.in_lead_us) * 1_000,
        group_count: setup.group_count as u64,
        ..CatalogHeader::zeroed()
    };
    for (slot, bus) in header.bus_names.iter_mut().zip(&machine.buses) {
        *slot = name(&bus.name);
    }
    for (slot, group) in header.group_names.iter_mut().zip(&machine.groups) {
        *slot = name(&group.name);
    }
    let period_ns = setup.period_ns;
    let axes = machine.axes.iter().map(|axis| CatalogAxis {
        name: name(&axis.name),
        kind: match axis.kind {
            AxisKind::Rotary => code::AxisKind::Rotary.code(),
            AxisKind::Linear => code::AxisKind::Linear.code(),
        },
        bus_index: narrow(axis.bus_index),
        group_index: narrow(axis.group_index),
        divisor: axis.divisor,
        reserved: 0,
        position_min: axis.limits.position_min,
        position_max: axis.limits.position_max,
        velocity_max: axis.limits.velocity,
        acceleration_max: axis.limits.acceleration,
        jerk_max: axis.limits.jerk,
        following_error_window: axis.following_error.window,
        following_error_time_ns: (u64::from(axis.following_error.time_ms) * 1_000_000)
            .max(period_ns),
        counts_per_unit: axis.counts_per_unit,
    });
    (header, axes.collect())
}

fn narrow(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn name(text: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (slot, byte) in bytes.iter_mut().take(NAME_BYTES - 1).zip(text.bytes()) {
        *slot = byte;
    }
    bytes
}
