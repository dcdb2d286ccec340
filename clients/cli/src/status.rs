//! `kadenz status`: one look at the machine.
use std::time::Duration;

use kadenz_link::text::printable;
use kadenz_paths::RuntimeDir;
use serde_json::Value;

use crate::machine::Machine;
use crate::reply::{Failure, Reply};

/// State comes every period.
const STATE_TIME: Duration = Duration::from_secs(1);

/// The machine as it is now.
pub(crate) fn status(dir: &RuntimeDir) -> Result<Reply, Failure> {
    let status = Machine::enter(dir)?.status(STATE_TIME)?;
    // It may have come over a socket: whatever stands in it may not drive a terminal.
    let lines: Vec<String> = status.lines().iter().map(|line| printable(&line.text)).collect();
    let mut reply = Reply::new(0, lines.join("\n"));
    if let Ok(Value::Object(fields)) = serde_json::to_value(&status) {
        reply.fields = fields;
    }
    Ok(reply)
}
