//! `kadenz recorder dump`: what a ring or a saved recording holds, for people and for scripts. Needs no machine.
mod story;
mod table;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kadenz_config::Machine;
use kadenz_paths::RuntimeDir;
use kadenz_recorder::{Header, Recording};
use serde_json::{Value, json};

use crate::args::DumpOptions;
use crate::reply::{EXIT_IO, EXIT_PERMISSION, Failure, Reply};
use story::Story;

/// The ring's name in the runtime directory.
const RING: &str = "flight.ring";
/// Happenings shown to people; scripts get all.
const SHOWN: usize = 40;
/// Gaps shown to people.
const GAPS_SHOWN: usize = 8;

/// Tells what is in the file, and converts it if asked to.
pub(crate) fn dump(
    dir: impl FnOnce() -> Result<RuntimeDir, Failure>,
    options: &DumpOptions,
) -> Result<Reply, Failure> {
    let path = match &options.file {
        Some(path) => path.clone(),
        None => dir()?.as_path().join(RING),
    };
    let recording = Recording::read(&path).map_err(|error| cannot_read(&path, &error))?;
    let names = AxisNames::of(recording.header());
    let story = Story::of(&recording, &names);
    let mut lines = summary(&path, &recording, &names);
    lines.extend(story.lines(recording.header(), SHOWN));
    lines.extend(story.end_lines(&names));
    let mut reply = Reply::new(0, "");
    reply.fields = fields(&path, &recording, &names, &story);
    if let Some(out) = &options.out {
        write(out, &recording.to_file())?;
        lines.push(format!("{}: {} cycles saved", out.display(), recording.len()));
    }
    if let Some(csv) = &options.csv {
        let rows = table::csv(&recording, &names).map_err(|error| cannot_write(csv, &error))?;
        write(csv, &rows)?;
        lines.push(format!("{}: a row per cycle", csv.display()));
    }
    reply.text = lines.join("\n");
    Ok(reply)
}

/// What axes are called and measured in.
struct AxisNames {
    machine: String,
    axes: Vec<(String, &'static str)>,
}

impl AxisNames {
    /// From the configuration in the recording; numbers where it cannot be read.
    fn of(header: &Header) -> Self {
        let machine = Machine::from_toml("recording", &header.config).ok();
        let name = machine.as_ref().map_or("unknown machine", |machine| &machine.name).to_owned();
        let axis = |index: usize| {
            let known = machine.as_ref().and_then(|machine| machine.axes.get(index));
            known.map_or((format!("axis{index}"), ""), |axis| {
                let unit = match axis.kind {
                    kadenz_config::machine::AxisKind::Rotary => "rad",
                    kadenz_config::machine::AxisKind::Linear => "m",
                };
                (axis.name.clone(), unit)
            })
        };
        Self { machine: name, axes: (0..header.shape.axis_count).map(axis).collect() }
    }
}

fn summary(path: &Path, recording: &Recording, names: &AxisNames) -> Vec<String> {
    let header = recording.header();
    let kind = match (header.ring.is_some(), recording.is_living()) {
        (true, true) => "ring in use",
        (true, false) => "ring",
        (false, _) => "recording",
    };
    let mut lines = vec![format!(
        "{}: {kind} of daemon {:016x} ({}, {} axes, {} µs)",
        path.display(),
        header.daemon_id,
        names.machine,
        header.shape.axis_count,
        header.period_ns / 1_000
    )];
    let times: Vec<u64> = [recording.cycles().next(), recording.last()]
        .into_iter()
        .flatten()
        .filter_map(|(_, inputs)| Some(inputs?.wake.wake_ns))
        .collect();
    match (recording.span(), times.as_slice()) {
        (Some((first, last)), [begin_ns, end_ns]) => {
            lines.push(format!(
                "cycles {first} to {last}: {} whole over {:.3} s, {} to {}",
                recording.len(),
                end_ns.saturating_sub(*begin_ns) as f64 * 1e-9,
                story::utc(header, *begin_ns),
                story::utc(header, *end_ns)
            ));
        }
        _ => lines.push("no whole cycle".to_owned()),
    }
    lines.push(damage(recording));
    lines
}

fn damage(recording: &Recording) -> String {
    let gaps = recording.gaps();
    let mut words = Vec::new();
    for gap in gaps.iter().take(GAPS_SHOWN) {
        words.push(format!("{} missing from {}", gap.count, gap.first));
    }
    if gaps.len() > GAPS_SHOWN {
        words.push(format!("{} more gaps", gaps.len() - GAPS_SHOWN));
    }
    if recording.torn() > 0 {
        words.push(format!("{} torn", recording.torn()));
    }
    if recording.tail_bytes() > 0 {
        words.push(format!("{} bytes of a torn record at the end", recording.tail_bytes()));
    }
    let whole = if words.is_empty() {
        "nothing missing, nothing torn".to_owned()
    } else {
        words.join(", ")
    };
    let replay = if is_replayable(recording) {
        "it can be replayed"
    } else {
        "it cannot be replayed: that takes every cycle from 0 on; what came in and what was made of it is here"
    };
    format!("{whole}; {replay}")
}

fn is_replayable(recording: &Recording) -> bool {
    recording.span().is_some_and(|(first, _)| first == 0) && recording.gaps().is_empty()
}

fn fields(
    path: &Path,
    recording: &Recording,
    names: &AxisNames,
    story: &Story,
) -> serde_json::Map<String, Value> {
    let header = recording.header();
    let gaps: Vec<Value> = recording
        .gaps()
        .iter()
        .map(|gap| json!({"first": gap.first, "count": gap.count}))
        .collect();
    let value = json!({
        "file": path.display().to_string(),
        "kind": if header.ring.is_some() { "ring" } else { "recording" },
        "living": recording.is_living(),
        "daemon_id": format!("{:016x}", header.daemon_id),
        "machine": names.machine,
        "axes": names.axes.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "period_ns": header.period_ns,
        "boot_id": format!("{:032x}", header.begun.boot_id),
        "cycles": recording.len(),
        "first_cycle": recording.span().map(|(first, _)| first),
        "last_cycle": recording.span().map(|(_, last)| last),
        "gaps": gaps,
        "torn": recording.torn(),
        "tail_bytes": recording.tail_bytes(),
        "replayable": is_replayable(recording),
        "wake_latency_ns_max": story.wake_latency_ns_max,
        "skipped": story.skipped,
        "happenings": story.happenings_json(header),
        "last": story.last_json(names),
    });
    match value {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            EXIT_PERMISSION,
            format!(
                "{text}; the ring belongs to the daemon's user: read it as that user or as root"
            ),
        ),
        ErrorKind::NotFound => Failure::new(
            EXIT_IO,
            format!(
                "{text}; an orderly end removes the ring, a crash leaves it, and a restart keeps it beside the new one"
            ),
        ),
        _ => Failure::new(EXIT_IO, text),
    }
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(EXIT_IO, format!("{}: {error}", path.display()))
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| cannot_write(path, &error))
}

#[cfg(test)]
mod tests;
