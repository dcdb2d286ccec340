//! The table of attacks: what each does, and what must hold all the same. How it does it is in its family's file.
use shm_layout::code::Reason;

use super::stage::Stage;
use super::{Hand, daemons, domains, floods, full, gateways, host, lives, roles, strangers};

/// The planner itself is attacked, or starved of CPU: it falls silent, or its knots come late.
const PLANNER: &[Reason] = &[Reason::SourceSilent, Reason::HorizonShort];
/// The same on a machine that the attack starts and ends itself.
const OWN_MACHINE: &[Reason] = &[
    Reason::SourceSilent,
    Reason::HorizonShort,
    Reason::HoldRequest,
    Reason::DisableRequest,
    Reason::Shutdown,
];

/// One attack.
pub struct Attack {
    /// Its name, as `--only` takes it.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What must hold all the same.
    pub promise: &'static str,
    /// It changes mounts, users or clocks.
    pub needs_root: bool,
    /// Reasons for which the axes may come to rest on their path; for others, and where there are none, the motion
    /// was disturbed.
    pub rests: &'static [Reason],
    /// The loop's thread may take page faults: the kernel gives it an empty page for every hole in a lane.
    pub may_fault: bool,
    pub(super) run: Run,
}

/// How an attack is carried out.
pub(super) enum Run {
    /// On the machine that the attacks before have left.
    Shared(fn(&mut Stage, &mut Hand<'_>) -> anyhow::Result<()>),
    /// On machines of its own.
    Alone(fn(&mut Hand<'_>) -> anyhow::Result<()>),
}

/// Every attack, in the order they run.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "client-storm",
        does: "kills, stops and continues monitors, loggers, planners and light clients at random instants",
        promise: "G1, G2: a planner's death rests the axes on their path, nobody else's is noticed",
        needs_root: false,
        rests: PLANNER,
        may_fault: false,
        run: Run::Shared(lives::storm),
    },
    Attack {
        name: "handover-flood",
        does: "connections to handover.sock that say nothing, halves, garbage or another's role",
        promise: "G1: refused in bounded number; gateways that live are not touched",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(floods::handover),
    },
    Attack {
        name: "operate-flood",
        does: "connections to operate.sock that ask nothing, halves, garbage or far too much",
        promise: "G1: an honest request among them is answered",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(floods::operate),
    },
    Attack {
        name: "planner-flood",
        does: "connections to planner.sock that ask nothing, halves or garbage",
        promise: "G1, G6: the planner goes on streaming",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(floods::planner),
    },
    Attack {
        name: "node-flood",
        does: "participants that join and leave both domains without a pause, and are killed in it",
        promise: "G1, G2: places come free again by themselves",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(floods::nodes),
    },
    Attack {
        name: "knot-flood",
        does: "publishers that send full batches without a pause, some hundred times the planner's rate",
        promise: "G1, G6: a flooding source loses its own knots only",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(floods::knots),
    },
    Attack {
        name: "wrong-contract",
        does: "other layout hashes, versions, service names and types, older and newer, from both sides",
        promise: "refused in words, the motion goes on",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(strangers::wrong_contract),
    },
    Attack {
        name: "garbage-knots",
        does: "batches of random bits, some of them well-formed, some in the planner's name",
        promise: "G5: nothing of it is followed",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(strangers::garbage_knots),
    },
    Attack {
        name: "garbage-lines",
        does: "random bytes and almost-right lines to every socket",
        promise: "each is refused or cut off, an honest request is answered",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(strangers::garbage_lines),
    },
    Attack {
        name: "scribble-view",
        does: "random words at random places of every file of the view domain",
        promise: "G1, G2: a new domain, clients come back by themselves",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(domains::scribble_view),
    },
    Attack {
        name: "scribble-plan",
        does: "the same in the plan domain",
        promise: "G1, G2: at worst the axes rest on their path",
        needs_root: false,
        rests: PLANNER,
        may_fault: false,
        run: Run::Shared(domains::scribble_plan),
    },
    Attack {
        name: "truncate-view",
        does: "files of the view domain cut to nothing or odd sizes, and empty ones in their place",
        promise: "G1, G2: a new domain, clients come back by themselves",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(domains::truncate_view),
    },
    Attack {
        name: "truncate-plan",
        does: "the same in the plan domain",
        promise: "G1, G2: at worst the axes rest on their path",
        needs_root: false,
        rests: PLANNER,
        may_fault: false,
        run: Run::Shared(domains::truncate_plan),
    },
    Attack {
        name: "misplace-view",
        does: "files of the view domain unlinked, replaced by directories and links, without permissions",
        promise: "G1, G2: a new domain, clients come back by themselves",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(domains::misplace_view),
    },
    Attack {
        name: "misplace-plan",
        does: "the same in the plan domain",
        promise: "G1, G2: at worst the axes rest on their path",
        needs_root: false,
        rests: PLANNER,
        may_fault: false,
        run: Run::Shared(domains::misplace_plan),
    },
    Attack {
        name: "gateway-kill",
        does: "each gateway killed at random instants, also while its successor starts",
        promise: "G2: the motion goes on, service is back within a second",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(gateways::kills),
    },
    Attack {
        name: "gateway-freeze",
        does: "each gateway stopped (SIGSTOP), for moments and for good",
        promise: "G2: silence is noticed, the motion goes on",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(gateways::freezes),
    },
    Attack {
        name: "gateway-hang",
        does: "one thread of a gateway held while the others run: its passes, or its canary",
        promise: "G2: hanging is told from living, the motion goes on",
        needs_root: true,
        rests: &[],
        may_fault: false,
        run: Run::Shared(gateways::hangs),
    },
    Attack {
        name: "second-daemon",
        does: "another kadenzd and another set on the same runtime directory",
        promise: "refused and named, the first is not touched",
        needs_root: false,
        rests: &[],
        may_fault: false,
        run: Run::Shared(daemons::second),
    },
    Attack {
        name: "clock-steps",
        does: "CLOCK_REALTIME stepped forwards and back by up to half a minute",
        promise: "G4: the loop keeps its phase, nobody loses touch",
        needs_root: true,
        rests: &[],
        may_fault: false,
        run: Run::Shared(host::clock_steps),
    },
    Attack {
        name: "cpu-hogs",
        does: "busy loops, two for each CPU",
        promise: "G1: no cycle is missed by our own doing",
        needs_root: false,
        rests: PLANNER,
        may_fault: false,
        run: Run::Shared(host::cpu_hogs),
    },
    Attack {
        name: "memory-hogs",
        does: "copies of 64 MB to and fro, one for each CPU",
        promise: "G1: no cycle is missed by our own doing",
        needs_root: false,
        rests: PLANNER,
        may_fault: false,
        run: Run::Shared(host::memory_hogs),
    },
    Attack {
        name: "daemon-kill",
        does: "kadenzd killed in motion, its leftovers scribbled over, started again at once",
        promise: "G11: leftovers are no obstacle",
        needs_root: false,
        rests: OWN_MACHINE,
        may_fault: false,
        run: Run::Alone(daemons::kill_and_restart),
    },
    Attack {
        name: "foreign-files",
        does: "clients of another user in a domain, and its files given to others",
        promise: "G1, G10: nobody waits for a file that may not be opened",
        needs_root: true,
        rests: OWN_MACHINE,
        may_fault: false,
        run: Run::Alone(roles::foreign_files),
    },
    Attack {
        name: "punched-lanes",
        does: "each role's user reaches for lanes through /proc, claims roles, and punches what it is given",
        promise: "G1, G10: everything but its own lane is refused, and that harms nobody else",
        needs_root: true,
        rests: OWN_MACHINE,
        may_fault: true,
        run: Run::Alone(roles::punched_lanes),
    },
    Attack {
        name: "disk-full",
        does: "the disk of recordings filled up, then freed",
        promise: "G9: it is told, and nothing else happens",
        needs_root: true,
        rests: &[],
        may_fault: false,
        run: Run::Alone(full::disk),
    },
    Attack {
        name: "shm-full",
        does: "/dev/shm filled to the last byte while gateways and clients come and go, then freed",
        promise: "G1, G2: the loop goes on, service is back once there is room",
        needs_root: true,
        rests: OWN_MACHINE,
        may_fault: false,
        run: Run::Alone(full::shared_memory),
    },
];
