//! Knots from planners into mailboxes: told apart, checked for form, newest first. Whether a knot
//! may be followed is the loop's to judge.

use iceoryx2::port::ReceiveError;
use kadenz_handover::mailbox_region;
use kadenz_lanes::{Lanes, MailboxWriter};
use kadenz_link::domain::{DomainNode, KNOT_PUBLISHERS_MAX, Side, knots};
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::{KNOTS_PER_BATCH_MAX, LAYOUT_HASH, SOURCES_MAX};

use crate::failure::Failure;
use crate::lanes::OwnCounts;
use crate::sources::{Sources, Verdict, source_id};

/// Rounds of one pass. In each, iceoryx2 gives at most as many samples of one publisher as may be held
/// of it (two), then those of the next: a publisher that fills its queue as fast as it is emptied
/// keeps nobody waiting. So many rounds empty a full queue.
const ROUNDS_PER_PASS: usize = 8;
/// Samples of one round: two of each publisher there can be.
const SAMPLES_PER_ROUND: usize = 2 * KNOT_PUBLISHERS_MAX;

struct Mailbox {
    writer: MailboxWriter<'static>,
    /// Newest batch of this pass; empty when none came.
    newest: Vec<u64>,
}

/// The plan role's way in.
pub(crate) struct Intake {
    reader: knots::Reader,
    _service: knots::Service,
    mailboxes: Vec<Mailbox>,
    sources: Sources,
    /// Samples of this round: kept until its end, so that others get their turn.
    round: Vec<knots::Received>,
    axis_count: usize,
    counts: OwnCounts,
}

impl Intake {
    pub(crate) fn open(
        node: &DomainNode,
        lanes: &Lanes,
        axis_count: usize,
        (period_ns, lease_ns): (u64, u64),
    ) -> Result<Self, Failure> {
        let service = knots::service(node, Side::Gateway)?;
        let mailbox = |slot| -> Result<Mailbox, Failure> {
            let writer = lanes.mailbox_writer(&mailbox_region(slot))?;
            Ok(Mailbox { writer, newest: Vec::new() })
        };
        Ok(Self {
            reader: knots::reader(&service)?,
            _service: service,
            mailboxes: (0..SOURCES_MAX).map(mailbox).collect::<Result<_, _>>()?,
            sources: Sources::new(period_ns, lease_ns),
            round: Vec::with_capacity(SAMPLES_PER_ROUND),
            axis_count,
            counts: OwnCounts::default(),
        })
    }

    /// Posts the newest batch of every source that has sent since the last pass.
    pub(crate) fn pass(&mut self, now_ns: u64) {
        // BOUND: a flood must not hold the pass up.
        for _ in 0..ROUNDS_PER_PASS {
            let mut round = std::mem::take(&mut self.round);
            while round.len() < SAMPLES_PER_ROUND
                && let Some(sample) = self.receive()
            {
                round.push(sample);
            }
            for sample in &round {
                self.take(sample, now_ns);
            }
            let is_last = round.is_empty();
            round.clear();
            self.round = round;
            if is_last {
                break;
            }
        }
        for mailbox in &mut self.mailboxes {
            if !mailbox.newest.is_empty() {
                mailbox.writer.post(&[&mailbox.newest]);
                mailbox.newest.clear();
            }
        }
    }

    /// The next sample of a publisher whose share of this round is not used up.
    fn receive(&mut self) -> Option<knots::Received> {
        match self.reader.receive() {
            Ok(sample) => sample,
            // Nobody is left in this round.
            Err(ReceiveError::ExceedsMaxBorrows) => None,
            Err(ReceiveError::ConnectionFailure(_)) => {
                self.counts.refused += 1;
                None
            }
        }
    }

    fn take(&mut self, sample: &knots::Received, now_ns: u64) {
        // Whose mailbox it is stands in iceoryx2's own header; what the payload claims may not be another's.
        let publisher = sample.header().publisher_id().value();
        // Copied once: the sender can still write to it.
        let mut header: KnotBatchHeader = **sample.user_header();
        if header.source_id == 0 {
            header.source_id = source_id(publisher);
        }
        let rows = sample.payload();
        let verdict = if fits(&header, rows.len(), self.axis_count) {
            self.sources.judge(publisher, header.source_id, now_ns)
        } else {
            Verdict::Refused
        };
        let slot = match verdict {
            Verdict::Mailbox(slot) => slot,
            Verdict::TooFast => {
                self.counts.rate_limited += 1;
                return;
            }
            Verdict::Refused => {
                self.counts.refused += 1;
                return;
            }
        };
        let Some(mailbox) = self.mailboxes.get_mut(slot) else { return };
        mailbox.newest.clear();
        mailbox.newest.extend_from_slice(header.as_words());
        for row in rows {
            mailbox.newest.extend_from_slice(KnotAxis::as_words(row));
        }
    }

    /// Batches that were malformed or found no mailbox, and those that came too fast.
    pub(crate) fn own_counts(&self) -> OwnCounts {
        self.counts
    }
}

/// The form of a batch; the loop checks again what it takes.
fn fits(header: &KnotBatchHeader, rows: usize, axis_count: usize) -> bool {
    let knots = usize::from(header.knot_count);
    header.layout_hash == LAYOUT_HASH
        && usize::from(header.axis_count) == axis_count
        && knots <= KNOTS_PER_BATCH_MAX
        && rows == knots * axis_count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_another_contract_machine_or_length_is_refused() {
        let good = KnotBatchHeader {
            layout_hash: LAYOUT_HASH,
            axis_count: 3,
            knot_count: 2,
            ..KnotBatchHeader::zeroed()
        };
        assert!(fits(&good, 6, 3));
        assert!(fits(&KnotBatchHeader { knot_count: 0, ..good }, 0, 3), "a heartbeat");
        assert!(!fits(&KnotBatchHeader { layout_hash: 1, ..good }, 6, 3));
        assert!(!fits(&good, 6, 2));
        assert!(!fits(&good, 5, 3));
        assert!(!fits(&good, 7, 3));
        assert!(!fits(&KnotBatchHeader { knot_count: 65, ..good }, 195, 3));
    }
}
