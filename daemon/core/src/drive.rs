//! CiA 402 power state machine (CiA 402-2 §6): what a statusword means and which controlword moves it on.

/// Mode of operation: cyclic synchronous position (object 6060h = 8).
pub const MODE_CSP: u16 = 8;

/// States of the drive (CiA 402-2 table "statusword bits and states").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveState {
    /// xxxx xxxx x0xx 0000
    NotReadyToSwitchOn,
    /// xxxx xxxx x1xx 0000
    SwitchOnDisabled,
    /// xxxx xxxx x01x 0001
    ReadyToSwitchOn,
    /// xxxx xxxx x01x 0011
    SwitchedOn,
    /// xxxx xxxx x01x 0111
    OperationEnabled,
    /// xxxx xxxx x00x 0111
    QuickStopActive,
    /// xxxx xxxx x0xx 1111
    FaultReactionActive,
    /// xxxx xxxx x0xx 1000
    Fault,
}

impl DriveState {
    /// The state a statusword shows; patterns the table does not name read as not ready.
    #[must_use]
    pub const fn of(statusword: u16) -> Self {
        match statusword & 0x4f {
            0x40 => return Self::SwitchOnDisabled,
            0x0f => return Self::FaultReactionActive,
            0x08 => return Self::Fault,
            _ => {}
        }
        match statusword & 0x6f {
            0x21 => Self::ReadyToSwitchOn,
            0x23 => Self::SwitchedOn,
            0x27 => Self::OperationEnabled,
            0x07 => Self::QuickStopActive,
            _ => Self::NotReadyToSwitchOn,
        }
    }

    /// Whether the drive is in, or on its way to, Fault.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Fault | Self::FaultReactionActive)
    }
}

/// Controlword commands (CiA 402-2 table "command coding").
mod controlword {
    /// Transitions 7, 9, 10, 12.
    pub const DISABLE_VOLTAGE: u16 = 0x00;
    /// Transitions 2, 6, 8.
    pub const SHUTDOWN: u16 = 0x06;
    /// Transitions 3, 5.
    pub const SWITCH_ON: u16 = 0x07;
    /// Transitions 4, 16.
    pub const ENABLE_OPERATION: u16 = 0x0f;
    /// Transition 15: the rising edge counts.
    pub const FAULT_RESET: u16 = 0x80;
}

/// Controlword that brings a drive one step nearer to Operation enabled, or keeps it there.
///
/// `reset_pulse` alternates so that a fault reset shows its rising edge.
#[must_use]
pub const fn toward_enabled(state: DriveState, reset_pulse: bool) -> u16 {
    match state {
        DriveState::Fault if reset_pulse => controlword::FAULT_RESET,
        DriveState::Fault
        | DriveState::FaultReactionActive
        | DriveState::NotReadyToSwitchOn
        | DriveState::QuickStopActive => controlword::DISABLE_VOLTAGE,
        DriveState::SwitchOnDisabled => controlword::SHUTDOWN,
        DriveState::ReadyToSwitchOn => controlword::SWITCH_ON,
        DriveState::SwitchedOn | DriveState::OperationEnabled => controlword::ENABLE_OPERATION,
    }
}

/// Controlword that takes torque off: Shutdown keeps a healthy drive ready, a fault is left standing.
#[must_use]
pub const fn toward_disabled(state: DriveState) -> u16 {
    match state {
        DriveState::OperationEnabled | DriveState::SwitchedOn | DriveState::ReadyToSwitchOn => {
            controlword::SHUTDOWN
        }
        _ => controlword::DISABLE_VOLTAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_the_table_is_read_as_its_state() {
        for (word, state) in [
            (0x0000, DriveState::NotReadyToSwitchOn),
            (0x0250, DriveState::SwitchOnDisabled),
            (0x0231, DriveState::ReadyToSwitchOn),
            (0x0233, DriveState::SwitchedOn),
            (0x1637, DriveState::OperationEnabled),
            (0x0217, DriveState::QuickStopActive),
            (0x021f, DriveState::FaultReactionActive),
            (0x0218, DriveState::Fault),
        ] {
            assert_eq!(DriveState::of(word), state, "{word:#06x}");
        }
    }

    #[test]
    fn a_healthy_drive_is_led_to_operation_enabled_in_three_commands() {
        assert_eq!(toward_enabled(DriveState::SwitchOnDisabled, false), 0x06);
        assert_eq!(toward_enabled(DriveState::ReadyToSwitchOn, false), 0x07);
        assert_eq!(toward_enabled(DriveState::SwitchedOn, false), 0x0f);
        assert_eq!(toward_enabled(DriveState::OperationEnabled, false), 0x0f);
    }

    #[test]
    fn a_fault_reset_shows_a_rising_edge() {
        let low = toward_enabled(DriveState::Fault, false);
        let high = toward_enabled(DriveState::Fault, true);
        assert_eq!((low & 0x80, high & 0x80), (0, 0x80));
    }
}
