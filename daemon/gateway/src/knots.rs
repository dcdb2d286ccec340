//! Knots from planners into mailboxes: told apart, checked for form, newest first. Whether a knot
//! may be followed is the loop's to judge.

use kadenz_handover::mailbox_region;
use kadenz_lanes::{Lanes, MailboxWriter};
use kadenz_link::domain::{DomainNode, Side, knots};
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::{KNOTS_PER_BATCH_MAX, LAYOUT_HASH, SOURCES_MAX};

use crate::failure::Failure;
use crate::sources::{Sources, source_id};

/// Samples looked at in one pass: four times what eight honest planners send per period at worst.
/// Under a flood the streams' own queues drop the oldest.
const SAMPLES_PER_PASS: usize = 32;

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
    axis_count: usize,
    refused: u64,
}

impl Intake {
    pub(crate) fn open(
        node: &DomainNode,
        lanes: &Lanes,
        axis_count: usize,
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
            sources: Sources::default(),
            axis_count,
            refused: 0,
        })
    }

    /// Posts the newest batch of every source that has sent since the last pass.
    pub(crate) fn pass(&mut self, now_ns: u64) {
        // BOUND: a flood must not hold the pass up.
        for _ in 0..SAMPLES_PER_PASS {
            match self.reader.receive() {
                Ok(Some(sample)) => self.take(&sample, now_ns),
                Ok(None) => break,
                Err(_) => {
                    self.refused += 1;
                    break;
                }
            }
        }
        for mailbox in &mut self.mailboxes {
            if !mailbox.newest.is_empty() {
                mailbox.writer.post(&[&mailbox.newest]);
                mailbox.newest.clear();
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
        let mailbox = fits(&header, rows.len(), self.axis_count)
            .then(|| self.sources.mailbox(publisher, header.source_id, now_ns))
            .flatten()
            .and_then(|slot| self.mailboxes.get_mut(slot));
        let Some(mailbox) = mailbox else {
            self.refused += 1;
            return;
        };
        mailbox.newest.clear();
        mailbox.newest.extend_from_slice(header.as_words());
        for row in rows {
            mailbox.newest.extend_from_slice(KnotAxis::as_words(row));
        }
    }

    /// Batches that were malformed or found no mailbox.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
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
