//! The planner's socket: reads questions, checks files; the streaming thread never waits for it.
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use kadenz_planner::{AxisInfo, Program};

use super::journal::Journal;
use super::protocol::{Answer, Question, hex};
use super::visitors::{Visit, Visitors};

/// Held while a file is checked.
static CHECKING: Mutex<()> = Mutex::new(());
/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

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
    // For this user and the socket's group, which is that of the directory that kadenzd makes.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    let (ask, asked) = channel();
    let visitors = Visitors::default();
    thread::Builder::new().name("planner-socket".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            let ask = ask.clone();
            let admitted = stream
                .context("accepting")
                .and_then(|stream| visitors.admit(stream, move |visit| talk(visit, &ask)));
            if let Err(error) = admitted {
                log::warn!("planner.sock: {error:#}");
                // Out of descriptors or threads: trying at once would only burn the CPU.
                thread::sleep(PAUSE);
            }
        }
    })?;
    Ok(asked)
}

fn talk(visit: &mut Visit, ask: &Sender<Ask>) -> anyhow::Result<()> {
    let uid = visit.uid()?;
    while let Some(line) = visit.question()? {
        let answer = match serde_json::from_str(line.trim()) {
            Ok(question) => answer(question, uid, ask)?,
            Err(error) => Answer::Refused(format!(
                "planner.sock: not a question: {error}; ask {{\"run\":{{\"name\":…,\"csv\":…}}}} or {{\"status\":{{}}}}"
            )),
        };
        visit.say(&answer)?;
    }
    Ok(())
}

fn answer(question: Question, uid: u32, ask: &Sender<Ask>) -> anyhow::Result<Answer> {
    let gone = "the streaming thread has ended";
    match question {
        Question::Status {} => {
            let (tell, told) = channel();
            ask.send(Ask::Status(tell)).context(gone)?;
            told.recv().context(gone)
        }
        Question::Run { name, csv, speed } => {
            // One file at a time: however many send one, one core is busy with them.
            let _turn = CHECKING.lock().unwrap_or_else(PoisonError::into_inner);
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
            let path_id = journal.path_id;
            let (tell, told) = channel();
            ask.send(Ask::Begin(Box::new(program), Box::new(journal), tell)).context(gone)?;
            match told.recv().context(gone)? {
                Ok(()) => {
                    log::info!("path {}: handed over by uid {uid}", hex(path_id));
                    Ok(accepted)
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::path::PathBuf;

    const STATUS: &[u8] = b"{\"status\":{}}\n";

    /// A planner's socket with a streaming thread that has nothing to stream.
    fn planner(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("kdzp{}-{name}", std::process::id()));
        let asked = serve(&path).unwrap();
        thread::spawn(move || {
            for ask in asked {
                match ask {
                    Ask::Status(tell) => {
                        let _ = tell.send(Answer::Refused("idle".to_owned()));
                    }
                    Ask::Stand(tell) => {
                        let _ = tell.send(Err("no".to_owned()));
                    }
                    Ask::Begin(..) => {}
                }
            }
        });
        path
    }

    fn hear(stream: &UnixStream) -> String {
        let mut line = String::new();
        let _hung_up_is_empty = BufReader::new(stream).read_line(&mut line);
        line
    }

    #[test]
    fn half_a_question_keeps_nobody_waiting_and_can_still_be_finished() {
        let path = planner("half");
        let mut slow = UnixStream::connect(&path).unwrap();
        slow.write_all(&STATUS[..5]).unwrap();
        let mut quick = UnixStream::connect(&path).unwrap();
        quick.write_all(STATUS).unwrap();
        assert!(hear(&quick).contains("idle"));
        slow.write_all(&STATUS[5..]).unwrap();
        assert!(hear(&slow).contains("idle"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn however_many_hang_on_silently_the_next_is_served() {
        let path = planner("crowd");
        let crowd: Vec<UnixStream> =
            (0..100).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let served = (0..100_000).any(|_| {
            let mut next = UnixStream::connect(&path).unwrap();
            next.write_all(STATUS).is_ok() && hear(&next).contains("idle")
        });
        assert!(served);
        assert_eq!(hear(&crowd[0]), "", "the first was let go");
        std::fs::remove_file(path).unwrap();
    }
}
