//! Sealed memory: the only unsafe code and the only system calls of the crate; nothing here knows
//! what the words mean, and nothing here is called once the loop runs.

#![expect(unsafe_code, reason = "mapping shared memory has no safe form")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use crate::error::LaneError;
use crate::word::{View, Word};

const WORD_BYTES: usize = size_of::<Word>();
/// 1 GiB: more is a mistake, and an mlocked machine would notice late.
const WORDS_MAX: usize = 1 << 27;

/// Who may write the memory after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// The owner alone, through the mapping it made before sealing; nobody else ever, root
    /// included: not by mapping, writing, or punching holes. Whoever can read it can have the kernel
    /// collapse it into huge pages (`MADV_COLLAPSE`): nothing of what it says changes, and the owner
    /// pays one minor fault per page, once.
    Outbound,
    /// The peer it is handed to; the owner maps it read-only. Size is fixed; the peer can still
    /// punch holes, which reads as zeros and costs the owner a page fault, or collapse it as above.
    Inbound,
}

impl Sealing {
    fn seals(self) -> SealFlag {
        let size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        match self {
            Self::Outbound => size | SealFlag::F_SEAL_FUTURE_WRITE,
            Self::Inbound => size,
        }
    }
}

/// One sealed memory, mapped and populated. The mapping is never undone: lanes live as long as the
/// process, and so nothing can be left pointing at memory that is gone. Dropping a `Memory` closes
/// the descriptor only. Mainland, before the loop runs; page locking is the caller's `mlockall`.
pub struct Memory {
    name: String,
    sealing: Sealing,
    view: View<'static>,
    writable: Option<&'static [Word]>,
    fd: Option<File>,
}

impl Memory {
    /// Makes memory of `words` words, all zero but for `header` at its front, maps it (outbound:
    /// read-write; inbound: read-only) and seals it. `name` appears in /proc/PID/maps.
    ///
    /// # Errors
    /// [`LaneError::Words`] for a size out of range, [`LaneError::System`] when the kernel
    /// refuses a step, such as too little memory.
    pub fn create(
        name: &str,
        words: usize,
        header: &[u64],
        sealing: Sealing,
    ) -> Result<Self, LaneError> {
        let at = |step, remedy| move |errno: Errno| system(name, step, remedy, errno.into());
        let bytes = words.checked_mul(WORD_BYTES).and_then(NonZeroUsize::new);
        let (Some(bytes), true) = (bytes, words <= WORDS_MAX && header.len() <= words) else {
            let memory = name.to_owned();
            return Err(LaneError::Words { memory, words, words_max: WORDS_MAX });
        };
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
            .map_err(at("memfd_create", "names are at most 249 bytes; check LimitNOFILE"))?;
        // Allocates every page now: a lane that cannot be backed is refused here and is no SIGBUS
        // later. It sets the size as well.
        let length = i64::try_from(bytes.get()).unwrap_or(i64::MAX);
        fallocate(&fd, FallocateFlags::empty(), 0, length)
            .map_err(at("fallocate", "free memory or raise the unit's MemoryMax"))?;
        let file = File::from(fd);
        let image: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
        file.write_all_at(&image, 0)
            .map_err(|error| system(name, "write of the header", "free memory", error))?;
        let map = match sealing {
            Sealing::Outbound => Map::ReadWrite,
            Sealing::Inbound => Map::ReadOnly,
        };
        let words = map_words(name, &file, bytes, map)?;
        // After the mapping: FUTURE_WRITE spares the mappings that exist.
        fcntl(&file, FcntlArg::F_ADD_SEALS(sealing.seals()))
            .map_err(at("sealing", "Linux 5.1 or later is needed"))?;
        check_seals(name, &file, sealing)?;
        Ok(Self::mapped(name, sealing, words, map, Some(file)))
    }

    /// Maps memory received from its owner (outbound: read-only; inbound: read-write) and closes
    /// the descriptor, so that nobody finds it under /proc. `name` is for messages.
    ///
    /// # Errors
    /// [`LaneError::Seals`] or [`LaneError::Bytes`] when the descriptor is not sealed memory of
    /// this kind, [`LaneError::System`] when the kernel refuses a step.
    pub fn open(name: &str, fd: OwnedFd, sealing: Sealing) -> Result<Self, LaneError> {
        let file = File::from(fd);
        // Seals first: only they make the size that is read next a fact.
        check_seals(name, &file, sealing)?;
        let status = nix::sys::stat::fstat(&file)
            .map_err(|errno| system(name, "fstat", "this is a kernel error", errno.into()))?;
        let bytes = usize::try_from(status.st_size)
            .ok()
            .filter(|bytes| bytes % WORD_BYTES == 0 && *bytes <= WORDS_MAX * WORD_BYTES)
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| LaneError::Bytes {
                memory: name.to_owned(),
                bytes: status.st_size,
                bytes_max: WORDS_MAX * WORD_BYTES,
            })?;
        let map = match sealing {
            Sealing::Outbound => Map::ReadOnly,
            Sealing::Inbound => Map::ReadWrite,
        };
        let words = map_words(name, &file, bytes, map)?;
        Ok(Self::mapped(name, sealing, words, map, None))
    }

    fn mapped(
        name: &str,
        sealing: Sealing,
        words: &'static [Word],
        map: Map,
        fd: Option<File>,
    ) -> Self {
        let writable = match map {
            Map::ReadWrite => Some(words),
            Map::ReadOnly => None,
        };
        Self { name: name.to_owned(), sealing, view: View::new(words), writable, fd }
    }

    /// A descriptor to hand to a peer: read-only for outbound memory, read-write for inbound.
    /// Every call gives a new one. Send it and drop it.
    ///
    /// # Errors
    /// [`LaneError::NotOwner`] on memory that was opened, [`LaneError::System`] when no
    /// descriptor or no /proc is to be had.
    pub fn peer_fd(&self) -> Result<OwnedFd, LaneError> {
        let Some(file) = &self.fd else {
            return Err(LaneError::NotOwner { memory: self.name.clone() });
        };
        let fd = match self.sealing {
            // A duplicate would keep the owner's read-write mode; only opening anew drops it.
            Sealing::Outbound => {
                use std::os::fd::AsRawFd;
                File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map(OwnedFd::from)
            }
            Sealing::Inbound => file.as_fd().try_clone_to_owned(),
        };
        fd.map_err(|error| {
            system(&self.name, "descriptor for a peer", "mount /proc; check LimitNOFILE", error)
        })
    }

    /// The words to read. Always there.
    #[must_use]
    pub const fn view(&self) -> View<'static> {
        self.view
    }

    /// The words to write; None on the side that maps the memory read-only.
    #[must_use]
    pub const fn words(&self) -> Option<&'static [Word]> {
        self.writable
    }

    /// The name it was made or opened under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Clone, Copy)]
enum Map {
    ReadOnly,
    ReadWrite,
}

fn map_words(
    name: &str,
    file: &File,
    bytes: NonZeroUsize,
    map: Map,
) -> Result<&'static [Word], LaneError> {
    let protection = match map {
        Map::ReadOnly => ProtFlags::PROT_READ,
        Map::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
    };
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
    // SAFETY: a new mapping at an address of the kernel's choice, so it replaces nothing.
    let mapped = unsafe { mmap(None, bytes, protection, flags, file, 0) };
    let start: NonNull<Word> = mapped
        .map_err(|errno| {
            system(name, "mmap", "free memory or raise LimitMEMLOCK", Errno::into(errno))
        })?
        .cast();
    let words = bytes.get() / WORD_BYTES;
    // SAFETY: `start` is page-aligned, the mapping holds `words` whole words and is never undone,
    // and its file is sealed against shrinking (outbound made here: before anyone else has it), so
    // every access stays backed for 'static. Any bits are a valid word. Other processes write the
    // words at any time, which atomics are for. A read-only mapping leaves this module only as a
    // `View`, which cannot store and loads relaxed, as Rust asks for on read-only memory.
    Ok(unsafe { NonNull::slice_from_raw_parts(start, words).as_ref() })
}

fn check_seals(name: &str, file: &File, sealing: Sealing) -> Result<(), LaneError> {
    let found = fcntl(file, FcntlArg::F_GET_SEALS).map_err(|errno| {
        let remedy = "this descriptor is not sealed memory; take lanes only from kadenzd's socket";
        system(name, "reading its seals", remedy, errno.into())
    })?;
    let needed = sealing.seals().bits();
    // Exactly these: an inbound lane sealed against writing is no inbound lane.
    if found == needed {
        Ok(())
    } else {
        Err(LaneError::Seals { memory: name.to_owned(), found, needed })
    }
}

fn system(
    memory: &str,
    step: &'static str,
    remedy: &'static str,
    source: std::io::Error,
) -> LaneError {
    LaneError::System { memory: memory.to_owned(), step, remedy, source }
}
