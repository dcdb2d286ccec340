//! The operate socket at work: who is served when. Nobody waits for anybody: every step of a pass
//! is bounded per client, and what takes motion away goes first.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use kadenz_handover::{Grant, REQUEST_REGION, own_operate_socket};
use kadenz_lanes::{BroadcastWriter, Lanes};
use kadenz_paths::RuntimeDir;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shm_layout::code::EventKind;
use shm_layout::request::Request;
use shm_layout::{EVENT_RING, REQUESTS_PER_CYCLE};

use crate::failure::Failure;
use crate::lanes::{Outbound, OwnCounts};
use crate::operate::client::{Client, LINE_BYTES_MAX};
use crate::operate::door::listen;
use crate::operate::outlook::Outlook;
use crate::operate::pending::{Asker, Pending};
use crate::operate::request::{Asked, Refusal, Wish, answered, failed, read};
use crate::operate::seats::{Seat, who_is_next, who_parts};

/// Connections at a time, of all users. Once all are taken a newcomer gets one all the same, by the
/// rules of seats.rs: a person may not be kept from a stop by connections left open or flooding in.
const CLIENTS_MAX: usize = 32;
/// Things under way: of one client, and of all clients of one user.
const OUTSTANDING_MAX: usize = 16;
/// The same of one client where the next takes motion away: it is not refused for what was asked before.
const OUTSTANDING_URGENT_MAX: usize = 32;
/// New connections in one pass. Whoever comes is heard in the next pass, before others come.
const ACCEPTS_PER_PASS: usize = 8;
/// Lines of one client in one pass: 32 clients that send nothing but garbage cost well under 1 ms.
const LINES_PER_PASS: usize = 4;

/// The operate gateway's socket and what is under way.
pub(crate) struct Desk {
    listener: UnixListener,
    /// With the number of their connection.
    clients: Vec<(u64, Client)>,
    ring: BroadcastWriter<'static>,
    pending: Pending,
    axis_count: usize,
    period_ns: u64,
    connections: u64,
    /// Turns given so far.
    turns: u64,
    outlook: Outlook,
    refused: u64,
}

impl Desk {
    /// Opens the socket.
    pub(crate) fn open(dir: &RuntimeDir, grant: &Grant, lanes: &Lanes) -> Result<Self, Failure> {
        Ok(Self {
            listener: listen(&own_operate_socket(dir))?,
            clients: Vec::new(),
            ring: lanes.ring_writer(REQUEST_REGION)?,
            pending: Pending::new(grant.token),
            axis_count: usize::from(grant.terms.axis_count),
            period_ns: grant.terms.period_ns,
            connections: 0,
            turns: 0,
            outlook: Outlook::default(),
            refused: 0,
        })
    }

    /// The pass before the loop's wake: reads, and posts what the loop takes in one cycle.
    pub(crate) fn take(&mut self, now_ns: u64) {
        let somebody_knocks = self.hear();
        for place in 0..self.clients.len() {
            self.take_lines(place, now_ns);
        }
        self.post(now_ns);
        // Last: whoever came in the pass before has been heard before a newcomer can take a place.
        if somebody_knocks {
            self.welcome(now_ns);
        }
        self.settle(now_ns);
    }

    /// The pass after the loop's publish: answers from the loop, and those that never came.
    pub(crate) fn answer(&mut self, outbound: &mut Outbound, now_ns: u64) {
        // BOUND: what the ring can hold.
        for _ in 0..EVENT_RING {
            let Some(event) = outbound.next_event() else { break };
            self.outlook.event(&event);
            if event.kind == EventKind::RequestAnswered.code()
                && let Some(asker) = self.pending.take(event.request_id)
            {
                self.tell(asker, &answered(asker.id, event.code, event.cycle));
            }
        }
        for asker in self.pending.overdue(now_ns) {
            let error = format!(
                "no answer from the loop within {} ms and two cycles: it stands, or has ended; \
                 see the journal of kadenzd",
                asker.deadline_ms
            );
            self.tell(asker, &failed(&Refusal { id: Some(asker.id), error }));
        }
        self.show(outbound, now_ns);
        self.settle(now_ns);
    }

    /// Lines and connections that were refused.
    pub(crate) fn own_counts(&self) -> OwnCounts {
        OwnCounts { refused: self.refused, rate_limited: 0 }
    }

    /// Answers one question for the status, if one waits: however many ask, a pass makes one.
    fn show(&mut self, outbound: &Outbound, now_ns: u64) {
        let wants = |client: &Client| !client.looks.is_empty() && client.has_read();
        let Some(place) = self.next_place(wants) else { return };
        let counts = self.own_counts();
        let Some((_, client)) = self.clients.get_mut(place) else { return };
        if let Some(id) = client.looks.pop_front() {
            client.say(&self.outlook.answer(id, outbound, counts, now_ns));
        }
    }

    /// The client whose turn it is among those that want one, which is thereby given.
    fn next_place(&mut self, wants: impl Fn(&Client) -> bool) -> Option<usize> {
        let wants = |place: usize| self.clients.get(place).is_some_and(|(_, one)| wants(one));
        if !(0..self.clients.len()).any(wants) {
            return None;
        }
        let place = who_is_next(&self.seats(), wants)?;
        self.turns += 1;
        self.clients.get_mut(place)?.1.turn = self.turns;
        Some(place)
    }

    fn seats(&self) -> Vec<Seat> {
        self.clients.iter().map(|(_, client)| client.seat()).collect()
    }

    fn tell(&mut self, asker: Asker, line: &str) {
        if let Some((_, client)) = self.clients.iter_mut().find(|(key, _)| *key == asker.client) {
            client.posted.retain(|id| *id != asker.id);
            client.say(line);
        }
    }

    /// Reads whoever has something to say, once; whether there is somebody new.
    fn hear(&mut self) -> bool {
        let wanted = |client: &Client| {
            if client.wants_reading() { PollFlags::POLLIN } else { PollFlags::empty() }
        };
        let mut polled = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        polled.extend(self.clients.iter().map(|(_, one)| PollFd::new(one.as_fd(), wanted(one))));
        if poll(&mut polled, PollTimeout::ZERO).is_err() {
            return false;
        }
        let ready: Vec<bool> = polled.iter().map(|one| one.any().unwrap_or(true)).collect();
        for ((_, client), _) in
            self.clients.iter_mut().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready)
        {
            if client.wants_reading() {
                client.fill();
            }
        }
        ready.first() == Some(&true)
    }

    fn welcome(&mut self, now_ns: u64) {
        for _ in 0..ACCEPTS_PER_PASS {
            // Nothing left, or out of descriptors: the next pass tries again.
            let Ok((stream, _)) = self.listener.accept() else { return };
            self.admit(stream, now_ns);
        }
    }

    fn admit(&mut self, stream: UnixStream, now_ns: u64) {
        // As if just served: a user cannot get ahead by connecting anew.
        let Ok(mut client) = Client::accepted(stream, self.turns, now_ns) else { return };
        if self.clients.len() < CLIENTS_MAX || self.make_room(client.uid) {
            self.connections += 1;
            self.clients.push((self.connections, client));
        } else {
            self.refused += 1;
            let uid = client.uid;
            let error = format!(
                "{CLIENTS_MAX} clients are connected already, and those of uid {uid} all wait for \
                 an answer; end one of them"
            );
            client.say(&failed(&Refusal { id: None, error }));
            client.dismiss();
        }
    }

    /// Parts with one client for a newcomer of `uid`; false when none has to go.
    fn make_room(&mut self, uid: u32) -> bool {
        let Some(place) = who_parts(&self.seats(), uid) else { return false };
        // Without a word: its next request finds the connection closed, as after a restart, and it
        // connects again.
        let (key, _) = self.clients.remove(place);
        self.pending.forget(key);
        self.refused += 1;
        true
    }

    /// Reads a few lines of one client into wishes, and says what is wrong with the others.
    fn take_lines(&mut self, place: usize, now_ns: u64) {
        for _ in 0..LINES_PER_PASS {
            let Some((_, client)) = self.clients.get_mut(place) else { return };
            let Some(line) = client.next_line() else { break };
            let read = if line.len() > LINE_BYTES_MAX {
                Err(Refusal { id: None, error: overlong() })
            } else {
                read(&line, self.axis_count)
            };
            let read = read.and_then(|asked| self.admissible(place, asked));
            let Some((_, client)) = self.clients.get_mut(place) else { return };
            match read {
                Ok(asked) => {
                    client.asked_ns = now_ns;
                    match asked {
                        Asked::Wish(wish) => client.waiting.push_back(wish),
                        Asked::Status(id) => client.looks.push_back(id),
                    }
                }
                Err(refusal) => {
                    self.refused += 1;
                    client.say(&failed(&refusal));
                }
            }
        }
        let Some((_, client)) = self.clients.get_mut(place) else { return };
        if client.is_overlong() {
            self.refused += 1;
            client.say(&failed(&Refusal { id: None, error: overlong() }));
            client.dismiss();
        }
    }

    fn admissible(&self, place: usize, asked: Asked) -> Result<Asked, Refusal> {
        let Some((_, client)) = self.clients.get(place) else { return Ok(asked) };
        let (uid, id) = (client.uid, asked.id());
        let of_user = || {
            let clients = self.clients.iter().filter(|(_, one)| one.uid == uid);
            clients.map(|(_, one)| one.outstanding()).sum::<usize>()
        };
        let most = if asked.is_urgent() { OUTSTANDING_URGENT_MAX } else { OUTSTANDING_MAX };
        let error = if client.is_outstanding(id) {
            format!("id {id} is under way already; give every request its own number")
        } else if client.outstanding() >= most {
            format!("{most} requests of this client are under way; wait for an answer")
        } else if !asked.is_urgent() && of_user() >= OUTSTANDING_MAX {
            format!("{OUTSTANDING_MAX} requests of uid {uid} are under way; wait for an answer")
        } else {
            return Ok(asked);
        };
        Err(Refusal { id: Some(id), error })
    }

    /// Posts as many wishes as the loop takes in one cycle: urgent ones first, users in turn.
    fn post(&mut self, now_ns: u64) {
        for _ in 0..REQUESTS_PER_CYCLE {
            let urgent = self.next_place(|client| client.waiting.iter().any(Wish::is_urgent));
            let is_urgent = urgent.is_some();
            let next = urgent.or_else(|| self.next_place(|client| !client.waiting.is_empty()));
            let Some((key, client)) = next.and_then(|place| self.clients.get_mut(place)) else {
                return;
            };
            let place = client.waiting.iter().position(|wish| wish.is_urgent() || !is_urgent);
            let Some(wish) = place.and_then(|place| client.waiting.remove(place)) else { return };
            client.posted.push(wish.id);
            let (key, uid) = (*key, client.uid);
            self.post_one(&wish, key, uid, now_ns);
        }
    }

    fn post_one(&mut self, wish: &Wish, client: u64, peer_uid: u32, now_ns: u64) {
        let deadline_ns = now_ns.saturating_add(wish.deadline_ms.saturating_mul(1_000_000));
        let overdue_ns = deadline_ns.saturating_add(self.period_ns.saturating_mul(2));
        let (id, deadline_ms) = (wish.id, wish.deadline_ms);
        let request_id = self.pending.add(Asker { client, id, deadline_ms, overdue_ns });
        let request = Request {
            request_id,
            deadline_ns,
            kind: wish.kind.code(),
            peer_uid,
            value: wish.value,
            axis_mask: wish.axis_mask,
            trace_id: wish.trace_id,
            ..Request::zeroed()
        };
        self.ring.publish(&[request.as_words()]);
        log::debug!("request {request_id:#018x}: {} by uid {peer_uid}", wish.kind.word());
    }

    /// Sends what can be sent and parts with those that are through, or do not read.
    fn settle(&mut self, now_ns: u64) {
        let (pending, refused) = (&mut self.pending, &mut self.refused);
        self.clients.retain_mut(|(key, client)| {
            client.flush();
            let is_deaf = client.is_deaf(now_ns);
            *refused += u64::from(is_deaf);
            let parts = is_deaf || client.is_over();
            if parts {
                pending.forget(*key);
            }
            !parts
        });
    }
}

fn overlong() -> String {
    format!("a line of more than {LINE_BYTES_MAX} bytes; a request needs some hundred")
}
