//! Every key of the file with its unit, range and remedy, in the order of the file; the reader and the printer both take them from here.

use crate::machine::AxisKind;

/// A key that holds a real number; `min..=max` in `unit`.
#[derive(Clone, Copy)]
pub(crate) struct Real {
    pub(crate) key: &'static str,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) unit: &'static str,
    pub(crate) remedy: &'static str,
}

/// A key that holds a whole number; `min..=max` in `unit`.
#[derive(Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) key: &'static str,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) unit: &'static str,
    pub(crate) remedy: &'static str,
}

/// A key that holds anything else; `words` rules its text, if it holds one.
#[derive(Clone, Copy)]
pub(crate) struct Other {
    pub(crate) key: &'static str,
    pub(crate) words: Words,
    pub(crate) remedy: &'static str,
}

/// What a text may be.
#[derive(Clone, Copy)]
pub(crate) enum Words {
    Any,
    /// Names of this file: machine, buses, groups, axes.
    Name,
    /// Names of unix users and groups.
    UnixName,
    /// Names of findings about a host.
    Exemption,
    OneOf(&'static [&'static str]),
}

/// A real number whose key and unit follow the kind of the axis.
pub(crate) struct ByKind {
    rotary: Real,
    linear: Real,
}

impl ByKind {
    const fn new(
        rotary: (&'static str, &'static str),
        linear: (&'static str, &'static str),
        (min, max): (f64, f64),
        remedy: &'static str,
    ) -> Self {
        Self {
            rotary: Real { key: rotary.0, min, max, unit: rotary.1, remedy },
            linear: Real { key: linear.0, min, max, unit: linear.1, remedy },
        }
    }

    /// The key for this kind.
    pub(crate) const fn of(&self, kind: AxisKind) -> &Real {
        match kind {
            AxisKind::Rotary => &self.rotary,
            AxisKind::Linear => &self.linear,
        }
    }

    /// The key that an axis of this kind must not use.
    pub(crate) const fn not_of(&self, kind: AxisKind) -> &Real {
        match kind {
            AxisKind::Rotary => &self.linear,
            AxisKind::Linear => &self.rotary,
        }
    }
}

const fn whole(
    key: &'static str,
    (min, max): (u64, u64),
    unit: &'static str,
    remedy: &'static str,
) -> Whole {
    Whole { key, min, max, unit, remedy }
}

const fn other(key: &'static str, remedy: &'static str) -> Other {
    ruled(key, Words::Any, remedy)
}

const fn ruled(key: &'static str, words: Words, remedy: &'static str) -> Other {
    Other { key, words, remedy }
}

pub(crate) const BUS_COUNT_MAX: usize = 4;
pub(crate) const GROUP_COUNT_MAX: usize = 8;
pub(crate) const AXIS_COUNT_MAX: usize = 64;
pub(crate) const NAME_CHARS_MAX: usize = 31;

pub(crate) const NAME: Other =
    ruled("name", Words::Name, "write 1..=31 characters of a-z, 0-9 and -");

pub(crate) const MACHINE: Other =
    other("machine", "add a table [machine] with the name of the machine");
pub(crate) const PERIOD_US: Whole =
    whole("period_us", (50, 10_000), "µs", "set the length of a cycle, usually 1000");

pub(crate) const CPU: Other =
    ruled("cpu", Words::OneOf(&["last"]), "write \"last\" or the number of a CPU");
pub(crate) const CPU_NUMBER: Whole = whole("cpu", (0, 1023), "", CPU.remedy);
pub(crate) const PRIORITY_FIFO: Whole =
    whole("priority_fifo", (1, 98), "", "set the loop's SCHED_FIFO priority, usually 80");
pub(crate) const EXEMPT: Other = ruled(
    "exempt",
    Words::Exemption,
    "list in quotes what this machine may start without, or leave it out",
);

pub(crate) const LEASE_MS: Whole = whole(
    "lease_ms",
    (1, 10_000),
    "ms",
    "set the silence after which a source counts as gone, usually 50",
);
pub(crate) const HORIZON_MS: Whole =
    whole("horizon_ms", (10, 60_000), "ms", "set what the planner keeps ahead, usually 1000");

pub(crate) const POLICY: Other = ruled(
    "policy",
    Words::OneOf(&["skip-in-phase", "stop-after"]),
    "write \"skip-in-phase\" or \"stop-after\"",
);
pub(crate) const MISSED_PER_S_MAX: Whole = whole(
    "missed_per_s_max",
    (1, 1000),
    "cycles",
    "set how many cycles may be missed within a second before the machine stops, usually 10",
);

pub(crate) const LATE_WAKE_US: Whole = whole(
    "late_wake_us",
    (1, 10_000),
    "µs",
    "set how late a wake-up may be before it becomes an incident, usually a quarter of the period",
);

pub(crate) const ENABLED: Other = other("enabled", "write true or false");
pub(crate) const RING_S: Whole =
    whole("ring_s", (1, 3600), "s", "set how far back the recorder reaches, usually 10");
pub(crate) const SAVE_EVERY_MS: Whole = whole(
    "save_every_ms",
    (10, 10_000),
    "ms",
    "set how often the ring is saved: about what a power loss costs, usually 100",
);
pub(crate) const DIRECTORY: Other =
    other("directory", "write the full path of the directory for saved recordings in quotes");
pub(crate) const LIMIT_MB: Whole = whole(
    "limit_mb",
    (8, 1_048_576),
    "MB",
    "set how much disk all saved recordings of this machine may take, usually 512",
);

pub(crate) const OUT_OFFSET_US: Whole = whole(
    "out_offset_us",
    (1, 9_999),
    "µs",
    "set when after the wake the gateways copy out, usually 150",
);
pub(crate) const IN_LEAD_US: Whole = whole(
    "in_lead_us",
    (1, 9_999),
    "µs",
    "set when before the next wake the gateways copy in, usually 100",
);
pub(crate) const GATEWAY_PRIORITY_FIFO: Whole =
    whole("priority_fifo", (1, 97), "", "set a priority below the loop's, usually 40");

const USER: &str = "write the name of a unix user in quotes";
pub(crate) const VIEW: Other = ruled("view", Words::UnixName, USER);
pub(crate) const PLAN: Other = ruled("plan", Words::UnixName, USER);
pub(crate) const OPERATE: Other = ruled("operate", Words::UnixName, USER);
pub(crate) const OPERATE_GROUP: Other =
    ruled("operate_group", Words::UnixName, "write the name of a unix group in quotes");

pub(crate) const BUS_KIND: Other = ruled("kind", Words::OneOf(&["sim"]), "write \"sim\"");
pub(crate) const SEED: Whole =
    whole("seed", (0, i64::MAX as u64), "", "set any whole number; the same seed repeats a run");

pub(crate) const AXIS_KIND: Other =
    ruled("kind", Words::OneOf(&["rotary", "linear"]), "write \"rotary\" or \"linear\"");
pub(crate) const AXIS_BUS: Other = ruled("bus", Words::Name, "write the name of a [[bus]]");
pub(crate) const AXIS_GROUP: Other = ruled("group", Words::Name, "write the name of a [[group]]");
pub(crate) const DIVISOR: Whole =
    whole("divisor", (1, 1), "period", "the simulated bus exchanges every axis in every period");
pub(crate) const COUNTS_PER_UNIT: ByKind = ByKind::new(
    ("counts_per_rad", "counts/rad"),
    ("counts_per_m", "counts/m"),
    (1.0, 1e10),
    "set encoder counts times gear ratio",
);
pub(crate) const POSITION_START: ByKind = ByKind::new(
    ("position_start_rad", "rad"),
    ("position_start_m", "m"),
    (-1e5, 1e5),
    "set where the simulated axis stands at power-on",
);

pub(crate) const LIMITS: Other = other("limits", "add a table [axis.limits] under this [[axis]]");
pub(crate) const POSITION_MIN: ByKind = ByKind::new(
    ("position_min_rad", "rad"),
    ("position_min_m", "m"),
    (-1e5, 1e5),
    "set the lowest position of this axis",
);
pub(crate) const POSITION_MAX: ByKind = ByKind::new(
    ("position_max_rad", "rad"),
    ("position_max_m", "m"),
    (-1e5, 1e5),
    "set the highest position of this axis",
);
pub(crate) const VELOCITY: ByKind = ByKind::new(
    ("velocity_rad_s", "rad/s"),
    ("velocity_m_s", "m/s"),
    (1e-6, 1e4),
    "set the highest speed of this axis",
);
pub(crate) const ACCELERATION: ByKind = ByKind::new(
    ("acceleration_rad_s2", "rad/s²"),
    ("acceleration_m_s2", "m/s²"),
    (1e-6, 1e6),
    "set the highest acceleration of this axis",
);
pub(crate) const JERK: ByKind = ByKind::new(
    ("jerk_rad_s3", "rad/s³"),
    ("jerk_m_s3", "m/s³"),
    (1e-6, 1e9),
    "set the highest jerk of this axis, often 20 times its acceleration",
);

pub(crate) const FOLLOWING_ERROR: Other =
    other("following_error", "write it as a table [axis.following_error]");
pub(crate) const WINDOW: ByKind = ByKind::new(
    ("window_rad", "rad"),
    ("window_m", "m"),
    (1e-9, 1e3),
    "set how far the axis may lag behind its command",
);
pub(crate) const TIME_MS: Whole =
    whole("time_ms", (1, 10_000), "ms", "set how long the window may be exceeded, usually 20");

pub(crate) const PLANT: Other = other(
    "plant",
    "add a table [axis.plant] under this [[axis]]: a simulated bus needs the mechanics",
);
pub(crate) const INERTIA: ByKind = ByKind::new(
    ("inertia_kg_m2", "kg·m²"),
    ("mass_kg", "kg"),
    (1e-9, 1e6),
    "set what the motor moves, load included, as seen at the axis",
);
pub(crate) const VISCOUS: ByKind = ByKind::new(
    ("viscous_n_m_s_rad", "N·m·s/rad"),
    ("viscous_n_s_m", "N·s/m"),
    (0.0, 1e6),
    "set the friction that grows with speed, or leave it out",
);
pub(crate) const COULOMB: ByKind = ByKind::new(
    ("coulomb_n_m", "N·m"),
    ("coulomb_n", "N"),
    (0.0, 1e6),
    "set the friction that is there at any speed, or leave it out",
);
pub(crate) const EFFORT_LIMIT: ByKind = ByKind::new(
    ("torque_limit_n_m", "N·m"),
    ("force_limit_n", "N"),
    (1e-9, 1e9),
    "set what the motor can deliver, as seen at the axis",
);
pub(crate) const VELOCITY_BANDWIDTH_HZ: Real = Real {
    key: "velocity_bandwidth_hz",
    min: 0.1,
    max: 1e4,
    unit: "Hz",
    remedy: "set the bandwidth of the drive's velocity loop, usually 50",
};
