//! The simulated bus: SI units on the island's side, drive counts and CiA 402 objects on the plant's.
use kadenz_config::machine::{Axis, AxisKind, BusKind, Machine};
use servo_core::ports::{Bus, Commands, Feedback};
use servo_core::setup::SKIPS_BRIDGED_MAX;
use servo_sim::{DriveSetup, Plant, PlantError, Rxpdo, Txpdo};
use shm_layout::AXES_MAX;

/// Plants of all simulated buses; one exchange per cycle. Bounded: arithmetic only.
pub struct SimBus {
    plant: Plant,
    axes: Vec<Scale>,
    period_s: f64,
    tx: [Txpdo; AXES_MAX],
    rx: [Rxpdo; AXES_MAX],
    bus_count: usize,
    exchanged: bool,
    frames_to_lose: u32,
    frames_lost: u64,
    lost_in_row: u32,
}

/// How one axis is converted.
#[derive(Clone, Copy, Debug)]
struct Scale {
    counts_per_unit: f64,
    rated_torque: f64,
    counts_last: Option<i32>,
    counts: i64,
}

impl SimBus {
    /// The plant that the configuration describes.
    ///
    /// # Errors
    /// The drive setup that is not plausible.
    #[expect(clippy::disallowed_methods, reason = "made before the loop runs")]
    pub fn new(machine: &Machine) -> Result<Self, PlantError> {
        let mut plant = Plant::new();
        let mut axes = Vec::with_capacity(machine.axes.len());
        for (index, axis) in machine.axes.iter().enumerate() {
            let setup = drive_setup(axis);
            let BusKind::Sim { seed } = machine.buses[axis.bus_index].kind;
            plant.add(setup, seed.wrapping_add(index as u64))?;
            axes.push(Scale {
                counts_per_unit: axis.counts_per_unit,
                rated_torque: setup.rated_torque_si,
                counts_last: None,
                counts: 0,
            });
        }
        Ok(Self {
            plant,
            axes,
            period_s: f64::from(machine.period_us) * 1e-6,
            tx: [Txpdo::default(); AXES_MAX],
            rx: [Rxpdo::default(); AXES_MAX],
            bus_count: machine.buses.len(),
            exchanged: false,
            frames_to_lose: 0,
            frames_lost: 0,
            lost_in_row: 0,
        })
    }

    /// The next `count` frames get no answer (fault injection of tests).
    pub const fn lose_frames(&mut self, count: u32) {
        self.frames_to_lose = count;
    }

    /// The plant, to break or mend a drive (fault injection of tests).
    pub const fn plant_mut(&mut self) -> &mut Plant {
        &mut self.plant
    }
}

/// The drive that stands for an axis of the configuration.
#[must_use]
pub fn drive_setup(axis: &Axis) -> DriveSetup {
    let plant = &axis.plant;
    let mut setup = DriveSetup::tuned(
        plant.inertia,
        axis.counts_per_unit,
        plant.effort_limit,
        plant.velocity_bandwidth_hz,
    );
    setup.viscous_friction_si = plant.viscous;
    setup.coulomb_friction_si = plant.coulomb;
    setup.initial_position_si = axis.position_start;
    // A linear drive of a machine brakes with its spindle; a rotary one with its motor brake.
    if axis.kind == AxisKind::Linear {
        setup.brake_torque_si = plant.effort_limit;
    }
    setup
}

/// Counts on the wire for a position: rounded, wrapped at 32 bit as CiA 402 objects do.
fn wire_counts(position: f64, counts_per_unit: f64) -> i32 {
    let counts = (position * counts_per_unit).round();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, then wraps at 32 bit by intent"
    )]
    let wrapped = counts as i64 as i32;
    wrapped
}

#[expect(clippy::cast_possible_truncation, reason = "saturates by intent")]
fn saturate_i32(value: f64) -> i32 {
    value as i32
}

#[expect(clippy::cast_possible_truncation, reason = "saturates by intent")]
fn saturate_i16(value: f64) -> i16 {
    value as i16
}

impl Bus for SimBus {
    fn receive(&mut self, feedback: &mut Feedback) {
        // One plant stands for all simulated buses: they lose frames together.
        for bus in feedback.buses.iter_mut().take(self.bus_count) {
            bus.frames_lost = self.frames_lost;
            bus.lost_in_row = self.lost_in_row;
        }
        for ((axis, scale), tx) in feedback.axes.iter_mut().zip(&mut self.axes).zip(&self.tx) {
            if !self.exchanged || self.lost_in_row > 0 {
                axis.age_cycles = axis.age_cycles.saturating_add(1);
                continue;
            }
            let step = match scale.counts_last {
                Some(last) => i64::from(tx.position_actual.wrapping_sub(last)),
                None => i64::from(tx.position_actual),
            };
            scale.counts_last = Some(tx.position_actual);
            scale.counts = scale.counts.wrapping_add(step);
            axis.position = scale.counts as f64 / scale.counts_per_unit;
            axis.velocity = f64::from(tx.velocity_actual) / scale.counts_per_unit;
            let sign = scale.counts_per_unit.signum();
            axis.torque = f64::from(tx.torque_actual) * 1e-3 * scale.rated_torque * sign;
            axis.statusword = tx.statusword;
            axis.error_code = tx.error_code;
            axis.age_cycles = 0;
        }
    }

    /// A short gap the simulated drives bridge as they bridge lost frames. A longer one, in which real
    /// drives would trip, they do not live through: their process stood still with the loop's.
    fn passed_by(&mut self, skipped: u32) {
        if skipped > SKIPS_BRIDGED_MAX {
            return;
        }
        for _ in 0..skipped {
            self.plant.exchange(&self.rx, false, &mut self.tx, self.period_s);
        }
    }

    fn send(&mut self, commands: &Commands, target_counts: &mut [i32; AXES_MAX]) {
        for (((command, scale), rx), told) in
            commands.axes.iter().zip(&self.axes).zip(&mut self.rx).zip(target_counts)
        {
            let torque_permille =
                1e3 * command.torque / scale.rated_torque * scale.counts_per_unit.signum();
            *told = wire_counts(command.position, scale.counts_per_unit);
            *rx = Rxpdo {
                controlword: command.controlword,
                mode_of_operation: i8::try_from(command.mode).unwrap_or(0),
                target_position: *told,
                velocity_offset: saturate_i32(command.velocity * scale.counts_per_unit),
                torque_offset: saturate_i16(torque_permille),
            };
        }
        let delivered = self.frames_to_lose == 0;
        self.frames_to_lose = self.frames_to_lose.saturating_sub(1);
        self.plant.exchange(&self.rx, delivered, &mut self.tx, self.period_s);
        self.exchanged |= delivered;
        self.lost_in_row = if delivered { 0 } else { self.lost_in_row.saturating_add(1) };
        self.frames_lost = self.frames_lost.wrapping_add(u64::from(!delivered));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use servo_core::ports::{Intake, Lanes, NoStopwatch, SourceBrief, Wake, Wanted};
    use servo_core::{State, cycle};
    use shm_layout::code::{Phase, RequestKind};
    use shm_layout::event::Event;
    use shm_layout::request::Request;
    use shm_layout::state::{AxisState, StateHeader};

    const KNOT_S: f64 = 0.01;
    const KNOTS: u64 = 150;

    /// Enables, then plans one move of all axes by `distance` from where they stand.
    struct Person {
        start: Vec<f64>,
        distance: f64,
        heartbeat: u64,
        axes: Vec<AxisState>,
    }

    impl Lanes for Person {
        fn take(&mut self, wanted: &Wanted, intake: &mut Intake) {
            *intake = Intake::empty();
            self.heartbeat += 1;
            let kind = RequestKind::Enable.code();
            intake.requests[0] = Request { deadline_ns: u64::MAX, kind, ..Request::zeroed() };
            intake.request_count = 1;
            intake.sources[0] = SourceBrief {
                source_id: 1,
                heartbeat: self.heartbeat,
                path_id: 1,
                knot_count: u16::try_from(KNOTS).unwrap(),
                axis_count: u16::try_from(self.start.len()).unwrap(),
                last_is_final: 1,
                ..SourceBrief::default()
            };
            if wanted.slot.is_none() || wanted.past_path_id == 1 {
                return;
            }
            let numbers = wanted.next_index..KNOTS;
            for (knot, index) in intake.knots.iter_mut().take(wanted.room).zip(numbers) {
                let duration_s = (KNOTS - 1) as f64 * KNOT_S;
                let t = index as f64 / (KNOTS - 1) as f64;
                (knot.index, knot.tau_s) = (index, index as f64 * KNOT_S);
                for (axis, start) in knot.axes.iter_mut().zip(&self.start) {
                    let (d, rest) = (self.distance, 1.0 - t);
                    axis.position = start + d * t.powi(3) * (10.0 - 15.0 * t + 6.0 * t * t);
                    axis.velocity = d * 30.0 * (t * rest).powi(2) / duration_s;
                    axis.acceleration = d * 60.0 * t * rest * (rest - t) / duration_s.powi(2);
                }
                intake.knot_count += 1;
            }
        }

        fn publish(&mut self, _header: &StateHeader, axes: &[AxisState], _events: &[Event]) {
            self.axes = axes.to_vec();
        }
    }

    #[test]
    fn the_following_error_told_is_the_one_that_the_drive_itself_measures() {
        let text = kadenz_config::demo("demo-arm").unwrap();
        let machine = Machine::from_toml("demo-arm", text).unwrap();
        let setup = crate::boot::machine::setup(&machine, 1);
        let mut bus = SimBus::new(&machine).unwrap();
        let mut state = Box::new(State::new());
        let start = machine.axes.iter().map(|axis| axis.position_start).collect();
        let mut person = Person { start, distance: 0.2, heartbeat: 0, axes: Vec::new() };
        let (mut compared, mut largest) = (0, 0.0_f64);
        for index in 0..4_000 {
            let grid_ns = index * setup.period_ns;
            let wake = Wake { grid_index: index, grid_ns, wake_ns: grid_ns, skipped: 0 };
            // What this pass takes in was sampled at the end of the last one.
            let sampled = bus.tx;
            if state.guard.phase == Phase::Standstill && !state.motion.has_path() {
                for (start, reference) in person.start.iter_mut().zip(&state.motion.references) {
                    *start = reference.position;
                }
            }
            cycle(&setup, &mut state, &wake, &mut bus, &mut person, &mut NoStopwatch);
            if state.guard.phase != Phase::Moving {
                continue;
            }
            for ((axis, scale), tx) in person.axes.iter().zip(&bus.axes).zip(&sampled) {
                let own = f64::from(tx.following_error);
                let told = axis.following_error * scale.counts_per_unit;
                assert!((told - own).abs() <= 1.0, "cycle {index}: {told} and {own} counts");
                largest = largest.max(own.abs());
                compared += 1;
            }
        }
        assert!(compared > 1_000 && largest > 10.0, "{compared} compared, largest {largest}");
    }
}
