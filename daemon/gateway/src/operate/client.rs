//! One client of the operate socket: bytes in to lines, answers out, all of it bounded. What a line
//! means is not known here.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use crate::operate::request::Wish;
use crate::operate::seats::Seat;

/// Longest line.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Answers kept for a client that does not read them.
const UNREAD_BYTES_MAX: usize = 64 * 1024;
/// How long answers may lie unread before the client is parted with: what it asked meanwhile counts
/// against all of its user. One that reads is through in a pass or two.
pub(crate) const UNREAD_NS_MAX: u64 = 1_000_000_000;
/// Read in one pass.
const READ_BYTES: usize = 4096;

pub(crate) struct Client {
    stream: UnixStream,
    pub(crate) uid: u32,
    /// Wishes not yet posted to the loop.
    pub(crate) waiting: VecDeque<Wish>,
    /// Ids of wishes posted and not yet answered.
    pub(crate) posted: Vec<u64>,
    /// Ids of questions for the status that have no answer yet.
    pub(crate) looks: VecDeque<u64>,
    /// When it had its last turn; grows with every turn that is given.
    pub(crate) turn: u64,
    /// When it connected, or last asked for something that could be asked; CLOCK_MONOTONIC.
    pub(crate) asked_ns: u64,
    input: Vec<u8>,
    /// Bytes of `input` known to hold no line feed.
    scanned: usize,
    output: Vec<u8>,
    /// Since when something has been in `output`, as far as that was looked at.
    unread_since_ns: Option<u64>,
    /// It will say nothing more; it may still read.
    has_ended: bool,
    is_broken: bool,
}

impl Client {
    pub(crate) fn accepted(stream: UnixStream, turn: u64, now_ns: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let uid = getsockopt(&stream, PeerCredentials)?.uid();
        Ok(Self {
            stream,
            uid,
            waiting: VecDeque::new(),
            posted: Vec::new(),
            looks: VecDeque::new(),
            turn,
            asked_ns: now_ns,
            input: Vec::new(),
            scanned: 0,
            output: Vec::new(),
            unread_since_ns: None,
            has_ended: false,
            is_broken: false,
        })
    }

    /// Whether reading more makes sense: a client whose lines are not all looked at waits.
    pub(crate) fn wants_reading(&self) -> bool {
        !self.has_ended && !self.is_broken && self.scanned == self.input.len()
    }

    /// Reads once; never waits.
    pub(crate) fn fill(&mut self) {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.is_broken = true,
        }
    }

    /// The next whole line, without its line feed. An overlong one breaks the connection off.
    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        let rest = self.input.get(self.scanned..).unwrap_or_default();
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let end = self.scanned + end;
            let mut line: Vec<u8> = self.input.drain(..=end).collect();
            line.pop();
            self.scanned = 0;
            return Some(line);
        }
        self.scanned = self.input.len();
        None
    }

    /// True once a line has grown beyond what a line may be.
    pub(crate) fn is_overlong(&self) -> bool {
        self.scanned > LINE_BYTES_MAX
    }

    /// Queues an answer.
    pub(crate) fn say(&mut self, line: &str) {
        if self.output.len() + line.len() > UNREAD_BYTES_MAX {
            // It asks and does not listen: the memory it takes would grow without end.
            self.is_broken = true;
        } else {
            self.output.extend_from_slice(line.as_bytes());
        }
    }

    /// Ends the connection once what was said has been sent, as far as that goes at once.
    pub(crate) fn dismiss(&mut self) {
        self.flush();
        self.is_broken = true;
    }

    /// Sends what it takes now.
    pub(crate) fn flush(&mut self) {
        if self.output.is_empty() || self.is_broken {
            return;
        }
        match self.stream.write(&self.output) {
            Ok(count) => drop(self.output.drain(..count)),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.is_broken = true,
        }
    }

    /// Whether it has left answers lying for too long; asked in every pass.
    pub(crate) fn is_deaf(&mut self, now_ns: u64) -> bool {
        if self.output.is_empty() {
            self.unread_since_ns = None;
            return false;
        }
        let since_ns = *self.unread_since_ns.get_or_insert(now_ns);
        now_ns.saturating_sub(since_ns) > UNREAD_NS_MAX
    }

    /// Wishes and questions that have no answer yet.
    pub(crate) fn outstanding(&self) -> usize {
        self.waiting.len() + self.posted.len() + self.looks.len()
    }

    /// It, as the rules between users see it.
    pub(crate) fn seat(&self) -> Seat {
        let (uid, asked_ns, turn) = (self.uid, self.asked_ns, self.turn);
        Seat { uid, asked_ns, is_busy: self.outstanding() > 0, turn }
    }

    /// Whether everything it was told has been taken: a status is only made for who reads.
    pub(crate) fn has_read(&self) -> bool {
        self.output.is_empty()
    }

    /// Whether `id` names a wish or a question that has no answer yet.
    pub(crate) fn is_outstanding(&self, id: u64) -> bool {
        self.posted.contains(&id)
            || self.looks.contains(&id)
            || self.waiting.iter().any(|wish| wish.id == id)
    }

    /// Nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        let served = self.outstanding() == 0 && self.output.is_empty();
        self.is_broken || (self.has_ended && served && self.scanned == self.input.len())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_in_time_is_kept_and_who_does_not_is_not() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::accepted(ours, 0, 0).unwrap();
        let line = "x".repeat(UNREAD_BYTES_MAX);
        // BOUND: a socket takes so much and no more.
        while client.has_read() {
            client.say(&line);
            client.flush();
        }
        assert!(!client.is_deaf(5));
        assert!(!client.is_deaf(5 + UNREAD_NS_MAX));
        assert!(client.is_deaf(6 + UNREAD_NS_MAX));
        let mut bytes = vec![0; UNREAD_BYTES_MAX];
        // BOUND: the other end takes what there is.
        while !client.has_read() {
            theirs.read_exact(&mut bytes[..1024]).unwrap();
            client.flush();
        }
        assert!(!client.is_deaf(7 + UNREAD_NS_MAX));
        assert!(!client.is_over());
    }
}
