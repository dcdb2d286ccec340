//! The flight recorder's far end: the ring on tmpfs, and the thread that saves it to disk.
mod disk;
pub mod ring;
pub mod saver;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use kadenz_config::Machine;
use kadenz_lanes::GaugeWriter;
use kadenz_recorder::{Header, Moment};
use nix::time::{ClockId, clock_gettime};
use servo_core::inputs::Shape;
use servo_core::setup::Setup;
use shm_layout::LAYOUT_HASH;

use crate::rt::recorder::FlightRecorder;
use disk::{Files, Place};
use saver::{Saver, Task};

/// Files of a directory share its limit: the oldest of this many gives way.
const FILES_PER_LIMIT: u64 = 8;

/// Both ends of the recorder, as far as the machine's file and `--record` ask for them.
///
/// `record` is a file that takes the whole run, whatever its length, in place of the directory of the
/// machine's file.
///
/// # Errors
/// No room for the ring, or the file or directory cannot be made.
pub fn start(
    record: Option<&Path>,
    machine: &Machine,
    setup: &Setup,
    runtime_dir: &Path,
    gauges: GaugeWriter<'static>,
) -> anyhow::Result<(Option<FlightRecorder>, Option<Saver>)> {
    let recorder = &machine.recorder;
    if !recorder.enabled {
        if let Some(path) = record {
            anyhow::bail!("--record {}: [recorder] enabled is false", path.display());
        }
        return Ok((None, None));
    }
    let (writer, reader) = ring::create(runtime_dir, machine, setup)?;
    let place = match (record, &recorder.directory) {
        (Some(path), _) => Some(Place::OneFile(path.to_owned())),
        (None, Some(directory)) => Some(in_directory(directory, machine, setup)?),
        (None, None) => None,
    };
    let Some(place) = place else { return Ok((Some(FlightRecorder::new(writer)), None)) };
    // Made here, so that a place where nothing can be made is refused at once.
    let files = Files::begin(place)?;
    let task = Task {
        ring: reader,
        header: header(machine, setup),
        every: Duration::from_millis(u64::from(recorder.save_every_ms)),
        gauges,
    };
    Ok((Some(FlightRecorder::new(writer)), Some(Saver::start(task, files)?)))
}

fn in_directory(path: &Path, machine: &Machine, setup: &Setup) -> anyhow::Result<Place> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("[recorder] directory = {}", path.display()))?;
    let limit_bytes = u64::from(machine.recorder.limit_mb) << 20;
    Ok(Place::Directory {
        path: path.to_owned(),
        machine: machine.name.clone(),
        daemon_id: setup.daemon_id,
        file_bytes: limit_bytes / FILES_PER_LIMIT,
        limit_bytes,
    })
}

/// What stands before the cycles of this life, begun now.
#[must_use]
pub fn header(machine: &Machine, setup: &Setup) -> Header {
    Header {
        layout_hash: LAYOUT_HASH,
        daemon_id: setup.daemon_id,
        period_ns: setup.period_ns,
        shape: Shape::of(setup),
        begun: now(),
        ring: None,
        config: kadenz_config::effective_toml(machine),
    }
}

/// Both clocks now, and which boot this is.
fn now() -> Moment {
    let read_ns = |clock: ClockId| {
        clock_gettime(clock).map_or(0, |time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
            seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
        })
    };
    let boot_id = std::fs::read_to_string(PathBuf::from("/proc/sys/kernel/random/boot_id"));
    let digits = boot_id.unwrap_or_default().replace('-', "");
    Moment {
        boot_id: u128::from_str_radix(digits.trim(), 16).unwrap_or(0),
        realtime_ns: read_ns(ClockId::CLOCK_REALTIME),
        monotonic_ns: read_ns(ClockId::CLOCK_MONOTONIC),
    }
}

#[cfg(test)]
mod tests;
