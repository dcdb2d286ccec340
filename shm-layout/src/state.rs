//! What the machine does: one record per cycle, a header and one `AxisState` per axis.
use crate::record::record;
use crate::{ANALOGUE_CHANNELS, BUSES_MAX, DIGITAL_WORDS, GROUPS_MAX, STAGES};
#[cfg(feature = "iceoryx2")]
use iceoryx2_bb_elementary_traits::zero_copy_send::ZeroCopySend;

record! {
    /// One bus in one cycle.
    BusState as "Kadenz.BusState" {
        /// Kind code (`BusKind`); 0 marks an unused place.
        kind: u32, "-", "BusKind", "kadenzd";
        /// Age of its newest input in cycles; 0 is fresh.
        input_age_cycles: u32, "cycle", "any", "kadenzd";
        /// Frames sent that no answer came to, since start.
        frames_lost: u64, "1", "rising", "kadenzd";
        /// Working counter of the last answer (ETG.1000.4); 0 where the bus has none.
        wkc_actual: u16, "1", "any", "kadenzd";
        /// Working counter the configuration calls for.
        wkc_expected: u16, "1", "any", "kadenzd";
        /// Frames lost in a row.
        lost_in_row: u32, "1", "any", "kadenzd";
    }
}

record! {
    /// One group in one cycle.
    GroupState as "Kadenz.GroupState" {
        /// Axes of the group, bit per axis.
        axis_mask: u64, "-", "bit set", "kadenzd";
        /// Verdict on the group (`Verdict`).
        verdict: u32, "-", "Verdict", "kadenzd";
        /// Why (`Reason`).
        reason: u32, "-", "Reason", "kadenzd";
    }
}

record! {
    /// The machine in one cycle. Followed by `axis_count` `AxisState`.
    StateHeader as "Kadenz.StateHeader" {
        /// Fingerprint of the contract; readers compare before anything else.
        layout_hash: u64, "-", "equals LAYOUT_HASH", "kadenzd";
        /// Major version of the contract.
        version_major: u16, "1", "1", "kadenzd";
        /// Minor version of the contract.
        version_minor: u16, "1", "any", "kadenzd";
        /// Axes that follow.
        axis_count: u16, "1", "1 ..= 64", "kadenzd";
        /// Buses in use.
        bus_count: u16, "1", "1 ..= 4", "kadenzd";
        /// Random number of this life of the daemon.
        daemon_id: u64, "-", "any", "kadenzd";
        /// SHA-256 of the effective configuration.
        config_hash: [u8; 32], "-", "any", "kadenzd";
        /// Number of this pass, from 0, without gaps.
        cycle: u64, "1", "rising by 1", "kadenzd";
        /// Grid point this pass stands for, on the grid of `period_ns`.
        grid_index: u64, "1", "rising", "kadenzd";
        /// When the loop should have woken, CLOCK_MONOTONIC; earlier than its grid point by the periods it was late.
        grid_ns: u64, "ns", "any", "kadenzd";
        /// When it woke, CLOCK_MONOTONIC: the age of this record counts from here.
        wake_ns: u64, "ns", ">= grid_ns", "kadenzd";
        /// Nominal period.
        period_ns: u64, "ns", "50_000 ..= 10_000_000", "kadenzd";
        /// Ends of the stages of the PREVIOUS pass, counted from its wake.
        stage_end_ns: [u32; STAGES], "ns", "any", "kadenzd";
        /// Grid points skipped just before this pass.
        skipped: u32, "cycle", "any", "kadenzd";
        /// Heap allocations of the RT thread since its loop began, saturating; 0 unless it is broken.
        allocations: u32, "1", "rising", "kadenzd";
        /// System calls of the RT thread since its loop began: one per cycle and wait.
        system_calls: u64, "1", "rising", "kadenzd";
        /// System calls outside the RT thread's list, which the kernel refused it; saturating.
        denied_calls: u32, "1", "rising", "kadenzd";
        /// Page faults of the RT thread since its loop began, as last read by the mainland; saturating.
        page_faults: u32, "1", "rising", "kadenzd";
        /// Involuntary context switches of the RT thread, read as above; saturating.
        involuntary_switches: u32, "1", "rising", "kadenzd";
        /// Passes that published after the next grid point, before this one; saturating.
        overruns: u32, "1", "rising", "kadenzd";
        /// Grid points missed within the last second, as `[overrun]` counts them.
        missed_recently: u32, "cycle", "any", "kadenzd";
        /// Phase code (`Phase`).
        phase: u32, "-", "Phase", "kadenzd";
        /// Verdict code (`Verdict`).
        verdict: u32, "-", "Verdict", "kadenzd";
        /// Reason code (`Reason`) of hold or stop.
        reason: u32, "-", "Reason", "kadenzd";
        /// Axis the reason is about; 65535 when it is about none.
        reason_axis: u32, "1", "0 ..= 63 | 65535", "kadenzd";
        /// Bits of `state_flag`.
        flags: u32, "-", "bit set", "kadenzd";
        /// The path under way; 0 when none.
        path_id: u64, "-", "any", "kadenzd";
        /// Path time.
        tau_s: f64, "s", "finite, >= 0", "kadenzd";
        /// Path rate s.
        path_rate: f64, "1", "0 ..= 1", "kadenzd";
        /// Change of the path rate.
        path_rate_slope_s: f64, "1/s", "finite", "kadenzd";
        /// Wanted path rate.
        rate_override: f64, "1", "0 ..= 1", "kadenzd";
        /// Path time of the last accepted knot.
        tau_last_s: f64, "s", "finite, >= tau_s", "kadenzd";
        /// Number of the knot the loop wants next within the path.
        knot_next_index: u64, "1", "rising within a path", "kadenzd";
        /// Knots accepted since start.
        knots_accepted: u64, "1", "rising", "kadenzd";
        /// Knots refused since start.
        knots_refused: u64, "1", "rising", "kadenzd";
        /// Why the last refused knot was refused (`KnotRefusal`).
        knot_refusal: u32, "-", "KnotRefusal", "kadenzd";
        /// Axis of that refusal; 65535 when about none.
        knot_refusal_axis: u32, "1", "0 ..= 63 | 65535", "kadenzd";
        /// Source that holds the lease; 0 when none does.
        source_id: u64, "-", "any", "kadenzd";
        /// Grows each time the lease changes hands.
        lease_generation: u64, "1", "rising", "kadenzd";
        /// Time since the source was last heard.
        source_age_ns: u64, "ns", "any", "kadenzd";
        /// Story the present motion belongs to.
        trace_id: u64, "-", "any", "kadenzd";
        /// Events recorded since start.
        event_count: u64, "1", "rising", "kadenzd";
        /// Digital inputs.
        digital_inputs: [u64; DIGITAL_WORDS], "-", "bit set", "kadenzd";
        /// Digital outputs.
        digital_outputs: [u64; DIGITAL_WORDS], "-", "bit set", "kadenzd";
        /// Analogue inputs, scaled by the configuration.
        analogue_inputs: [f64; ANALOGUE_CHANNELS], "V | A", "finite", "kadenzd";
        /// Analogue outputs.
        analogue_outputs: [f64; ANALOGUE_CHANNELS], "V | A", "finite", "kadenzd";
        /// Buses.
        buses: [BusState; BUSES_MAX], "-", "see BusState", "kadenzd";
        /// Groups.
        groups: [GroupState; GROUPS_MAX], "-", "see GroupState", "kadenzd";
    }
}

record! {
    /// One axis in one cycle.
    AxisState as "Kadenz.AxisState" {
        /// Where the axis shall be at the end of this cycle.
        position_reference: f64, "rad | m", "finite; inside soft limits while enabled", "kadenzd";
        /// Velocity of the reference.
        velocity_reference: f64, "rad/s | m/s", "within limits", "kadenzd";
        /// Acceleration of the reference.
        acceleration_reference: f64, "rad/s^2 | m/s^2", "within limits", "kadenzd";
        /// Torque or force fed forward to the drive.
        torque_feed_forward: f64, "N.m | N", "finite", "kadenzd";
        /// Measured position.
        position_actual: f64, "rad | m", "finite", "kadenzd";
        /// Measured velocity.
        velocity_actual: f64, "rad/s | m/s", "finite", "kadenzd";
        /// Measured torque or force.
        torque_actual: f64, "N.m | N", "finite", "kadenzd";
        /// Reference of two cycles ago less the measured position: what the drive could have reached.
        following_error: f64, "rad | m", "finite", "kadenzd";
        /// Target position as sent, in drive counts (CiA 402 object 607Ah).
        target_counts: i32, "count", "any, wraps", "kadenzd";
        /// Controlword sent (6040h).
        controlword: u16, "-", "CiA 402", "kadenzd";
        /// Statusword received (6041h).
        statusword: u16, "-", "CiA 402", "drive";
        /// Error code received (603Fh).
        error_code: u16, "-", "CiA 402", "drive";
        /// Mode of operation sent (6060h).
        mode: u16, "-", "8 (CSP)", "kadenzd";
        /// Bits of `axis_flag`.
        flags: u32, "-", "bit set", "kadenzd";
        /// Age of the feedback in cycles; 0 is fresh.
        input_age_cycles: u32, "cycle", "any", "kadenzd";
        /// Exchanged every `divisor` cycles.
        divisor: u32, "1", ">= 1", "kadenzd";
        /// Index of its bus.
        bus_index: u16, "1", "0 ..= 3", "kadenzd";
        /// Index of its group.
        group_index: u16, "1", "0 ..= 7", "kadenzd";
        /// Zero.
        reserved: u32, "-", "0", "kadenzd";
        /// Story the reference belongs to.
        trace_id: u64, "-", "any", "kadenzd";
    }
}

/// `reason_axis` and `knot_refusal_axis` when no axis is meant.
pub const NO_AXIS: u32 = 65535;
