//! The one message that matters for cost, `kadenz.State`, written straight into a buffer: no
//! allocation, no measuring pass. Field numbers are those of `proto/kadenz.proto`; the round-trip
//! test reads every field back with the generated code.
use shm_layout::catalog::CatalogAxis;
use shm_layout::code::{axis_flag, state_flag};
use shm_layout::state::{AxisState, BusState, GroupState, NO_AXIS, StateHeader};
use shm_layout::{AXES_MAX, NAME_BYTES};

/// Longest encoding of one axis in bytes: 9 doubles and fixed words of 11, 18 varints of at most 7,
/// a name. Asserted by the encoder's own test with all bits set.
const AXIS_BYTES_MAX: usize = 320;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Writes `kadenz.State` messages for one machine.
pub struct StateEncoder {
    /// Name field of each axis, tag included.
    names: Vec<Vec<u8>>,
    axis: Vec<u8>,
}

impl StateEncoder {
    /// An encoder for a machine with these axes.
    #[must_use]
    pub fn new(axes: &[CatalogAxis]) -> Self {
        let names = axes
            .iter()
            .take(AXES_MAX)
            .map(|axis| {
                let name = name_of(&axis.name);
                let mut field = Vec::with_capacity(NAME_BYTES * 3 + 4);
                if !name.is_empty() {
                    bytes(&mut field, 1, name.as_bytes());
                }
                field
            })
            .collect();
        Self { names, axis: Vec::with_capacity(AXIS_BYTES_MAX) }
    }

    /// Appends the message for one cycle to `out`.
    pub fn encode(&mut self, header: &StateHeader, axes: &[AxisState], out: &mut Vec<u8>) {
        out.reserve(1024 + axes.len() * AXIS_BYTES_MAX);
        header_fields(header, out);
        for (index, axis) in axes.iter().take(AXES_MAX).enumerate() {
            self.axis.clear();
            if let Some(name) = self.names.get(index) {
                self.axis.extend_from_slice(name);
            }
            axis_fields(axis, &mut self.axis);
            bytes(out, 14, &self.axis);
        }
        let buses = header.buses.iter().take(usize::from(header.bus_count));
        for bus in buses {
            self.axis.clear();
            bus_fields(bus, &mut self.axis);
            bytes(out, 15, &self.axis);
        }
        let used = header.groups.iter().rposition(|group| group.axis_mask != 0);
        for group in header.groups.iter().take(used.map_or(0, |last| last + 1)) {
            self.axis.clear();
            group_fields(group, &mut self.axis);
            bytes(out, 16, &self.axis);
        }
    }
}

/// The text of a zero-padded name; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn name_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// `NO_AXIS` as absence.
#[must_use]
pub fn axis_index(axis: u32) -> Option<u32> {
    (axis != NO_AXIS).then_some(axis)
}

fn header_fields(header: &StateHeader, out: &mut Vec<u8>) {
    const NAMED: u32 = state_flag::SOURCE_ALIVE
        | state_flag::PATH_LOADED
        | state_flag::PATH_COMPLETE
        | state_flag::AT_REST;
    fixed64(out, 1, header.cycle);
    fixed64(out, 2, header.grid_ns);
    fixed64(out, 3, header.wake_ns);
    varint(out, 4, u64::from(header.phase));
    varint(out, 5, u64::from(header.verdict));
    varint(out, 6, u64::from(header.reason));
    if let Some(axis) = axis_index(header.reason_axis) {
        varint(out, 7, u64::from(axis));
    }
    fixed64(out, 8, header.path_id);
    double(out, 9, header.tau_s);
    double(out, 10, header.path_rate);
    double(out, 11, header.path_rate_slope_s);
    double(out, 12, header.rate_override);
    double(out, 13, header.tau_last_s);
    fixed64(out, 17, header.grid_index);
    varint(out, 18, header.period_ns);
    packed(out, 19, &header.stage_end_ns.map(u32::to_le_bytes));
    varint(out, 20, u64::from(header.skipped));
    flag(out, 21, header.flags, state_flag::SOURCE_ALIVE);
    flag(out, 22, header.flags, state_flag::PATH_LOADED);
    flag(out, 23, header.flags, state_flag::PATH_COMPLETE);
    flag(out, 24, header.flags, state_flag::AT_REST);
    if header.flags & !NAMED != 0 {
        varint(out, 25, u64::from(header.flags & !NAMED));
    }
    fixed64(out, 26, header.knot_next_index);
    fixed64(out, 27, header.knots_accepted);
    fixed64(out, 28, header.knots_refused);
    varint(out, 29, u64::from(header.knot_refusal));
    if let Some(axis) = axis_index(header.knot_refusal_axis) {
        varint(out, 30, u64::from(axis));
    }
    fixed64(out, 31, header.source_id);
    fixed64(out, 32, header.lease_generation);
    fixed64(out, 33, header.source_age_ns);
    fixed64(out, 34, header.trace_id);
    fixed64(out, 35, header.event_count);
    packed(out, 36, &header.digital_inputs.map(u64::to_le_bytes));
    packed(out, 37, &header.digital_outputs.map(u64::to_le_bytes));
    packed(out, 38, &header.analogue_inputs.map(f64::to_le_bytes));
    packed(out, 39, &header.analogue_outputs.map(f64::to_le_bytes));
    fixed64(out, 40, header.daemon_id);
}

fn axis_fields(axis: &AxisState, out: &mut Vec<u8>) {
    const NAMED: u32 = axis_flag::ENABLED
        | axis_flag::FAULT
        | axis_flag::HOMED
        | axis_flag::BRAKE_RELEASED
        | axis_flag::LIMIT_ENFORCED
        | axis_flag::FRESH;
    double(out, 2, axis.position_reference);
    double(out, 3, axis.velocity_reference);
    double(out, 4, axis.acceleration_reference);
    double(out, 5, axis.torque_feed_forward);
    double(out, 6, axis.position_actual);
    double(out, 7, axis.velocity_actual);
    double(out, 8, axis.torque_actual);
    double(out, 9, axis.following_error);
    key(out, 10, FIXED32);
    out.extend_from_slice(&axis.target_counts.to_le_bytes());
    varint(out, 11, u64::from(axis.controlword));
    varint(out, 12, u64::from(axis.statusword));
    varint(out, 13, u64::from(axis.error_code));
    varint(out, 14, u64::from(axis.mode));
    varint(out, 15, u64::from(axis.input_age_cycles));
    flag(out, 16, axis.flags, axis_flag::ENABLED);
    flag(out, 17, axis.flags, axis_flag::FAULT);
    flag(out, 18, axis.flags, axis_flag::HOMED);
    flag(out, 19, axis.flags, axis_flag::BRAKE_RELEASED);
    flag(out, 20, axis.flags, axis_flag::LIMIT_ENFORCED);
    flag(out, 21, axis.flags, axis_flag::FRESH);
    if axis.flags & !NAMED != 0 {
        varint(out, 22, u64::from(axis.flags & !NAMED));
    }
    varint(out, 23, u64::from(axis.divisor));
    varint(out, 24, u64::from(axis.bus_index));
    varint(out, 25, u64::from(axis.group_index));
    fixed64(out, 26, axis.trace_id);
}

fn bus_fields(bus: &BusState, out: &mut Vec<u8>) {
    varint(out, 1, u64::from(bus.kind));
    varint(out, 2, u64::from(bus.input_age_cycles));
    varint(out, 3, bus.frames_lost);
    varint(out, 4, u64::from(bus.wkc_actual));
    varint(out, 5, u64::from(bus.wkc_expected));
    varint(out, 6, u64::from(bus.lost_in_row));
}

fn group_fields(group: &GroupState, out: &mut Vec<u8>) {
    fixed64(out, 1, group.axis_mask);
    varint(out, 2, u64::from(group.verdict));
    varint(out, 3, u64::from(group.reason));
}

#[inline]
fn key(out: &mut Vec<u8>, field: u32, wire: u32) {
    raw_varint(out, u64::from(field << 3 | wire));
}

#[inline]
fn raw_varint(out: &mut Vec<u8>, mut value: u64) {
    // BOUND: a 64-bit value has at most ten groups of seven bits.
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[inline]
fn varint(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    raw_varint(out, value);
}

#[inline]
fn flag(out: &mut Vec<u8>, field: u32, flags: u32, bit: u32) {
    varint(out, field, u64::from(flags & bit != 0));
}

#[inline]
fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(out, field, value.to_bits());
}

#[inline]
fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    key(out, field, BYTES);
    raw_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn packed<const BYTES_EACH: usize>(out: &mut Vec<u8>, field: u32, values: &[[u8; BYTES_EACH]]) {
    bytes(out, field, values.as_flattened());
}
