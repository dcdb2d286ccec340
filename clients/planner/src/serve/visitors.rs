//! Who is connected to `planner.sock`: a bounded number, each on a thread of its own and with a bounded
//! time for a question. What is asked is not known here.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::protocol::{Answer, LINE_BYTES_MAX};

/// Connections at a time.
const VISITORS_MAX: usize = 16;
/// A whole question, however it trickles in, and the taking of its answer, may take this long.
const QUESTION_TIME: Duration = Duration::from_secs(10);
/// Whoever has been about a question for so long makes room once all places are taken.
const LINGER: Duration = Duration::from_secs(1);

/// One connection, as the others see it.
struct Place {
    number: u64,
    stream: UnixStream,
    /// Since when a question is awaited; `None` while one is being answered.
    awaited: Option<Instant>,
}

#[derive(Default)]
struct Places {
    taken: Vec<Place>,
    count: u64,
}

/// The connections.
#[derive(Clone, Default)]
pub struct Visitors {
    places: Arc<Mutex<Places>>,
}

impl Visitors {
    /// Serves `stream` by `talk` on a thread of its own, or sends it away in words.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn admit(
        &self,
        stream: UnixStream,
        talk: impl FnOnce(&mut Visit) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        stream.set_write_timeout(Some(QUESTION_TIME))?;
        let seen = stream.try_clone().context("a second descriptor")?;
        let mut places = self.lock();
        if places.taken.len() >= VISITORS_MAX && !places.make_room() {
            drop(places);
            let why = format!("{VISITORS_MAX} clients are connected already; try again");
            let _gone_or_told = send(&stream, &Answer::Refused(why));
            return Ok(());
        }
        places.count += 1;
        let number = places.count;
        places.taken.push(Place { number, stream: seen, awaited: Some(Instant::now()) });
        drop(places);
        let visit = Visit {
            lines: BufReader::new(Patient { stream, until: Instant::now() + QUESTION_TIME }),
            visitors: self.clone(),
            number,
        };
        thread::Builder::new().name("planner-visit".to_owned()).spawn(move || {
            let mut visit = visit;
            if let Err(error) = talk(&mut visit) {
                log::debug!("planner.sock: {error:#}");
            }
        })?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, number: u64, awaited: Option<Instant>) {
        if let Some(place) = self.lock().taken.iter_mut().find(|place| place.number == number) {
            place.awaited = awaited;
        }
    }
}

impl Places {
    /// Hangs up on whoever has been about a question for longest, if that is long enough.
    fn make_room(&mut self) -> bool {
        let awaited = |(index, place): (usize, &Place)| place.awaited.map(|since| (since, index));
        let longest = self.taken.iter().enumerate().filter_map(awaited).min();
        let Some((_, index)) = longest.filter(|(since, _)| since.elapsed() >= LINGER) else {
            return false;
        };
        // Its thread reads an end and leaves.
        let _gone_or_told = self.taken.remove(index).stream.shutdown(Shutdown::Both);
        true
    }
}

/// One connection, as its thread sees it. Dropping it frees its place.
pub struct Visit {
    lines: BufReader<Patient>,
    visitors: Visitors,
    number: u64,
}

impl Visit {
    /// The next question; `None` when there is none to come.
    ///
    /// # Errors
    /// It did not come in time, or not as text.
    pub fn question(&mut self) -> anyhow::Result<Option<String>> {
        self.lines.get_mut().until = Instant::now() + QUESTION_TIME;
        self.visitors.note(self.number, Some(Instant::now()));
        let mut line = String::new();
        let read = (&mut self.lines).take(LINE_BYTES_MAX).read_line(&mut line);
        self.visitors.note(self.number, None);
        Ok((read.context("reading a question")? > 0).then_some(line))
    }

    /// The user at the other end, as the kernel tells.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn uid(&self) -> anyhow::Result<u32> {
        let peer = getsockopt(&self.lines.get_ref().stream, PeerCredentials);
        Ok(peer.context("asking who connected")?.uid())
    }

    /// Answers.
    ///
    /// # Errors
    /// The other side is gone or does not read.
    pub fn say(&mut self, answer: &Answer) -> anyhow::Result<()> {
        send(&self.lines.get_ref().stream, answer).context("answering")
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitors.lock().taken.retain(|place| place.number != self.number);
    }
}

fn send(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    stream.write_all(text.as_bytes())
}

/// Reads until a point in time, however little comes at once.
struct Patient {
    stream: UnixStream,
    until: Instant,
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(bytes)
    }
}
