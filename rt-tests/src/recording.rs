//! The replay gate: inputs of every cycle are encoded, decoded and fed to a second island at once,
//! and the first of them are kept as the file that `kadenzd --record` would have written.
use anyhow::{Context, ensure};
use kadenz_config::Machine;
use kadenzd::boot::recorder::header;
use servo_core::inputs::{Entry, Outcome, Replay, Shape, WORDS_MAX, decode, encode, whole_record};
use servo_core::ports::NoStopwatch;
use servo_core::setup::Setup;
use servo_core::{State, cycle, record};
use shm_layout::STAGES;

use crate::island::Island;

/// The second island and the file.
pub struct Recording {
    setup: Setup,
    twin: Box<State>,
    words: Vec<u64>,
    file: Vec<u8>,
    file_bytes_max: usize,
    header_bytes: usize,
    /// FNV-1a over the digests of all cycles: the run's fingerprint.
    pub fingerprint: u64,
}

impl Recording {
    /// Records a run of `machine`; the file takes whole cycles up to `file_bytes_max`.
    #[must_use]
    pub fn new(machine: &Machine, setup: &Setup, file_bytes_max: usize) -> Self {
        let words = header(machine, setup).to_words();
        let file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self {
            setup: *setup,
            twin: Box::new(State::new()),
            words: vec![0; WORDS_MAX],
            header_bytes: file.len(),
            file,
            file_bytes_max,
            fingerprint: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Takes the inputs of the pass that `island` has just made and replays them.
    ///
    /// # Errors
    /// The inputs do not survive their encoding, or the second island decided otherwise.
    pub fn take(&mut self, island: &Island) -> anyhow::Result<()> {
        let (setup, state) = (&self.setup, &island.state);
        let outcome = Outcome::of(setup, state, [0; STAGES]);
        let digest = outcome.digest;
        let entry = Entry::of(state, &island.wake, &outcome);
        let length = encode(Shape::of(setup), &entry, &mut self.words)
            .context("the inputs of a cycle do not fit their record")?;
        let words = &self.words[..length];
        if self.file.len() + 8 * length <= self.file_bytes_max {
            self.file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        } else {
            // Whole cycles from the first on: nothing may follow a gap.
            self.file_bytes_max = 0;
        }
        let inputs =
            decode(Shape::of(setup), words).context("an encoded cycle cannot be decoded")?;
        let wake = inputs.wake;
        let (mut bus, mut lanes) = (Replay { inputs: &inputs }, Replay { inputs: &inputs });
        cycle(setup, &mut self.twin, &wake, &mut bus, &mut lanes, &mut NoStopwatch);
        let replayed = record::digest(setup, &self.twin);
        ensure!(replayed == digest, "replay diverges: {replayed:#018x} is not {digest:#018x}");
        self.fingerprint = (self.fingerprint ^ digest).wrapping_mul(0x0100_0000_01b3);
        Ok(())
    }

    /// The file as written so far.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The file with one bit of one knot flipped and its checksum made right again: the seeded defect that replay must find.
    ///
    /// `None` when no recorded cycle brought a knot.
    #[must_use]
    pub fn file_with_a_defect(&self) -> Option<Vec<u8>> {
        let shape = Shape::of(&self.setup);
        let mut file = self.file.clone();
        let mut start = self.header_bytes;
        while start < file.len() {
            let (chunks, _) = file.get(start..)?.as_chunks::<8>();
            let rest: Vec<u64> =
                chunks.iter().take(WORDS_MAX).map(|bytes| u64::from_le_bytes(*bytes)).collect();
            let length = whole_record(&rest)?;
            let mut words = rest.get(..length)?.to_vec();
            let mut inputs = decode(shape, &words)?;
            // The second knot of a path: the first must stand where the axes are.
            if inputs.intake.knot_count > 1 && inputs.intake.knots[0].index == 0 {
                let axis = &mut inputs.intake.knots[1].axes[0];
                axis.position = f64::from_bits(axis.position.to_bits() ^ (1 << 20));
                encode(shape, &inputs.entry(), &mut words)?;
                let changed = words.iter().flat_map(|word| word.to_le_bytes());
                file.splice(start..start + 8 * length, changed);
                return Some(file);
            }
            start += 8 * length;
        }
        None
    }
}
