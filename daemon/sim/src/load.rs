//! The mechanics: inertia, friction that sticks, brake, constant load and seeded disturbance. No
//! control lives here.

use crate::setup::DriveSetup;

/// Motion of one axis in SI units, and the generator of its disturbance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) position_si: f64,
    pub(crate) velocity_si: f64,
    noise: u64,
}

/// Factors of one inner step, computed when the period or the brake changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadStep {
    dt_s: f64,
    dt_per_inertia: f64,
    viscous: f64,
    /// What Coulomb friction can take from the speed in one step.
    friction_dv: f64,
    load_torque: f64,
    noise_sigma: f64,
    speed_max: f64,
}

impl LoadStep {
    pub(crate) fn new(setup: &DriveSetup, dt_s: f64, braked: bool) -> Self {
        let dt_per_inertia = dt_s / setup.inertia_si;
        let brake = if braked { setup.brake_torque_si } else { 0.0 };
        Self {
            dt_s,
            dt_per_inertia,
            viscous: 1.0 / (1.0 + dt_per_inertia * setup.viscous_friction_si),
            friction_dv: dt_per_inertia * (setup.coulomb_friction_si + brake),
            load_torque: setup.load_torque_si,
            noise_sigma: setup.torque_noise_sigma_si,
            speed_max: setup.speed_limit_si,
        }
    }
}

impl Load {
    pub(crate) fn new(setup: &DriveSetup, seed: u64) -> Self {
        Self { position_si: setup.initial_position_si, velocity_si: 0.0, noise: seed }
    }

    /// One semi-implicit Euler step under `torque_si` of the motor.
    ///
    /// Friction is solved implicitly: it takes away at most the speed there is, so an axis at rest
    /// stays there exactly instead of chattering around zero.
    #[inline]
    pub(crate) fn step(&mut self, by: &LoadStep, torque_si: f64) {
        let disturbance = if by.noise_sigma > 0.0 { by.noise_sigma * self.gauss() } else { 0.0 };
        let torque = torque_si + by.load_torque + disturbance;
        let free = (self.velocity_si + by.dt_per_inertia * torque) * by.viscous;
        let left = free.abs() - by.friction_dv;
        let slid = if left > 0.0 { left } else { 0.0 };
        let speed = if slid < by.speed_max { slid } else { by.speed_max };
        self.velocity_si = speed.copysign(free);
        self.position_si += by.dt_s * self.velocity_si;
    }

    /// Near-normal, mean 0, deviation 1: four uniform 16-bit draws from one splitmix64 output.
    fn gauss(&mut self) -> f64 {
        self.noise = self.noise.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.noise;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let draw = |shift: u32| f64::from(u16::try_from((z >> shift) & 0xFFFF).unwrap_or(0));
        let sum = draw(0) + draw(16) + draw(32) + draw(48);
        // A uniform draw over 65536 values has the deviation 65536/√12; four of them twice that.
        (sum - 2.0 * 65_535.0) * (1.732_050_807_568_877_2 / 65_536.0)
    }
}
