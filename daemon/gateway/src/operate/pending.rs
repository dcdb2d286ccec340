//! Requests that the loop has been given and not yet answered: who asked, and until when.

use std::collections::HashMap;

use kadenz_paths::Token;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// Number of the client's connection.
    pub(crate) client: u64,
    /// The client's own number for the request.
    pub(crate) id: u64,
    /// Deadline as asked, for the message.
    pub(crate) deadline_ms: u64,
    /// When the answer is overdue.
    pub(crate) overdue_ns: u64,
}

/// The requests under way, by the number the loop knows them by.
#[derive(Debug)]
pub(crate) struct Pending {
    life: u64,
    count: u32,
    askers: HashMap<u64, Asker>,
}

impl Pending {
    /// None under way. Numbers carry the token of this life: an answer to a predecessor's request
    /// is nobody's.
    pub(crate) fn new(token: Token) -> Self {
        Self { life: u64::from(token.number()) << 32, count: 0, askers: HashMap::new() }
    }

    /// Remembers `asker`; gives the request's number, which is not 0.
    pub(crate) fn add(&mut self, asker: Asker) -> u64 {
        self.count = self.count.wrapping_add(1).max(1);
        let request_id = self.life | u64::from(self.count);
        self.askers.insert(request_id, asker);
        request_id
    }

    /// Who asked `request_id`; forgets it.
    pub(crate) fn take(&mut self, request_id: u64) -> Option<Asker> {
        self.askers.remove(&request_id)
    }

    /// Those who have waited for too long; forgets them.
    pub(crate) fn overdue(&mut self, now_ns: u64) -> Vec<Asker> {
        let late = self.askers.extract_if(|_, asker| asker.overdue_ns < now_ns);
        late.map(|(_, asker)| asker).collect()
    }

    /// Forgets everything `client` asked.
    pub(crate) fn forget(&mut self, client: u64) {
        self.askers.retain(|_, asker| asker.client != client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Asker = Asker { client: 1, id: 7, deadline_ms: 500, overdue_ns: 100 };

    #[test]
    fn an_answer_finds_its_asker_once() {
        let mut pending = Pending::new(Token::from_number(0xabcd_0123));
        let request_id = pending.add(ASKER);
        assert_eq!(request_id, 0xabcd_0123_0000_0001);
        assert_eq!(pending.take(request_id), Some(ASKER));
        assert_eq!(pending.take(request_id), None);
    }

    #[test]
    fn only_the_overdue_are_given_up_and_a_client_that_left_is_forgotten() {
        let mut pending = Pending::new(Token::from_number(1));
        pending.add(ASKER);
        let later = pending.add(Asker { overdue_ns: 200, client: 2, ..ASKER });
        assert_eq!(pending.overdue(100), []);
        assert_eq!(pending.overdue(101), [ASKER]);
        pending.forget(2);
        assert_eq!(pending.take(later), None);
    }
}
