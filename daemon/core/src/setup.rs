//! What the island is told once, before the first cycle: the machine, already checked by the configuration.
use crate::motion::axis::AxisLimits;
use shm_layout::{AXES_MAX, BUSES_MAX, GROUPS_MAX, KNOTS_PER_CYCLE};

/// What taking one knot may cost per axis: copying it in, its limits, the braking room of its segment. The
/// share of the period below makes room for it; it is no bound on any one host.
const KNOT_AXIS_NS: u64 = 300;
/// The share of a period that may go into taking knots: a quarter.
const KNOT_SHARE: u64 = 4;

/// Grid points in a row that motion bridges and goes on; as many as frames may be lost.
pub const SKIPS_FOLLOWED_MAX: u32 = 4;
/// Grid points in a row that motion bridges at all; drives that hear nothing for longer trip.
pub const SKIPS_BRIDGED_MAX: u32 = 10;

/// The machine and its tolerances. Immutable for a run; its hash stands in every state record.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Nominal period; motion advances by it once per command sent.
    pub period_ns: u64,
    /// Random number of this life of the daemon.
    pub daemon_id: u64,
    /// SHA-256 of the effective configuration.
    pub config_hash: [u8; 32],
    /// Axes in use: the first `axis_count` entries of `axes`.
    pub axis_count: usize,
    /// Buses in use.
    pub bus_count: usize,
    /// Groups in use.
    pub group_count: usize,
    /// Axes.
    pub axes: [AxisSetup; AXES_MAX],
    /// Buses.
    pub buses: [BusSetup; BUSES_MAX],
    /// Axes of each group, bit per axis.
    pub group_masks: [u64; GROUPS_MAX],
    /// Silence after which a source counts as gone.
    pub lease_ns: u64,
    /// Path time within which every segment must let the machine brake.
    pub stop_path_time_s: f64,
    /// Grid points in a row after which motion goes on; after more it comes to rest on the path first.
    pub skips_followed_max: u32,
    /// Grid points in a row that motion moves on by, at most.
    pub skips_bridged_max: u32,
    /// Grid points that may be missed within one second before the machine stops; `None`: any number, phase
    /// is kept and nothing stops for it.
    pub missed_per_s_max: Option<u32>,
    /// Cycles the drives may take to reach, or to leave, Operation enabled.
    pub enable_cycles_max: u32,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub struct AxisSetup {
    /// Limits that no reference leaves while the axis is enabled.
    pub limits: AxisLimits,
    /// Largest torque or force that is fed forward, N·m or N.
    pub effort_max: f64,
    /// Following error above which the axis faults, rad or m.
    pub following_error_window: f64,
    /// How many cycles in a row the window may be left.
    pub following_error_cycles: u32,
    /// Index of its bus.
    pub bus_index: u16,
    /// Index of its group.
    pub group_index: u16,
    /// Exchanged every `divisor` cycles.
    pub divisor: u32,
}

/// One bus.
#[derive(Clone, Copy, Debug)]
pub struct BusSetup {
    /// Kind code (`shm_layout::code::BusKind`).
    pub kind: u32,
    /// Frames that may be lost in a row before the machine stops.
    pub lost_in_row_max: u32,
}

impl Setup {
    /// Nominal period in seconds: the dt of all motion.
    #[must_use]
    pub fn period_s(&self) -> f64 {
        self.period_ns as f64 * 1e-9
    }

    /// Knots taken in one cycle, 1 ..= [`KNOTS_PER_CYCLE`]: fewer where many axes share a short period, so
    /// that a whole batch arriving does not make that cycle miss its successor.
    #[must_use]
    pub fn knots_per_cycle(&self) -> usize {
        let one_ns = KNOT_AXIS_NS.saturating_mul(self.axis_count.max(1) as u64);
        let share_ns = self.period_ns / KNOT_SHARE;
        let knots = share_ns.checked_div(one_ns).unwrap_or(1).max(1);
        usize::try_from(knots).map_or(KNOTS_PER_CYCLE, |knots| knots.min(KNOTS_PER_CYCLE))
    }

    /// The axes in use.
    pub fn axes(&self) -> impl Iterator<Item = &AxisSetup> {
        self.axes.iter().take(self.axis_count)
    }
}
