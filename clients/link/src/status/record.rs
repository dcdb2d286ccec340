//! The way back: from a status that came as JSON to the record it was made from, as far as it tells.
use shm_layout::code::{KnotRefusal, Phase, Reason, Verdict, axis_flag, state_flag};
use shm_layout::state::{AxisState, NO_AXIS, StateHeader};

use super::{AxisStatus, MachineStatus};

/// A code that no version of the contract gives, for a word that this version does not know.
const UNKNOWN: u32 = u32::MAX;

/// The code behind a word.
macro_rules! code_of {
    ($codes:ident, $word:expr) => {
        $codes::ALL.iter().find(|(_, word, _)| *word == $word).map_or(UNKNOWN, |one| one.0.code())
    };
}

impl MachineStatus {
    /// The record this status was made from. What a status does not tell is 0; its age stands in for
    /// the times, so that `wake_ns` is when the pass began by the clock of `now_ns`.
    #[must_use]
    pub fn record(&self, now_ns: u64) -> (StateHeader, Vec<AxisState>) {
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let path = self.path.as_ref();
        let is_complete = path.is_some_and(|path| path.is_complete);
        let header = StateHeader {
            daemon_id: number(&self.daemon_id),
            cycle: self.cycle,
            wake_ns: now_ns.saturating_sub(self.age_ns),
            period_ns: self.period_ns,
            phase: code_of!(Phase, self.phase),
            verdict: code_of!(Verdict, self.verdict),
            reason: code_of!(Reason, self.reason),
            reason_axis: self.axis_index(self.reason_axis.as_deref()),
            flags: flag(self.is_at_rest, state_flag::AT_REST)
                | flag(self.source.is_alive, state_flag::SOURCE_ALIVE)
                | flag(is_complete, state_flag::PATH_COMPLETE),
            path_id: path.map_or(0, |path| number(&path.id)),
            tau_s: path.map_or(0.0, |path| path.tau_s),
            tau_last_s: path.map_or(0.0, |path| path.tau_last_s),
            path_rate: self.path_rate,
            rate_override: self.rate_override,
            source_id: number(&self.source.id),
            lease_generation: self.source.lease_generation,
            source_age_ns: self.source.age_ns,
            knots_accepted: self.source.knots_accepted,
            knots_refused: self.source.knots_refused,
            knot_refusal: code_of!(KnotRefusal, self.source.knot_refusal),
            knot_refusal_axis: self.axis_index(self.source.knot_refusal_axis.as_deref()),
            ..StateHeader::zeroed()
        };
        (header, self.axes.iter().map(axis).collect())
    }

    fn axis_index(&self, name: Option<&str>) -> u32 {
        let place = name.and_then(|name| self.axes.iter().position(|axis| axis.name == name));
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(NO_AXIS)
    }
}

fn axis(status: &AxisStatus) -> AxisState {
    let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
    AxisState {
        position_reference: status.position_reference,
        position_actual: status.position_actual,
        following_error: status.following_error,
        velocity_actual: status.velocity_actual,
        flags: flag(status.is_enabled, axis_flag::ENABLED)
            | flag(status.is_fault, axis_flag::FAULT),
        error_code: status.error_code,
        statusword: status.statusword,
        input_age_cycles: status.input_age_cycles,
        ..AxisState::zeroed()
    }
}

/// A number that JSON carries as hexadecimal text.
fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or(0)
}
