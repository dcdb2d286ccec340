//! What the kernel refuses to whoever holds a lane's descriptor, root included, and what a reader
//! sees when it does not refuse.

#![expect(unsafe_code, reason = "tries the mappings and advice that the seals must refuse")]
#![expect(clippy::unwrap_used, reason = "a lane that cannot be set up fails its test")]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use kadenz_lanes::{Contract, LaneError, Lanes, Layout, Memory, Read, Sealing, Word};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap};

const CONTRACT: Contract = Contract { layout_hash: 0xfeed, version: 1 };
const PAGE_WORDS: usize = 512;

fn outbound() -> Lanes {
    let layout = Layout::new(CONTRACT)
        .ring("state", 8, 4)
        .and_then(|layout| layout.gauges("gauges", 20))
        .and_then(|layout| layout.block("catalog", 13))
        .unwrap();
    Lanes::create("out", layout, Sealing::Outbound).unwrap()
}

fn inbound() -> (Lanes, Lanes) {
    let layout = Layout::new(CONTRACT)
        .mailbox("source0", 6)
        .and_then(|layout| layout.ring("requests", 8, 4))
        .and_then(|layout| layout.gauges("health", 1))
        .unwrap();
    let owner = Lanes::create("in", layout, Sealing::Inbound).unwrap();
    let peer = Lanes::open("in", owner.peer_fd().unwrap(), Sealing::Inbound, CONTRACT).unwrap();
    (owner, peer)
}

fn reopened_for_writing(fd: &OwnedFd) -> File {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn map(file: &File, protection: ProtFlags) -> Result<NonNull<nix::libc::c_void>, Errno> {
    let length = NonZeroUsize::new(PAGE_WORDS * 8).unwrap();
    // SAFETY: a new mapping at an address of the kernel's choice; never dereferenced, never undone.
    unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0) }
}

fn punch(file: &File, bytes: usize) -> Result<(), Errno> {
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(file, mode, 0, i64::try_from(bytes).unwrap())
}

#[test]
fn an_outbound_lane_carries_records_gauges_and_catalog_to_a_reader_that_cannot_write() {
    let owner = outbound();
    owner.write_block("catalog", &[3, 1, 4]).unwrap();
    let peer = Lanes::open("out", owner.peer_fd().unwrap(), Sealing::Outbound, CONTRACT).unwrap();
    assert_eq!(peer.layout(), owner.layout());
    assert_eq!(peer.read_block("catalog").unwrap(), [3, 1, 4]);

    let mut reader = peer.ring_reader("state").unwrap();
    owner.ring_writer("state").unwrap().publish(&[&[1], &[2, 3]]);
    let mut out = [0; 4];
    assert_eq!(reader.read_next(&mut out), Read::Record { sequence: 0, words: 3 });
    assert_eq!(out, [1, 2, 3, 0]);
    owner.gauge_writer("gauges").unwrap().add(19, 5);
    assert_eq!(peer.gauge_reader("gauges").unwrap().get(19), Some(5));

    assert!(matches!(peer.ring_writer("state"), Err(LaneError::ReadOnly { .. })));
    assert!(matches!(peer.write_block("catalog", &[1]), Err(LaneError::ReadOnly { .. })));
    let too_long = owner.write_block("catalog", &[0; 14]).unwrap_err().to_string();
    assert_eq!(too_long, "lane region \"catalog\": 13 words of memory given; the lane needs 14");
}

#[test]
fn an_inbound_lane_carries_knots_requests_and_a_heartbeat_to_an_owner_that_cannot_write() {
    let (owner, peer) = inbound();
    let mut taker = owner.mailbox_reader("source0").unwrap();
    let mut requests = owner.ring_reader("requests").unwrap();
    peer.mailbox_writer("source0").unwrap().post(&[&[1, 2, 3]]);
    peer.ring_writer("requests").unwrap().publish(&[&[4]]);
    peer.gauge_writer("health").unwrap().set(0, 77);

    let mut out = [0; 3];
    let ticket = taker.latest().unwrap();
    assert!(taker.read_at(ticket, 0, &mut out));
    assert_eq!(out, [1, 2, 3]);
    assert_eq!(requests.read_next(&mut [0; 4]), Read::Record { sequence: 0, words: 1 });
    assert_eq!(owner.gauge_reader("health").unwrap().get(0), Some(77));
    assert!(matches!(owner.mailbox_writer("source0"), Err(LaneError::ReadOnly { .. })));
}

#[test]
fn nobody_maps_an_outbound_lane_writable_even_after_opening_it_anew_for_writing() {
    let owner = outbound();
    let file = reopened_for_writing(&owner.peer_fd().unwrap());
    let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    assert_eq!(map(&file, both).err(), Some(Errno::EPERM));

    let readable = map(&file, ProtFlags::PROT_READ).unwrap();
    // SAFETY: a mapping of this test's own, of this length, that nothing refers to.
    let raised = unsafe { nix::sys::mman::mprotect(readable, PAGE_WORDS * 8, both) };
    assert_eq!(raised.err(), Some(Errno::EACCES));
}

#[test]
fn nobody_writes_punches_or_resizes_an_outbound_lane_and_its_owner_goes_on_writing() {
    let owner = outbound();
    let mut reader = owner.ring_reader("state").unwrap();
    let mut file = reopened_for_writing(&owner.peer_fd().unwrap());
    let eperm = Some(Errno::EPERM as i32);
    assert_eq!(file.write_all(&[0xff; 8]).unwrap_err().raw_os_error(), eperm);
    assert_eq!(file.write_all_at(&[0xff; 8], 64).unwrap_err().raw_os_error(), eperm);
    assert_eq!(punch(&file, 4096).err(), Some(Errno::EPERM));
    assert_eq!(file.set_len(0).unwrap_err().raw_os_error(), eperm);
    assert_eq!(file.set_len(1 << 20).unwrap_err().raw_os_error(), eperm);
    let zero = fallocate(&file, FallocateFlags::FALLOC_FL_ZERO_RANGE, 0, 4096);
    assert!(zero.is_err());
    let seal = nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_ADD_SEALS(nix::fcntl::SealFlag::F_SEAL_WRITE),
    );
    assert_eq!(seal.err(), Some(Errno::EPERM));

    owner.ring_writer("state").unwrap().publish(&[&[8]]);
    assert_eq!(reader.read_next(&mut [0; 4]), Read::Record { sequence: 0, words: 1 });
}

#[test]
fn the_descriptor_handed_out_for_an_outbound_lane_cannot_write() {
    let owner = outbound();
    let file = File::from(owner.peer_fd().unwrap());
    let refused = file.write_all_at(&[0xff; 8], 0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::EBADF as i32));
    let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    assert_eq!(map(&file, both).err(), Some(Errno::EACCES));
}

#[test]
fn an_inbound_lane_keeps_its_size_and_its_seals() {
    let (owner, _peer) = inbound();
    let file = File::from(owner.peer_fd().unwrap());
    let eperm = Some(Errno::EPERM as i32);
    assert_eq!(file.set_len(0).unwrap_err().raw_os_error(), eperm);
    assert_eq!(file.set_len(1 << 20).unwrap_err().raw_os_error(), eperm);
    let seal = nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_ADD_SEALS(nix::fcntl::SealFlag::F_SEAL_WRITE),
    );
    assert_eq!(seal.err(), Some(Errno::EPERM));
}

/// Posts, destroys the memory with `destroy`, and shows that the owner's ends survive and that the
/// next post arrives.
fn survives(destroy: impl FnOnce(&File, usize)) {
    let (owner, peer) = inbound();
    let file = File::from(owner.peer_fd().unwrap());
    let bytes = owner.layout().words() * 8;
    let mut taker = owner.mailbox_reader("source0").unwrap();
    let mut requests = owner.ring_reader("requests").unwrap();
    let mut poster = peer.mailbox_writer("source0").unwrap();
    let mut asker = peer.ring_writer("requests").unwrap();
    poster.post(&[&[1, 2, 3]]);
    asker.publish(&[&[4]]);
    let ticket = taker.latest().unwrap();
    assert_eq!(requests.read_next(&mut [0; 4]), Read::Record { sequence: 0, words: 1 });

    destroy(&file, bytes);

    let mut out = [0; 3];
    assert!(!taker.read_at(ticket, 0, &mut out), "a hole is not a record");
    assert_eq!(taker.latest(), None);
    assert_eq!(requests.read_next(&mut [0; 4]), Read::Lost { count: 1 });
    assert_eq!(requests.read_next(&mut [0; 4]), Read::Empty);

    poster.post(&[&[5, 6, 7]]);
    let ticket = taker.latest().unwrap();
    assert!(taker.read_at(ticket, 0, &mut out));
    assert_eq!(out, [5, 6, 7]);
}

#[test]
fn a_hole_punched_into_an_inbound_lane_reads_as_nothing_and_the_next_post_arrives() {
    survives(|file, bytes| punch(file, bytes).unwrap());
}

#[test]
fn pages_removed_from_an_inbound_lane_read_as_nothing_and_the_next_post_arrives() {
    survives(|file, bytes| {
        let length = NonZeroUsize::new(bytes).unwrap();
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; never dereferenced.
        let mapped = unsafe { mmap(None, length, both, MapFlags::MAP_SHARED, file, 0) }.unwrap();
        // SAFETY: a mapping of this test's own; the file's other mappings are atomics that may
        // change to zero at any time.
        unsafe { madvise(mapped, bytes, MmapAdvise::MADV_REMOVE) }.unwrap();
    });
}

#[test]
fn memory_without_the_right_seals_is_refused_in_words() {
    let (owner, _peer) = inbound();
    let error = Memory::open("view", owner.peer_fd().unwrap(), Sealing::Outbound).err().unwrap();
    assert!(
        error.to_string().starts_with("lane memory \"view\": seals 0x7, needed 0x17;"),
        "{error}"
    );
    let error =
        Memory::open("view", outbound().peer_fd().unwrap(), Sealing::Inbound).err().unwrap();
    assert!(error.to_string().contains("seals 0x17, needed 0x7"), "{error}");
    let plain = File::open("/proc/self/exe").unwrap();
    let error = Memory::open("view", plain.into(), Sealing::Outbound).err().unwrap();
    assert!(error.to_string().contains("this descriptor is not sealed memory"), "{error}");
}

#[test]
fn memory_of_no_size_or_too_much_is_refused_before_it_is_made() {
    for words in [0, 1 << 40, usize::MAX] {
        let error = Memory::create("huge", words, &[], Sealing::Outbound).err().unwrap();
        assert!(error.to_string().contains("1 to 134217728 words are possible"), "{error}");
    }
    let error = Memory::create("small", 1, &[1, 2], Sealing::Outbound).err().unwrap();
    assert!(matches!(error, LaneError::Words { words: 1, .. }), "{error}");
}

#[test]
fn sealed_memory_that_is_no_lane_is_refused_by_its_header() {
    let memory = Memory::create("other", 4096, &[1, 2, 3], Sealing::Outbound).unwrap();
    let fd = memory.peer_fd().unwrap();
    let error = Lanes::open("view", fd, Sealing::Outbound, CONTRACT).err().unwrap();
    assert!(error.to_string().starts_with("lane header, magic: found 0x1"), "{error}");
    let memory = Memory::create("tiny", 4, &[], Sealing::Outbound).unwrap();
    let fd = memory.peer_fd().unwrap();
    let error = Lanes::open("view", fd, Sealing::Outbound, CONTRACT).err().unwrap();
    assert!(error.to_string().starts_with("lane header, mapped words"), "{error}");
}

#[test]
fn a_header_scribbled_by_a_peer_does_not_reach_the_owner() {
    let layout = Layout::new(CONTRACT).ring("requests", 2, 1).unwrap();
    let owner = Lanes::create("in", layout, Sealing::Inbound).unwrap();
    let peer = Memory::open("in", owner.peer_fd().unwrap(), Sealing::Inbound).unwrap();
    let words: &[Word] = peer.words().unwrap();
    for word in words {
        word.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    }
    assert_eq!(owner.geometry("requests").unwrap().slots(), 2);
    assert!(owner.ring_reader("requests").is_ok());
    let fd = owner.peer_fd().unwrap();
    assert!(Lanes::open("in", fd, Sealing::Inbound, CONTRACT).is_err());
}

#[test]
fn only_the_owner_hands_out_descriptors() {
    let (_owner, peer) = inbound();
    let error = peer.peer_fd().err().unwrap();
    assert!(error.to_string().contains("its descriptor was closed after mapping"), "{error}");
}
