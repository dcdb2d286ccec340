//! A cycle that is missed by our own doing is counted as such, on a real thread with real time.
use std::thread;
use std::time::Duration;

use kadenzd::boot::attribution::Attribution;
use kadenzd::boot::report::Report;
use kadenzd::rt::Loop;
use kadenzd::rt::bus_sim::SimBus;
use kadenzd::rt::clock::now_ns;
use live_tests::body::{Body, Parts, machine_of};
use servo_core::ports::{Bus, Commands, Feedback};
use shm_layout::AXES_MAX;
use shm_layout::code::Cause;
use shm_layout::health::Health;

/// Work that a stage must not do, ns: three periods.
const TOO_LONG_NS: u64 = 3_000_000;

/// A bus whose exchange runs too long in some cycles.
struct SlowBus {
    inner: SimBus,
    cycle: u64,
    slow: u64,
}

impl Bus for SlowBus {
    fn receive(&mut self, feedback: &mut Feedback) {
        self.inner.receive(feedback);
        self.cycle += 1;
        if self.slow > 0 && self.cycle.is_multiple_of(150) {
            self.slow -= 1;
            let begun_ns = now_ns();
            while now_ns() - begun_ns < TOO_LONG_NS {
                std::hint::spin_loop();
            }
        }
    }
    fn send(&mut self, commands: &Commands, target_counts: &mut [i32; AXES_MAX]) {
        self.inner.send(commands, target_counts);
    }
}

#[test]
fn an_overrun_of_our_own_is_counted_as_our_own() {
    let machine = machine_of(6).expect("the embedded machine");
    let body = Body::new(&machine).expect("lanes");
    let wish = body.wish();
    let Parts { servo, gaps, mainland_gauges, health } = body.into_parts().expect("parts");
    let mut servo = Loop {
        setup: servo.setup,
        state: servo.state,
        bus: SlowBus { inner: servo.bus, cycle: 0, slow: 8 },
        lanes: servo.lanes,
        stats: servo.stats,
        recorder: servo.recorder,
    };
    let (tell, told) = std::sync::mpsc::channel();
    let running = thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).expect("the test listens");
        servo.run();
    });
    let thread_id = told.recv().expect("the loop's thread");
    let mut attribution = Attribution::new(gaps, mainland_gauges, usize::MAX, thread_id);
    let cycles = core::mem::offset_of!(Health, cycles) / 8;
    while health.get(cycles).is_none_or(|cycles| cycles < 1_800) {
        attribution.look();
        // The pace at which kadenzd looks; nothing is concluded from it.
        thread::sleep(Duration::from_millis(20));
    }
    wish.shut_down();
    running.join().expect("the loop ends");
    attribution.finish();
    let place = core::mem::offset_of!(Health, missed_by_cause) / 8;
    let own = health.get(place + Cause::Own.code() as usize).unwrap_or(0);
    // Each of the eight misses two or three grid points; a host that stalls inside one may hide it.
    assert!(own >= 8, "eight overruns of three periods each:\n{}", Report { health: &health });
}
