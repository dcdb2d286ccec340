//! The machine's status for people who may not enter the view domain: the same object that
//! `kadenz status --json` prints, made from what the outbound lane holds. Nothing is asked of the loop.

use kadenz_link::{Catalog, Counters, MachineStatus};
use serde_json::{Value, json};
use shm_layout::code::EventKind;
use shm_layout::event::Event;

use crate::lanes::{Outbound, OwnCounts};
use crate::operate::request::{Refusal, failed};

/// What is remembered beside the lane: how the last path ended, which no state record tells.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    last_path: Option<(u64, &'static str)>,
}

impl Outlook {
    /// Takes an event of the loop.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Ok(kind @ (EventKind::PathEnded | EventKind::PathDropped)) =
            EventKind::try_from(event.kind)
        {
            self.last_path = Some((event.path_id, kind.word()));
        }
    }

    /// The answer to question `id`, as a line.
    pub(crate) fn answer(
        &self,
        id: u64,
        outbound: &Outbound,
        counts: OwnCounts,
        now_ns: u64,
    ) -> String {
        let refused = |error| failed(&Refusal { id: Some(id), error });
        let Some((header, axes)) = outbound.last_state() else {
            return refused("no state has come from the loop yet; ask again".to_owned());
        };
        let (catalog_header, catalog_axes) = outbound.catalog();
        let catalog = Catalog { header: *catalog_header, axes: catalog_axes.clone() };
        let health = outbound.health(counts, now_ns);
        let counters = Counters::default();
        let status =
            MachineStatus::new(&header, &axes, Some(&health), Some(&catalog), counters, now_ns);
        match serde_json::to_value(&status) {
            Ok(status) => {
                format!("{}\n", json!({ "id": id, "status": status, "last_path": self.path() }))
            }
            Err(error) => refused(format!("the status cannot be written: {error}")),
        }
    }

    fn path(&self) -> Value {
        self.last_path
            .map_or(Value::Null, |(id, end)| json!({ "id": format!("{id:016x}"), "end": end }))
    }
}
