//! What nobody does on purpose: late wake-ups, stalls, lost frames, drives that fault, encoders
//! that stick, motors that give no torque.
use servo_sim::Fault;

use crate::island::{Island, Pace};
use crate::random::Random;

/// How rough it is: chances per cycle, in a million.
#[derive(Clone, Copy, Debug, Default)]
pub struct Climate {
    /// A stall of 1 to 4 cycles, which motion bridges.
    pub short_stalls: u64,
    /// A stall of 5 to 300 cycles.
    pub long_stalls: u64,
    /// A run of lost frames: mostly 1 to 4, which the machine must bear, sometimes 5 to 10.
    pub lost_frames: u64,
    /// A fault of a drive, an encoder or a motor.
    pub faults: u64,
}

impl Climate {
    /// Some of everything.
    pub const ROUGH: Self =
        Self { short_stalls: 800, long_stalls: 40, lost_frames: 500, faults: 40 };
}

/// Makes weather.
pub struct Weather {
    random: Random,
    climate: Climate,
    /// Axes to be mended, and when.
    broken: Vec<(usize, u64)>,
}

impl Weather {
    /// The weather of one run.
    #[must_use]
    pub fn new(seed: u64, climate: Climate) -> Self {
        Self { random: Random::stream(seed, "weather"), climate, broken: Vec::new() }
    }

    /// One cycle: breaks and mends, and says how the next pass is timed.
    pub fn act(&mut self, island: &mut Island, cycle: u64) -> Pace {
        self.mend(island, cycle);
        if self.random.per_million(self.climate.lost_frames) {
            let (low, high) = if self.random.percent(85) { (1, 4) } else { (5, 10) };
            island.bus.lose_frames(self.random.within(low, high) as u32);
        }
        if self.random.per_million(self.climate.faults) {
            self.break_something(island, cycle);
        }
        let period_ns = island.setup.period_ns;
        let latency_ns = match self.random.below(50) {
            0 => self.random.below(period_ns * 2 / 5),
            _ => self.random.below(period_ns / 40),
        };
        let stall = if self.random.per_million(self.climate.short_stalls) {
            self.random.within(1, 4)
        } else if self.random.per_million(self.climate.long_stalls) {
            self.random.within(5, 300)
        } else {
            0
        };
        Pace { latency_ns, busy_ns: period_ns / 20 + stall * period_ns }
    }

    fn break_something(&mut self, island: &mut Island, cycle: u64) {
        let axis = self.random.below(island.setup.axis_count as u64) as usize;
        let fault = match self.random.below(4) {
            0 => Fault::StuckEncoder,
            1 => Fault::TorqueLoss,
            _ => Fault::DriveFault(self.random.bits() as u16),
        };
        if let Some(drive) = island.bus.plant_mut().drive_mut(axis) {
            drive.inject(fault);
            self.broken.push((axis, cycle + self.random.within(50, 3_000)));
        }
    }

    fn mend(&mut self, island: &mut Island, cycle: u64) {
        self.broken.retain(|(axis, until)| {
            if *until > cycle {
                return true;
            }
            if let Some(drive) = island.bus.plant_mut().drive_mut(*axis) {
                drive.heal();
            }
            false
        });
    }
}
