//! Conduct: what must not move does not, what must stop does, and nothing comes back by itself.
use servo_core::setup::Setup;
use shm_layout::code::{
    EventKind, Outcome, Phase, Reason, RequestKind, Verdict, axis_flag, state_flag,
};

use super::{Pair, Violation, demand, has, is_enabled};
use shm_layout::state::AxisState;

use crate::island::Record;

/// A stop that takes longer than this has not stopped, s.
const STOP_S_MAX: f64 = 3.0;

/// How far the first knot of a path may be from the reference, relative to max(1, |p|).
const JOIN_TOLERANCE: f64 = 1e-9;

const POWERED: [Phase; 4] = [Phase::Standstill, Phase::Moving, Phase::Stopping, Phase::Stopped];

fn is_in(record: &Record, phases: &[Phase]) -> bool {
    phases.iter().any(|phase| record.header.phase == phase.code())
}

fn loaded(record: &Record) -> bool {
    has(record.header.flags, state_flag::PATH_LOADED)
}

pub(super) fn check(pair: &Pair<'_>) -> Result<(), Violation> {
    check_header(pair)?;
    check_latch(pair)?;
    check_lease(pair)?;
    check_drives(pair)?;
    check_stillness(pair)
}

fn check_header(pair: &Pair<'_>) -> Result<(), Violation> {
    let (before, now) = (&pair.before.header, &pair.now.header);
    let passes = now.cycle == before.cycle + 1
        && now.grid_index == before.grid_index + 1 + u64::from(now.skipped)
        && now.wake_ns - before.wake_ns >= pair.setup.period_ns / 2;
    demand(passes, None, || format!("the grid is left: {before:?} then {now:?}"))?;
    demand(now.tau_last_s >= now.tau_s || !loaded(pair.now), None, || {
        format!("path time {} is beyond the last knot {}", now.tau_s, now.tau_last_s)
    })
}

/// A latched stop is cleared by an accepted enable request and by nothing else.
fn check_latch(pair: &Pair<'_>) -> Result<(), Violation> {
    let stop = Verdict::Stop.code();
    let (before, now) = (&pair.before.header, &pair.now.header);
    if before.verdict != stop {
        return Ok(());
    }
    let cleared = pair.now.events.iter().any(|event| {
        event.kind == EventKind::RequestAnswered.code()
            && event.code == Outcome::Accepted.code()
            && event.detail == RequestKind::Enable.code()
    });
    demand(now.verdict == stop || cleared, None, || {
        format!("the stop for {} was cleared by nobody", Reason::word_of(before.reason))
    })
}

/// The lease changes hands only once its holder has been silent for its length.
fn check_lease(pair: &Pair<'_>) -> Result<(), Violation> {
    let (before, now) = (&pair.before.header, &pair.now.header);
    if before.source_id == 0 || before.source_id == now.source_id {
        return Ok(());
    }
    let silent_ns = before.source_age_ns + (now.wake_ns - before.wake_ns);
    demand(silent_ns > pair.setup.lease_ns, None, || {
        format!(
            "source {} lost its lease to {} after {silent_ns} ns of silence",
            before.source_id, now.source_id
        )
    })
}

fn check_drives(pair: &Pair<'_>) -> Result<(), Violation> {
    let now = &pair.now.header;
    let powered = is_in(pair.now, &POWERED);
    for (index, was, is) in pair.axes() {
        let axis = Some(index);
        let control = is.controlword;
        if powered {
            let well = is_enabled(is) && !has(is.flags, axis_flag::FAULT);
            demand(well || now.verdict == Verdict::Stop.code(), axis, || {
                format!("statusword {:#06x} in phase {} without a stop", is.statusword, now.phase)
            })?;
        }
        // Admission and the choice of the rate make this unreachable, whatever comes through the lanes.
        demand(!has(is.flags, axis_flag::LIMIT_ENFORCED), axis, || {
            format!(
                "the last stage had to step in after {:?}",
                (was.position_reference, was.velocity_reference, was.acceleration_reference)
            )
        })?;
        if now.phase != Phase::Enabling.code() {
            demand(control & 0x80 == 0, axis, || {
                format!("fault reset ({control:#06x}) that nobody asked for, phase {}", now.phase)
            })?;
        }
        if is_in(pair.now, &[Phase::Disabled, Phase::Disabling]) {
            demand(control & 0x0f != 0x0f, axis, || "enabled while disabled".to_owned())?;
        }
        let came_back = !is_enabled(was) && is_enabled(is) && is_in(pair.before, &POWERED);
        demand(!came_back, axis, || {
            format!("came back into operation by itself, statusword {:#06x}", is.statusword)
        })?;
        let ours = |axis, record| is_enabled(axis) && !is_in(record, &[Phase::Disabled]);
        let (was_ours, is_ours) = (ours(was, pair.before), ours(is, pair.now));
        if !is_ours {
            let follows = is.position_reference.to_bits() == is.position_actual.to_bits()
                && is.velocity_reference == 0.0
                && is.acceleration_reference == 0.0;
            demand(follows, axis, || {
                format!(
                    "without torque the reference {} is not where the axis is, {}",
                    is.position_reference, is.position_actual
                )
            })?;
        } else if !was_ours {
            check_enable(pair, index, was, is)?;
        }
    }
    Ok(())
}

/// Motion starts from the measured position: exactly, or by the first period of a path from rest.
fn check_enable(
    pair: &Pair<'_>,
    index: usize,
    was: &AxisState,
    is: &AxisState,
) -> Result<(), Violation> {
    let (limit, dt_s) = (&pair.setup.axes[index].limits, pair.setup.period_s());
    let apart = (is.position_reference - was.position_actual).abs();
    let begins = loaded(pair.now)
        && is.acceleration_reference.abs() <= limit.jerk * dt_s
        && is.velocity_reference.abs() <= 0.5 * limit.jerk * dt_s * dt_s
        && apart <= JOIN_TOLERANCE * was.position_actual.abs().max(1.0) + limit.jerk * dt_s.powi(3);
    let stands = apart == 0.0 && is.velocity_reference == 0.0 && is.acceleration_reference == 0.0;
    demand(stands || begins, Some(index), || {
        format!("jumps at enable: {} from {}", is.position_reference, was.position_actual)
    })
}

/// Enabled axes move only along a path or in a stop.
fn check_stillness(pair: &Pair<'_>) -> Result<(), Violation> {
    let (before, now) = (&pair.before.header, &pair.now.header);
    let rested = has(before.flags, state_flag::AT_REST);
    let must_rest = (rested && now.verdict != Verdict::Follow.code())
        || (!loaded(pair.before) && !loaded(pair.now) && rested)
        || !is_in(pair.now, &POWERED);
    if !must_rest {
        return Ok(());
    }
    // A path may begin, move and end within one cycle only if it is shorter than a period.
    for (index, was, is) in pair.axes() {
        if is_enabled(was) && is_enabled(is) && !is_in(pair.now, &[Phase::Disabled]) {
            let same = is.position_reference.to_bits() == was.position_reference.to_bits();
            demand(same && is.velocity_reference == 0.0, Some(index), || {
                format!(
                    "moves at rest: {} to {}, phase {}, verdict {}, reason {}",
                    was.position_reference,
                    is.position_reference,
                    Phase::word_of(now.phase),
                    Verdict::word_of(now.verdict),
                    Reason::word_of(now.reason)
                )
            })?;
        }
    }
    let held = loaded(pair.before) && loaded(pair.now) && before.path_id == now.path_id;
    let stands = now.tau_s.to_bits() == before.tau_s.to_bits();
    demand(!held || stands, None, || format!("path time moves at rest, to {}", now.tau_s))
}

/// Cycles that the stop under way has lasted.
pub(super) fn stopping_cycles(
    setup: &Setup,
    record: &Record,
    before: u64,
) -> Result<u64, Violation> {
    if record.header.phase != Phase::Stopping.code() {
        return Ok(0);
    }
    let lasted = before + 1;
    demand(lasted as f64 * setup.period_s() <= STOP_S_MAX, None, || {
        format!("a stop has lasted {lasted} cycles and axes still move")
    })?;
    Ok(lasted)
}
