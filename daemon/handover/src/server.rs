//! kadenzd's end of the hand-over: who gets which lane, once. Run from one mainland thread; it
//! allocates, waits at most as long as told, and never touches what is in the lanes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::Instant;

use kadenz_paths::{RuntimeDir, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use shm_layout::code::Role;

use crate::connection::{Connection, Progress, Stage, is_passing};
use crate::lanes::{operate_inbound_layout, plan_inbound_layout};
use crate::message::{Answer, Grant, Hello, READY, Terms, line_of};
use crate::role_table::RoleTable;
use crate::runtime_dir::{Claim, at, remove};

/// Connections of one user that have not got a role yet. More are refused, so that one role's user
/// cannot crowd out another's.
const PENDING_PER_USER_MAX: usize = 8;
/// New connections looked at in one call.
const ACCEPTS_PER_POLL: usize = 32;

/// What kadenzd hands out.
#[derive(Debug)]
pub struct Offer {
    /// What every gateway is told.
    pub terms: Terms,
    /// The outbound lane, as [`kadenz_lanes::Lanes::peer_fd`] gives it (read-only).
    pub outbound: OwnedFd,
    /// The inbound lane of the plan role.
    pub plan_inbound: OwnedFd,
    /// The inbound lane of the operate role.
    pub operate_inbound: OwnedFd,
}

impl Offer {
    fn descriptors(&self, role: Role) -> Vec<BorrowedFd<'_>> {
        let outbound = self.outbound.as_fd();
        match role {
            Role::View => vec![outbound],
            Role::Plan => vec![outbound, self.plan_inbound.as_fd()],
            Role::Operate => vec![outbound, self.operate_inbound.as_fd()],
        }
    }

    /// Writes the description at the front of a role's inbound lane anew. Whoever held it may have written
    /// over it, and every later gateway of that role would find no lane in it.
    fn describe_anew(&self, role: Role) -> io::Result<()> {
        let (lane, layout) = match role {
            Role::View => return Ok(()),
            Role::Plan => {
                (&self.plan_inbound, plan_inbound_layout(usize::from(self.terms.axis_count)))
            }
            Role::Operate => (&self.operate_inbound, operate_inbound_layout()),
        };
        let words = layout.map_err(io::Error::other)?.header();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        File::from(lane.try_clone()?).write_all_at(&bytes, 0)
    }
}

/// What happened on the socket, for the daemon's log and supervision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A gateway got its lanes.
    Connected {
        /// Its role.
        role: Role,
        /// Its process.
        pid: i32,
        /// Its user.
        uid: u32,
        /// Names its life.
        token: Token,
    },
    /// A gateway serves; its epoch is announced.
    Ready {
        /// Its role.
        role: Role,
        /// Its process.
        pid: i32,
        /// Names its life.
        token: Token,
    },
    /// A gateway that held a role has ended or was cut off; the role is free.
    Gone {
        /// Its role.
        role: Role,
        /// Its process.
        pid: i32,
        /// It had been ready.
        was_ready: bool,
        /// Why, in words.
        reason: String,
    },
    /// Somebody was sent away.
    Refused {
        /// The process.
        pid: i32,
        /// Its user.
        uid: u32,
        /// Reason and remedy, as it was told.
        reason: String,
    },
}

/// Listens for gateways. Dropping it withdraws all announcements and frees the directory.
pub struct Server {
    listener: UnixListener,
    connections: Vec<Connection>,
    roles: RoleTable,
    offer: Offer,
    claim: Claim,
    own_uid: u32,
}

impl Server {
    /// Claims `dir`, makes the role directories and listens. What a dead daemon left is replaced.
    ///
    /// # Errors
    /// With place and remedy: another living daemon holds the directory (`AddrInUse`), a directory
    /// belongs to the wrong user, the terms are out of range (`InvalidInput`), or the kernel
    /// refuses.
    pub fn bind(dir: RuntimeDir, roles: RoleTable, offer: Offer) -> io::Result<Self> {
        let invalid = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
        offer.terms.check().map_err(invalid)?;
        let claim = Claim::take(dir, &roles)?;
        let path = claim.dir().handover_socket();
        remove(&path)?;
        let listener = UnixListener::bind(&path).map_err(|error| at(&path, &error))?;
        listener.set_nonblocking(true)?;
        // Everyone may knock; peer credentials decide.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))
            .map_err(|error| at(&path, &error))?;
        let own_uid = geteuid().as_raw();
        Ok(Self { listener, connections: Vec::new(), roles, offer, claim, own_uid })
    }

    /// Waits up to `timeout_ms` for something to happen and gives what did, in order.
    pub fn poll(&mut self, timeout_ms: u16) -> Vec<Happening> {
        let mut happenings = Vec::new();
        let readable = self.wait(timeout_ms);
        // Oldest first: a gateway that died frees its role before its successor's hello is read.
        let mut index = 0;
        for ready in readable.iter().skip(1) {
            let before = self.connections.len();
            if *ready {
                self.listen_to(index, &mut happenings);
            }
            // A connection that ended has left its place to the next.
            index += usize::from(self.connections.len() == before);
        }
        self.drop_late(&mut happenings);
        if readable.first() == Some(&true) {
            self.accept(&mut happenings);
        }
        happenings
    }

    /// Process that holds `role` at present.
    #[must_use]
    pub fn holder(&self, role: Role) -> Option<i32> {
        self.connections.iter().find(|one| one.role() == Some(role)).map(|one| one.pid)
    }

    /// Which of listener and connections have something to say.
    fn wait(&self, timeout_ms: u16) -> Vec<bool> {
        let mut polled = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        polled
            .extend(self.connections.iter().map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)));
        match poll(&mut polled, PollTimeout::from(timeout_ms)) {
            Ok(_) => polled.iter().map(|one| one.any().unwrap_or(true)).collect(),
            // Interrupted by a signal: the caller comes again.
            Err(_) => vec![false; polled.len()],
        }
    }

    fn accept(&mut self, happenings: &mut Vec<Happening>) {
        for _ in 0..ACCEPTS_PER_POLL {
            let connection = match self.listener.accept() {
                Ok((stream, _)) => Connection::accepted(stream),
                // Nothing left, or out of descriptors: the next call tries again.
                Err(_) => return,
            };
            let Ok(connection) = connection else { continue };
            let uid = connection.uid;
            let pending = |one: &&Connection| one.uid == uid && one.stage == Stage::Hello;
            if !self.roles.knows(uid, self.own_uid) {
                let reason = format!(
                    "uid {uid} may hold no role of this machine; run as a role's user, or name \
                     this one in kadenzd's configuration"
                );
                refuse(&connection, reason, happenings);
            } else if self.connections.iter().filter(pending).count() >= PENDING_PER_USER_MAX {
                let reason = format!(
                    "uid {uid} has {PENDING_PER_USER_MAX} connections that ask for nothing; close \
                     them"
                );
                refuse(&connection, reason, happenings);
            } else {
                self.connections.push(connection);
            }
        }
    }

    fn listen_to(&mut self, index: usize, happenings: &mut Vec<Happening>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let line = match connection.read() {
            Progress::Nothing => return,
            Progress::Closed => return self.end(index, "its connection closed".into(), happenings),
            Progress::Broken(reason) => return self.end(index, reason, happenings),
            Progress::Line(line) => line,
        };
        match connection.stage {
            Stage::Hello => self.grant(index, &line, happenings),
            Stage::Granted(role, token) if line == READY => {
                connection.advance(Stage::Ready(role, token));
                let pid = connection.pid;
                match self.claim.announce(role, token) {
                    Ok(()) => happenings.push(Happening::Ready { role, pid, token }),
                    Err(error) => {
                        self.end(index, format!("cannot announce it: {error}"), happenings);
                    }
                }
            }
            Stage::Granted(..) | Stage::Ready(..) => {
                self.end(index, format!("it said {line:?}, which nobody asked"), happenings);
            }
        }
    }

    fn grant(&mut self, index: usize, hello: &str, happenings: &mut Vec<Happening>) {
        let Some(connection) = self.connections.get(index) else { return };
        let (pid, uid) = (connection.pid, connection.uid);
        let granted = self.judge(uid, hello).and_then(|role| {
            let token = Token::fresh().map_err(|error| error.to_string())?;
            self.offer
                .describe_anew(role)
                .map_err(|error| format!("its lane could not be described: {error}"))?;
            let answer = Answer::Granted(Grant { token, role, terms: self.offer.terms });
            connection
                .send(&line_of(&answer), &self.offer.descriptors(role))
                .map_err(|error| format!("the lanes could not be sent: {error}"))?;
            Ok((role, token))
        });
        match (granted, self.connections.get_mut(index)) {
            (Ok((role, token)), Some(connection)) => {
                connection.advance(Stage::Granted(role, token));
                happenings.push(Happening::Connected { role, pid, uid, token });
            }
            (Ok(_), None) => {}
            (Err(reason), _) => self.end(index, reason, happenings),
        }
    }

    fn judge(&self, uid: u32, hello: &str) -> Result<Role, String> {
        let role = Hello::read(hello)?;
        self.roles.admit(role, uid, self.own_uid).map_err(|refusal| refusal.to_string())?;
        match self.holder(role) {
            None => Ok(role),
            Some(pid) => Err(format!(
                "role {} is held by pid {pid}, which is alive; a role has one gateway: stop that \
                 one first",
                role.word()
            )),
        }
    }

    fn drop_late(&mut self, happenings: &mut Vec<Happening>) {
        let now = Instant::now();
        for index in (0..self.connections.len()).rev() {
            let deadline = self.connections.get(index).and_then(Connection::deadline);
            if deadline.is_some_and(|deadline| deadline < now) {
                self.end(index, "it said nothing for too long".into(), happenings);
            }
        }
    }

    /// Ends a connection: refused if it had no role yet, gone otherwise.
    fn end(&mut self, index: usize, reason: String, happenings: &mut Vec<Happening>) {
        let connection = self.connections.remove(index);
        let pid = connection.pid;
        let (role, was_ready) = match connection.stage {
            Stage::Hello => return refuse(&connection, reason, happenings),
            Stage::Granted(role, _) => (role, false),
            Stage::Ready(role, _) => (role, true),
        };
        self.claim.withdraw(role);
        happenings.push(Happening::Gone { role, pid, was_ready, reason });
    }
}

/// Tells reason and remedy as far as the peer still listens; dropping the connection closes it.
fn refuse(connection: &Connection, reason: String, happenings: &mut Vec<Happening>) {
    let answer = Answer::Refused { refused: reason.clone() };
    let told = connection.send(&line_of(&answer), &[]);
    let reason = match told {
        Err(error) if !is_passing(&error) => format!("{reason} (it was gone before it was told)"),
        _ => reason,
    };
    happenings.push(Happening::Refused { pid: connection.pid, uid: connection.uid, reason });
}
