//! What travels on the wire: process data, the bits of CiA 402-2 and the only integer conversions
//! of the crate. No behaviour lives here.

/// Controlword bits, object 6040h (CiA 402-2, controlword table).
pub mod controlword {
    /// Bit 0, switch on.
    pub const SWITCH_ON: u16 = 1 << 0;
    /// Bit 1, enable voltage.
    pub const ENABLE_VOLTAGE: u16 = 1 << 1;
    /// Bit 2, quick stop; the stop is commanded while the bit is 0.
    pub const QUICK_STOP: u16 = 1 << 2;
    /// Bit 3, enable operation.
    pub const ENABLE_OPERATION: u16 = 1 << 3;
    /// Bit 7, fault reset; only its rising edge acts.
    pub const FAULT_RESET: u16 = 1 << 7;
}

/// Statusword bits, object 6041h (CiA 402-2, statusword table).
pub mod statusword {
    /// Bit 4, the power stage has its supply.
    pub const VOLTAGE_ENABLED: u16 = 1 << 4;
    /// Bit 9, the controlword is obeyed.
    pub const REMOTE: u16 = 1 << 9;
    /// Bit 10, the target stands still and the axis is inside the position window (6067h).
    pub const TARGET_REACHED: u16 = 1 << 10;
    /// Bit 11, the torque or the speed is at its limit.
    pub const INTERNAL_LIMIT: u16 = 1 << 11;
    /// Bit 12 in CSP, the drive follows the command value.
    pub const FOLLOWS_COMMAND: u16 = 1 << 12;
    /// Bit 13 in CSP, the following error left its window for longer than 6066h allows.
    pub const FOLLOWING_ERROR: u16 = 1 << 13;
}

/// Modes of operation, objects 6060h and 6061h.
pub mod mode {
    /// No mode chosen yet.
    pub const NONE: i8 = 0;
    /// Cyclic synchronous position, the only mode this drive has (6502h = bit 7).
    pub const CYCLIC_SYNC_POSITION: i8 = 8;
}

/// Error codes, object 603Fh (CiA 402-2, error code table).
pub mod error_code {
    /// No error.
    pub const NONE: u16 = 0x0000;
    /// Generic error, for a fault injected without a number.
    pub const GENERIC: u16 = 0x1000;
    /// Communication: process data stayed away for longer than the watchdog allows.
    pub const COMMUNICATION: u16 = 0x7500;
    /// Following error outside the window of 6065h for the time of 6066h.
    pub const FOLLOWING_ERROR: u16 = 0x8611;
}

/// Process data from the master to the drive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rxpdo {
    /// 6040h, bits of [`controlword`].
    pub controlword: u16,
    /// 6060h; anything but [`mode::CYCLIC_SYNC_POSITION`] is ignored.
    pub mode_of_operation: i8,
    /// 607Ah, counts; wraps at 32 bit.
    pub target_position: i32,
    /// 60B1h, counts/s; see [`DriveSetup::uses_velocity_offset`](crate::DriveSetup).
    pub velocity_offset: i32,
    /// 60B2h, 0.1 % of rated torque, positive towards rising counts.
    pub torque_offset: i16,
}

/// Process data from the drive to the master, sampled at the frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Txpdo {
    /// 6041h, bits of [`statusword`] and the state pattern.
    pub statusword: u16,
    /// 6061h.
    pub mode_display: i8,
    /// 6064h, counts; wraps at 32 bit.
    pub position_actual: i32,
    /// 606Ch, counts/s; saturates.
    pub velocity_actual: i32,
    /// 6077h, 0.1 % of rated torque, positive towards rising counts; saturates.
    pub torque_actual: i16,
    /// 603Fh, see [`error_code`]; 0 when there is none.
    pub error_code: u16,
    /// 60F4h, demand minus actual, counts; saturates.
    pub following_error: i32,
}

/// The largest whole number of counts not above `counts`; saturates, and NaN gives 0.
#[expect(clippy::cast_possible_truncation, reason = "the cast truncates and saturates by intent")]
pub(crate) fn whole_counts(counts: f64) -> i64 {
    let truncated = counts as i64;
    // `floor` without SSE4.1 is a call; this runs at every substep.
    truncated.saturating_sub(i64::from(truncated as f64 > counts))
}

/// The low 32 bit: what a position object shows of a longer count.
#[expect(clippy::cast_possible_truncation, reason = "position objects wrap at 32 bit")]
pub(crate) fn wrap_i32(counts: i64) -> i32 {
    counts as i32
}

/// `counts` held inside 32 bit.
#[expect(clippy::cast_possible_truncation, reason = "clamped one step earlier")]
pub(crate) fn saturate_i32(counts: i64) -> i32 {
    counts.max(i64::from(i32::MIN)).min(i64::from(i32::MAX)) as i32
}

/// The nearest whole number inside 32 bit; NaN gives 0.
pub(crate) fn round_i32(value: f64) -> i32 {
    saturate_i32(whole_counts(value + 0.5))
}

/// The nearest whole number inside 16 bit; NaN gives 0.
#[expect(clippy::cast_possible_truncation, reason = "clamped one step earlier")]
pub(crate) fn round_i16(value: f64) -> i16 {
    whole_counts(value + 0.5).max(i64::from(i16::MIN)).min(i64::from(i16::MAX)) as i16
}
