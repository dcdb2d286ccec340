//! Dead daemons' rings, disks that fill, hang and lose power: what is kept, counted and told.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kadenz_config::Machine;
use kadenz_lanes::{
    BroadcastReader, BroadcastWriter, GaugeReader, GaugeWriter, RingGeometry, View, Word,
};
use kadenz_recorder::Recording;
use servo_core::State;
use servo_core::inputs::WORDS_MAX;
use servo_core::ports::Wake;
use servo_core::setup::Setup;
use shm_layout::STAGES;
use shm_layout::health::Health;

use super::disk::{Disk, Files, Place};
use super::ring::RING;
use super::saver::{Saver, Saving, Task};
use super::{header, ring};
use crate::boot::machine;
use crate::rt::recorder::FlightRecorder;
use crate::rt::stats::gauge;

fn small_machine() -> Machine {
    let text = kadenz_config::demo("demo-mill").unwrap();
    let mut machine = Machine::from_toml("demo-mill", text).unwrap();
    machine.period_us = 10_000;
    machine.recorder.ring_s = 1;
    machine
}

/// A loop without a loop: its recorder and the number of its next cycle.
struct Life {
    setup: Setup,
    recorder: FlightRecorder,
    state: Box<State>,
}

impl Life {
    fn new(setup: Setup, writer: BroadcastWriter<'static>) -> Self {
        Self { setup, recorder: FlightRecorder::new(writer), state: Box::new(State::new()) }
    }

    fn cycles(&mut self, count: u64) {
        for _ in 0..count {
            self.state.cycle += 1;
            let wake_ns = self.state.cycle * self.setup.period_ns;
            let wake = Wake { wake_ns, ..Wake::default() };
            self.recorder.record(&self.setup, &self.state, &wake, [0; STAGES]);
        }
    }
}

/// A life of a daemon in `dir` that recorded `cycles` cycles and was killed.
fn lived(dir: &Path, daemon_id: u64, cycles: u64) {
    let machine = small_machine();
    let setup = machine::setup(&machine, daemon_id);
    let (writer, _) = ring::create(dir, &machine, &setup).unwrap();
    Life::new(setup, writer).cycles(cycles);
}

fn on_tmpfs() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn span(path: &Path) -> Option<(u64, u64)> {
    let found = Recording::read(path).unwrap();
    assert_eq!((found.torn(), found.gaps().len()), (0, 0));
    found.span()
}

#[test]
fn a_restart_keeps_the_ring_of_the_daemon_before_and_only_that() {
    let dir = on_tmpfs();
    for (daemon_id, cycles) in [(0xa, 10), (0xb, 300), (0xc, 7)] {
        lived(dir.path(), daemon_id, cycles);
        assert_eq!(span(&dir.path().join(RING)).unwrap().1, cycles - 1);
    }
    assert_eq!(names(dir.path()), ["flight.ring", "flight.ring.000000000000000b"]);
    // One second of 10 ms is 100 cycles, and the ring is a power of two.
    assert_eq!(span(&dir.path().join("flight.ring.000000000000000b")), Some((172, 299)));
}

#[test]
fn a_life_without_a_cycle_takes_no_evidence_away() {
    let dir = on_tmpfs();
    for (daemon_id, cycles) in [(0xa, 10), (0xb, 0), (0xc, 0), (0xd, 0)] {
        lived(dir.path(), daemon_id, cycles);
    }
    assert_eq!(names(dir.path()), ["flight.ring", "flight.ring.000000000000000a"]);
    assert_eq!(span(&dir.path().join("flight.ring.000000000000000a")), Some((0, 9)));
}

/// Puts something where the ring should be.
type Obstacle = fn(&Path);

#[test]
fn whatever_stands_where_the_ring_should_be_is_no_obstacle_to_a_start() {
    let obstacles: [(&str, Obstacle); 8] = [
        ("nothing", |_| {}),
        ("an empty file", |path| fs::write(path, "").unwrap()),
        ("garbage", |path| fs::write(path, [0xa5; 3_000]).unwrap()),
        ("a ring cut off in its header", |path| cut(path, 500)),
        ("a ring cut off in its slots", |path| cut(path, 30_001)),
        ("a directory with something in it", |path| {
            fs::create_dir_all(path.join("deep")).unwrap();
            fs::write(path.join("deep/file"), "x").unwrap();
        }),
        ("a link to nowhere", |path| std::os::unix::fs::symlink("/nowhere", path).unwrap()),
        ("a pipe nobody writes", |path| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
    ];
    for (what, put) in obstacles {
        for name in [RING, "flight.ring.new", "flight.ring.unreadable"] {
            let dir = on_tmpfs();
            put(&dir.path().join(name));
            lived(dir.path(), 0xe, 5);
            assert_eq!(span(&dir.path().join(RING)), Some((0, 4)), "{what} as {name}");
        }
    }
}

fn cut(path: &Path, bytes: usize) {
    let dir = on_tmpfs();
    lived(dir.path(), 0xf, 40);
    let whole = fs::read(dir.path().join(RING)).unwrap();
    fs::write(path, &whole[..bytes]).unwrap();
}

#[test]
fn a_ring_in_use_is_read_without_a_hole() {
    let dir = on_tmpfs();
    let machine = small_machine();
    let setup = machine::setup(&machine, 1);
    let (writer, _) = ring::create(dir.path(), &machine, &setup).unwrap();
    let mut life = Life::new(setup, writer);
    life.cycles(500);
    let enough = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&enough);
    let writing = std::thread::spawn(move || {
        // ORDERING: relaxed, the bit stands for itself.
        while !stop.load(Ordering::Relaxed) {
            life.cycles(1);
        }
    });
    let mut seen_living = false;
    for _ in 0..300 {
        let found = Recording::read(&dir.path().join(RING)).unwrap();
        seen_living |= found.is_living();
        assert_eq!(found.gaps(), vec![]);
        // A writer that stood still in the middle of a record shows as a dead one does.
        assert!(found.torn() <= usize::from(!found.is_living()), "{} torn", found.torn());
    }
    // ORDERING: relaxed, the bit stands for itself.
    enough.store(true, Ordering::Relaxed);
    writing.join().unwrap();
    assert!(seen_living);
}

/// A ring in memory with both its ends, and the page its losses are counted on.
struct Rig {
    life: Life,
    reader: Option<BroadcastReader<'static>>,
    page: &'static [Word],
}

fn words(count: usize) -> &'static [Word] {
    Vec::leak((0..count).map(|_| Word::new(0)).collect())
}

impl Rig {
    fn new(slots: usize) -> Self {
        let setup = machine::setup(&small_machine(), 1);
        let geometry = RingGeometry::new(slots, WORDS_MAX).unwrap();
        let memory = words(geometry.words());
        let reader = BroadcastReader::new(View::new(memory), geometry).unwrap().resume_at(0);
        let writer = BroadcastWriter::new(memory, geometry).unwrap();
        let page = words(size_of::<Health>() / 8 + 1);
        Self { life: Life::new(setup, writer), reader: Some(reader), page }
    }

    fn task(&mut self) -> Task {
        Task {
            ring: self.reader.take().unwrap(),
            header: header(&small_machine(), &self.life.setup),
            every: Duration::from_millis(10),
            gauges: GaugeWriter::new(self.page).unwrap(),
        }
    }

    fn unsaved(&self) -> u64 {
        let gauges = GaugeReader::new(View::new(self.page)).unwrap();
        gauges.get(gauge!(recorder_unsaved)).unwrap()
    }
}

/// Where something was written, and what.
type Written = (u64, Vec<u8>);

/// A disk in memory: what was written, in order, and how much it takes.
#[derive(Clone, Default)]
struct Fake {
    writes: Arc<Mutex<Vec<Written>>>,
    room_bytes: Arc<Mutex<Option<u64>>>,
}

impl Fake {
    fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for (offset, bytes) in self.writes.lock().unwrap().iter() {
            put(&mut content, *offset, bytes);
        }
        content
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = usize::try_from(offset).unwrap();
    content.resize(content.len().max(from + bytes.len()), 0);
    content[from..from + bytes.len()].copy_from_slice(bytes);
}

impl Disk for Fake {
    fn file_bytes_max(&self) -> u64 {
        u64::MAX
    }
    fn begin_next(&mut self) -> io::Result<()> {
        unreachable!("a file without a limit is never full")
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut room = self.room_bytes.lock().unwrap();
        let fits = room.map_or(bytes.len(), |room| bytes.len().min(usize::try_from(room).unwrap()));
        // A full disk takes what fits, and then says so.
        self.writes.lock().unwrap().push((offset, bytes[..fits].to_vec()));
        if let Some(room) = room.as_mut() {
            *room -= fits as u64;
        }
        if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
    fn path(&self) -> &Path {
        Path::new("fake.kdzrec")
    }
}

#[test]
fn a_full_disk_costs_nothing_while_the_ring_reaches_back() {
    let (mut rig, disk) = (Rig::new(64), Fake::default());
    let mut saving = Saving::new(rig.task(), disk.clone());
    rig.life.cycles(10);
    saving.save();
    *disk.room_bytes.lock().unwrap() = Some(777);
    for _ in 0..5 {
        rig.life.cycles(10);
        saving.save();
    }
    *disk.room_bytes.lock().unwrap() = None;
    rig.life.cycles(10);
    saving.save();
    saving.end();
    let found = Recording::from_bytes(&disk.content()).unwrap();
    assert_eq!((found.span(), found.gaps(), found.torn()), (Some((0, 69)), vec![], 0));
    assert_eq!((found.tail_bytes(), rig.unsaved()), (0, 0));
}

#[test]
fn a_disk_that_is_full_for_too_long_costs_counted_cycles_and_is_used_again() {
    let (mut rig, disk) = (Rig::new(64), Fake::default());
    let mut saving = Saving::new(rig.task(), disk.clone());
    rig.life.cycles(10);
    saving.save();
    *disk.room_bytes.lock().unwrap() = Some(0);
    for _ in 0..300 {
        rig.life.cycles(10);
        saving.save();
    }
    *disk.room_bytes.lock().unwrap() = None;
    rig.life.cycles(10);
    saving.save();
    saving.end();
    let found = Recording::from_bytes(&disk.content()).unwrap();
    assert_eq!((found.span(), found.torn(), found.tail_bytes()), (Some((0, 3_019)), 0, 0));
    let missing: u64 = found.gaps().iter().map(|gap| gap.count).sum();
    assert!(missing > 0);
    assert_eq!(rig.unsaved(), missing);
}

#[test]
fn what_a_full_disk_did_not_take_at_the_end_is_counted() {
    let (mut rig, disk) = (Rig::new(64), Fake::default());
    let mut saving = Saving::new(rig.task(), disk.clone());
    rig.life.cycles(10);
    saving.save();
    *disk.room_bytes.lock().unwrap() = Some(100);
    rig.life.cycles(20);
    saving.save();
    rig.life.cycles(3);
    saving.end();
    assert_eq!(rig.unsaved(), 23);
}

/// Power may go inside a write: of its sectors any may be on disk, the others are as they were.
#[test]
fn a_power_loss_costs_what_was_not_yet_saved_and_nothing_before_it() {
    let (mut rig, disk) = (Rig::new(256), Fake::default());
    let mut saving = Saving::new(rig.task(), disk.clone());
    let mut saved_cycles = Vec::new();
    for _ in 0..20 {
        rig.life.cycles(9);
        saving.save();
        saved_cycles.push(rig.life.state.cycle);
    }
    let writes = disk.writes.lock().unwrap().clone();
    assert_eq!(writes.len(), saved_cycles.len());
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut content = Vec::new();
    for (number, (offset, bytes)) in writes.iter().enumerate() {
        for _ in 0..40 {
            let mut on_disk = content.clone();
            for (at, sector) in bytes.chunks(512).enumerate() {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                if dice & 1 == 0 {
                    put(&mut on_disk, offset + at as u64 * 512, sector);
                }
            }
            let saved = number.checked_sub(1).map_or(0, |before| saved_cycles[before]);
            // Before the first save the file may be empty: nothing was promised yet.
            let Ok(found) = Recording::from_bytes(&on_disk) else {
                assert_eq!(number, 0);
                continue;
            };
            let kept: Vec<u64> = found.cycles().map(|(cycle, _)| cycle).collect();
            assert!((0..saved).all(|cycle| kept.binary_search(&cycle).is_ok()), "save {number}");
        }
        put(&mut content, *offset, bytes);
    }
}

/// A disk that answers when it is allowed to.
struct Hanging {
    asked: Sender<()>,
    answer: Receiver<()>,
}

impl Disk for Hanging {
    fn file_bytes_max(&self) -> u64 {
        u64::MAX
    }
    fn begin_next(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn write_at(&mut self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        let _unheard = self.asked.send(());
        self.answer.recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
    fn path(&self) -> &Path {
        Path::new("hanging.kdzrec")
    }
}

#[test]
fn a_disk_that_hangs_holds_up_neither_the_mainland_nor_the_end() {
    let mut rig = Rig::new(64);
    let (asked, is_asked) = channel();
    let (allow, answer) = channel();
    let mut saver = Saver::start(rig.task(), Hanging { asked, answer }).unwrap();
    rig.life.cycles(10);
    is_asked.recv().unwrap();
    // The thread waits for the disk from here on; none of this waits for the thread.
    for _ in 0..1_000 {
        saver.look();
        rig.life.cycles(1);
    }
    assert!(!saver.finish(Duration::from_millis(20)), "it cannot be through");
    drop(allow);
}

#[test]
fn an_orderly_end_saves_everything() {
    let (mut rig, disk) = (Rig::new(1024), Fake::default());
    let saver = Saver::start(rig.task(), disk.clone()).unwrap();
    rig.life.cycles(700);
    assert!(saver.finish(Duration::from_secs(60)));
    let found = Recording::from_bytes(&disk.content()).unwrap();
    assert_eq!((found.span(), found.gaps(), rig.unsaved()), (Some((0, 699)), vec![], 0));
}

#[test]
fn a_directory_keeps_its_limit_and_the_newest_cycles_across_lives() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("mill-2.0000000000000001.00000.kdzrec");
    fs::write(&foreign, "another machine's").unwrap();
    let (file_bytes, limit_bytes) = (64 << 10, 512 << 10);
    for daemon_id in [7, 8] {
        let place = Place::Directory {
            path: dir.path().to_owned(),
            machine: "mill".to_owned(),
            daemon_id,
            file_bytes,
            limit_bytes,
        };
        let mut rig = Rig::new(64);
        let mut saving = Saving::new(rig.task(), Files::begin(place).unwrap());
        for _ in 0..40 {
            rig.life.cycles(50);
            saving.save();
            let sizes = ours(dir.path()).into_iter().map(|path| fs::metadata(path).unwrap().len());
            assert!(sizes.clone().all(|bytes| bytes <= file_bytes));
            assert!(sizes.sum::<u64>() <= limit_bytes);
        }
        saving.end();
        assert_eq!(rig.unsaved(), 0);
        // Each file is readable alone, and together they reach back without a hole.
        let mut spans: Vec<_> = ours(dir.path())
            .into_iter()
            .filter(|path| path.to_string_lossy().contains(&format!("{daemon_id:016x}")))
            .map(|path| span(&path).unwrap())
            .collect();
        spans.sort_unstable();
        assert!(spans.len() > 2);
        assert!(spans.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{spans:?}");
        assert_eq!(spans.last().unwrap().1, 1_999);
    }
    assert!(foreign.exists());
}

fn ours(dir: &Path) -> Vec<PathBuf> {
    let all = names(dir).into_iter().filter(|name| name.starts_with("mill."));
    all.map(|name| dir.join(name)).collect()
}

#[test]
fn a_place_where_nothing_can_be_made_is_refused_at_start_by_name() {
    for path in ["/dev/full", "/nowhere/at/all.kdzrec"] {
        let error = Files::begin(Place::OneFile(path.into())).err().unwrap();
        assert!(format!("{error:#}").contains(path), "{error:#}");
    }
}

#[test]
fn a_save_takes_in_all_that_a_busy_loop_wrote_meanwhile() {
    let (mut rig, disk) = (Rig::new(4096), Fake::default());
    let saver = Saver::start(rig.task(), disk.clone()).unwrap();
    let begun = Instant::now();
    // Far more than one batch holds.
    while rig.life.state.cycle < 4_000 && begun.elapsed() < Duration::from_secs(60) {
        rig.life.cycles(100);
    }
    assert!(saver.finish(Duration::from_secs(60)));
    let found = Recording::from_bytes(&disk.content()).unwrap();
    assert_eq!(found.len() as u64 + rig.unsaved(), 4_000);
}
