//! The planner's socket: reads questions, checks files; the streaming thread never waits for it.
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use kadenz_planner::{AxisInfo, Program};

use super::journal::Journal;
use super::protocol::{Answer, LINE_BYTES_MAX, Question, hex};

/// A person who sends nothing is let go after this.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What a file is planned against: the machine as it stands.
#[derive(Clone, Debug)]
pub struct Stand {
    /// Axes in catalog order.
    pub axes: Vec<AxisInfo>,
    /// Where they stand: the loop's references.
    pub start: Vec<f64>,
    /// Braking bound of the machine, s of path time.
    pub stop_path_time_s: f64,
    /// Life of the daemon.
    pub daemon_id: u64,
}

/// What the socket asks of the streaming thread.
pub enum Ask {
    /// Where the machine stands; an error in words when no path may begin now.
    Stand(Sender<Result<Stand, String>>),
    /// Stream this.
    Begin(Box<Program>, Box<Journal>, Sender<Result<(), String>>),
    /// What is being done.
    Status(Sender<Answer>),
}

/// Serves `path` on threads of its own; questions for the streaming thread come out of the receiver.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(path: &Path) -> anyhow::Result<Receiver<Ask>> {
    if UnixStream::connect(path).is_ok() {
        anyhow::bail!("{}: another planner is serving; stop it first", path.display());
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    let (ask, asked) = channel();
    thread::Builder::new().name("planner-socket".to_owned()).spawn(move || {
        // One at a time: files are checked in order, a slow sender is bounded by its time-out.
        for stream in listener.incoming().flatten() {
            if let Err(error) = talk(stream, &ask) {
                log::warn!("planner.sock: {error:#}");
            }
        }
    })?;
    Ok(asked)
}

fn talk(mut stream: UnixStream, ask: &Sender<Ask>) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut lines = BufReader::new(stream.try_clone()?).take(LINE_BYTES_MAX);
    let mut line = String::new();
    while lines.read_line(&mut line).context("reading a question")? > 0 {
        let answer = match serde_json::from_str(line.trim()) {
            Ok(question) => answer(question, ask)?,
            Err(error) => Answer::Refused(format!(
                "planner.sock: not a question: {error}; ask {{\"run\":{{\"name\":…,\"csv\":…}}}} or {{\"status\":{{}}}}"
            )),
        };
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        stream.write_all(text.as_bytes()).context("answering")?;
        line.clear();
        lines.set_limit(LINE_BYTES_MAX);
    }
    Ok(())
}

fn answer(question: Question, ask: &Sender<Ask>) -> anyhow::Result<Answer> {
    let gone = "the streaming thread has ended";
    match question {
        Question::Status {} => {
            let (tell, told) = channel();
            ask.send(Ask::Status(tell)).context(gone)?;
            told.recv().context(gone)
        }
        Question::Run { name, csv, speed } => {
            let (tell, told) = channel();
            ask.send(Ask::Stand(tell)).context(gone)?;
            let stand = match told.recv().context(gone)? {
                Ok(stand) => stand,
                Err(why) => return Ok(Answer::Refused(why)),
            };
            let journal = Journal {
                daemon_id: stand.daemon_id,
                path_id: fresh_path_id(),
                name,
                csv,
                speed,
                start_bits: stand.start.iter().map(|position| position.to_bits()).collect(),
            };
            let program = match journal.program(&stand.axes, stand.stop_path_time_s) {
                Ok(program) => program,
                Err(error) => return Ok(Answer::Refused(error.to_string())),
            };
            let accepted = Answer::Accepted {
                path_id: hex(journal.path_id),
                duration_s: program.duration_s(),
                approach_s: program.file_start_tau_s(),
                knots: program.knot_count(),
                says: program.approach_in_words().into_iter().collect(),
            };
            let (tell, told) = channel();
            ask.send(Ask::Begin(Box::new(program), Box::new(journal), tell)).context(gone)?;
            match told.recv().context(gone)? {
                Ok(()) => Ok(accepted),
                Err(why) => Ok(Answer::Refused(why)),
            }
        }
    }
}

/// An id no other path has: never 0, different in every call and every life.
fn fresh_path_id() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(kadenz_link::clock::now_ns());
    hasher.finish().max(1)
}
