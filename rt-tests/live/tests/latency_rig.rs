//! The latency rig's own floor runs, moves and is whole; what it concludes is tested beside its code.
use live_tests::latency::floor;

#[test]
fn a_block_of_the_bare_loop_is_whole_and_its_axes_move() {
    // That they move is what `bare` waits for before it counts.
    let block = floor::bare(1, None).expect("a block");
    assert!(block.latency_ns.len() >= 1_000, "{} cycles", block.latency_ns.len());
    assert_eq!(block.closer_than_half_period, 0);
    assert!(block.cpu_ns > 0 && block.interrupts.timer > 0, "{:?}", block.interrupts);
}
