//! What a person or script asks of the machine, as it crosses the operate lane.
use crate::record::record;
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// One request. Its answer is an event of kind `request-answered` with the same `request_id`.
    Request as "Kadenz.Request" {
        /// Number the operate gateway gave it; unique within a daemon's life.
        request_id: u64, "-", "not 0", "gateway";
        /// The loop refuses it after this time, CLOCK_MONOTONIC.
        deadline_ns: u64, "ns", "any", "gateway";
        /// What is asked (`RequestKind`).
        kind: u32, "-", "RequestKind", "gateway";
        /// Unix user that asked, from the socket's peer credentials.
        peer_uid: u32, "-", "any", "gateway";
        /// Argument of the kind: the wanted path rate, or 1 for an enable that acknowledges a changed host.
        value: f64, "1", "see kind", "client";
        /// Axes meant; 0 means all.
        axis_mask: u64, "-", "bit set", "client";
        /// Links the request to the story of one command.
        trace_id: u64, "-", "any", "client";
        /// Zero.
        reserved: [u64; 2], "-", "0", "gateway";
    }
}
