//! Every code of the contract: the numbers on the wire and the words people read.

/// Declares a code set: a `repr(u32)` enum with `TryFrom<u32>`, since any bits may arrive.
macro_rules! codes {
    ($(#[doc = $doc:literal])* $name:ident { $( $(#[doc = $vdoc:literal])* $variant:ident = $value:literal, $word:literal; )* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name { $( $(#[doc = $vdoc])* $variant = $value, )* }

        impl $name {
            /// All codes, with the word people read and the meaning.
            pub const ALL: &'static [($name, &'static str, &'static [&'static str])] =
                &[ $( ($name::$variant, $word, &[$($vdoc),*]), )* ];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u32 { self as u32 }

            /// The word people read and scripts match.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( $name::$variant => $word, )* }
            }

            /// The word behind a number from the wire, or `unknown`.
            #[must_use]
            pub fn word_of(code: u32) -> &'static str {
                $name::try_from(code).map_or("unknown", $name::word)
            }
        }

        impl TryFrom<u32> for $name {
            type Error = u32;
            fn try_from(code: u32) -> Result<Self, u32> {
                match code { $( $value => Ok($name::$variant), )* other => Err(other) }
            }
        }
    };
}

codes! {
    /// What the guard lets motion do in a cycle. Within a cycle it only narrows.
    Verdict {
        /// Follow the path at the wanted rate.
        Follow = 0, "follow";
        /// Brake path time to zero on the path, then repeat the position.
        Hold = 1, "hold";
        /// Motion ends: on the path where it can, off the path where it must. Latched.
        Stop = 2, "stop";
    }
}

codes! {
    /// Where the machine stands between power-off and motion.
    Phase {
        /// No axis holds torque; references follow the measured positions.
        Disabled = 0, "disabled";
        /// Drives are being brought to Operation enabled.
        Enabling = 1, "enabling";
        /// All axes are enabled and at rest.
        Standstill = 2, "standstill";
        /// Axes move or a path is under way.
        Moving = 3, "moving";
        /// A stop is being carried out.
        Stopping = 4, "stopping";
        /// At rest with a latched stop; an `enable` request clears it.
        Stopped = 5, "stopped";
        /// Drives are being taken out of Operation enabled.
        Disabling = 6, "disabling";
    }
}

codes! {
    /// Why motion ended or holds.
    Reason {
        /// Nothing holds or stops the machine.
        None = 0, "none";
        /// A client asked for a hold.
        HoldRequest = 1, "hold-request";
        /// The source fell silent and the path ran out of knots, or another source took its place.
        SourceSilent = 2, "source-silent";
        /// The last accepted knot is near: waiting on the path for more.
        HorizonShort = 3, "horizon-short";
        /// A client asked for a stop.
        StopRequest = 10, "stop-request";
        /// The daemon is ending.
        Shutdown = 11, "shutdown";
        /// A disable was asked for while moving.
        DisableRequest = 12, "disable-request";
        /// A drive reports a fault.
        DriveFault = 20, "drive-fault";
        /// A drive left Operation enabled by itself.
        DriveLeftOperation = 21, "drive-left-operation";
        /// A drive did not reach Operation enabled in time.
        EnableTimeout = 22, "enable-timeout";
        /// Following error outside its window for its time.
        FollowingError = 23, "following-error";
        /// Feedback older than its bound.
        FeedbackStale = 24, "feedback-stale";
        /// Feedback is not a finite number.
        FeedbackInvalid = 25, "feedback-invalid";
        /// More frames lost in a row than the bus may lose.
        BusLost = 26, "bus-lost";
        /// More cycles were missed within a second than `[overrun]` allows.
        CyclesMissed = 27, "cycles-missed";
        /// The last stage had to replace a reference that broke a limit.
        LimitEnforced = 30, "limit-enforced";
        /// The loop's thread tried a system call outside its list; the kernel refused it.
        DeniedCall = 31, "denied-call";
    }
}

codes! {
    /// What a client asks of the machine.
    RequestKind {
        /// Clear a latched stop, reset drive faults, bring all drives to Operation enabled (`value` 1
        /// acknowledges that the host has changed, 0 does not).
        Enable = 1, "enable";
        /// Stop if moving, then take torque off.
        Disable = 2, "disable";
        /// Brake to rest on the path and wait.
        Hold = 3, "hold";
        /// Go on along the path.
        Resume = 4, "resume";
        /// Brake to rest on the path and drop the rest of it.
        Stop = 5, "stop";
        /// Set the wanted path rate (`value`, 0 ..= 1).
        Override = 6, "override";
    }
}

codes! {
    /// The answer to a request.
    Outcome {
        /// Done, or under way and sure to be reported.
        Accepted = 0, "accepted";
        /// Its deadline had passed when the loop saw it.
        Expired = 1, "expired";
        /// Unknown kind, or a value outside its range.
        Malformed = 2, "malformed";
        /// Axes are not enabled.
        NotEnabled = 3, "not-enabled";
        /// A latched stop must be cleared by `enable` first.
        StopLatched = 4, "stop-latched";
        /// Axes move; ask for hold or stop first.
        Moving = 5, "moving";
        /// The daemon is ending.
        ShuttingDown = 8, "shutting-down";
        /// Feedback is missing or stale.
        FeedbackStale = 9, "feedback-stale";
        /// Nothing to do: it is so already.
        Already = 10, "already";
        /// The host is not the one that was judged: `enable` takes an acknowledgement.
        HostChanged = 11, "host-changed";
    }
}

codes! {
    /// Why a knot was refused.
    KnotRefusal {
        /// Nothing was refused.
        None = 0, "none";
        /// A value is not a finite number.
        NotFinite = 1, "not-finite";
        /// Path time does not rise, or by too little or too much.
        TimeStep = 2, "time-step";
        /// The segment leaves the soft limits.
        Position = 3, "position";
        /// The segment breaks the velocity limit.
        Velocity = 4, "velocity";
        /// The segment breaks the acceleration limit.
        Acceleration = 5, "acceleration";
        /// The segment breaks the jerk limit.
        Jerk = 6, "jerk";
        /// The segment leaves no room to brake on the path.
        NoBrakingRoom = 7, "no-braking-room";
        /// The first knot is not where the axes stand, at rest.
        NotAtStart = 8, "not-at-start";
        /// The last knot is not at rest.
        NotAtRest = 9, "not-at-rest";
        /// The batch is malformed: counts, version or axis mask.
        Malformed = 10, "malformed";
        /// The batch does not join the knots already accepted.
        Gap = 11, "gap";
        /// The machine does not take knots now (disabled, held or stopped).
        NotReady = 12, "not-ready";
    }
}

codes! {
    /// What happened, in an event.
    EventKind {
        /// The daemon's loop began.
        Boot = 1, "boot";
        /// The phase changed (`code` new, `detail` old phase).
        PhaseChanged = 2, "phase-changed";
        /// The verdict changed (`code` new verdict, `detail` reason).
        VerdictChanged = 3, "verdict-changed";
        /// A request was answered (`code` outcome, `detail` request kind).
        RequestAnswered = 4, "request-answered";
        /// A path began (its id is the event's `path_id`).
        PathBegun = 5, "path-begun";
        /// A path was followed to its end.
        PathEnded = 6, "path-ended";
        /// A path was dropped before its end.
        PathDropped = 7, "path-dropped";
        /// A knot was refused (`code` refusal, `values` value and limit).
        KnotRefused = 8, "knot-refused";
        /// A drive's state changed (`code` new, `detail` old statusword; `values[0]` error code).
        DriveChanged = 9, "drive-changed";
        /// A source went silent or came back (`code` 0 silent, 1 back).
        SourceChanged = 10, "source-changed";
        /// Cycles were skipped (`values[0]` how many).
        CyclesSkipped = 11, "cycles-skipped";
        /// The loop ends.
        Shutdown = 12, "shutdown";
    }
}

codes! {
    /// Kind of an axis.
    AxisKind {
        /// Positions in rad.
        Rotary = 0, "rotary";
        /// Positions in m.
        Linear = 1, "linear";
    }
}

codes! {
    /// Kind of a bus.
    BusKind {
        /// No bus in this place.
        None = 0, "none";
        /// Simulated plant in process.
        Sim = 1, "sim";
        /// EtherCAT over a raw socket.
        EtherCat = 2, "ethercat";
        /// Serial servo bus.
        Serial = 3, "serial";
    }
}

codes! {
    /// Cause of a missed cycle (see the definitions of cause in docs/ARCHITECTURE.md).
    Cause {
        /// Woke on time and a stage ran over budget, or own fault, or own thread on the core.
        Own = 0, "own";
        /// The host took the CPU away: steal rose across the gap.
        Host = 1, "host";
        /// Late though nothing of ours was on the core.
        Kernel = 2, "kernel";
        /// The bus answered late.
        Bus = 3, "bus";
        /// None of these could be shown.
        Unattributed = 4, "unattributed";
    }
}

codes! {
    /// What kind of breach of timing an incident is.
    IncidentKind {
        /// Woke later than the bound, without missing a cycle.
        LateWake = 1, "late-wake";
        /// Ran past the next grid point, without missing a cycle.
        Overrun = 2, "overrun";
        /// Grid points passed without a pass.
        MissedCycles = 3, "missed-cycles";
        /// A system call outside the RT thread's list.
        DeniedCall = 4, "denied-call";
    }
}

codes! {
    /// What an incident's cause rests on: the finding that decided it.
    Finding {
        /// No evidence points anywhere.
        Nothing = 0, "nothing";
        /// A stage ran over its usual time, and the thread really used the CPU for it (own).
        Stage = 1, "stage";
        /// The RT thread took page faults (own).
        PageFault = 2, "page-fault";
        /// The RT thread allocated (own).
        Allocation = 3, "allocation";
        /// Another thread of Kadenz ran on the loop's CPU (own).
        OwnThread = 4, "own-thread";
        /// The RT thread made a system call outside its list (own).
        DeniedCall = 5, "denied-call";
        /// Steal time of the loop's CPU rose (host).
        Steal = 10, "steal";
        /// Firmware took the CPU: the SMI count rose (host).
        Firmware = 11, "firmware";
        /// The whole process stood still: a signal, a debugger or a freezer (kernel).
        ProcessStopped = 20, "process-stopped";
        /// The RT thread was switched away from: another task ran on its CPU (kernel).
        Preempted = 21, "preempted";
        /// The real-time bandwidth limit took the CPU from real-time threads (kernel).
        Throttled = 22, "throttled";
        /// Interrupts or softirqs took the CPU's time (kernel).
        Interrupts = 23, "interrupts";
        /// Late by the timer or the way from it, with nothing else found on the CPU (kernel).
        LateTimer = 24, "late-timer";
        /// The bus answered later than its bound (bus).
        BusLate = 30, "bus-late";
    }
}

codes! {
    /// Role of a gateway: what its lane lets it do.
    Role {
        /// Sees state, events, health, catalog.
        View = 0, "view";
        /// Sees the same and puts knots in.
        Plan = 1, "plan";
        /// Puts requests in.
        Operate = 2, "operate";
    }
}

/// Bits of `Incident::evidence`: what could be read on this host.
pub mod evidence {
    /// `window_ns`, `cpu_time_ns`, `run_delay_ns`, faults and switches of the RT thread.
    pub const THREAD: u32 = 1 << 0;
    /// `steal_ns` and `busy_permille`.
    pub const STEAL: u32 = 1 << 1;
    /// `interrupts` and `softirqs`.
    pub const INTERRUPTS: u32 = 1 << 2;
    /// Real-time throttling is switched on (`kernel.sched_rt_runtime_us`), so that it may be the cause.
    pub const THROTTLING: u32 = 1 << 3;
    /// `smi_count`.
    pub const SMI: u32 = 1 << 4;
    /// `own_threads_ns`.
    pub const OWN_THREADS: u32 = 1 << 5;
}

/// Bits of `AxisState::flags`.
pub mod axis_flag {
    /// The drive is in Operation enabled.
    pub const ENABLED: u32 = 1 << 0;
    /// The drive reports a fault.
    pub const FAULT: u32 = 1 << 1;
    /// The position is absolute or has been homed.
    pub const HOMED: u32 = 1 << 2;
    /// The brake is released.
    pub const BRAKE_RELEASED: u32 = 1 << 3;
    /// The last stage replaced the reference in this cycle.
    pub const LIMIT_ENFORCED: u32 = 1 << 4;
    /// Feedback of this cycle is fresh.
    pub const FRESH: u32 = 1 << 5;
}

/// Bits of `StateHeader::flags`.
pub mod state_flag {
    /// The source lease is held.
    pub const SOURCE_ALIVE: u32 = 1 << 0;
    /// A path is loaded.
    pub const PATH_LOADED: u32 = 1 << 1;
    /// The path's last knot has been accepted.
    pub const PATH_COMPLETE: u32 = 1 << 2;
    /// All axes are at rest (velocity and acceleration of every reference are 0).
    pub const AT_REST: u32 = 1 << 3;
}

impl Reason {
    /// Whether the reason is a fault of machine or surroundings rather than somebody's wish.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        self.code() >= Self::DriveFault.code()
    }

    /// Whether a stop for this reason leaves the path: an axis has dropped out of it already.
    #[must_use]
    pub const fn leaves_path(self) -> bool {
        matches!(self, Self::DriveFault | Self::DriveLeftOperation | Self::LimitEnforced)
    }
}
