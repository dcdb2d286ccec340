//! Clients that an attack starts as processes of their own: light ones, floods, strangers. Run as
//! `chaos client KIND`, never by a person.
use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use kadenz_link::domain::{self, DomainNode, KnotBatchHead, Side};
use kadenz_link::paths::RuntimeDir;
use kadenz_link::watchdog::{DEFAULT_LIMIT, Watchdog};
use kadenz_link::{KnotPort, View};
use rt_tests::random::Random;
use shm_layout::code::Role;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::{KNOTS_PER_BATCH_MAX, LAYOUT_HASH};

use super::crowd::Deed;
use super::{reach, sight};

/// Axes of the machine that is attacked.
const AXES: usize = 6;
/// How long a client waits for its domain.
const WAIT: Duration = Duration::from_secs(2);

/// What a client does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// Prints what it sees.
    Observe,
    /// Reads every record and holds some.
    View,
    /// Keeps a source of its own alive.
    Knots,
    /// Sends full batches without a pause.
    Flood,
    /// Sends batches of random bits.
    Garbage,
    /// Comes with another contract.
    Stranger,
    /// Joins and leaves without a pause.
    Nodes,
    /// Reads as whoever it is, without asking whether it may.
    Foreign,
    /// Burns CPU.
    HogCpu,
    /// Burns memory bandwidth.
    HogMemory,
    /// Holds one thread of another process.
    Hang,
    /// Reaches for lanes through /proc.
    Reach,
    /// Takes the place of a gateway and punches its lanes.
    Usurp,
}

/// Arguments of a client.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What it does.
    kind: Kind,
    /// Runtime directory of the machine.
    #[arg(long)]
    runtime_dir: PathBuf,
    /// Seed of its random numbers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How long it goes on, ms.
    #[arg(long, default_value_t = 1_000)]
    ms: u64,
    /// Role whose domain or lanes it is about.
    #[arg(long, default_value = "view")]
    role: String,
    /// Processes, or threads, it is about.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<i32>,
    /// Source whose name it takes.
    #[arg(long, default_value_t = 0)]
    source: u64,
}

/// Lives one client's life.
///
/// # Errors
/// Why it could not.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let dir = RuntimeDir::at(&options.runtime_dir)?;
    let until = Instant::now() + Duration::from_millis(options.ms);
    let mut random = Random::stream(options.seed, "client");
    let role = Role::ALL.iter().find(|(_, word, _)| *word == options.role);
    let role = role.map(|(role, ..)| *role).context("--role")?;
    let deed = match options.kind {
        Kind::Observe => return sight::observe(&dir),
        Kind::View => return view(&dir),
        Kind::Knots => return knots(&dir),
        Kind::Flood => flood(&dir, until, &mut random)?,
        Kind::Garbage => garbage(&dir, until, &mut random, options.source)?,
        Kind::Stranger => stranger(&dir, role)?,
        Kind::Nodes => nodes(&dir, role, until),
        Kind::Foreign => foreign(&dir, role, until)?,
        Kind::HogCpu => hog_cpu(),
        Kind::HogMemory => hog_memory(),
        Kind::Hang => reach::hang(&options.pids, until)?,
        Kind::Reach => reach::reach(&options.pids),
        Kind::Usurp => reach::usurp(&dir, role, &options.pids, until)?,
    };
    println!("{}", serde_json::to_string(&deed)?);
    Ok(())
}

fn view(dir: &RuntimeDir) -> anyhow::Result<()> {
    let watchdog = Watchdog::start(DEFAULT_LIMIT)?;
    let mut view = View::open(dir.clone(), Role::View, "chaos-view", WAIT)?.watched_by(&watchdog);
    let mut held = VecDeque::new();
    loop {
        match view.next_state()? {
            Some(sample) => {
                held.push_back(sample);
                if held.len() > 4 {
                    held.pop_front();
                }
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
        while view.next_event()?.is_some() {}
    }
}

fn knots(dir: &RuntimeDir) -> anyhow::Result<()> {
    let watchdog = Watchdog::start(DEFAULT_LIMIT)?;
    let mut port = KnotPort::new(dir.clone(), "chaos-knots").watched_by(&watchdog);
    let heartbeat = KnotBatchHeader { axis_count: 6, ..KnotBatchHeader::zeroed() };
    loop {
        port.send(&heartbeat, &[])?;
        thread::sleep(Duration::from_millis(4));
    }
}

/// A whole horizon of some path of its own, standing anywhere.
fn full_batch(random: &mut Random) -> (KnotBatchHeader, Vec<KnotAxis>) {
    let mut header = KnotBatchHeader {
        path_id: random.bits() | 1,
        axis_count: 6,
        knot_count: 64,
        ..KnotBatchHeader::zeroed()
    };
    for (index, tau_s) in header.tau_s.iter_mut().enumerate() {
        *tau_s = index as f64 * 0.02;
    }
    let row = KnotAxis { position: random.between(-1.0, 1.0), ..KnotAxis::zeroed() };
    (header, vec![row; KNOTS_PER_BATCH_MAX * AXES])
}

fn flood(dir: &RuntimeDir, until: Instant, random: &mut Random) -> anyhow::Result<Deed> {
    let watchdog = Watchdog::start(DEFAULT_LIMIT)?;
    let mut port = KnotPort::new(dir.clone(), "chaos-flood").watched_by(&watchdog);
    let (header, rows) = full_batch(random);
    let mut deed = Deed::default();
    while Instant::now() < until {
        deed.did += u64::from(port.send(&header, &rows)? > 0);
    }
    Ok(deed)
}

/// A node in the announced epoch, opened without the questions our own library asks first.
fn join(dir: &RuntimeDir, role: Role) -> anyhow::Result<DomainNode> {
    let token = dir.read_epoch(role)?.context("no epoch is announced")?;
    Ok(domain::node(&dir.epoch_place(role, token)?, "chaos", Side::Client)?)
}

fn garbage(
    dir: &RuntimeDir,
    until: Instant,
    random: &mut Random,
    source: u64,
) -> anyhow::Result<Deed> {
    let node = join(dir, Role::Plan)?;
    let writer = domain::knots::writer(&domain::knots::service(&node, Side::Client)?)?;
    let mut deed = Deed::default();
    while Instant::now() < until {
        let mut words = [0_u64; KnotBatchHeader::WORDS];
        words.iter_mut().for_each(|word| *word = random.bits());
        let mut header = KnotBatchHeader::from_words(&words);
        let rows = usize::try_from(random.below((KNOTS_PER_BATCH_MAX * AXES) as u64))?;
        // Each of these takes it one check further.
        let (hash, shape, name) = (random.percent(80), random.percent(70), random.percent(30));
        if hash {
            header.layout_hash = LAYOUT_HASH;
        }
        if shape {
            header.axis_count = 6;
            header.knot_count = u16::try_from(rows / AXES)?;
        }
        if name {
            header.source_id = source;
        }
        if random.percent(50) {
            header.tau_s.iter_mut().for_each(|tau_s| *tau_s = random.awkward());
        }
        let rows = if shape { rows / AXES * AXES } else { rows };
        let row = |random: &mut Random| KnotAxis {
            position: random.awkward(),
            velocity: random.awkward(),
            acceleration: random.awkward(),
            torque_feed_forward: random.awkward(),
        };
        let rows: Vec<KnotAxis> = (0..rows).map(|_| row(random)).collect();
        send_raw(&writer, header, &rows)?;
        deed.did += 1;
        thread::sleep(Duration::from_micros(300));
    }
    Ok(deed)
}

fn send_raw(
    writer: &domain::knots::Writer,
    header: KnotBatchHeader,
    rows: &[KnotAxis],
) -> anyhow::Result<()> {
    let mut slot = writer.loan_slice_uninit(rows.len())?;
    *slot.user_header_mut() = KnotBatchHead::from(header);
    slot.write_from_slice(rows).send()?;
    Ok(())
}

/// Every way to come with another contract; what is not refused is named.
fn stranger(dir: &RuntimeDir, role: Role) -> anyhow::Result<Deed> {
    let node = join(dir, role)?;
    let mut deed = Deed::default();
    let mut expect_refusal = |what: String, is_refused: bool| {
        deed.did += 1;
        deed.refused += u64::from(is_refused);
        if !is_refused {
            deed.failures.push(format!("{what} was not refused"));
        }
    };
    for stream in domain::STREAMS {
        let name = stream.service.try_into()?;
        let sized = node.service_builder(&name).publish_subscribe::<u64>().open();
        expect_refusal(format!("{} with another type", stream.service), sized.is_err());
        let sliced = node.service_builder(&name).publish_subscribe::<[u8]>().open();
        expect_refusal(format!("{} as a slice of bytes", stream.service), sliced.is_err());
        let evented = node.service_builder(&name).event().open();
        expect_refusal(format!("{} as an event", stream.service), evented.is_err());
        for version in ["v0", "v2", "v10"] {
            let other = stream.service.replace("v1", version);
            let name = other.as_str().try_into()?;
            let opened = node.service_builder(&name).publish_subscribe::<u64>().open();
            expect_refusal(other, opened.is_err());
        }
    }
    // Names nobody else uses may be used: it must not matter to those who use the others.
    let name = "knots/v2".try_into()?;
    let service = node.service_builder(&name).publish_subscribe::<u64>().open_or_create();
    let publisher = service.ok().and_then(|service| service.publisher_builder().create().ok());
    deed.did += u64::from(publisher.is_some_and(|publisher| publisher.send_copy(1).is_ok()));
    if role == Role::Plan {
        deed.did += foreign_batches(&node)?;
    }
    Ok(deed)
}

/// Batches in every respect ours, but for the fingerprint; gives how many.
fn foreign_batches(node: &DomainNode) -> anyhow::Result<u64> {
    let writer = domain::knots::writer(&domain::knots::service(node, Side::Client)?)?;
    let (header, rows) = full_batch(&mut Random::stream(0, "stranger"));
    let hashes = [0, 1, u64::MAX, LAYOUT_HASH ^ 1, LAYOUT_HASH.swap_bytes(), LAYOUT_HASH << 1];
    for (heartbeat, layout_hash) in (1..).zip(hashes) {
        send_raw(&writer, KnotBatchHeader { layout_hash, heartbeat, ..header }, &rows)?;
        thread::sleep(Duration::from_millis(3));
    }
    Ok(hashes.len() as u64)
}

fn nodes(dir: &RuntimeDir, role: Role, until: Instant) -> Deed {
    let mut deed = Deed::default();
    while Instant::now() < until {
        let joined = join(dir, role).and_then(|node| {
            let service = domain::state::service(&node, Side::Client)?;
            let reader = domain::state::reader(&service)?;
            if role == Role::Plan {
                domain::knots::writer(&domain::knots::service(&node, Side::Client)?)?;
            }
            Ok(reader.receive().is_ok())
        });
        deed.did += 1;
        // All places taken is a refusal in words; the next turn tries again.
        deed.refused += u64::from(joined.is_err());
    }
    deed
}

fn foreign(dir: &RuntimeDir, role: Role, until: Instant) -> anyhow::Result<Deed> {
    let node = join(dir, role)?;
    let reader = domain::state::reader(&domain::state::service(&node, Side::Client)?)?;
    let mut deed = Deed { did: 1, ..Deed::default() };
    while Instant::now() < until {
        if matches!(reader.receive(), Ok(Some(_))) {
            deed.failures.push("a foreign user was given samples".to_owned());
            return Ok(deed);
        }
        thread::sleep(Duration::from_millis(2));
    }
    deed.refused = 1;
    Ok(deed)
}

fn hog_cpu() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn hog_memory() -> ! {
    let mut from = vec![1_u64; 8 << 20];
    let mut to = vec![0_u64; 8 << 20];
    loop {
        to.copy_from_slice(&from);
        std::hint::black_box(&mut to);
        from.copy_from_slice(&to);
        std::hint::black_box(&mut from);
    }
}
