//! What a source sends ahead of path time: knots, in batches.
use crate::KNOTS_PER_BATCH_MAX;
use crate::record::record;
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// A batch of knots, the newest horizon of one source. Followed by `knot_count * axis_count`
    /// `KnotAxis`, row by row: all axes of the first knot, then of the second.
    ///
    /// The loop takes those knots of the newest batch that it has not accepted yet, by `first_index`:
    /// sending the same knots again is harmless, a lost batch is repaired by the next.
    KnotBatchHeader as "Kadenz.KnotBatchHeader" {
        /// Fingerprint of the contract; a mismatch is refused.
        layout_hash: u64, "-", "equals LAYOUT_HASH", "source";
        /// The path these knots belong to; a new id begins a new path from rest.
        path_id: u64, "-", "not 0", "source";
        /// Number of the first knot of this batch within its path, from 0.
        first_index: u64, "1", "any", "source";
        /// Links this batch to the story of one command.
        trace_id: u64, "-", "any", "source";
        /// Grows with every batch of this source, knots or not: the lease is renewed by it.
        heartbeat: u64, "1", "rising", "source";
        /// When the source made this batch, CLOCK_MONOTONIC.
        made_ns: u64, "ns", "any", "source";
        /// Life of the source: a random number it draws when its process starts and keeps while gateways
        /// come and go. It tells a restarted source from one that was merely cut off; which mailbox the
        /// batch gets does not depend on it.
        source_id: u64, "-", "not 0", "source";
        /// Knots in this batch.
        knot_count: u16, "1", "0 ..= 64", "source";
        /// Axes per knot: all axes of the machine, in catalog order.
        axis_count: u16, "1", "equals the catalog's", "source";
        /// 1 when the last knot of this batch ends the path, else 0.
        last_is_final: u16, "-", "0 | 1", "source";
        /// Zero.
        reserved: u16, "-", "0", "source";
        /// Path time of each knot.
        tau_s: [f64; KNOTS_PER_BATCH_MAX], "s", "finite, rising by 1e-5 ..= 0.25", "source";
    }
}

record! {
    /// One axis of one knot.
    KnotAxis as "Kadenz.KnotAxis" {
        /// Position.
        position: f64, "rad | m", "finite, inside soft limits", "source";
        /// Derivative of the position with respect to path time.
        velocity: f64, "rad/s | m/s", "finite, within limits", "source";
        /// Second derivative with respect to path time.
        acceleration: f64, "rad/s^2 | m/s^2", "finite, within limits", "source";
        /// Torque or force to feed forward; 0 when the source does not know.
        torque_feed_forward: f64, "N.m | N", "finite", "source";
    }
}

/// Words of one knot row of `axis_count` axes.
#[must_use]
pub const fn row_words(axis_count: usize) -> usize {
    axis_count.saturating_mul(KnotAxis::WORDS)
}
/// Words of the largest batch for `axis_count` axes.
#[must_use]
pub const fn batch_words_max(axis_count: usize) -> usize {
    KnotBatchHeader::WORDS.saturating_add(row_words(axis_count).saturating_mul(KNOTS_PER_BATCH_MAX))
}
