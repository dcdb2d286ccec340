//! One `[[axis]]` with its sub-tables: units by kind, and the checks of its physics.

use crate::machine::{Axis, AxisKind, FollowingError, Limits, Plant};
use crate::names::Names;
use crate::schema::{self, ByKind};
use crate::walk::Section;
use crate::wording::{at_least, nearest, number};

/// What the plant must be able to deliver, as a multiple of what the acceleration limit takes.
const EFFORT_RESERVE: f64 = 1.2;
/// How far an axis may move between two exchanges. A drive's position is a 32-bit count; with
/// half of its half range the direction of a wrap is certain even when one exchange is lost.
const COUNTS_PER_EXCHANGE_MAX: f64 = (1_u64 << 30) as f64;

/// The axis in `section`; `None` when something in it was refused (and reported).
pub(crate) fn read(
    mut section: Section<'_>,
    name: Option<String>,
    buses: &Names<'_>,
    groups: &Names<'_>,
    period_us: Option<u32>,
) -> Option<Axis> {
    let report = section.report();
    let kind = kind(&mut section);
    // With the kind unreadable the keys still tell what was meant, and are checked by it.
    let units = Units(kind.unwrap_or_else(|| {
        let linear = schema::COUNTS_PER_UNIT.of(AxisKind::Linear);
        if section.has(linear.key) { AxisKind::Linear } else { AxisKind::Rotary }
    }));
    let bus_index = section.text(&schema::AXIS_BUS).and_then(|name| buses.index(&name, report));
    let group_index =
        section.text(&schema::AXIS_GROUP).and_then(|name| groups.index(&name, report));
    let divisor = section.whole_or(&schema::DIVISOR, 1);
    let counts_per_unit = units.read(&mut section, &schema::COUNTS_PER_UNIT);
    let counts_spot = section.spot(schema::COUNTS_PER_UNIT.of(units.0).key);

    let limits = limits(section.required_section(&schema::LIMITS), units);
    let nearest_to_zero =
        limits.map_or(0.0, |limits| 0.0_f64.max(limits.position_min).min(limits.position_max));
    let position_start = units.read_or(&mut section, &schema::POSITION_START, nearest_to_zero);
    let following_error = following_error(section.section(schema::FOLLOWING_ERROR.key), units);
    let plant = plant(section.required_section(&schema::PLANT), units, limits);
    section.finish();

    let axis = Axis {
        name: name?,
        kind: kind?,
        bus_index: bus_index?,
        group_index: group_index?,
        divisor: divisor?,
        counts_per_unit: counts_per_unit?,
        position_start: position_start?,
        limits: limits?,
        following_error: following_error?,
        plant: plant?,
    };
    let why = period_us.and_then(|period_us| wrap_is_uncertain(&axis, period_us));
    if let Some(why) = why {
        counts_spot.refuse(report, &why);
    }
    Some(axis)
}

fn wrap_is_uncertain(axis: &Axis, period_us: u32) -> Option<String> {
    let exchange_s = f64::from(period_us) * 1e-6 * f64::from(axis.divisor);
    let counts = axis.limits.velocity * exchange_s * axis.counts_per_unit;
    (counts > COUNTS_PER_EXCHANGE_MAX).then(|| {
        format!(
            "at limits.{} the axis moves {} counts between two exchanges; above 2^30 a wrap of \
             the drive's 32-bit position is uncertain; lower it or the speed",
            schema::VELOCITY.of(axis.kind).key,
            at_least(counts),
        )
    })
}

fn kind(section: &mut Section<'_>) -> Option<AxisKind> {
    let given = section.text(&schema::AXIS_KIND)?;
    match given.value {
        "rotary" => Some(AxisKind::Rotary),
        "linear" => Some(AxisKind::Linear),
        other => {
            let why = match nearest(other, ["rotary", "linear"]) {
                Some(kind) => format!("is no kind of axis; did you mean \"{kind}\"?"),
                None => format!("is no kind of axis; {}", schema::AXIS_KIND.remedy),
            };
            given.spot.refuse(section.report(), &why);
            None
        }
    }
}

/// Reads keys whose name carries the unit of one kind of axis, and refuses those of the other.
#[derive(Clone, Copy)]
struct Units(AxisKind);

impl Units {
    fn read(self, section: &mut Section<'_>, spec: &ByKind) -> Option<f64> {
        if self.refuse_other(section, spec) { None } else { section.real(spec.of(self.0)) }
    }

    fn read_or(self, section: &mut Section<'_>, spec: &ByKind, default: f64) -> Option<f64> {
        let refused = self.refuse_other(section, spec);
        if refused { None } else { section.real_or(spec.of(self.0), default) }
    }

    fn refuse_other(self, section: &mut Section<'_>, spec: &ByKind) -> bool {
        let why = match self.0 {
            AxisKind::Rotary => "this axis is rotary, the key is for linear ones",
            AxisKind::Linear => "this axis is linear, the key is for rotary ones",
        };
        section.refuse_unit(spec.not_of(self.0), spec.of(self.0), why)
    }
}

fn limits(mut section: Section<'_>, units: Units) -> Option<Limits> {
    let position_min = units.read(&mut section, &schema::POSITION_MIN);
    let position_max = units.read(&mut section, &schema::POSITION_MAX);
    let velocity = units.read(&mut section, &schema::VELOCITY);
    let acceleration = units.read(&mut section, &schema::ACCELERATION);
    let jerk = units.read(&mut section, &schema::JERK);
    let mut is_ordered = true;
    if let (Some(min), Some(max)) = (position_min, position_max) {
        is_ordered = min < max;
        if !is_ordered {
            let min_key = schema::POSITION_MIN.of(units.0).key;
            let why = format!("must be above {min_key} = {}; swap or correct them", number(min));
            section.refuse(schema::POSITION_MAX.of(units.0).key, &why);
        }
    }
    section.finish();
    let limits = Limits {
        position_min: position_min?,
        position_max: position_max?,
        velocity: velocity?,
        acceleration: acceleration?,
        jerk: jerk?,
    };
    is_ordered.then_some(limits)
}

fn following_error(mut section: Section<'_>, units: Units) -> Option<FollowingError> {
    let default = match units.0 {
        AxisKind::Rotary => 0.05,
        AxisKind::Linear => 0.005,
    };
    let window = units.read_or(&mut section, &schema::WINDOW, default);
    let time_ms = section.whole_or(&schema::TIME_MS, 20);
    section.finish();
    Some(FollowingError { window: window?, time_ms: time_ms? })
}

fn plant(mut section: Section<'_>, units: Units, limits: Option<Limits>) -> Option<Plant> {
    let inertia = units.read(&mut section, &schema::INERTIA);
    let viscous = units.read_or(&mut section, &schema::VISCOUS, 0.0);
    let coulomb = units.read_or(&mut section, &schema::COULOMB, 0.0);
    let effort_limit = units.read(&mut section, &schema::EFFORT_LIMIT);
    let velocity_bandwidth_hz = section.real_or(&schema::VELOCITY_BANDWIDTH_HZ, 50.0);
    let read = || {
        Some(Plant {
            inertia: inertia?,
            viscous: viscous?,
            coulomb: coulomb?,
            effort_limit: effort_limit?,
            velocity_bandwidth_hz: velocity_bandwidth_hz?,
        })
    };
    let plant = read();
    if let (Some(plant), Some(limits)) = (plant, limits) {
        check_effort(&section, units, plant, limits);
    }
    section.finish();
    plant
}

fn check_effort(section: &Section<'_>, units: Units, plant: Plant, limits: Limits) {
    let friction = plant.coulomb + plant.viscous * limits.velocity;
    let needed = EFFORT_RESERVE * plant.inertia * limits.acceleration + friction;
    if plant.effort_limit < needed {
        let spec = schema::EFFORT_LIMIT.of(units.0);
        let acceleration = schema::ACCELERATION.of(units.0);
        let why = format!(
            "too weak for limits.{} = {}: needs {} {}, which is {EFFORT_RESERVE} x {} x {} and {} \
             {} of friction at full speed; raise it or lower the acceleration",
            acceleration.key,
            number(limits.acceleration),
            at_least(needed),
            spec.unit,
            schema::INERTIA.of(units.0).key,
            acceleration.key,
            number(friction),
            spec.unit,
        );
        section.refuse(spec.key, &why);
    }
}
