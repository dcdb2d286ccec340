//! What is left of a lab that was killed: tried with one of our own.
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::cache::Cache;
use crate::checks::Verdict;
use crate::{Boot, Lab, namespaces};

/// Guard against waiting for ever; never a measure of anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts this program with `verb`, kills it as a script runs in its guest, and looks.
///
/// # Errors
/// It could not be started, or something was left: what.
pub fn after_a_kill(lab: &Lab, verb: &str) -> anyhow::Result<Verdict> {
    let mut killed = Command::new(std::env::current_exe()?)
        .args([verb, "--", "echo up; exec sleep 600"])
        .env("KADENZ_LAB_CACHE", lab.cache().root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a lab to be killed")?;
    let mut said = String::new();
    let output = killed.stdout.take().context("its output")?;
    let is_up = BufReader::new(output).read_line(&mut said).is_ok() && said.starts_with("up");
    let (id, below) = (killed.id(), descendants(killed.id()));
    killed.kill().context("killing it")?;
    killed.wait()?;
    ensure!(is_up, "the lab to be killed said `{said}`");
    ensure!(!below.is_empty(), "the lab to be killed had started nothing");

    let begun = Instant::now();
    while let Some(left) = below.iter().find(|id| is_alive(**id)) {
        ensure!(begun.elapsed() < PATIENCE, "process {left} outlives its lab: {}", name_of(*left));
        std::thread::sleep(Duration::from_millis(5));
    }
    // The next start of any lab clears away the rest.
    let next = Cache::open(lab.cache().root())?;
    let begins = format!("{id}-");
    for entry in fs::read_dir(next.root().join("work"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        ensure!(!name.starts_with(&begins), "scratch of the killed lab is left: {name}");
    }
    if verb == "namespaces" {
        drop(lab.namespaces(&Boot::default())?);
        let left = namespaces::cgroups_of(id)?;
        ensure!(left.is_empty(), "cgroups of the killed lab are left: {left:?}");
        let own = namespaces::cgroups_of(std::process::id())?;
        ensure!(own.is_empty(), "cgroups of a lab that ended are left: {own:?}");
    }
    Ok(Verdict::Passed)
}

/// Every process below `ancestor`.
fn descendants(ancestor: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let parents: Vec<(u32, u32)> = ids.filter_map(|id| Some((id, parent_of(id)?))).collect();
    let (mut found, mut looked) = (vec![ancestor], 0);
    // BOUND: by the number of processes; each is found once, since each has one parent.
    while let Some(one) = found.get(looked).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(id, _)| *id));
        looked += 1;
    }
    found.split_off(1)
}

/// From a `/proc/ID/stat`; `None` when it is gone or a mere zombie.
fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    if words.next() == Some("Z") { None } else { words.next()?.parse().ok() }
}

fn is_alive(id: u32) -> bool {
    parent_of(id).is_some()
}

fn name_of(id: u32) -> String {
    fs::read_to_string(Path::new("/proc").join(id.to_string()).join("comm")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_children_are_found_and_the_dead_are_not() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'sleep 600; true' & echo up; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let begun = Instant::now();
        let below = loop {
            let below = descendants(shell.id());
            if below.len() == 2 || begun.elapsed() > PATIENCE {
                break below;
            }
        };
        assert_eq!(below.len(), 2, "{below:?}");
        assert!(below.iter().all(|id| is_alive(*id)));
        for id in below.iter().rev() {
            let id = nix::unistd::Pid::from_raw(i32::try_from(*id).unwrap());
            // The inner shell ends by itself once its child is gone.
            let _killed_or_gone = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
        }
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(!is_alive(shell.id()));
    }
}
