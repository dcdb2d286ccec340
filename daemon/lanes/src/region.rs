//! Lanes: a sealed memory together with its layout, from which writers and readers of its regions
//! are taken by name; mainland only, the ends it gives are what the loop uses.

use std::os::fd::OwnedFd;

use crate::broadcast::{BroadcastReader, BroadcastWriter};
use crate::error::LaneError;
use crate::gauge::{GaugeReader, GaugeWriter};
use crate::geometry::{GeometryError, RingGeometry};
use crate::layout::{BLOCK_HEADER_WORDS, Contract, Kind, Layout, Region};
use crate::mailbox::{MailboxReader, MailboxWriter};
use crate::sys::{Memory, Sealing};
use crate::word::{Ordering, View, Word, fence, index, store, word};

/// The regions of one memory, on either side. Outbound: kadenzd takes writers, gateways readers.
/// Inbound: the gateway takes writers, kadenzd readers. The ends outlive this value.
pub struct Lanes {
    memory: Memory,
    layout: Layout,
}

impl Lanes {
    /// Makes the memory for `layout`, with the layout written at its front. Owner's side, kadenzd.
    /// The owner never reads that description again: it goes by its own `layout`.
    ///
    /// # Errors
    /// As [`Memory::create`].
    pub fn create(name: &str, layout: Layout, sealing: Sealing) -> Result<Self, LaneError> {
        let memory = Memory::create(name, layout.words(), &layout.header(), sealing)?;
        Ok(Self { memory, layout })
    }

    /// Opens memory received from its owner, closes the descriptor, and checks the description at
    /// its front in full before use. Peer's side, gateways.
    ///
    /// # Errors
    /// As [`Memory::open`] and [`Layout::parse`].
    pub fn open(
        name: &str,
        fd: OwnedFd,
        sealing: Sealing,
        contract: Contract,
    ) -> Result<Self, LaneError> {
        let memory = Memory::open(name, fd, sealing)?;
        let layout = Layout::parse(memory.view(), contract)?;
        Ok(Self { memory, layout })
    }

    /// A descriptor to hand to a peer, as [`Memory::peer_fd`].
    ///
    /// # Errors
    /// As [`Memory::peer_fd`].
    pub fn peer_fd(&self) -> Result<OwnedFd, LaneError> {
        self.memory.peer_fd()
    }

    /// What stands where.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The one writer of ring `name`. Taking two mixes their records.
    ///
    /// # Errors
    /// [`LaneError::Missing`], or [`LaneError::ReadOnly`] on the reading side.
    pub fn ring_writer(&self, name: &str) -> Result<BroadcastWriter<'static>, LaneError> {
        let (region, words) = self.words(name, Kind::Ring)?;
        BroadcastWriter::new(words, geometry(region)?).map_err(|source| in_region(name, source))
    }

    /// A reader of ring `name` from now on.
    ///
    /// # Errors
    /// [`LaneError::Missing`].
    pub fn ring_reader(&self, name: &str) -> Result<BroadcastReader<'static>, LaneError> {
        let (region, view) = self.view(name, Kind::Ring)?;
        BroadcastReader::new(view, geometry(region)?).map_err(|source| in_region(name, source))
    }

    /// Slots and record size of ring or mailbox `name`, to size buffers.
    ///
    /// # Errors
    /// [`LaneError::Missing`].
    pub fn geometry(&self, name: &str) -> Result<RingGeometry, LaneError> {
        let ring = self.layout.find(name, Kind::Ring);
        geometry(ring.or_else(|_| self.layout.find(name, Kind::Mailbox))?)
    }

    /// The one writer of mailbox `name`.
    ///
    /// # Errors
    /// [`LaneError::Missing`], or [`LaneError::ReadOnly`] on the reading side.
    pub fn mailbox_writer(&self, name: &str) -> Result<MailboxWriter<'static>, LaneError> {
        let (region, words) = self.words(name, Kind::Mailbox)?;
        MailboxWriter::new(words, region.payload_words).map_err(|source| in_region(name, source))
    }

    /// The reader of mailbox `name`.
    ///
    /// # Errors
    /// [`LaneError::Missing`].
    pub fn mailbox_reader(&self, name: &str) -> Result<MailboxReader<'static>, LaneError> {
        let (region, view) = self.view(name, Kind::Mailbox)?;
        MailboxReader::new(view, region.payload_words).map_err(|source| in_region(name, source))
    }

    /// The one writer of gauge page `name`.
    ///
    /// # Errors
    /// [`LaneError::Missing`], or [`LaneError::ReadOnly`] on the reading side.
    pub fn gauge_writer(&self, name: &str) -> Result<GaugeWriter<'static>, LaneError> {
        let (_, words) = self.words(name, Kind::Gauges)?;
        GaugeWriter::new(words).map_err(|source| in_region(name, source))
    }

    /// A reader of gauge page `name`.
    ///
    /// # Errors
    /// [`LaneError::Missing`].
    pub fn gauge_reader(&self, name: &str) -> Result<GaugeReader<'static>, LaneError> {
        let (_, view) = self.view(name, Kind::Gauges)?;
        GaugeReader::new(view).map_err(|source| in_region(name, source))
    }

    /// Writes the content of block `name`; once, before any descriptor is handed out.
    ///
    /// # Errors
    /// [`LaneError::Missing`], [`LaneError::ReadOnly`] on the reading side, or
    /// [`LaneError::Geometry`] when the content is longer than the block.
    pub fn write_block(&self, name: &str, content: &[u64]) -> Result<(), LaneError> {
        let (region, words) = self.words(name, Kind::Block)?;
        let too_small = || {
            let (words, needed) = (region.payload_words, content.len());
            in_region(name, GeometryError::TooSmall { words, needed })
        };
        // The region is rounded up to whole lines; the block is what was asked for.
        let [length, room @ ..] = words else { return Err(too_small()) };
        let room = room.get(..region.payload_words).ok_or_else(too_small)?;
        store(room, content).ok_or_else(too_small)?;
        // ORDERING: release: who reads this length reads the whole content.
        length.store(word(content.len()), Ordering::Release);
        Ok(())
    }

    /// The content of block `name`; empty before it was written.
    ///
    /// # Errors
    /// [`LaneError::Missing`], or [`LaneError::Header`] when the length in it cannot be.
    pub fn read_block(&self, name: &str) -> Result<Vec<u64>, LaneError> {
        let (region, view) = self.view(name, Kind::Block)?;
        let length = view.word(0).unwrap_or(0);
        // ORDERING: acquire, pairs with the release store of the length.
        fence(Ordering::Acquire);
        let room = region.payload_words;
        let wrong = || LaneError::Header {
            place: format!("block \"{name}\": length (at most)"),
            found: length,
            expected: word(room),
        };
        if index(length) > room {
            return Err(wrong());
        }
        let mut content = vec![0; index(length)];
        if view.copy_to(BLOCK_HEADER_WORDS, &mut content) { Ok(content) } else { Err(wrong()) }
    }

    fn view(&self, name: &str, kind: Kind) -> Result<(&Region, View<'static>), LaneError> {
        let region = self.layout.find(name, kind)?;
        let view = self.memory.view().part(region.start, region.words);
        Ok((region, view.ok_or_else(|| self.outside(region))?))
    }

    fn words(&self, name: &str, kind: Kind) -> Result<(&Region, &'static [Word]), LaneError> {
        let region = self.layout.find(name, kind)?;
        let words =
            self.memory.words().ok_or_else(|| LaneError::ReadOnly { region: name.to_owned() })?;
        let words = words.get(region.start..).and_then(|rest| rest.get(..region.words));
        Ok((region, words.ok_or_else(|| self.outside(region))?))
    }

    fn outside(&self, region: &Region) -> LaneError {
        let (words, needed) = (self.memory.view().len(), region.start + region.words);
        in_region(&region.name, GeometryError::TooSmall { words, needed })
    }
}

fn geometry(region: &Region) -> Result<RingGeometry, LaneError> {
    RingGeometry::new(region.slots, region.payload_words)
        .map_err(|source| in_region(&region.name, source))
}

fn in_region(region: &str, source: GeometryError) -> LaneError {
    LaneError::Geometry { region: region.to_owned(), source }
}
