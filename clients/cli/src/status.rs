//! `kadenz status`: one look at the machine.
use std::time::Duration;

use kadenz_link::{MachineStatus, clock};
use kadenz_paths::RuntimeDir;
use serde_json::Value;

use crate::machine::{LOOK_EVERY, Machine};
use crate::reply::{Failure, Reply};

/// State comes every period.
const STATE_TIME: Duration = Duration::from_secs(1);
/// Catalog and counters come seldom; a status without them is still one.
const LOOKS_FOR_THE_REST: u32 = 250;

/// The machine as it is now.
pub(crate) fn status(dir: &RuntimeDir) -> Result<Reply, Failure> {
    let mut machine = Machine::enter(dir)?;
    let seen = |sample: &kadenz_link::StateSample| Some((*sample.header(), sample.axes().to_vec()));
    let Some(mut state) = machine.find(STATE_TIME, seen)? else { return Err(machine.silence()) };
    for _ in 0..LOOKS_FOR_THE_REST {
        let has_catalog = matches!(machine.view.catalog(), Ok(Some(_)));
        let has_health = matches!(machine.view.health(), Ok(Some(_)));
        if has_catalog && has_health {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    // Fresh again after the wait for the rest.
    if let Some(newer) = machine.find(Duration::ZERO, seen)? {
        state = newer;
    }
    let counters = machine.view.counters();
    let health = machine.view.health().ok().flatten().copied();
    let catalog = machine.view.catalog().ok().flatten();
    let (header, axes) = &state;
    let now_ns = clock::now_ns();
    let status = MachineStatus::new(header, axes, health.as_ref(), catalog, counters, now_ns);
    let mut reply = Reply::new(0, status.to_text().trim_end());
    if let Ok(Value::Object(fields)) = serde_json::to_value(&status) {
        reply.fields = fields;
    }
    Ok(reply)
}
