//! Talking to the planner: JSON lines over `planner.sock`, one question, one answer.
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kadenz_link::access::way_in;
use kadenz_link::text::printable;
use kadenz_paths::RuntimeDir;
use serde::{Deserialize, Serialize};

use crate::reply::{EXIT_NO_ANSWER, EXIT_PERMISSION, EXIT_REFUSED, EXIT_UNAVAILABLE, Failure};

/// Longest answer that is believed: some hundred findings.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Two million rows are checked in less.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long one read may keep an interrupt waiting.
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Question<'q> {
    Run { name: &'q str, csv: &'q str, speed: f64 },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Accepted(Accepted),
    Refused(String),
}

/// A file that was checked in full and is being streamed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Accepted {
    /// Id of the path, 16 hex digits.
    pub(crate) path_id: String,
    /// Path time from start to end, approach included, s.
    pub(crate) duration_s: f64,
    /// Path time of the approach to the file's first row, s.
    pub(crate) approach_s: f64,
    /// Knots in all.
    pub(crate) knots: u64,
    /// What a person should know.
    #[serde(default)]
    pub(crate) says: Vec<String>,
}

/// A connection to the planner.
#[derive(Debug)]
pub(crate) struct Planner {
    stream: UnixStream,
    path: PathBuf,
}

impl Planner {
    /// Connects to the machine's planner.
    pub(crate) fn connect(dir: &RuntimeDir) -> Result<Self, Failure> {
        let path = dir.planner_socket();
        let stream = UnixStream::connect(&path).map_err(|error| {
            let (code, remedy) = if error.kind() == ErrorKind::PermissionDenied {
                (EXIT_PERMISSION, way_in(dir, &path))
            } else {
                let at = dir.as_path().display();
                let start = format!(
                    "the planner is not running: start `kadenz-planner --runtime-dir {at}`, or \
                     the whole set with `kadenz up`"
                );
                (EXIT_UNAVAILABLE, start)
            };
            Failure::new(code, format!("{}: {error}; {remedy}", path.display()))
        })?;
        Ok(Self { stream, path })
    }

    /// Sends a trajectory file and waits for the verdict; `None` once `interrupted` says so.
    pub(crate) fn run(
        &mut self,
        file: &Path,
        csv: &str,
        speed: f64,
        mut interrupted: impl FnMut() -> bool,
    ) -> Result<Option<Accepted>, Failure> {
        let name = file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let question = serde_json::to_string(&Question::Run { name: &name, csv, speed })
            .map_err(|error| self.broken(&error))?;
        let times = self.stream.set_read_timeout(Some(GLANCE)).and_then(|()| {
            self.stream.set_write_timeout(Some(ANSWER_TIME))?;
            self.stream.write_all(question.as_bytes())?;
            self.stream.write_all(b"\n")
        });
        match times {
            // Hung up on: its last words may say why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            sent => sent.map_err(|error| self.broken(&error))?,
        }
        let give_up = Instant::now() + ANSWER_TIME;
        let mut line = Vec::new();
        let mut chunk = [0; 16_384];
        while !line.contains(&b'\n') {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.broken(&"the connection was closed")),
                Ok(count) => line.extend_from_slice(&chunk[..count]),
                Err(error) if is_passing(error.kind()) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            if interrupted() {
                return Ok(None);
            }
            if line.len() > ANSWER_BYTES_MAX {
                return Err(self.broken(&"the answer has no end"));
            }
            if Instant::now() > give_up {
                let path = self.path.display();
                let text = format!(
                    "{path}: no answer within {} s; the file may still be accepted, look at \
                     `kadenz status`",
                    ANSWER_TIME.as_secs()
                );
                return Err(Failure::new(EXIT_NO_ANSWER, text));
            }
        }
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match serde_json::from_slice(line) {
            Ok(Answer::Accepted(accepted)) => Ok(Some(accepted)),
            Ok(Answer::Refused(why)) => {
                let safe: Vec<String> = why.lines().map(printable).collect();
                Err(Failure::new(
                    EXIT_REFUSED,
                    format!("refused, nothing moves\n{}", safe.join("\n")),
                ))
            }
            Err(error) => Err(self.broken(&format!(
                "answered {:?} ({error}); is it the planner of this version?",
                String::from_utf8_lossy(&line[..line.len().min(120)])
            ))),
        }
    }

    fn broken(&self, cause: &dyn std::fmt::Display) -> Failure {
        let path = self.path.display();
        Failure::new(EXIT_UNAVAILABLE, format!("{path}: {cause}; look at the planner's log"))
    }
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `run` makes of one answer of a planner.
    fn answered(answer: &str) -> Result<Option<Accepted>, Failure> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer.as_bytes()).unwrap();
        // Only the writing half: the question must still find a reader.
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut planner = Planner { stream: ours, path: "/run/planner.sock".into() };
        planner.run(Path::new("/a/pocket.csv"), "t_s\n", 1.0, || false)
    }

    #[test]
    fn an_accepted_file_comes_with_its_path_and_times() {
        let accepted = answered(
            "{\"accepted\":{\"path_id\":\"00ff\",\"duration_s\":12.3,\"approach_s\":1.2,\"knots\":7,\"says\":[\"x\"]}}\n",
        );
        let accepted = accepted.unwrap().unwrap();
        assert_eq!((accepted.path_id.as_str(), accepted.knots), ("00ff", 7));
    }

    #[test]
    fn a_refusal_keeps_its_lines_and_cannot_drive_a_terminal() {
        let failure = answered("{\"refused\":\"a.csv:3:1: no\\n\\u001b[2Jremedy\"}\n").unwrap_err();
        assert_eq!(failure.code, EXIT_REFUSED);
        assert!(failure.text.ends_with("a.csv:3:1: no\n\u{fffd}[2Jremedy"), "{}", failure.text);
    }

    #[test]
    fn a_planner_that_sends_us_away_before_it_has_read_is_heard() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"refused\":\"16 clients are connected already\"}\n").unwrap();
        drop(theirs);
        let mut planner = Planner { stream: ours, path: "/run/planner.sock".into() };
        let failure = planner.run(Path::new("/a.csv"), "t_s\n", 1.0, || false).unwrap_err();
        assert_eq!(failure.code, EXIT_REFUSED);
        assert!(failure.text.ends_with("16 clients are connected already"), "{}", failure.text);
    }

    #[test]
    fn garbage_and_a_closed_connection_name_the_socket() {
        for answer in ["hello\n", "{\"accepted\":{}}\n", ""] {
            let failure = answered(answer).unwrap_err();
            assert_eq!(failure.code, EXIT_UNAVAILABLE);
            assert!(failure.text.contains("/run/planner.sock"), "{}", failure.text);
        }
    }
}
