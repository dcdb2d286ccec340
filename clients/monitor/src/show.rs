//! The monitor's loop: read often, show seldom, say when the machine goes and comes back.
use std::io::{self, Write};
use std::time::{Duration, Instant};

use kadenz_link::status::{Line, SCHEMA_VERSION, Tone};
use kadenz_link::{LinkError, MachineStatus, StateSample, View};

use crate::screen::frame;
use crate::signals::Signals;
use crate::sys::terminal_size;

/// How often samples are taken: a reader's queue is a second long, and a new epoch is found soon.
const READ_EVERY: Duration = Duration::from_millis(20);
/// How long `--once` waits.
const ONCE_WAIT: Duration = Duration::from_secs(2);
/// A silence shorter than this is a stall of the host, not worth a word.
const SILENCE: Duration = Duration::from_millis(250);
/// How long the first show waits for the names of the machine, which come a little later.
const NAMES_WAIT: Duration = Duration::from_millis(700);
/// A terminal that does not tell its size.
const USUAL_SIZE: (usize, usize) = (24, 80);

/// What the status looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table, painted over and over.
    Screen {
        /// With colors.
        color: bool,
    },
    /// A line at a time.
    Lines,
    /// An object per line.
    Json,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Looks.
    pub form: Form,
    /// Show once and end.
    pub once: bool,
    /// Time between two shows.
    pub every: Duration,
    /// End after this many seconds.
    pub seconds: Option<u64>,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// As asked: time over, shown once, or Ctrl-C.
    AsAsked,
    /// The machine cannot be seen, in words.
    Unavailable(String),
}

/// A monitor at work.
#[derive(Debug)]
pub struct Show {
    view: View,
    plan: Plan,
    newest: Option<StateSample>,
    /// Why nothing comes; said once per change.
    trouble: Option<String>,
    first_seen: Option<Instant>,
    last_seen: Option<Instant>,
    /// Reconnects and restarts of kadenzd that were said.
    said: (u64, u64),
}

impl Show {
    /// A monitor that has shown nothing yet.
    pub fn new(view: View, plan: Plan) -> Self {
        Self {
            view,
            plan,
            newest: None,
            trouble: None,
            first_seen: None,
            last_seen: None,
            said: (0, 0),
        }
    }

    /// Shows until it is over.
    pub fn run(mut self, signals: &Signals) -> io::Result<End> {
        let begun = Instant::now();
        let mut next_show = begun;
        if matches!(self.plan.form, Form::Screen { .. }) {
            put("\x1b[2J")?;
        }
        loop {
            let refused = self.read()?;
            if let Some(end) = self.end_of_once(begun, refused)? {
                return Ok(end);
            }
            let now = Instant::now();
            if !self.plan.once && now >= next_show && self.is_introduced() {
                self.show()?;
                // Shows that were missed while standing still are not made up for.
                next_show = now + self.plan.every;
            }
            if self.plan.seconds.is_some_and(|limit| begun.elapsed().as_secs() >= limit) {
                return Ok(End::AsAsked);
            }
            if signals.ended_within(READ_EVERY)? {
                return Ok(End::AsAsked);
            }
        }
    }

    /// Whether the names have come, or are not worth waiting for any longer.
    fn is_introduced(&mut self) -> bool {
        let is_known = matches!(self.view.catalog(), Ok(Some(_)));
        is_known || self.first_seen.is_none_or(|first| first.elapsed() >= NAMES_WAIT)
    }

    /// Takes what has come; gives the words of a refusal that waiting does not end.
    fn read(&mut self) -> io::Result<Option<String>> {
        let found = self.view.newest_state();
        let refusal = match found {
            Ok(Some(sample)) => {
                self.newest = Some(sample);
                self.came_back()?;
                None
            }
            Ok(None) => {
                if self.last_seen.is_none_or(|last| last.elapsed() >= SILENCE) {
                    let words = self.view.trouble().map(LinkError::to_string);
                    self.say_trouble(words)?;
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if refusal.is_some() {
            self.say_trouble(refusal.clone())?;
        }
        Ok(refusal)
    }

    fn say_trouble(&mut self, words: Option<String>) -> io::Result<()> {
        if words.is_none() || words == self.trouble {
            return Ok(());
        }
        self.trouble = words;
        let text = self.trouble.as_deref().unwrap_or_default();
        match self.plan.form {
            Form::Lines if !self.plan.once => put(&format!("waiting: {text}\n")),
            // A screen shows it with the next frame, a script gets it as an object.
            Form::Json if !self.plan.once => put(&format!("{}\n", unavailable(text))),
            Form::Lines | Form::Json | Form::Screen { .. } => Ok(()),
        }
    }

    fn came_back(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.first_seen.get_or_insert(now);
        let was_seen = self.last_seen.replace(now).is_some();
        let was_away = self.trouble.take().is_some();
        let counted = self.view.counters();
        let news = (counted.reconnects, counted.daemon_restarts);
        let is_back = was_seen && (was_away || news != self.said);
        self.said = news;
        if is_back && self.plan.form == Form::Lines {
            put(&format!(
                "back: {} reconnects, {} restarts of kadenzd, {} records not seen\n",
                counted.reconnects, counted.daemon_restarts, counted.lost
            ))?;
        }
        Ok(())
    }

    /// `--once` ends with a full picture, a refusal, or what there is when its time is over.
    fn end_of_once(&mut self, begun: Instant, refused: Option<String>) -> io::Result<Option<End>> {
        if !self.plan.once {
            return Ok(None);
        }
        if let Some(words) = refused {
            return Ok(Some(End::Unavailable(words)));
        }
        let is_late = begun.elapsed() >= ONCE_WAIT;
        if let Some(status) = self.status() {
            let is_whole = !status.machine.is_empty() && status.loop_health.is_some();
            if is_whole || is_late {
                self.put_status(&status)?;
                return Ok(Some(End::AsAsked));
            }
            return Ok(None);
        }
        let words = || self.trouble.clone().unwrap_or_else(|| "no samples".to_owned());
        Ok(is_late.then(|| End::Unavailable(words())))
    }

    fn status(&mut self) -> Option<MachineStatus> {
        let sample = self.newest.as_ref()?;
        // A refusal comes again with the next sample, and is said there.
        self.view.status(sample).ok()
    }

    fn show(&mut self) -> io::Result<()> {
        match (self.plan.form, self.status()) {
            (Form::Screen { color }, status) => {
                let mut lines = self.banner();
                lines.extend(status.iter().flat_map(MachineStatus::lines));
                put(&frame(&lines, terminal_size().unwrap_or(USUAL_SIZE), color))
            }
            // What was said about the trouble stands; a record of before would not be news.
            (Form::Lines | Form::Json, Some(status)) if self.trouble.is_none() => {
                self.put_status(&status)
            }
            (Form::Lines | Form::Json, _) => Ok(()),
        }
    }

    fn banner(&self) -> Vec<Line> {
        let words = self.trouble.iter();
        words.map(|words| Line { text: format!("waiting: {words}"), tone: Tone::Bad }).collect()
    }

    fn put_status(&self, status: &MachineStatus) -> io::Result<()> {
        match self.plan.form {
            Form::Json => put(&format!("{}\n", status.to_json().map_err(io::Error::other)?)),
            _ if self.plan.once => put(&status.to_text()),
            _ => put(&format!("{}\n", status.to_line())),
        }
    }
}

fn unavailable(words: &str) -> serde_json::Value {
    serde_json::json!({ "schema_version": SCHEMA_VERSION, "unavailable": words })
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
