//! Counting what a reader has missed: gaps in cycles and in event numbers, across lives of kadenzd.
use shm_layout::state::StateHeader;

/// What a view has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times the domain was entered again.
    pub reconnects: u64,
    /// State records that were published but never seen here (skipped by `newest_state` is seen).
    pub lost: u64,
    /// Events that were recorded but never seen here.
    pub events_lost: u64,
    /// Times another life of kadenzd was met.
    pub daemon_restarts: u64,
}

/// Follows the cycle numbers of one domain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cycles {
    last: Option<(u64, u64)>,
    lost: u64,
    daemon_restarts: u64,
}

impl Cycles {
    /// Takes one record; true when it comes from another life of kadenzd than the one before.
    pub(crate) fn take(&mut self, header: &StateHeader) -> bool {
        let before = self.last.replace((header.daemon_id, header.cycle));
        match before {
            None => false,
            Some((daemon_id, cycle)) if daemon_id == header.daemon_id => {
                // A number that goes back is a repeated record, not a gap.
                let gap = header.cycle.saturating_sub(cycle).saturating_sub(1);
                self.lost = self.lost.saturating_add(gap);
                false
            }
            Some(_) => {
                self.daemon_restarts += 1;
                true
            }
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn daemon_restarts(&self) -> u64 {
        self.daemon_restarts
    }

    pub(crate) fn daemon_id(&self) -> Option<u64> {
        self.last.map(|(daemon_id, _)| daemon_id)
    }
}

/// Follows numbered records (events, incidents). After a reconnect the latest ones come again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbered {
    next: Option<(u64, u64)>,
    lost: u64,
}

impl Numbered {
    /// Takes one record that happened at `at_ns`; false when it was given out before.
    ///
    /// A number below the expected one is a repetition, unless it happened later than the last record:
    /// then another life of kadenzd counts from 0.
    pub(crate) fn take(&mut self, sequence: u64, at_ns: u64) -> bool {
        if let Some((next, wake_ns)) = self.next {
            let is_lower = sequence < next;
            if is_lower && at_ns <= wake_ns {
                return false;
            }
            let expected = if is_lower { 0 } else { next };
            self.lost = self.lost.saturating_add(sequence - expected);
        }
        self.next = Some((sequence.saturating_add(1), at_ns));
        true
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(daemon_id: u64, cycle: u64) -> StateHeader {
        StateHeader { daemon_id, cycle, ..StateHeader::zeroed() }
    }

    #[test]
    fn a_gap_in_cycles_is_lost_and_a_repetition_is_not() {
        let mut cycles = Cycles::default();
        for cycle in [5, 6, 7, 11, 11, 12] {
            assert!(!cycles.take(&header(1, cycle)));
        }
        assert_eq!(cycles.lost(), 3);
    }

    #[test]
    fn another_life_of_the_daemon_is_told_and_is_no_gap() {
        let mut cycles = Cycles::default();
        cycles.take(&header(1, 1_000_000));
        assert!(cycles.take(&header(2, 3)));
        assert!(!cycles.take(&header(2, 4)));
        assert_eq!((cycles.lost(), cycles.daemon_restarts()), (0, 1));
    }

    #[test]
    fn wild_cycle_numbers_do_not_overflow() {
        let mut cycles = Cycles::default();
        for cycle in [0, u64::MAX, 0, u64::MAX] {
            cycles.take(&header(1, cycle));
        }
        assert_eq!(cycles.lost(), u64::MAX);
    }

    #[test]
    fn repeated_events_are_dropped_and_gaps_counted() {
        let mut events = Numbered::default();
        let given: Vec<u64> = [(3, 30), (4, 40), (3, 30), (4, 40), (5, 50), (8, 80)]
            .iter()
            .filter(|(sequence, wake)| events.take(*sequence, *wake))
            .map(|(sequence, _)| *sequence)
            .collect();
        assert_eq!(given, [3, 4, 5, 8]);
        assert_eq!(events.lost(), 2);
    }

    #[test]
    fn events_of_a_new_life_are_given_out() {
        let mut events = Numbered::default();
        assert!(events.take(900, 10));
        assert!(events.take(0, 20));
        assert!(events.take(1, 20));
        assert!(!events.take(1, 20));
        assert_eq!(events.lost(), 0);
    }
}
