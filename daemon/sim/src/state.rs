//! The power state machine of CiA 402-2 (states 6041h, commands 6040h, transitions 0 to 15). It
//! decides the state and nothing of motion.
//!
//! Option codes as most drives ship them: 605Ah = 2 and 605Eh = 2 (quick-stop ramp, then power
//! off), 605Bh = 605Ch = 0 (power off at once, brake on). Transition 16 needs 605Ah ≥ 5: absent.

use crate::setup::DriveSetup;
use crate::wire::{controlword as cw, error_code, statusword as sw};

/// The states of CiA 402-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Self-test.
    NotReadyToSwitchOn,
    /// Waits for Shutdown.
    SwitchOnDisabled,
    /// Waits for Switch on.
    ReadyToSwitchOn,
    /// Power stage supplied, no torque.
    SwitchedOn,
    /// Loops closed.
    OperationEnabled,
    /// Ramps to rest by command.
    QuickStopActive,
    /// Ramps to rest by fault.
    FaultReactionActive,
    /// No torque until a fault reset.
    Fault,
}

impl State {
    /// Bits 0 to 3, 5 and 6 of the statusword (mask 006Fh), with bit 4 where the stage is supplied
    /// and bit 9 once the drive listens.
    pub(crate) fn statusword(self) -> u16 {
        match self {
            Self::NotReadyToSwitchOn => 0x0000,
            Self::SwitchOnDisabled => 0x0040 | sw::REMOTE,
            Self::ReadyToSwitchOn => 0x0021 | sw::VOLTAGE_ENABLED | sw::REMOTE,
            Self::SwitchedOn => 0x0023 | sw::VOLTAGE_ENABLED | sw::REMOTE,
            Self::OperationEnabled => 0x0027 | sw::VOLTAGE_ENABLED | sw::REMOTE,
            Self::QuickStopActive => 0x0007 | sw::VOLTAGE_ENABLED | sw::REMOTE,
            Self::FaultReactionActive => 0x000F | sw::VOLTAGE_ENABLED | sw::REMOTE,
            Self::Fault => 0x0008 | sw::REMOTE,
        }
    }

    /// The drive brakes on its own ramp and ignores targets.
    pub(crate) fn is_ramping(self) -> bool {
        matches!(self, Self::QuickStopActive | Self::FaultReactionActive)
    }

    /// The motor may carry torque and the brake is open.
    pub(crate) fn has_torque(self) -> bool {
        self == Self::OperationEnabled || self.is_ramping()
    }

    /// A silent master is a fault here; before, there is nothing to lose.
    pub(crate) fn needs_process_data(self) -> bool {
        matches!(self, Self::SwitchedOn | Self::OperationEnabled | Self::QuickStopActive)
    }
}

/// The commands of the controlword table. Bits 0 to 3 with bit 7 clear; "Switch on" and "Disable
/// operation" share a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Shutdown,
    SwitchOn,
    EnableOperation,
    DisableVoltage,
    QuickStop,
    /// Bit 7 is set: no row of the table but fault reset, which acts by its edge.
    None,
}

fn command(controlword: u16) -> Command {
    let has = |bit: u16| controlword & bit != 0;
    if has(cw::FAULT_RESET) {
        Command::None
    } else if !has(cw::ENABLE_VOLTAGE) {
        Command::DisableVoltage
    } else if !has(cw::QUICK_STOP) {
        Command::QuickStop
    } else if !has(cw::SWITCH_ON) {
        Command::Shutdown
    } else if has(cw::ENABLE_OPERATION) {
        Command::EnableOperation
    } else {
        Command::SwitchOn
    }
}

/// State, error code and the clock of the transition under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateMachine {
    state: State,
    error_code: u16,
    waited_s: f64,
    fault_reset_seen: bool,
}

impl StateMachine {
    pub(crate) fn new() -> Self {
        Self {
            state: State::NotReadyToSwitchOn,
            error_code: error_code::NONE,
            waited_s: 0.0,
            fault_reset_seen: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn error_code(&self) -> u16 {
        self.error_code
    }

    /// Transition 13, from every state; the first error code stays until reset. Without torque
    /// there is nothing to react to and transition 14 follows at once.
    pub(crate) fn fault(&mut self, code: u16) {
        if matches!(self.state, State::FaultReactionActive | State::Fault) {
            return;
        }
        self.error_code = code;
        self.waited_s = 0.0;
        self.state =
            if self.state.has_torque() { State::FaultReactionActive } else { State::Fault };
    }

    /// One bus cycle of `period_s`; `at_rest` ends a ramp.
    pub(crate) fn step(&mut self, setup: &DriveSetup, word: u16, at_rest: bool, period_s: f64) {
        let reset_bit = word & cw::FAULT_RESET != 0;
        let reset = reset_bit && !self.fault_reset_seen;
        self.fault_reset_seen = reset_bit;
        let next = self.next(setup, command(word), reset, at_rest, period_s);
        if next != self.state {
            self.waited_s = 0.0;
            self.state = next;
            if next == State::SwitchOnDisabled {
                self.error_code = error_code::NONE;
            }
        }
    }

    fn next(
        &mut self,
        setup: &DriveSetup,
        command: Command,
        reset: bool,
        at_rest: bool,
        period_s: f64,
    ) -> State {
        use State as S;
        match (self.state, command) {
            (S::NotReadyToSwitchOn, _) => {
                self.after(setup.boot_s, S::SwitchOnDisabled, period_s) // 1
            }
            (S::SwitchOnDisabled, Command::Shutdown) => S::ReadyToSwitchOn, // 2
            (S::ReadyToSwitchOn, Command::SwitchOn | Command::EnableOperation) => {
                self.after(setup.power_up_s, S::SwitchedOn, period_s) // 3
            }
            (S::SwitchedOn, Command::EnableOperation) => {
                self.after(setup.brake_release_s, S::OperationEnabled, period_s) // 4
            }
            (S::OperationEnabled, Command::SwitchOn) => S::SwitchedOn, // 5
            (S::SwitchedOn | S::OperationEnabled, Command::Shutdown) => S::ReadyToSwitchOn, // 6, 8
            (
                S::ReadyToSwitchOn | S::SwitchedOn,
                Command::DisableVoltage | Command::QuickStop, // 7, 10
            )
            | (S::OperationEnabled | S::QuickStopActive, Command::DisableVoltage) => {
                S::SwitchOnDisabled // 9, 12
            }
            (S::OperationEnabled, Command::QuickStop) => S::QuickStopActive, // 11
            (S::QuickStopActive, _) if at_rest => S::SwitchOnDisabled,       // 12
            (S::FaultReactionActive, _) if at_rest => S::Fault,              // 14
            (S::Fault, _) if reset => S::SwitchOnDisabled,                   // 15
            (state, _) => {
                self.waited_s = 0.0;
                state
            }
        }
    }

    /// `target` once `wait_s` has passed in this state under this command, to the nearest cycle.
    fn after(&mut self, wait_s: f64, target: State, period_s: f64) -> State {
        self.waited_s += period_s;
        if self.waited_s + 0.5 * period_s >= wait_s { target } else { self.state }
    }
}
