//! The status as lines for people: what is wrong first, then path, loop, axes. No terminal codes.
use super::{AxisStatus, LoopStatus, MachineStatus, Percentiles};

/// How a line deserves to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As usual.
    Plain,
    /// A heading.
    Title,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text.
    pub text: String,
    /// Its tone.
    pub tone: Tone,
}

fn line(tone: Tone, text: String) -> Line {
    Line { text, tone }
}

pub(super) fn lines(status: &MachineStatus) -> Vec<Line> {
    let mut lines = vec![machine(status), path(status), source(status)];
    lines.extend(loop_lines(status));
    lines.push(line(Tone::Plain, String::new()));
    let name_width =
        status.axes.iter().map(|axis| axis.name.chars().count()).max().unwrap_or(0).max(4);
    let unit = "unit";
    let title = format!(
        "{:<name_width$}  {unit:<4} {:>13} {:>13} {:>13}  drive",
        "axis", "reference", "actual", "following"
    );
    lines.push(line(Tone::Title, title));
    lines.extend(status.axes.iter().map(|axis| axis_line(axis, name_width)));
    let buses = status.buses.iter().map(|bus| {
        let tone = if bus.input_age_cycles > 0 { Tone::Warn } else { Tone::Plain };
        // A bus without a working counter expects 0.
        let wkc = match bus.wkc_expected {
            0 => String::new(),
            expected => format!("  wkc {}/{expected}", bus.wkc_actual),
        };
        let text = format!(
            "bus {} ({})  {} frames lost  input {} cycles old{wkc}",
            bus.name, bus.kind, bus.frames_lost, bus.input_age_cycles
        );
        line(tone, text)
    });
    lines.extend(buses);
    if let Some(gateway) = status.gateway.filter(|one| one.refused > 0 || one.rate_limited > 0) {
        let text = format!(
            "gateway: {} batches or requests refused, {} too fast",
            gateway.refused, gateway.rate_limited
        );
        lines.push(line(Tone::Warn, text));
    }
    if status.link.lost > 0 || status.link.reconnects > 0 {
        let link = &status.link;
        let text =
            format!("reader: {} reconnects, {} records not seen", link.reconnects, link.lost);
        lines.push(line(Tone::Warn, text));
    }
    lines
}

fn why(status: &MachineStatus) -> String {
    match &status.reason_axis {
        _ if status.reason == "none" => String::new(),
        None => format!(" ({})", status.reason),
        Some(axis) => format!(" ({} on {axis})", status.reason),
    }
}

fn machine(status: &MachineStatus) -> Line {
    let tone = match &*status.verdict {
        "follow" => Tone::Title,
        "hold" => Tone::Warn,
        _ => Tone::Bad,
    };
    let name = if status.machine.is_empty() { "machine" } else { &status.machine };
    let text = format!(
        "{name}: {}, {}{}   cycle {}, {} old",
        status.phase,
        status.verdict,
        why(status),
        status.cycle,
        duration(status.age_ns)
    );
    line(tone, text)
}

fn progress(status: &MachineStatus) -> String {
    status.path.as_ref().map_or_else(
        || "no path".to_owned(),
        |path| {
            let more = if path.is_complete { "" } else { "+" };
            format!("path {:.3} / {:.3}{more} s", path.tau_s, path.tau_last_s)
        },
    )
}

fn path(status: &MachineStatus) -> Line {
    let (rate, wanted) = (status.path_rate * 100.0, status.rate_override * 100.0);
    let rest = if status.is_at_rest { ", at rest" } else { "" };
    line(Tone::Plain, format!("{}   rate {rate:.0} % of {wanted:.0} %{rest}", progress(status)))
}

fn source(status: &MachineStatus) -> Line {
    let source = &status.source;
    let who = if source.is_alive { "source alive" } else { "no source" };
    let refused = match (source.knots_refused, &source.knot_refusal_axis) {
        (0, _) => "0 refused".to_owned(),
        (count, None) => format!("{count} refused (last: {})", source.knot_refusal),
        (count, Some(axis)) => format!("{count} refused (last: {} on {axis})", source.knot_refusal),
    };
    let tone = if source.knots_refused > 0 { Tone::Warn } else { Tone::Plain };
    line(tone, format!("{who}   knots: {} accepted, {refused}", source.knots_accepted))
}

fn loop_lines(status: &MachineStatus) -> Vec<Line> {
    let Some(health) = &status.loop_health else {
        return vec![line(Tone::Plain, "loop: no counters yet".to_owned())];
    };
    let period = duration(status.period_ns);
    let times = format!(
        "loop {period}   wake-up {}   cycle {}",
        percentiles(&health.wake_latency_ns),
        percentiles(&health.cycle_time_ns)
    );
    let mut lines = vec![line(Tone::Plain, times), misses(health)];
    // A sound loop's thread does none of this, so it is told only when it has.
    let broken = [health.allocations, health.page_faults, health.denied_calls];
    if broken != [0; 3] {
        let [allocations, faults, denied] = broken;
        let text = format!(
            "loop thread: {allocations} allocations   {faults} page faults   {denied} system calls \
             denied; see `kadenz incidents`"
        );
        lines.push(line(Tone::Bad, text));
    }
    lines
}

fn percentiles(values: &Percentiles) -> String {
    let [p50, p99, max] = [values.p50, values.p99, values.max].map(duration);
    format!("p50 {p50} p99 {p99} max {max}")
}

fn misses(health: &LoopStatus) -> Line {
    let cause = &health.missed_by_cause;
    let is_clean = [health.missed_cycles, health.recorder_drops, health.requests_lost] == [0; 3];
    let tone = match (cause.own, is_clean) {
        (0, true) => Tone::Plain,
        (0, false) => Tone::Warn,
        _ => Tone::Bad,
    };
    let text = format!(
        "missed {} (own {}, host {}, kernel {}, bus {}, unattributed {})   overruns {}   drops {}   requests lost {}",
        health.missed_cycles,
        cause.own,
        cause.host,
        cause.kernel,
        cause.bus,
        cause.unattributed,
        health.overruns,
        health.recorder_drops,
        health.requests_lost
    );
    line(tone, text)
}

fn axis_line(axis: &AxisStatus, name_width: usize) -> Line {
    let mut drive = axis.drive_state.to_string();
    for remark in &axis.remarks {
        drive.push(' ');
        drive.push_str(remark);
    }
    if axis.is_fault {
        drive.push_str(&format!(" error {:#06x}", axis.error_code));
    }
    if axis.input_age_cycles > 0 {
        drive.push_str(&format!(" {} cycles old", axis.input_age_cycles));
    }
    let tone = match (axis.is_fault, axis.remarks.is_empty() && axis.input_age_cycles == 0) {
        (true, _) => Tone::Bad,
        (false, false) => Tone::Warn,
        (false, true) => Tone::Plain,
    };
    let text = format!(
        "{:<name_width$}  {:<4} {:>13.6} {:>13.6} {:>13.6}  {drive}",
        axis.name, axis.unit, axis.position_reference, axis.position_actual, axis.following_error
    );
    line(tone, text)
}

pub(super) fn one_line(status: &MachineStatus) -> String {
    let mut text = format!(
        "{}, {}{}   cycle {}   {}   rate {:.0} %",
        status.phase,
        status.verdict,
        why(status),
        status.cycle,
        progress(status),
        status.path_rate * 100.0
    );
    // Units differ between axes, so each would be a contest of its own: the largest per unit.
    for unit in ["rad", "m"] {
        let worst = status
            .axes
            .iter()
            .filter(|axis| axis.unit == unit)
            .max_by(|a, b| a.following_error.abs().total_cmp(&b.following_error.abs()));
        if let Some(axis) = worst {
            text.push_str(&format!(
                "   following {:.6} {unit} ({})",
                axis.following_error.abs(),
                axis.name
            ));
        }
    }
    let faults: Vec<&str> =
        status.axes.iter().filter(|axis| axis.is_fault).map(|axis| axis.name.as_str()).collect();
    if !faults.is_empty() {
        text.push_str(&format!("   fault: {}", faults.join(", ")));
    }
    if let Some(health) = &status.loop_health {
        text.push_str(&format!(
            "   wake-up p99 {}   missed {} (own {})",
            duration(health.wake_latency_ns.p99),
            health.missed_cycles,
            health.missed_by_cause.own
        ));
    }
    text
}

/// A duration in the unit in which it reads well.
fn duration(ns: u64) -> String {
    let (divisor, unit) = match ns {
        0..10_000 => return format!("{ns} ns"),
        10_000..1_000_000 => (1_000, "µs"),
        1_000_000..10_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    format!("{}.{} {unit}", ns / divisor, ns % divisor * 10 / divisor)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_well_at_every_size() {
        let texts = [0, 9_999, 10_000, 53_270, 1_000_000, 12_345_678, 61_500_000_000].map(duration);
        assert_eq!(texts, ["0 ns", "9999 ns", "10.0 µs", "53.2 µs", "1.0 ms", "12.3 ms", "61.5 s"]);
    }
}
