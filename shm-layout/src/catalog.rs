//! What the machine is: written once by the daemon, read by whoever plans or shows.
use crate::record::record;
use crate::{BUSES_MAX, GROUPS_MAX, NAME_BYTES};
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// The machine as a whole. Followed by one `CatalogAxis` per axis.
    CatalogHeader as "Kadenz.CatalogHeader" {
        /// Fingerprint of the contract; readers compare before anything else.
        layout_hash: u64, "-", "equals LAYOUT_HASH", "kadenzd";
        /// Major version of the contract.
        version_major: u16, "1", "1", "kadenzd";
        /// Minor version of the contract.
        version_minor: u16, "1", "0 ..= 65535", "kadenzd";
        /// Axes of this machine.
        axis_count: u16, "1", "1 ..= 64", "kadenzd";
        /// Buses of this machine.
        bus_count: u16, "1", "1 ..= 4", "kadenzd";
        /// Random number of this life of the daemon.
        daemon_id: u64, "-", "any", "kadenzd";
        /// SHA-256 of the effective configuration.
        config_hash: [u8; 32], "-", "any", "kadenzd";
        /// Name of the machine.
        machine_name: [u8; NAME_BYTES], "-", "UTF-8, zero padded", "kadenzd";
        /// Names of the buses.
        bus_names: [[u8; NAME_BYTES]; BUSES_MAX], "-", "UTF-8, zero padded", "kadenzd";
        /// Names of the groups.
        group_names: [[u8; NAME_BYTES]; GROUPS_MAX], "-", "UTF-8, zero padded", "kadenzd";
        /// Nominal period of the loop.
        period_ns: u64, "ns", "50_000 ..= 10_000_000", "kadenzd";
        /// Silence after which a source counts as gone.
        lease_ns: u64, "ns", "> 0", "kadenzd";
        /// What a planner keeps ahead of path time.
        horizon_s: f64, "s", "> 0", "kadenzd";
        /// Path time within which every segment must let the machine brake.
        stop_path_time_s: f64, "s", "> 0", "kadenzd";
        /// Offset of the gateways' copy-out pass after the grid point.
        out_offset_ns: u64, "ns", "0 ..< period", "kadenzd";
        /// Lead of the gateways' copy-in pass before the next grid point.
        in_lead_ns: u64, "ns", "0 ..< period", "kadenzd";
        /// Groups of this machine.
        group_count: u64, "1", "1 ..= 8", "kadenzd";
    }
}

record! {
    /// One axis of the machine.
    CatalogAxis as "Kadenz.CatalogAxis" {
        /// Name of the axis.
        name: [u8; NAME_BYTES], "-", "UTF-8, zero padded", "kadenzd";
        /// Kind code (`AxisKind`): decides between rad and m.
        kind: u32, "-", "AxisKind", "kadenzd";
        /// Index of its bus.
        bus_index: u16, "1", "0 ..= 3", "kadenzd";
        /// Index of its group.
        group_index: u16, "1", "0 ..= 7", "kadenzd";
        /// The axis is exchanged every `divisor` cycles.
        divisor: u32, "1", ">= 1", "kadenzd";
        /// Zero.
        reserved: u32, "-", "0", "kadenzd";
        /// Lower soft limit.
        position_min: f64, "rad | m", "finite", "kadenzd";
        /// Upper soft limit.
        position_max: f64, "rad | m", "> position_min", "kadenzd";
        /// Largest velocity.
        velocity_max: f64, "rad/s | m/s", "> 0", "kadenzd";
        /// Largest acceleration.
        acceleration_max: f64, "rad/s^2 | m/s^2", "> 0", "kadenzd";
        /// Largest jerk.
        jerk_max: f64, "rad/s^3 | m/s^3", "> 0", "kadenzd";
        /// Following error above which the axis faults after `following_error_time_ns`.
        following_error_window: f64, "rad | m", "> 0", "kadenzd";
        /// How long the window may be left.
        following_error_time_ns: u64, "ns", ">= period", "kadenzd";
        /// Drive counts per unit; one count is the resolution of the wire.
        counts_per_unit: f64, "1/rad | 1/m", "finite, not 0", "kadenzd";
    }
}
