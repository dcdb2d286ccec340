//! Recording into files and reading them with the `mcap` crate, for tests.
#![expect(dead_code, reason = "each test file uses a part of it")]
use kadenz_logger::clock::UnixOffset;
use kadenz_logger::convert::Machine;
use kadenz_logger::plan::Plan;
use kadenz_logger::queue::Inlet;
use kadenz_logger::schema::message;
use kadenz_logger::tally::Tally;
use kadenz_logger::writer::FileWriter;
use prost::Message as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const OFFSET: UnixOffset = UnixOffset { offset_ns: 1_700_000_000_000_000_000 };

/// Records what `feed` gives and returns the finished files.
pub fn record(
    plan: Plan,
    machine: Machine,
    feed: impl FnOnce(&mut Inlet),
) -> (Vec<PathBuf>, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let (mut inlet, outlet) = Inlet::with_pages(machine, OFFSET, Arc::clone(&tally), 10_000);
    feed(&mut inlet);
    inlet.finish();
    let mut files = Vec::new();
    FileWriter::new(plan, OFFSET, Arc::clone(&tally), |path| files.push(path.into())).run(&outlet);
    (files, tally)
}

pub fn single(name: &str) -> Plan {
    Plan::new(crate::scratch::fresh_dir(name), Some("one".into()), None)
}

/// One message as it stands in the file.
pub struct Read {
    pub log_ns: u64,
    pub sequence: u32,
    pub data: Vec<u8>,
}

pub fn read(path: &Path) -> BTreeMap<String, Vec<Read>> {
    let bytes = std::fs::read(path).unwrap();
    let mut topics = BTreeMap::<String, Vec<Read>>::new();
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let message = message.unwrap();
        assert_eq!(message.channel.message_encoding, "protobuf");
        topics.entry(message.channel.topic.clone()).or_default().push(Read {
            log_ns: message.log_time,
            sequence: message.sequence,
            data: message.data.into_owned(),
        });
    }
    topics
}

pub fn states(path: &Path) -> Vec<message::State> {
    let mut topics = read(path);
    let states = topics.remove("/state").unwrap_or_default();
    states.iter().map(|read| message::State::decode(read.data.as_slice()).unwrap()).collect()
}

pub fn gaps(path: &Path) -> Vec<message::Gap> {
    let mut topics = read(path);
    let gaps = topics.remove("/gaps").unwrap_or_default();
    gaps.iter().map(|read| message::Gap::decode(read.data.as_slice()).unwrap()).collect()
}
