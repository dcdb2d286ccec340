//! What happened in a recording: requests, changes of the machine's state, faults, breaches of timing, and how
//! it stood at the end.
use jiff::Timestamp;
use kadenz_recorder::{Header, Recording};
use serde_json::{Value, json};
use servo_core::inputs::{Inputs, Outcome};
use shm_layout::code::{Phase, Reason, RequestKind, Verdict};

use super::AxisNames;

/// One thing worth telling.
pub(super) struct Happening {
    cycle: u64,
    wake_ns: u64,
    what: String,
}

/// Everything worth telling of a recording.
#[derive(Default)]
pub(super) struct Story {
    happenings: Vec<Happening>,
    /// Latest wake-up, ns.
    pub(super) wake_latency_ns_max: u64,
    /// Grid points without a pass.
    pub(super) skipped: u64,
    last: Option<Box<Inputs>>,
    axis_count: usize,
}

/// Wall-clock time of the CLOCK_MONOTONIC time `monotonic_ns`, as RFC 3339 to the millisecond.
pub(super) fn utc(header: &Header, monotonic_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(header.begun.wall_ns(monotonic_ns));
    time.map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time:.3}"))
}

impl Story {
    /// Reads through `recording` once.
    pub(super) fn of(recording: &Recording, names: &AxisNames) -> Self {
        let axis_count = recording.header().shape.axis_count;
        let mut story = Self { axis_count, ..Self::default() };
        for (cycle, inputs) in recording.cycles() {
            match inputs {
                Some(inputs) => story.take(inputs, names),
                None => story.happenings.push(Happening {
                    cycle,
                    wake_ns: 0,
                    what: "a whole record that is none of this machine".to_owned(),
                }),
            }
        }
        story
    }

    fn take(&mut self, inputs: Inputs, names: &AxisNames) {
        let wake = inputs.wake;
        let latency_ns = wake.wake_ns.saturating_sub(wake.grid_ns);
        self.wake_latency_ns_max = self.wake_latency_ns_max.max(latency_ns);
        self.skipped = self.skipped.saturating_add(u64::from(wake.skipped));
        let mut told = Vec::new();
        if wake.skipped > 0 {
            told.push(format!("{} grid points skipped", wake.skipped));
        }
        let intake = &inputs.intake;
        for request in intake.requests.iter().take(intake.request_count) {
            let kind = RequestKind::word_of(request.kind);
            let acknowledges = request.kind == RequestKind::Enable.code() && request.value >= 1.0;
            let more = if acknowledges { ", acknowledging the changed host" } else { "" };
            told.push(format!("request {kind} from user {}{more}", request.peer_uid));
        }
        let before = self.last.as_deref();
        let rose = |now: u64, then: Option<u64>| now != 0 && then.is_none_or(|then| then == 0);
        if rose(intake.shutdown, before.map(|before| before.intake.shutdown)) {
            told.push("the daemon was asked to end".to_owned());
        }
        if rose(intake.host_changed, before.map(|before| before.intake.host_changed)) {
            told.push("the host is not the one that was judged".to_owned());
        }
        if intake.denied_call != 0 {
            told.push("a system call outside the loop's list was denied".to_owned());
        }
        told.extend(drives(&inputs, before, names));
        if before.is_none_or(|before| state(&before.outcome) != state(&inputs.outcome)) {
            told.push(state_words(&inputs.outcome, names));
        }
        let (cycle, wake_ns) = (inputs.cycle, wake.wake_ns);
        self.happenings.extend(told.into_iter().map(|what| Happening { cycle, wake_ns, what }));
        self.last = Some(Box::new(inputs));
    }

    /// For people: the last `shown` happenings, and the end.
    pub(super) fn lines(&self, header: &Header, shown: usize) -> Vec<String> {
        let mut lines = vec![format!(
            "wake-ups at most {} µs late, {} grid points skipped",
            self.wake_latency_ns_max / 1_000,
            self.skipped
        )];
        let left_out = self.happenings.len().saturating_sub(shown);
        if left_out > 0 {
            lines.push(format!("  ({left_out} earlier happenings: --json tells all)"));
        }
        for Happening { cycle, wake_ns, what } in self.happenings.iter().skip(left_out) {
            lines.push(format!("  cycle {cycle:>8}  {}  {what}", utc(header, *wake_ns)));
        }
        lines
    }

    /// How the machine stood at the end, line by line.
    pub(super) fn end_lines(&self, names: &AxisNames) -> Vec<String> {
        let Some(last) = &self.last else { return Vec::new() };
        let outcome = &last.outcome;
        let mut lines = vec![format!(
            "at the end, cycle {}: {}, path time {:.3} s",
            last.cycle,
            state_words(outcome, names),
            outcome.tau_s
        )];
        for (index, (name, unit)) in names.axes.iter().enumerate() {
            let (told, sent) = (&last.feedback.axes[index], outcome.positions[index]);
            lines.push(format!(
                "  {name:<12} at {:>12.6} {unit}, sent {sent:>12.6} {unit}, statusword {:#06x}, error {:#06x}, \
                 age {} cycles",
                told.position, told.statusword, told.error_code, told.age_cycles
            ));
        }
        lines
    }

    /// For scripts: all happenings.
    pub(super) fn happenings_json(&self, header: &Header) -> Vec<Value> {
        let one = |happening: &Happening| {
            json!({
                "cycle": happening.cycle,
                "time": utc(header, happening.wake_ns),
                "what": happening.what,
            })
        };
        self.happenings.iter().map(one).collect()
    }

    /// For scripts: how the machine stood at the end.
    pub(super) fn last_json(&self, names: &AxisNames) -> Value {
        let Some(last) = &self.last else { return Value::Null };
        let outcome = &last.outcome;
        let axis = |(index, (name, unit)): (usize, &(String, &'static str))| {
            let told = &last.feedback.axes[index];
            json!({
                "name": name, "unit": unit, "position": told.position, "velocity": told.velocity,
                "sent": outcome.positions[index], "statusword": told.statusword,
                "error_code": told.error_code, "age_cycles": told.age_cycles,
            })
        };
        json!({
            "cycle": last.cycle,
            "phase": Phase::word_of(outcome.phase),
            "verdict": Verdict::word_of(outcome.verdict),
            "reason": Reason::word_of(outcome.reason),
            "tau_s": outcome.tau_s,
            "digest": format!("{:016x}", outcome.digest),
            "stage_end_ns": outcome.stage_end_ns,
            "axes": names.axes.iter().take(self.axis_count).enumerate().map(axis).collect::<Vec<_>>(),
        })
    }
}

const fn state(outcome: &Outcome) -> [u32; 4] {
    [outcome.phase, outcome.verdict, outcome.reason, outcome.reason_axis]
}

fn state_words(outcome: &Outcome, names: &AxisNames) -> String {
    let mut words =
        format!("{}, {}", Phase::word_of(outcome.phase), Verdict::word_of(outcome.verdict));
    if outcome.reason != Reason::None.code() {
        words.push_str(&format!(" ({}", Reason::word_of(outcome.reason)));
        let axis = usize::try_from(outcome.reason_axis).ok().and_then(|at| names.axes.get(at));
        if let Some((name, _)) = axis {
            words.push_str(&format!(", {name}"));
        }
        words.push(')');
    }
    words
}

/// What drives and buses say that they did not say before.
fn drives(inputs: &Inputs, before: Option<&Inputs>, names: &AxisNames) -> Vec<String> {
    let mut told = Vec::new();
    for (index, (name, _)) in names.axes.iter().enumerate() {
        let code = inputs.feedback.axes[index].error_code;
        let then = before.map(|before| before.feedback.axes[index].error_code);
        if code != 0 && then != Some(code) {
            told.push(format!("drive of {name} reports error {code:#06x}"));
        }
    }
    for (index, bus) in inputs.feedback.buses.iter().enumerate() {
        let then = before.map(|before| before.feedback.buses[index].lost_in_row);
        if bus.lost_in_row > 0 && then == Some(0) {
            told.push(format!("bus {index} loses frames ({} since start)", bus.frames_lost));
        }
    }
    told
}
