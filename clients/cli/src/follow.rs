//! Judges the progress of one path from the states and events of the machine. Reads nothing, prints nothing.
use shm_layout::code::{EventKind, KnotRefusal, Phase, Reason, Verdict};
use shm_layout::event::Event;
use shm_layout::state::{AxisState, StateHeader};

use crate::planner::Accepted;

/// A path that is still not begun after this long will not be.
const BEGIN_NS_MAX: u64 = 5_000_000_000;
/// A hold this long is left to people.
const HOLD_NS_MAX: u64 = 60_000_000_000;
/// A restarting gateway is back within this; longer, what was seen last is no news.
const BLIND_NS_TOLD: u64 = 1_000_000_000;
/// Its last event is given this long after the path has gone from the state.
const EVENT_NS_MAX: u64 = 500_000_000;

/// How following a path ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// Followed to its last knot.
    Followed,
    /// Dropped before its end.
    Dropped,
    /// Held for longer than a program should wait for.
    HeldLong,
    /// Never begun by the loop.
    NeverBegun,
    /// kadenzd was started anew.
    OtherLife,
}

/// The largest following error seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Worst {
    /// Its magnitude, rad or m.
    pub(crate) error: f64,
    /// Index of its axis.
    pub(crate) axis: usize,
}

/// One path on its way.
#[derive(Debug)]
pub(crate) struct Follower {
    path_id: String,
    duration_s: f64,
    /// Path time reached, s.
    pub(crate) tau_s: f64,
    /// The state seen last.
    pub(crate) last: Option<StateHeader>,
    /// The largest following error while the path was under way.
    pub(crate) worst: Worst,
    since_ns: u64,
    begun: bool,
    held_since_ns: Option<u64>,
    hold_is_told: bool,
    gone_since_ns: Option<u64>,
    end: Option<End>,
}

impl Follower {
    /// Follows the path of `accepted` from `now_ns` (CLOCK_MONOTONIC) on.
    pub(crate) fn new(accepted: &Accepted, now_ns: u64) -> Self {
        Self {
            path_id: accepted.path_id.clone(),
            duration_s: accepted.duration_s,
            tau_s: 0.0,
            last: None,
            worst: Worst::default(),
            since_ns: now_ns,
            begun: false,
            held_since_ns: None,
            hold_is_told: false,
            gone_since_ns: None,
            end: None,
        }
    }

    /// Takes one state record.
    pub(crate) fn state(&mut self, header: &StateHeader, axes: &[AxisState], now_ns: u64) {
        if self.last.is_some_and(|last| last.daemon_id != header.daemon_id) {
            self.finish(End::OtherLife);
        }
        self.last = Some(*header);
        if self.is_ours(header.path_id) {
            self.begun = true;
            self.gone_since_ns = None;
            self.tau_s = header.tau_s;
            for (axis, state) in axes.iter().enumerate() {
                let error = state.following_error.abs();
                if error > self.worst.error {
                    self.worst = Worst { error, axis };
                }
            }
        } else if self.begun {
            self.gone_since_ns.get_or_insert(now_ns);
        }
        match Verdict::try_from(header.verdict) {
            Ok(Verdict::Hold) => self.held_since_ns = self.held_since_ns.or(Some(now_ns)),
            _ => self.held_since_ns = None,
        }
    }

    /// Takes one event.
    pub(crate) fn event(&mut self, event: &Event) {
        if !self.is_ours(event.path_id) {
            return;
        }
        match EventKind::try_from(event.kind) {
            Ok(EventKind::PathBegun) => self.begun = true,
            Ok(EventKind::PathEnded) => {
                // Only complete paths end; the state of the last cycle may not have been seen.
                self.tau_s = self.duration_s;
                self.finish(End::Followed);
            }
            Ok(EventKind::PathDropped) => self.finish(End::Dropped),
            _ => {}
        }
    }

    /// How it ended, once it has.
    pub(crate) fn end(&mut self, now_ns: u64) -> Option<End> {
        let longer = |since_ns: Option<u64>, most_ns| {
            since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) > most_ns)
        };
        if longer(self.gone_since_ns, EVENT_NS_MAX) {
            // The event was lost on the way: the path time reached tells what it was.
            let is_whole = self.tau_s >= self.duration_s * (1.0 - 1e-3);
            self.finish(if is_whole { End::Followed } else { End::Dropped });
        } else if !self.begun && longer(Some(self.since_ns), BEGIN_NS_MAX) {
            self.finish(End::NeverBegun);
        } else if longer(self.held_since_ns, HOLD_NS_MAX) {
            self.finish(End::HeldLong);
        }
        self.end.clone()
    }

    /// Share of the path that is done, 0 ..= 1.
    pub(crate) fn progress(&self) -> f64 {
        let share = self.tau_s / self.duration_s;
        if share > 0.0 { share.min(1.0) } else { 0.0 }
    }

    /// What is going on, for a line that a person watches; the last state came `blind_ns` ago.
    pub(crate) fn line(&self, name: &str, worst: &str, blind_ns: u64) -> String {
        let Some(last) = &self.last else { return format!("{name}: waiting for the loop") };
        let reached = format!(
            "{name}: {:5.1} %, τ {:.3} of {:.3} s",
            self.progress() * 100.0,
            self.tau_s,
            self.duration_s
        );
        if blind_ns > BLIND_NS_TOLD {
            let blind_s = blind_ns / 1_000_000_000;
            return format!("{reached}, where it was seen last: no state for {blind_s} s");
        }
        let rate = match Verdict::try_from(last.verdict) {
            Ok(Verdict::Follow) if last.rate_override < 1.0 => {
                format!("rate {:.2} (override {:.2})", last.path_rate, last.rate_override)
            }
            Ok(Verdict::Follow) => format!("rate {:.2}", last.path_rate),
            _ => format!("{} ({})", Verdict::word_of(last.verdict), Reason::word_of(last.reason)),
        };
        format!("{reached}, {rate}, max following error {worst}")
    }

    /// What to do about a hold of this path, once for each.
    pub(crate) fn hold_told(&mut self, name: &str, reason: &str) -> Option<String> {
        let is_new = self.begun && self.held_since_ns.is_some() && !self.hold_is_told;
        self.hold_is_told = self.begun && self.held_since_ns.is_some();
        is_new.then(|| {
            format!(
                "{name}: held ({reason}); `kadenz resume` goes on, `kadenz stop` drops the path"
            )
        })
    }

    /// Why a path was not followed to its end, and what to do; `reason` is the state's, in words.
    pub(crate) fn why(&self, end: &End, reason: &str) -> String {
        let Some(last) = &self.last else { return "no state was seen".to_owned() };
        let phase = Phase::word_of(last.phase);
        match end {
            End::Followed => "followed to its end".to_owned(),
            End::Dropped => format!(
                "dropped at τ {:.3} s ({reason}), the machine is {phase}; `kadenz enable` clears a \
                 latched stop",
                self.tau_s
            ),
            End::HeldLong => format!(
                "held at τ {:.3} s for {} s ({reason}) and left there; `kadenz resume` goes on, \
                 `kadenz stop` drops the path",
                self.tau_s,
                HOLD_NS_MAX / 1_000_000_000
            ),
            End::NeverBegun => format!(
                "accepted by the planner, but not begun by the loop: the machine is {phase} \
                 ({reason}), last knot refusal {}; look at `kadenz status`",
                KnotRefusal::word_of(last.knot_refusal)
            ),
            End::OtherLife => {
                "kadenzd was started anew, the path is gone; `kadenz enable`, then run the file \
                 again"
                    .to_owned()
            }
        }
    }

    fn is_ours(&self, path_id: u64) -> bool {
        path_id != 0 && self.path_id == format!("{path_id:016x}")
    }

    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: u64 = 0xabc;

    fn follower() -> Follower {
        let accepted = Accepted {
            path_id: format!("{PATH:016x}"),
            duration_s: 10.0,
            approach_s: 1.0,
            knots: 3,
            says: Vec::new(),
        };
        Follower::new(&accepted, 0)
    }

    fn at(tau_s: f64) -> StateHeader {
        StateHeader { path_id: PATH, tau_s, daemon_id: 1, ..StateHeader::zeroed() }
    }

    fn event(kind: EventKind, path_id: u64) -> Event {
        Event { kind: kind.code(), path_id, ..Event::zeroed() }
    }

    #[test]
    fn a_path_ends_by_its_own_event_and_by_no_other_paths() {
        let mut follower = follower();
        follower.state(&at(1.0), &[], 1);
        follower.event(&event(EventKind::PathDropped, 5));
        follower.event(&event(EventKind::PathDropped, 0));
        assert_eq!(follower.end(2), None);
        follower.event(&event(EventKind::PathEnded, PATH));
        assert_eq!(follower.end(3), Some(End::Followed));
    }

    #[test]
    fn without_its_event_the_path_time_reached_decides() {
        for (tau_s, expected) in [(9.999, End::Followed), (6.0, End::Dropped)] {
            let mut follower = follower();
            follower.state(&at(tau_s), &[], 0);
            let gone = StateHeader { daemon_id: 1, ..StateHeader::zeroed() };
            follower.state(&gone, &[], 10);
            assert_eq!(follower.end(EVENT_NS_MAX), None);
            assert_eq!(follower.end(EVENT_NS_MAX + 11), Some(expected));
        }
    }

    #[test]
    fn a_hold_is_waited_through_and_left_to_people_when_it_lasts() {
        let held = StateHeader { verdict: Verdict::Hold.code(), ..at(2.0) };
        let mut follower = follower();
        follower.state(&held, &[], 0);
        follower.state(&at(2.0), &[], HOLD_NS_MAX);
        assert_eq!(follower.end(HOLD_NS_MAX + 1), None);
        follower.state(&held, &[], HOLD_NS_MAX);
        follower.state(&held, &[], 2 * HOLD_NS_MAX);
        assert_eq!(follower.end(2 * HOLD_NS_MAX + 1), Some(End::HeldLong));
        assert!(follower.why(&End::HeldLong, "hold-request").contains("`kadenz resume`"));
    }

    #[test]
    fn a_path_the_loop_does_not_take_and_another_life_of_kadenzd_are_told() {
        let mut waiting = follower();
        waiting.state(&StateHeader::zeroed(), &[], 1);
        assert_eq!(waiting.end(BEGIN_NS_MAX), None);
        assert_eq!(waiting.end(BEGIN_NS_MAX + 1), Some(End::NeverBegun));
        let mut restarted = follower();
        restarted.state(&at(1.0), &[], 1);
        restarted.state(&StateHeader { daemon_id: 2, ..StateHeader::zeroed() }, &[], 2);
        assert_eq!(restarted.end(3), Some(End::OtherLife));
    }

    #[test]
    fn a_path_that_ended_is_done_in_full_even_if_its_last_cycles_were_not_seen() {
        let mut follower = follower();
        follower.state(&at(9.6), &[], 1);
        follower.event(&event(EventKind::PathEnded, PATH));
        assert_eq!(follower.end(2), Some(End::Followed));
        assert!(follower.line("a.csv", "0 m (x)", 0).contains("100.0 %, τ 10.000 of 10.000 s"));
    }

    #[test]
    fn the_line_tells_an_override_and_does_not_pass_off_old_news_as_the_present() {
        let mut follower = follower();
        let slow = StateHeader { path_rate: 0.3, rate_override: 0.3, ..at(2.0) };
        follower.state(&StateHeader { verdict: Verdict::Follow.code(), ..slow }, &[], 0);
        let told = follower.line("a.csv", "0 m (x)", BLIND_NS_TOLD);
        assert!(told.contains("rate 0.30 (override 0.30)"), "{told}");
        let blind = follower.line("a.csv", "0 m (x)", 3_000_000_000);
        assert!(blind.ends_with("no state for 3 s") && !blind.contains("rate"), "{blind}");
    }

    #[test]
    fn each_hold_is_told_once_with_what_to_do() {
        let held = StateHeader { verdict: Verdict::Hold.code(), ..at(2.0) };
        let mut follower = follower();
        follower.state(&held, &[], 0);
        let told = follower.hold_told("a.csv", "source-silent").unwrap();
        assert!(told.contains("held (source-silent); `kadenz resume`"), "{told}");
        assert_eq!(follower.hold_told("a.csv", "source-silent"), None);
        follower.state(&StateHeader { verdict: Verdict::Follow.code(), ..held }, &[], 1);
        assert_eq!(follower.hold_told("a.csv", "none"), None);
        follower.state(&held, &[], 2);
        assert!(follower.hold_told("a.csv", "hold-request").is_some());
    }

    #[test]
    fn the_largest_following_error_is_kept_with_its_axis_and_a_nan_is_none() {
        let mut follower = follower();
        let axes = |errors: &[f64]| -> Vec<AxisState> {
            let axis = |e: &f64| AxisState { following_error: *e, ..AxisState::zeroed() };
            errors.iter().map(axis).collect()
        };
        follower.state(&at(1.0), &axes(&[0.1, -0.3]), 1);
        follower.state(&at(1.1), &axes(&[0.2, f64::NAN]), 2);
        assert_eq!(follower.worst, Worst { error: 0.3, axis: 1 });
    }
}
