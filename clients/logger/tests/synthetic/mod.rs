//! A machine and its records from a seed, for tests and measurements; no assertions.
use kadenz_logger::convert::Machine;
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::state::{AxisState, StateHeader};

/// One life of the synthetic daemon.
pub const DAEMON_ID: u64 = 0x1122_3344_5566_7788;

fn padded<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// A machine with `axes` axes that runs at `period_ns`.
pub fn machine(axes: u16, period_ns: u64) -> Machine {
    let mut header = CatalogHeader::zeroed();
    header.layout_hash = shm_layout::LAYOUT_HASH;
    header.version_major = shm_layout::VERSION_MAJOR;
    header.axis_count = axes;
    header.bus_count = 1;
    header.daemon_id = DAEMON_ID;
    header.config_hash = [0xab; 32];
    header.machine_name = padded("bench/6 axes");
    header.bus_names[0] = padded("sim");
    header.group_names[0] = padded("all");
    header.group_count = 1;
    header.period_ns = period_ns;
    let axes = (0..axes)
        .map(|index| {
            let mut axis = CatalogAxis::zeroed();
            axis.name = padded(&format!("axis{}", index + 1));
            axis.kind = u32::from(index % 2);
            axis.divisor = 1;
            axis.position_min = -1.5;
            axis.position_max = 1.5;
            axis.counts_per_unit = 1e6;
            axis
        })
        .collect();
    Machine { header, axes }
}

/// What the machine does in `cycle`: smooth references, feedback with noise, as a real one.
pub fn state(machine: &Machine, cycle: u64) -> (StateHeader, Vec<AxisState>) {
    let mut header = StateHeader::zeroed();
    header.layout_hash = shm_layout::LAYOUT_HASH;
    header.version_major = shm_layout::VERSION_MAJOR;
    header.axis_count = machine.header.axis_count;
    header.bus_count = 1;
    header.daemon_id = machine.header.daemon_id;
    header.cycle = cycle;
    header.grid_index = cycle;
    header.grid_ns = 1_000_000_000 + cycle * machine.header.period_ns;
    header.wake_ns = header.grid_ns + noise(cycle, 0) % 4_000;
    header.period_ns = machine.header.period_ns;
    header.stage_end_ns =
        std::array::from_fn(|stage| 500 + u32::try_from(noise(cycle, stage as u64) % 200).unwrap());
    header.phase = 3;
    header.tau_s = cycle as f64 * 1e-9 * machine.header.period_ns as f64;
    header.path_rate = 1.0;
    header.rate_override = 1.0;
    header.tau_last_s = header.tau_s + 1.0;
    header.buses[0].kind = 1;
    header.groups[0].axis_mask = (1u64 << machine.axes.len()) - 1;
    let axes = (0..machine.axes.len() as u64).map(|index| axis(&header, index)).collect();
    (header, axes)
}

fn axis(header: &StateHeader, index: u64) -> AxisState {
    let omega = 1.0 + index as f64 * 0.1;
    let angle = omega * header.tau_s;
    let error = (noise(header.cycle, index + 10) % 1000) as f64 * 1e-7;
    let mut axis = AxisState::zeroed();
    axis.position_reference = angle.sin();
    axis.velocity_reference = omega * angle.cos();
    axis.acceleration_reference = -omega * omega * angle.sin();
    axis.torque_feed_forward = axis.acceleration_reference * 0.02;
    // Feedback is in counts: its mantissa is what an encoder of 2^20 counts gives.
    axis.position_actual = ((angle.sin() + error) * 1_048_576.0).round() / 1_048_576.0;
    axis.velocity_actual = axis.velocity_reference + error;
    axis.torque_actual = (axis.torque_feed_forward * 1000.0).round() / 1000.0;
    axis.following_error = axis.position_reference - axis.position_actual;
    axis.target_counts = rounded(angle.sin() * 1_048_576.0);
    axis.controlword = 15;
    axis.statusword = 0x1637;
    axis.mode = 8;
    axis.flags = 0b10_1101;
    axis.divisor = 1;
    axis
}

#[expect(clippy::cast_possible_truncation, reason = "the sine of an angle in 20-bit counts")]
fn rounded(counts: f64) -> i32 {
    counts as i32
}

/// 64 bits that depend on nothing but their arguments (SplitMix64).
pub fn noise(seed: u64, place: u64) -> u64 {
    let mut bits = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(place.wrapping_mul(0xd1b5_4a32_d192_ed03));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
