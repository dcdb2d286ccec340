//! The simulated bus: SI units on the island's side, drive counts and CiA 402 objects on the plant's.
use kadenz_config::machine::{Axis, AxisKind, BusKind, Machine};
use servo_core::ports::{Bus, Commands, Feedback};
use servo_sim::{DriveSetup, Plant, PlantError, Rxpdo, Txpdo};
use shm_layout::AXES_MAX;

/// Plants of all simulated buses; one exchange per cycle. Bounded: arithmetic only.
pub struct SimBus {
    plant: Plant,
    axes: Vec<Scale>,
    period_s: f64,
    tx: [Txpdo; AXES_MAX],
    rx: [Rxpdo; AXES_MAX],
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
        if let Some(bus) = feedback.buses.first_mut() {
            bus.frames_lost = self.frames_lost;
            bus.lost_in_row = self.lost_in_row;
            bus.wkc_expected = 3;
            bus.wkc_actual = if self.lost_in_row == 0 { 3 } else { 0 };
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
