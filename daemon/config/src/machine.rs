//! The checked description of one machine: plain data and the few numbers that follow from it; no parsing, no printing.
//!
//! What depends on the kind of an axis has no suffix and is in SI: rad, N·m, kg·m² for rotary, m, N, kg for linear
//! (as in shm-layout).

use std::path::PathBuf;

use crate::Exemption;

/// One machine, as `kadenzd` runs it; every default is filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// 1..=31 characters of `[a-z0-9-]`; names the domain.
    pub name: String,
    /// Length of a cycle, 50..=10000 µs, default 1000.
    pub period_us: u32,
    /// What the loop asks of the host.
    pub host: Host,
    /// What is expected of a source of knots.
    pub source: Source,
    /// What late and missed cycles do.
    pub overrun: Overrun,
    /// The flight recorder.
    pub recorder: Recorder,
    /// The two gateway passes of a cycle.
    pub gateways: Gateways,
    /// Unix users of the gateways; `None` only with [`Exemption::OneUser`]: all run as one user.
    pub roles: Option<Roles>,
    /// 1..=4 buses, names unique.
    pub buses: Vec<Bus>,
    /// 1..=8 groups, names unique, none without an axis.
    pub groups: Vec<Group>,
    /// 1..=64 axes, names unique.
    pub axes: Vec<Axis>,
}

/// The CPU of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// The host's last CPU (the default).
    Last,
    /// This CPU, 0..=1023; whether the host has it is checked at start.
    Number(u16),
}

/// What the loop asks of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Where the loop runs.
    pub cpu: Cpu,
    /// SCHED_FIFO priority of the loop, 1..=98, default 80.
    pub priority_fifo: u8,
    /// Findings this machine may start with: sorted, each once; default none.
    pub exempt: Vec<Exemption>,
}

/// What is expected of a source of knots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Silence after which a source counts as gone, 1..=10000 ms, at least two periods, default 50.
    pub lease_ms: u32,
    /// What the planner keeps ahead, 10..=60000 ms, at least [`Machine::horizon_ms_min`], default 1000.
    pub horizon_ms: u32,
}

/// What late and missed cycles do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overrun {
    /// What missed cycles do to the machine.
    pub policy: OverrunPolicy,
    /// A wake-up later than this becomes an incident, 1..=10000 µs, default a quarter of the period.
    pub late_wake_us: u32,
}

/// What missed cycles do to the machine. Whatever the policy, a late cycle skips grid points in phase and nothing is caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrunPolicy {
    /// Go on in phase; each gap is an incident (the default).
    SkipInPhase,
    /// The same, and stop on the path once more than `missed_per_s_max` cycles were missed within a second.
    StopAfter {
        /// 1..=1000 cycles, default 10.
        missed_per_s_max: u32,
    },
}

/// The flight recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorder {
    /// Whether cycles are recorded; default true.
    pub enabled: bool,
    /// How far back the ring in memory reaches, 1..=3600 s, default 10.
    pub ring_s: u32,
    /// How often the ring is saved to disk, if it is, 10..=10000 ms, default 100: what a power loss costs at
    /// most, beside the time the disk takes to write it.
    pub save_every_ms: u32,
    /// Where recordings are saved to, an absolute path; `None` (the default): nowhere, unless the daemon is
    /// told to by `--record`.
    pub directory: Option<PathBuf>,
    /// The most disk that all recordings of this machine in `directory` may take, 8..=1048576 MB, default 512;
    /// the oldest give way.
    pub limit_mb: u32,
}

/// When and how urgently gateways copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateways {
    /// Copy-out pass, µs after the wake, default 150; before the copy-in pass.
    pub out_offset_us: u32,
    /// Copy-in pass, µs before the next wake, default 100.
    pub in_lead_us: u32,
    /// SCHED_FIFO priority, 1..=97, below the loop's, default 40.
    pub priority_fifo: u8,
}

/// Unix users of the gateways: a gateway's user decides its role. All three differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// May look; default `kadenz-view`.
    pub view: String,
    /// May look and send knots; default `kadenz-plan`.
    pub plan: String,
    /// May request and jog; default `kadenz-operate`.
    pub operate: String,
    /// The unix group that may open the operate socket; default `kadenz`.
    pub operate_group: String,
}

/// One bus and what drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    /// 1..=31 characters of `[a-z0-9-]`.
    pub name: String,
    /// The driver with its own settings.
    pub kind: BusKind,
}

/// The bus drivers of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// A simulated plant in the daemon's process.
    Sim {
        /// Seed of its noise and faults, 0..=2^63-1, default 1.
        seed: u64,
    },
}

/// Axes that move and stop together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// 1..=31 characters of `[a-z0-9-]`.
    pub name: String,
}

/// What an axis does, which fixes its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisKind {
    /// Turns: rad, N·m, kg·m².
    Rotary,
    /// Travels: m, N, kg.
    Linear,
}

impl AxisKind {
    /// The name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rotary => "rotary",
            Self::Linear => "linear",
        }
    }
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// 1..=31 characters of `[a-z0-9-]`.
    pub name: String,
    /// Fixes the units of this axis.
    pub kind: AxisKind,
    /// Index into [`Machine::buses`].
    pub bus_index: usize,
    /// Index into [`Machine::groups`].
    pub group_index: usize,
    /// The axis is exchanged every `divisor` periods. 1: the simulated bus exchanges all, every period.
    pub divisor: u32,
    /// Drive counts per rad or m, 1..=1e10.
    pub counts_per_unit: f64,
    /// Where the simulated axis stands at power-on, ±1e5; default 0, or the limit nearest to 0.
    /// It may be outside the limits on purpose: such an axis may only move inwards.
    pub position_start: f64,
    /// The limits of every command.
    pub limits: Limits,
    /// When a following error stops the group.
    pub following_error: FollowingError,
    /// The simulated mechanics.
    pub plant: Plant,
}

/// The limits of every command to one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Lowest position, ±1e5 rad or m, below `position_max`.
    pub position_min: f64,
    /// Highest position, ±1e5 rad or m.
    pub position_max: f64,
    /// Highest speed, 1e-6..=1e4 rad/s or m/s.
    pub velocity: f64,
    /// Highest acceleration, 1e-6..=1e6 rad/s² or m/s².
    pub acceleration: f64,
    /// Highest jerk, 1e-6..=1e9 rad/s³ or m/s³.
    pub jerk: f64,
}

/// How far and how long an axis may lag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FollowingError {
    /// Tolerated |command − feedback|, 1e-9..=1e3, default 0.05 rad or 0.005 m.
    pub window: f64,
    /// How long the window may be exceeded, 1..=10000 ms, default 20.
    pub time_ms: u32,
}

/// Motor and load of a simulated axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plant {
    /// Moment of inertia or mass at the axis, 1e-9..=1e6 kg·m² or kg.
    pub inertia: f64,
    /// Friction per speed, 0..=1e6 N·m·s/rad or N·s/m, default 0.
    pub viscous: f64,
    /// Friction independent of speed, 0..=1e6 N·m or N, default 0.
    pub coulomb: f64,
    /// What the motor can deliver at the axis, 1e-9..=1e9 N·m or N.
    pub effort_limit: f64,
    /// Bandwidth of the drive's velocity loop, 0.1..=10000 Hz, default 50.
    pub velocity_bandwidth_hz: f64,
}

impl Machine {
    /// Whether the machine may start although the host lacks this.
    #[must_use]
    pub fn is_exempt(&self, exemption: Exemption) -> bool {
        self.host.exempt.contains(&exemption)
    }

    /// Path time within which every segment must let the machine brake, s: half the horizon. A stop
    /// that needs more would begin before the knots it was planned with have all arrived.
    #[must_use]
    pub fn stop_path_time_s(&self) -> f64 {
        0.5 * f64::from(self.source.horizon_ms) * 1e-3
    }

    /// The longest way of a knot into the loop, µs: one period plus the lead of the copy-in pass.
    #[must_use]
    pub const fn gateway_phase_us(&self) -> u32 {
        self.period_us + self.gateways.in_lead_us
    }

    /// The longest [`Limits::stop_time_s`] of all axes, s.
    #[must_use]
    pub fn stop_time_s(&self) -> f64 {
        self.axes.iter().map(|axis| axis.limits.stop_time_s()).fold(0.0, f64::max)
    }

    /// The shortest horizon that always holds a stop, ms: stop time plus two gateway phases.
    #[must_use]
    pub fn horizon_ms_min(&self) -> f64 {
        horizon_ms_min(self.stop_time_s(), self.gateway_phase_us())
    }
}

/// Stop time plus two gateway phases, ms.
pub(crate) fn horizon_ms_min(stop_time_s: f64, gateway_phase_us: u32) -> f64 {
    stop_time_s * 1e3 + 2.0 * f64::from(gateway_phase_us) * 1e-3
}

impl Limits {
    /// The time from the worst state inside the limits to rest, s, jerk-limited: full speed is
    /// just ahead at full acceleration, so that is ramped out (one `a/j`) before braking begins.
    ///
    /// Wall time. It bounds the path time a stop uses up, because the rate never exceeds one.
    #[must_use]
    pub fn stop_time_s(&self) -> f64 {
        let peak = self.acceleration.min((self.velocity * self.jerk).sqrt());
        self.velocity / peak + 2.0 * peak / self.jerk
    }
}
