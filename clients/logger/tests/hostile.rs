//! Recovery of any bytes: no panic, no endless loop, no message that was not recorded.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
use kadenz_logger::clock::UnixOffset;
use kadenz_logger::encode::StateEncoder;
use kadenz_logger::file::Recording;
use kadenz_logger::recover::recover_file;
use kadenz_logger::schema::Topic;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

mod scratch;
mod synthetic;

/// A valid recording of several chunks, and what is in it.
struct Original {
    bytes: Vec<u8>,
    messages: BTreeSet<(String, Vec<u8>)>,
}

fn messages(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    mcap::MessageStream::new(bytes)
        .unwrap()
        .map(|message| message.map(|m| (m.channel.topic.clone(), m.data.into_owned())).unwrap())
        .collect()
}

fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let machine = synthetic::machine(2, 1_000_000);
        let target = scratch::fresh_dir("hostile-original").join("a.mcap");
        let offset = UnixOffset { offset_ns: 0 };
        let mut recording = Recording::create(&target, &machine, offset, 0).unwrap();
        let mut encoder = StateEncoder::new(&machine.axes);
        for cycle in 0..60 {
            let (header, axes) = synthetic::state(&machine, cycle);
            let mut bytes = Vec::new();
            encoder.encode(&header, &axes, &mut bytes);
            recording.write(Topic::State, cycle, header.wake_ns, &bytes).unwrap();
            if cycle % 15 == 14 {
                recording.flush().unwrap();
            }
        }
        recording.finish().unwrap();
        let bytes = std::fs::read(&target).unwrap();
        let messages = messages(&bytes).into_iter().collect();
        Original { bytes, messages }
    })
}

/// Recovers `bytes`; what it gives must be readable and recorded. Gives the number of messages.
fn recovers(dir: &Path, bytes: &[u8]) -> usize {
    let path = dir.join("b.mcap.part");
    std::fs::write(&path, bytes).unwrap();
    match recover_file(&path) {
        Ok((copy, recovered)) => {
            let copied = messages(&std::fs::read(&copy).unwrap());
            std::fs::remove_file(copy).unwrap();
            assert_eq!(copied.len() as u64, recovered.messages);
            assert!(copied.iter().all(|message| original().messages.contains(message)));
            copied.len()
        }
        Err(error) => {
            let text = format!("{error:#}");
            assert!(text.contains("b.mcap.part") && text.contains("no whole message"), "{text}");
            0
        }
    }
}

fn dir(name: &str) -> PathBuf {
    scratch::fresh_dir(&format!("hostile-{name}"))
}

#[test]
fn a_cut_anywhere_gives_a_growing_part_of_the_recording() {
    let dir = dir("cut");
    let whole = &original().bytes;
    let mut before = 0;
    for cut in (0..=whole.len()).step_by(97).chain([whole.len()]) {
        let count = recovers(&dir, &whole[..cut]);
        assert!(count >= before, "{count} after {before} at {cut}");
        before = count;
    }
    assert_eq!(before, original().messages.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_never_gives_a_message_that_was_not_recorded(
        place in any::<prop::sample::Index>(), change in 1u8..,
    ) {
        let mut bytes = original().bytes.clone();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        recovers(&dir("byte"), &bytes);
    }

    #[test]
    fn any_bytes_after_any_cut_end_in_a_recording_or_one_error(
        cut in any::<prop::sample::Index>(), tail in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let whole = &original().bytes;
        let mut bytes = whole[..cut.index(whole.len())].to_vec();
        bytes.extend(&tail);
        let path = dir("tail").join("c.mcap.part");
        std::fs::write(&path, &bytes).unwrap();
        if let Ok((copy, recovered)) = recover_file(&path) {
            prop_assert_eq!(messages(&std::fs::read(copy).unwrap()).len() as u64, recovered.messages);
        }
    }

    #[test]
    fn forged_records_of_every_opcode_and_length_end_in_a_recording_or_one_error(
        records in prop::collection::vec(
            (0u8..=0x90, prop_oneof![0u64..300, any::<u64>()], prop::collection::vec(any::<u8>(), 0..120)),
            1..8,
        ),
    ) {
        let mut bytes = mcap::MAGIC.to_vec();
        for (opcode, length, body) in records {
            bytes.push(opcode);
            let honest = if length % 2 == 0 { body.len() as u64 } else { length };
            bytes.extend(honest.to_le_bytes());
            bytes.extend(body);
        }
        let path = dir("forged").join("d.mcap.part");
        std::fs::write(&path, &bytes).unwrap();
        if let Ok((copy, _)) = recover_file(&path) {
            prop_assert!(mcap::MessageStream::new(&std::fs::read(copy).unwrap()).is_ok());
        }
    }
}
