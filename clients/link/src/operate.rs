//! Asking something of the machine, or how it stands: JSON lines over `operate.sock`. The kernel tells the other side who asks.
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kadenz_paths::RuntimeDir;
use serde::{Deserialize, Serialize};
use shm_layout::code::{Outcome, RequestKind};

use crate::access;
use crate::status::MachineStatus;
use crate::text::printable;

/// Longest reply line that is believed, bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest deadline a request may have.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// The gateway answers an expired request too: this is what the answer itself may take.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the loop made of it.
    pub outcome: Outcome,
    /// Cycle in which the loop answered.
    pub cycle: u64,
    /// The same for people.
    pub message: String,
}

impl Answer {
    /// Whether the machine does, or is already, what was asked.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted | Outcome::Already)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The socket cannot be connected.
    #[error("{path:?}: {source}; {remedy}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// A request that may not be sent.
    #[error("{what} is {value}, must be {expected}")]
    Request {
        /// What is wrong.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The connection broke.
    #[error("{path:?}: {cause}; the operate gateway ended or was restarted, ask again")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        cause: String,
    },
    /// No answer came in time. The request may still have been carried out.
    #[error(
        "{path:?}: no answer to {request} within {waited_ms} ms; look at the state before asking again"
    )]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What was asked.
        request: &'static str,
        /// How long it was waited for.
        waited_ms: u128,
    },
    /// The other side does not speak this protocol.
    #[error(
        "{path:?} answered {line:?}, which is no reply ({cause}); is it the operate gateway of this version?"
    )]
    Garbage {
        /// The socket.
        path: PathBuf,
        /// The beginning of the line.
        line: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The gateway refused the request before the loop saw it.
    #[error("refused by the operate gateway: {message}")]
    Refused {
        /// Its words.
        message: String,
    },
}

/// How the machine stands, for whoever may use the operate socket.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The machine, as the operate gateway sees it.
    pub status: MachineStatus,
    /// How the last path ended; `None` while none has since its gateway began.
    pub last_path: Option<LastPath>,
}

/// The end of a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LastPath {
    /// Number of the path, hexadecimal.
    pub id: String,
    /// `path-ended` or `path-dropped`.
    pub end: String,
}

#[derive(Serialize)]
struct RequestLine {
    id: u64,
    request: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledge_host: Option<bool>,
}

#[derive(Deserialize)]
struct ReplyLine {
    /// Null when the gateway refuses more than one request: the connection, or a line without a number.
    id: Option<u64>,
    outcome: Option<String>,
    #[serde(default)]
    cycle: u64,
    #[serde(default)]
    message: String,
    error: Option<String>,
    status: Option<MachineStatus>,
    last_path: Option<LastPath>,
}

/// A connection to the operate gateway; one request at a time.
#[derive(Debug)]
pub struct Operate {
    stream: UnixStream,
    path: PathBuf,
    unread: Vec<u8>,
    next_id: u64,
}

impl Operate {
    /// Connects to `operate.sock` of a machine.
    ///
    /// # Errors
    /// When it is not there or we may not enter it.
    pub fn connect(dir: &RuntimeDir) -> Result<Self, OperateError> {
        let path = dir.operate_socket();
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Self { stream, path, unread: Vec::new(), next_id: 1 }),
            Err(source) => {
                let remedy = match source.kind() {
                    ErrorKind::PermissionDenied => access::way_in(dir, &path),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                        "the operate gateway is not up: start kadenzd and its gateways".to_owned()
                    }
                    _ => "check --runtime-dir".to_owned(),
                };
                Err(OperateError::Connect { path, source, remedy })
            }
        }
    }

    /// Asks `kind` with `value` (the wanted path rate, 0 ..= 1, for `override`; 1 for an `enable` that
    /// acknowledges a changed host; else 0) and waits for the answer. The loop refuses the request once `deadline` has passed.
    ///
    /// # Errors
    /// When there is no answer. After [`OperateError::NoAnswer`] and [`OperateError::Broken`] it is
    /// unknown whether the request was carried out.
    pub fn request(
        &mut self,
        kind: RequestKind,
        value: f64,
        deadline: Duration,
    ) -> Result<Answer, OperateError> {
        if !value.is_finite() {
            let value = value.to_string();
            return Err(OperateError::Request {
                what: "value",
                value,
                expected: "a finite number",
            });
        }
        if deadline.as_millis() == 0 || deadline > DEADLINE_MAX {
            let value = format!("{deadline:?}");
            return Err(OperateError::Request {
                what: "deadline",
                value,
                expected: "1 ms ..= 60 s",
            });
        }
        let deadline_ms = Some(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        let acknowledges = kind == RequestKind::Enable && value >= 1.0;
        let ask = RequestLine {
            id: 0,
            request: kind.word(),
            value: (kind == RequestKind::Override).then_some(value),
            deadline_ms,
            acknowledge_host: acknowledges.then_some(true),
        };
        let (reply, line) = self.ask(ask, deadline + ANSWER_GRACE)?;
        self.answer(reply, &line)
    }

    /// Asks how the machine stands. The gateway answers it; the loop is not asked.
    ///
    /// # Errors
    /// When there is no answer within 1 s, or no state has come to the gateway yet.
    pub fn outlook(&mut self) -> Result<Outlook, OperateError> {
        let ask = RequestLine {
            id: 0,
            request: "status",
            value: None,
            deadline_ms: None,
            acknowledge_host: None,
        };
        let (reply, line) = self.ask(ask, ANSWER_GRACE)?;
        if let Some(message) = reply.error {
            return Err(OperateError::Refused { message: printable(&message) });
        }
        let Some(status) = reply.status else {
            return Err(self.garbage(&line, "it has neither `status` nor `error`".to_owned()));
        };
        Ok(Outlook { status, last_path: reply.last_path })
    }

    /// Sends one line, with the next number, and reads the answer to it.
    fn ask(
        &mut self,
        line: RequestLine,
        patience: Duration,
    ) -> Result<(ReplyLine, Vec<u8>), OperateError> {
        let (id, request) = (self.next_id, line.request);
        self.next_id += 1;
        let line = RequestLine { id, ..line };
        let mut text = serde_json::to_vec(&line).map_err(|error| self.broken(&error))?;
        text.push(b'\n');
        let give_up = Instant::now() + patience;
        self.stream.set_write_timeout(Some(patience)).map_err(|error| self.broken(&error))?;
        match self.stream.write_all(&text) {
            // Hung up on: its last words may say why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            sent => sent.map_err(|error| self.broken(&error))?,
        }
        loop {
            let line = self.next_line(request, patience, give_up)?;
            let reply: ReplyLine = serde_json::from_slice(&line)
                .map_err(|error| self.garbage(&line, error.to_string()))?;
            match reply.id {
                // A lower number answers a request that was given up before.
                Some(theirs) if theirs < id => continue,
                Some(theirs) if theirs > id => {
                    return Err(self.garbage(&line, format!("its id is {theirs}, ours was {id}")));
                }
                _ => {}
            }
            return Ok((reply, line));
        }
    }

    fn answer(&self, reply: ReplyLine, line: &[u8]) -> Result<Answer, OperateError> {
        if let Some(message) = reply.error {
            return Err(OperateError::Refused { message: printable(&message) });
        }
        if reply.id.is_none() {
            return Err(self.garbage(line, "it has no id".to_owned()));
        }
        let Some(word) = reply.outcome else {
            return Err(self.garbage(line, "it has neither `outcome` nor `error`".to_owned()));
        };
        let known = Outcome::ALL.iter().find(|(_, known, _)| *known == word);
        let Some((outcome, _, _)) = known else {
            return Err(self.garbage(line, format!("outcome {word:?} is unknown here")));
        };
        let message = printable(&reply.message);
        Ok(Answer { outcome: *outcome, cycle: reply.cycle, message })
    }

    fn next_line(
        &mut self,
        request: &'static str,
        waited: Duration,
        give_up: Instant,
    ) -> Result<Vec<u8>, OperateError> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                return Ok(line);
            }
            if self.unread.len() > LINE_BYTES_MAX {
                let line = std::mem::take(&mut self.unread);
                return Err(
                    self.garbage(&line, format!("no line end within {LINE_BYTES_MAX} bytes"))
                );
            }
            let left = give_up.saturating_duration_since(Instant::now());
            let no_answer = || OperateError::NoAnswer {
                path: self.path.clone(),
                request,
                waited_ms: waited.as_millis(),
            };
            if left.is_zero() {
                return Err(no_answer());
            }
            self.stream.set_read_timeout(Some(left)).map_err(|error| self.broken(&error))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.broken(&"the connection was closed")),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(no_answer());
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn broken(&self, cause: &dyn std::fmt::Display) -> OperateError {
        OperateError::Broken { path: self.path.clone(), cause: cause.to_string() }
    }

    fn garbage(&self, line: &[u8], cause: String) -> OperateError {
        let start = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
        OperateError::Garbage { path: self.path.clone(), line: start, cause }
    }
}
