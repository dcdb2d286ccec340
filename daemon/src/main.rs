//! The life of the daemon, in order: configuration, host, lanes, buses, loop, park, exit code.
mod args;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use kadenz_config::Machine;
use kadenz_handover::Server;
use kadenz_lanes::{BroadcastReader, BroadcastWriter, GaugeReader, RingGeometry, View, Word};
use kadenz_paths::RuntimeDir;
use kadenz_service::notify::Notify;
use kadenzd::GatedAllocator;
use kadenzd::boot::host::{self, Lack};
use kadenzd::boot::incidents::{Incidents, Watched};
use kadenzd::boot::journal::Journal;
use kadenzd::boot::recorder::saver::Saver;
use kadenzd::boot::report::Report;
use kadenzd::boot::service::{self, Service};
use kadenzd::boot::thread::RtThread;
use kadenzd::boot::{machine as described, outlets, recorder};
use kadenzd::rt::Loop;
use kadenzd::rt::bus_sim::SimBus;
use kadenzd::rt::lanes::Wish;
use kadenzd::rt::stats::{PassNote, StageTimes, Stats};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use servo_core::State;

use crate::args::Options;

#[global_allocator]
static ALLOCATOR: GatedAllocator = GatedAllocator;

static WISH: Wish = Wish::new();

/// How often the mainland looks after gateways, evidence and the recording.
const MAINLAND_MS: u16 = 20;
/// Between two looks at the evidence, at least.
const LOOK_TIME_MIN: Duration = Duration::from_millis(5);
/// Passes the mainland may be behind with: 0.8 s at 20 kHz.
const NOTE_SLOTS: usize = 16_384;
/// How long the end waits for a disk that takes the rest of the recording.
const SAVER_PATIENCE: Duration = Duration::from_secs(5);
/// Cycles that pass before gateways are served.
const FIRST_CYCLES: u64 = 20;

/// Why the daemon did not run, with the exit code that tells a supervisor.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// 71: the host cannot do what is asked (sysexits EX_OSERR).
const EX_OSERR: u8 = 71;
/// 70: the loop's thread ended by itself (sysexits EX_SOFTWARE).
const EX_SOFTWARE: u8 = 70;

trait OrFail<T> {
    fn or_fail(self, code: u8) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: u8) -> Result<T, Failure> {
        self.map_err(|error| Failure { code, error: error.into() })
    }
}

fn main() -> ExitCode {
    kadenz_service::journal::begin();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            kadenz_service::journal::last_words("kadenzd", &format_args!("{error:#}"));
            ExitCode::from(code)
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let machine = load(options).or_fail(kadenz_config::EXIT_CODE)?;
    if options.print_config {
        print!("{}", kadenz_config::effective_toml(&machine));
        return Ok(());
    }
    // Blocked before any thread exists, so that only the mainland's signalfd sees them.
    let signals = block_signals().or_fail(EX_OSERR)?;
    let dir = RuntimeDir::find(options.runtime_dir.as_deref()).or_fail(EX_OSERR)?;
    std::fs::create_dir_all(dir.as_path())
        .with_context(|| dir.as_path().display().to_string())
        .or_fail(EX_OSERR)?;
    let ready = host::prepare(&machine, dir.as_path()).or_fail(EX_OSERR)?;

    let setup = described::setup(&machine, daemon_id());
    let lanes = outlets::create(&machine, &setup, &WISH, ready.cpu).or_fail(EX_OSERR)?;
    let health = lanes.health;
    let server = Server::bind(dir.clone(), lanes.roles, lanes.offer).or_fail(EX_OSERR)?;
    let record = options.record.as_deref();
    let (recorder, saver) =
        recorder::start(record, &machine, &setup, dir.as_path(), lanes.saver_gauges)
            .or_fail(EX_OSERR)?;
    let (notes_in, notes_out) = note_ring().or_fail(EX_SOFTWARE)?;
    let bus = SimBus::new(&machine).or_fail(kadenz_config::EXIT_CODE)?;

    let servo = Loop {
        setup,
        state: Box::new(State::new()),
        bus,
        lanes: lanes.ends,
        stats: Stats::new(lanes.gauges, notes_in, setup.daemon_id),
        recorder,
        stopwatch: StageTimes::default(),
    };
    let notify = Notify::from_env().context("$NOTIFY_SOCKET").or_fail(EX_OSERR)?;
    let thread = RtThread::start(servo, &machine, ready).or_fail(EX_OSERR)?;
    say_what_is_missing(&thread.lacks);
    log::info!(
        "{}: {} axes, {} µs, CPU {}, daemon {:016x}, runtime directory {}",
        machine.name,
        machine.axes.len(),
        machine.period_us,
        thread.cpu,
        setup.daemon_id,
        dir.as_path().display()
    );
    let incidents = Incidents::new(Watched {
        notes: notes_out,
        gauges: lanes.mainland_gauges,
        health: lanes.mainland_health,
        incidents: lanes.incidents,
        wish: &WISH,
        cpu: thread.cpu,
        thread_id: thread.thread_id,
        late_wake_ns: u64::from(machine.overrun.late_wake_us) * 1_000,
    });
    thread.let_go();
    await_first_cycles(&health, &thread);
    let words = format!("{}, {} µs on CPU {}", machine.name, machine.period_us, thread.cpu);
    let service = Service::new(notify, words, Instant::now());
    let beside = Beside { server, saver, incidents, service };
    let ended = tend(beside, &signals, &thread, &health);
    println!("{}", Report { health: &health });
    ended.or_fail(EX_SOFTWARE)
}

fn load(options: &Options) -> anyhow::Result<Machine> {
    if let Some(path) = &options.config {
        return Ok(Machine::load(path)?);
    }
    let name = options.demo.as_deref().unwrap_or_default();
    let text = kadenz_config::demo(name).ok_or_else(|| {
        anyhow!("--demo {name}: there is {}", kadenz_config::DEMO_NAMES.join(" and "))
    })?;
    Ok(Machine::from_toml(name, text)?)
}

fn block_signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block().context("blocking signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).context("signalfd")
}

/// A number no other life of a daemon on this host has, for clients to notice a restart by.
fn daemon_id() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u64(kadenzd::rt::clock::now_ns());
    hasher.finish().max(1)
}

fn note_ring() -> anyhow::Result<(BroadcastWriter<'static>, BroadcastReader<'static>)> {
    let geometry = RingGeometry::new(NOTE_SLOTS, PassNote::WORDS)?;
    let words: Vec<Word> = (0..geometry.words()).map(|_| Word::new(0)).collect();
    let words: &'static [Word] = Vec::leak(words);
    Ok((BroadcastWriter::new(words, geometry)?, BroadcastReader::new(View::new(words), geometry)?))
}

fn say_what_is_missing(lacks: &[Lack]) {
    if !lacks.is_empty() {
        let lines: Vec<String> =
            lacks.iter().map(|lack| format!("  {}: {}", lack.name.name(), lack.found)).collect();
        log::warn!(
            "not a real-time host; the configuration exempts what is missing:\n{}",
            lines.join("\n")
        );
    }
}

/// Nobody is served before the loop runs and the drives have been heard: a request that came earlier
/// would be refused for want of feedback.
fn await_first_cycles(health: &GaugeReader<'static>, thread: &RtThread) {
    while service::cycles(health) < FIRST_CYCLES && !thread.has_ended() && !thread.is_gone() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What the mainland does beside the loop.
struct Beside {
    server: Server,
    saver: Option<Saver>,
    incidents: Incidents,
    service: Service,
}

/// Looks after gateways, evidence, the recording and the service manager until the loop has ended.
fn tend(
    beside: Beside,
    signals: &SignalFd,
    thread: &RtThread,
    health: &GaugeReader<'static>,
) -> anyhow::Result<()> {
    let Beside { mut server, mut saver, mut incidents, mut service } = beside;
    let mut journal = Journal::new(Instant::now());
    let mut looked = Instant::now();
    while !thread.has_ended() && !thread.is_gone() {
        let happenings = server.poll(MAINLAND_MS);
        let now = Instant::now();
        journal.log(&happenings, now);
        service.look(&happenings, service::cycles(health), now);
        if let Ok(Some(signal)) = signals.read_signal() {
            log::info!("signal {}: stopping on the path", signal.ssi_signo);
            service.ending();
            WISH.shut_down();
        }
        if let Some(saver) = &mut saver {
            saver.look();
        }
        // A flooded socket cuts the wait short, and each look costs reads of /proc and memory.
        if now.duration_since(looked) >= LOOK_TIME_MIN {
            incidents.look();
            looked = now;
        }
    }
    service.ending();
    incidents.finish();
    if let Some(saver) = saver {
        saver.finish(SAVER_PATIENCE);
    }
    if thread.has_ended() { Ok(()) } else { Err(anyhow!("the RT thread is gone")) }
}
