//! What changed, and when: one record per change of state.
use crate::record::record;
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// One recorded change of state.
    Event as "Kadenz.Event" {
        /// Number of the event, from 0, without gaps.
        sequence: u64, "1", "rising by 1", "kadenzd";
        /// Pass in which it happened.
        cycle: u64, "1", "any", "kadenzd";
        /// Wake of that pass, CLOCK_MONOTONIC.
        wake_ns: u64, "ns", "any", "kadenzd";
        /// What happened (`EventKind`).
        kind: u32, "-", "EventKind", "kadenzd";
        /// Axis it is about; 65535 when about none.
        axis: u32, "1", "0 ..= 63 | 65535", "kadenzd";
        /// First code; see the kind.
        code: u32, "-", "see kind", "kadenzd";
        /// Second code; see the kind.
        detail: u32, "-", "see kind", "kadenzd";
        /// Request it answers; 0 when none.
        request_id: u64, "-", "any", "kadenzd";
        /// Path it is about; 0 when none.
        path_id: u64, "-", "any", "kadenzd";
        /// Story it belongs to.
        trace_id: u64, "-", "any", "kadenzd";
        /// Numbers; see the kind.
        values: [f64; 2], "see kind", "finite", "kadenzd";
    }
}
