//! What stands before the first record: which daemon, which machine, which clocks; read back number by number.
use kadenz_lanes::RingGeometry;
use servo_core::crc::checksum;
use servo_core::inputs::{FORMAT_VERSION, Shape};
use shm_layout::{AXES_MAX, BUSES_MAX, LAYOUT_HASH};

use crate::RecordingError;

/// "KADENZRC", first byte first in the file.
const MAGIC: u64 = u64::from_le_bytes(*b"KADENZRC");
const FIXED_WORDS: usize = 16;
/// Word of the checksum over all words of the header, itself taken as 0.
const CRC_WORD: usize = 14;
/// A ring's slots begin on a page.
const PAGE_WORDS: usize = 512;
/// Far above any configuration, far below what a hostile length could make us allocate.
const CONFIG_BYTES_MAX: u64 = 1 << 22;

/// One instant on both clocks, and the boot that CLOCK_MONOTONIC belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// `/proc/sys/kernel/random/boot_id`; 0 when it cannot be read.
    pub boot_id: u128,
    /// CLOCK_REALTIME, ns since 1970.
    pub realtime_ns: u64,
    /// CLOCK_MONOTONIC, ns.
    pub monotonic_ns: u64,
}

impl Moment {
    /// CLOCK_REALTIME at the CLOCK_MONOTONIC time `monotonic_ns`, if the wall clock was not set in between.
    #[must_use]
    pub fn wall_ns(&self, monotonic_ns: u64) -> i128 {
        i128::from(self.realtime_ns) + i128::from(monotonic_ns) - i128::from(self.monotonic_ns)
    }
}

/// What stands before the first record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Contract the recording daemon was built with.
    pub layout_hash: u64,
    /// Life of the daemon.
    pub daemon_id: u64,
    /// Nominal period, ns.
    pub period_ns: u64,
    /// Axes and buses of the machine.
    pub shape: Shape,
    /// When the file was begun.
    pub begun: Moment,
    /// Slots and their size; `None` in a saved file.
    pub ring: Option<RingGeometry>,
    /// The machine's effective configuration (TOML).
    pub config: String,
}

impl Header {
    /// The words of this header, as they stand at the front of the file.
    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        let text = self.config.as_bytes();
        let unit = if self.ring.is_some() { PAGE_WORDS } else { 1 };
        let length = (FIXED_WORDS + text.len().div_ceil(8)).next_multiple_of(unit);
        let (slots, payload_words) =
            self.ring.map_or((0, 0), |ring| (ring.slots() as u64, ring.payload_words() as u64));
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
        let mut words = vec![
            MAGIC,
            FORMAT_VERSION,
            length as u64,
            self.layout_hash,
            self.daemon_id,
            self.period_ns,
            ((self.shape.axis_count as u64) << 32) | self.shape.bus_count as u64,
            slots,
            payload_words,
            (self.begun.boot_id >> 64) as u64,
            self.begun.boot_id as u64,
            self.begun.realtime_ns,
            self.begun.monotonic_ns,
            text.len() as u64,
        ];
        words.resize(length, 0);
        for (word, bytes) in words[FIXED_WORDS..].iter_mut().zip(text.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(padded);
        }
        words[CRC_WORD] = checksum(&words);
        words
    }

    /// Words of the header that `words` begin with.
    ///
    /// # Errors
    /// It is no header of this version, or it is cut off.
    fn length(words: &[u64]) -> Result<usize, RecordingError> {
        let word = |place: usize| words.get(place).copied().unwrap_or(0);
        if word(0) != MAGIC {
            return Err(RecordingError::Magic);
        }
        if word(1) != FORMAT_VERSION {
            return Err(RecordingError::Version { found: word(1), expected: FORMAT_VERSION });
        }
        let length = word(2);
        let longest = FIXED_WORDS as u64 + CONFIG_BYTES_MAX / 8 + PAGE_WORDS as u64;
        if !(FIXED_WORDS as u64..=longest).contains(&length) {
            return Err(RecordingError::Damaged);
        }
        let cut_off =
            RecordingError::CutOff { found: words.len() as u64 * 8, expected: length * 8 };
        usize::try_from(length).ok().filter(|length| *length <= words.len()).ok_or(cut_off)
    }

    /// Reads the header that `words` begin with; gives it and its length in words.
    ///
    /// # Errors
    /// Every reason why it cannot be believed.
    pub fn parse(words: &[u64]) -> Result<(Self, usize), RecordingError> {
        let length = Self::length(words)?;
        let mut head = words[..length].to_vec();
        let crc = std::mem::take(&mut head[CRC_WORD]);
        if crc != checksum(&head) {
            return Err(RecordingError::Damaged);
        }
        let text_bytes = head[13];
        let text: Vec<u8> =
            head[FIXED_WORDS..].iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = usize::try_from(text_bytes).ok().and_then(|count| text.get(..count));
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let config = text.ok_or(RecordingError::Range {
            what: "length of the configuration",
            value: text_bytes,
        })?;
        let shape = Shape {
            axis_count: within("number of axes", head[6] >> 32, AXES_MAX)?,
            bus_count: within("number of buses", head[6] & 0xffff_ffff, BUSES_MAX)?,
        };
        let slots = within("number of slots", head[7], usize::MAX)?;
        let payload_words = within("words per record", head[8], usize::MAX)?;
        let ring =
            match slots {
                0 => None,
                _ => Some(RingGeometry::new(slots, payload_words).map_err(|_| {
                    RecordingError::Range { what: "number of slots", value: head[7] }
                })?),
            };
        let header = Self {
            layout_hash: head[3],
            daemon_id: head[4],
            period_ns: head[5],
            shape,
            begun: Moment {
                boot_id: (u128::from(head[9]) << 64) | u128::from(head[10]),
                realtime_ns: head[11],
                monotonic_ns: head[12],
            },
            ring,
            config: config.to_owned(),
        };
        Ok((header, length))
    }

    /// Whether records can be understood by this build.
    ///
    /// # Errors
    /// [`RecordingError::Contract`].
    pub fn check_contract(&self) -> Result<(), RecordingError> {
        match self.layout_hash {
            LAYOUT_HASH => Ok(()),
            found => Err(RecordingError::Contract { found }),
        }
    }
}

fn within(what: &'static str, value: u64, max: usize) -> Result<usize, RecordingError> {
    let number = usize::try_from(value).ok().filter(|number| *number <= max);
    number.ok_or(RecordingError::Range { what, value })
}
