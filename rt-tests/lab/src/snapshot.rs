//! A machine that was booted once: saved as its agent listens, and there again in the time it takes to read it.
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::guest::Guest;
use crate::host;
use crate::machine::{Machine, Time, agent_port, memory_mib};
use crate::qmp::Qmp;
use crate::root;

const SOCKET: &str = "qmp";
const UNIT: &str = "systemd.unit=lab.target";

/// A booted machine from its snapshot, which is made now if there is none.
pub(crate) fn warm(machine: &Machine<'_>) -> anyhow::Result<Guest> {
    let boot = machine.boot;
    let image = root::image(machine.cache, machine.kernel, boot.root)?;
    let qemu = host::qemu_version()?;
    let image_text = image.display().to_string();
    let (line, cpus) = (boot.command_line(), boot.cpus.to_string());
    let ingredients = [qemu.as_str(), &image_text, &line, &cpus];
    let name = format!("snapshot-{:?}-{:?}", boot.root, boot.isolation).to_lowercase();
    let state = machine.cache.entry(&name, &ingredients, |place| {
        println!("lab: making {name} ({} MiB of memory)", memory_mib(&image)?);
        make(machine, &image, place)
    })?;
    load(machine, &image, &state)
}

/// Boots, and saves the machine to `place`.
fn make(machine: &Machine<'_>, image: &Path, place: &Path) -> anyhow::Result<()> {
    let mut guest = start(machine, image, &[])?;
    guest.await_ready()?;
    // What booting has begun is over, and the host's memory of it empty.
    guest.must("systemctl is-system-running --wait >/dev/null; sync")?;
    let mut qmp = Qmp::connect(machine.scratch(), SOCKET)?;
    qmp.ask("stop", &json!({}))?;
    qmp.migrate("migrate", place).context("saving the machine")?;
    drop(guest);
    fs::remove_file(machine.scratch().join(SOCKET)).context("the machine's control socket")
}

fn load(machine: &Machine<'_>, image: &Path, state: &Path) -> anyhow::Result<Guest> {
    let guest = start(machine, image, &["-incoming", "defer"])?;
    let mut qmp = Qmp::connect(machine.scratch(), SOCKET)?;
    qmp.migrate("migrate-incoming", state).context("loading the machine")?;
    qmp.ask("cont", &json!({}))?;
    Ok(guest)
}

fn start(machine: &Machine<'_>, image: &Path, more: &[&str]) -> anyhow::Result<Guest> {
    let mut qemu = machine.qemu(Time::Host, image, UNIT)?;
    agent_port(&mut qemu);
    qemu.args(["-qmp", &format!("unix:{SOCKET},server=on,wait=off")]).args(more);
    let child = qemu.spawn().context("starting the virtual machine")?;
    machine.guest(child)
}
