//! The operate socket at work: who is served when. Nobody waits for anybody: every step of a pass
//! is bounded per client, and what takes motion away goes first.

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use kadenz_handover::{Grant, REQUEST_REGION, own_operate_socket};
use kadenz_lanes::{BroadcastWriter, Lanes};
use kadenz_paths::RuntimeDir;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, chown};
use shm_layout::code::EventKind;
use shm_layout::request::Request;
use shm_layout::{EVENT_RING, REQUESTS_PER_CYCLE};

use crate::args::Args;
use crate::failure::Failure;
use crate::lanes::Outbound;
use crate::operate::client::{Client, LINE_BYTES_MAX};
use crate::operate::pending::{Asker, Pending};
use crate::operate::request::{Refusal, Wish, answered, failed, read};

const CLIENTS_MAX: usize = 32;
/// Whoever has asked for nothing for so long makes room once all places are taken: connections left
/// open may not keep a person from a stop.
const IDLE_NS: u64 = 1_000_000_000;
const OUTSTANDING_MAX: usize = 16;
/// New connections in one pass.
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
    /// Where the round of posting begins next, so that no client is always last.
    turn: usize,
    refused: u64,
}

impl Desk {
    /// Opens the socket.
    pub(crate) fn open(
        args: &Args,
        dir: &RuntimeDir,
        grant: &Grant,
        lanes: &Lanes,
    ) -> Result<Self, Failure> {
        Ok(Self {
            listener: listen(&own_operate_socket(dir), args.group.as_deref())?,
            clients: Vec::new(),
            ring: lanes.ring_writer(REQUEST_REGION)?,
            pending: Pending::new(grant.token),
            axis_count: usize::from(grant.terms.axis_count),
            period_ns: grant.terms.period_ns,
            connections: 0,
            turn: 0,
            refused: 0,
        })
    }

    /// The pass before the loop's wake: reads, and posts what the loop takes in one cycle.
    pub(crate) fn take(&mut self, now_ns: u64) {
        self.listen(now_ns);
        let (axis_count, refused) = (self.axis_count, &mut self.refused);
        for (_, client) in &mut self.clients {
            take_lines(client, axis_count, now_ns, refused);
        }
        self.post(now_ns);
        self.settle();
    }

    /// The pass after the loop's publish: answers from the loop, and those that never came.
    pub(crate) fn answer(&mut self, outbound: &mut Outbound, now_ns: u64) {
        // BOUND: what the ring can hold.
        for _ in 0..EVENT_RING {
            let Some(event) = outbound.next_event() else { break };
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
        self.settle();
    }

    /// Lines and connections that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn tell(&mut self, asker: Asker, line: &str) {
        if let Some((_, client)) = self.clients.iter_mut().find(|(key, _)| *key == asker.client) {
            client.posted.retain(|id| *id != asker.id);
            client.say(line);
        }
    }

    /// Accepts and reads whoever has something to say, each once.
    fn listen(&mut self, now_ns: u64) {
        let wanted = |client: &Client| {
            if client.wants_reading() { PollFlags::POLLIN } else { PollFlags::empty() }
        };
        let mut polled = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        polled.extend(self.clients.iter().map(|(_, one)| PollFd::new(one.as_fd(), wanted(one))));
        if poll(&mut polled, PollTimeout::ZERO).is_err() {
            return;
        }
        let ready: Vec<bool> = polled.iter().map(|one| one.any().unwrap_or(true)).collect();
        for ((_, client), _) in
            self.clients.iter_mut().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready)
        {
            if client.wants_reading() {
                client.fill();
            }
        }
        if ready.first() == Some(&true) {
            for _ in 0..ACCEPTS_PER_PASS {
                // Nothing left, or out of descriptors: the next pass tries again.
                let Ok((stream, _)) = self.listener.accept() else { return };
                self.admit(stream, now_ns);
            }
        }
    }

    fn admit(&mut self, stream: UnixStream, now_ns: u64) {
        let Ok(mut client) = Client::accepted(stream, now_ns) else { return };
        if self.clients.len() < CLIENTS_MAX || self.make_room(now_ns) {
            self.connections += 1;
            self.clients.push((self.connections, client));
        } else {
            self.refused += 1;
            let error = format!("{CLIENTS_MAX} clients are connected already; end one of them");
            client.say(&failed(&Refusal { id: None, error }));
            client.dismiss();
        }
    }

    /// Parts with whoever has been idle for longest, if that is long enough.
    fn make_room(&mut self, now_ns: u64) -> bool {
        let idle = |(place, (_, client)): (usize, &(u64, Client))| {
            client.idle_since_ns().map(|since_ns| (since_ns, place))
        };
        let longest = self.clients.iter().enumerate().filter_map(idle).min();
        let Some((_, place)) = longest.filter(|(ns, _)| now_ns.saturating_sub(*ns) >= IDLE_NS)
        else {
            return false;
        };
        // Without a word: its next request finds the connection closed, as after a restart, and it
        // connects again. Nothing of it is pending.
        drop(self.clients.remove(place));
        self.refused += 1;
        true
    }

    /// Posts as many wishes as the loop takes in one cycle: urgent ones first, then one of each
    /// client in turn.
    fn post(&mut self, now_ns: u64) {
        let count = self.clients.len();
        let mut room = REQUESTS_PER_CYCLE;
        for urgent in [true, false] {
            // BOUND: each round posts something or is the last.
            loop {
                let before = room;
                for step in 0..count {
                    if room == 0 {
                        self.turn = self.turn.wrapping_add(1);
                        return;
                    }
                    let index = self.turn.wrapping_add(step) % count;
                    let Some((key, client)) = self.clients.get_mut(index) else { continue };
                    let place = client.waiting.iter().position(|wish| wish.is_urgent() || !urgent);
                    let wish = place.and_then(|place| client.waiting.remove(place));
                    if let Some(wish) = wish {
                        room -= 1;
                        client.posted.push(wish.id);
                        let (key, uid) = (*key, client.uid);
                        self.post_one(&wish, key, uid, now_ns);
                    }
                }
                if room == before {
                    break;
                }
            }
        }
        self.turn = self.turn.wrapping_add(1);
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

    /// Sends what can be sent and parts with those that are through.
    fn settle(&mut self) {
        let pending = &mut self.pending;
        self.clients.retain_mut(|(key, client)| {
            client.flush();
            if client.is_over() {
                pending.forget(*key);
            }
            !client.is_over()
        });
    }
}

/// Reads a few lines of one client into wishes, and says what is wrong with the others.
fn take_lines(client: &mut Client, axis_count: usize, now_ns: u64, refused: &mut u64) {
    for _ in 0..LINES_PER_PASS {
        let Some(line) = client.next_line() else { break };
        let read = if line.len() > LINE_BYTES_MAX {
            Err(Refusal { id: None, error: overlong() })
        } else {
            read(&line, axis_count)
        };
        match read.and_then(|wish| admissible(client, wish)) {
            Ok(wish) => {
                client.asked_ns = now_ns;
                client.waiting.push_back(wish);
            }
            Err(refusal) => {
                *refused += 1;
                client.say(&failed(&refusal));
            }
        }
    }
    if client.is_overlong() {
        *refused += 1;
        client.say(&failed(&Refusal { id: None, error: overlong() }));
        client.dismiss();
    }
}

fn overlong() -> String {
    format!("a line of more than {LINE_BYTES_MAX} bytes; a request needs some hundred")
}

fn admissible(client: &Client, wish: Wish) -> Result<Wish, Refusal> {
    let error = if client.is_outstanding(wish.id) {
        format!("id {} is under way already; give every request its own number", wish.id)
    } else if client.outstanding() >= OUTSTANDING_MAX {
        format!("{OUTSTANDING_MAX} requests of this client are under way; wait for an answer")
    } else {
        return Ok(wish);
    };
    Err(Refusal { id: Some(wish.id), error })
}

fn listen(path: &Path, group: Option<&str>) -> Result<UnixListener, Failure> {
    let place =
        |remedy| move |source| Failure::Place { place: path.display().to_string(), remedy, source };
    let group = match group {
        None => None,
        Some(name) => match Group::from_name(name) {
            Ok(Some(group)) => Some(group.gid),
            Ok(None) | Err(_) => return Err(Failure::Group(name.to_owned())),
        },
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(place("remove it")(error));
        }
        _ => {}
    }
    // Closed to all until its group and mode are right.
    let before = umask(Mode::from_bits_truncate(0o777));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(place(
        "kadenzd makes that directory for the role's user; run as that user, with a short path",
    ))?;
    listener.set_nonblocking(true).map_err(place("this is a kernel error"))?;
    chown(path, None, group)
        .map_err(std::io::Error::from)
        .map_err(place("this user must be a member of --group"))?;
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(place("check its owner"))?;
    Ok(listener)
}
