//! A binary that is linked and never run: what the RT thread executes each cycle, with a panic
//! handler that names a symbol nobody defines. That it links is the proof.
//!
//! Each root is kept by its address alone, so the optimiser knows nothing about the arguments:
//! what links, links for every machine, every state and every bit in a lane. A panic anywhere
//! behind a root leaves `kadenz_island_can_panic` undefined, an allocation finds no allocator, and
//! the linker refuses either.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "an entry point and an undefined symbol are what this is made of")]

// The loop's lane ends are proved as shipped, from kadenzd's own file; of std they use only what
// core has.
extern crate core as std;

use core::hint::black_box;
use core::panic::PanicInfo;

#[path = "../../../daemon/src/rt/lanes.rs"]
pub mod lanes;
pub mod roots;

unsafe extern "C" {
    /// Deliberately defined nowhere.
    fn kadenz_island_can_panic() -> !;
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    // SAFETY: a program in which this call is reachable does not link, so it is never made.
    unsafe { kadenz_island_can_panic() }
}

/// Keeps a root in the binary without telling the optimiser how it would be called.
macro_rules! keep {
    ($($root:path),* $(,)?) => { $( black_box($root as *const ()); )* };
}

// SAFETY: no other symbol of this name exists; the target has no C runtime.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    keep!(
        roots::island_cycle,
        roots::take_from_lanes,
        roots::record_inputs,
        roots::decode_inputs,
        roots::simulated_exchange,
        roots::publish_in_order,
        roots::read_in_order,
        roots::read_newest,
        roots::take_from_mailbox,
        roots::store_gauge,
    );
    #[cfg(feature = "seeded-defect")]
    keep!(roots::seeded_defect);
    // BOUND: endless by intent; there is nobody to return to.
    loop {
        core::hint::spin_loop();
    }
}
