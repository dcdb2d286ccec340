//! Streams a program: always the knots the loop wants next, as far ahead as the machine's horizon.
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use kadenz_link::{Catalog, KnotPort, View};
use kadenz_planner::{AxisInfo, AxisKind, AxisLimits, Program};
use shm_layout::KNOTS_PER_BATCH_MAX;
use shm_layout::code::{KnotRefusal, Phase, Reason, Verdict};
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::state::StateHeader;

use super::journal::Journal;
use super::protocol::{Answer, hex};
use super::socket::{Ask, Stand};

/// A program offered to the loop, or under way.
struct Work {
    program: Box<Program>,
    journal: Box<Journal>,
    begun: bool,
    offered_ns: u64,
    knots_refused: u64,
}

/// An offer the loop does not take up within this time has failed.
const OFFER_NS_MAX: u64 = 2_000_000_000;
/// Trouble with the link that passes sooner is not told; the lease takes care of it.
const TROUBLE_NS_MIN: u64 = 200_000_000;

/// The streaming half of the planner.
pub struct Streamer {
    view: View,
    knots: KnotPort,
    asked: Receiver<Ask>,
    dir: PathBuf,
    work: Option<Work>,
    state: Option<(StateHeader, Vec<f64>)>,
    rows: Vec<KnotAxis>,
    story: String,
    /// A path the journal does not know: not asked again, it would be read at every round.
    foreign_path: u64,
    trouble_since_ns: Option<u64>,
}

impl Streamer {
    /// Streams into `knots` what `asked` brings; `dir` keeps the journal.
    #[must_use]
    pub fn new(view: View, knots: KnotPort, asked: Receiver<Ask>, dir: PathBuf) -> Self {
        Self {
            view,
            knots,
            asked,
            dir,
            work: None,
            state: None,
            rows: Vec::new(),
            story: String::new(),
            foreign_path: 0,
            trouble_since_ns: None,
        }
    }

    /// One round: looks at the machine, answers questions, sends the newest horizon.
    ///
    /// # Errors
    /// What waiting does not heal: another contract, another user's domain.
    pub fn round(&mut self, now_ns: u64) -> anyhow::Result<()> {
        if let Some(sample) = self.view.newest_state()? {
            let start = sample.axes().iter().map(|axis| axis.position_reference).collect();
            self.state = Some((*sample.header(), start));
        }
        let catalog = self.view.catalog()?.cloned();
        while let Ok(ask) = self.asked.try_recv() {
            self.answer(ask, catalog.as_ref(), now_ns);
        }
        let mut remark = None;
        if let (Some(catalog), Some((header, _))) = (&catalog, self.state.clone()) {
            remark = self.adopt(catalog, &header, now_ns);
            remark = self.follow(&header, now_ns).or(remark);
            self.send(catalog, &header)?;
        }
        let trouble = self.view.trouble().or(self.knots.trouble()).map(ToString::to_string);
        let is_lasting = lasts(&mut self.trouble_since_ns, trouble.is_some(), now_ns);
        let calm = || "in touch with the loop".to_owned();
        match trouble {
            // On a loaded host samples come late many times a second: not worth a line each.
            Some(_) if !is_lasting => {}
            trouble => self.tell(trouble.or(remark).unwrap_or_else(calm)),
        }
        Ok(())
    }

    /// Logs what changed, once.
    fn tell(&mut self, story: String) {
        if story != self.story {
            log::info!("{story}");
            self.story = story;
        }
    }

    fn answer(&mut self, ask: Ask, catalog: Option<&Catalog>, now_ns: u64) {
        // A person who hung up does not need the answer: failing sends are not an error.
        match ask {
            Ask::Stand(tell) => {
                let _ = tell.send(self.stand(catalog));
            }
            Ask::Begin(program, journal, tell) => {
                let _ = tell.send(self.begin(program, journal, catalog, now_ns));
            }
            Ask::Status(tell) => {
                let _ = tell.send(self.status());
            }
        }
    }

    /// Where the machine stands, if a path may begin from there.
    fn stand(&self, catalog: Option<&Catalog>) -> Result<Stand, String> {
        let trouble = || match self.view.trouble() {
            Some(trouble) => trouble.to_string(),
            None => "the machine's state has not arrived yet; try again".to_owned(),
        };
        let (Some(catalog), Some((header, start))) = (catalog, &self.state) else {
            return Err(trouble());
        };
        if self.view.trouble().is_some() {
            return Err(trouble());
        }
        may_begin(header)?;
        if self.work.is_some() {
            return Err("a program is being streamed; wait for its end or `kadenz stop`".to_owned());
        }
        Ok(Stand {
            axes: catalog.axes.iter().map(axis_info).collect(),
            start: start.clone(),
            stop_path_time_s: catalog.header.stop_path_time_s,
            daemon_id: header.daemon_id,
        })
    }

    fn begin(
        &mut self,
        program: Box<Program>,
        journal: Box<Journal>,
        catalog: Option<&Catalog>,
        now_ns: u64,
    ) -> Result<(), String> {
        let stand = self.stand(catalog)?;
        let still = stand.start.iter().map(|p| p.to_bits()).eq(journal.start_bits.iter().copied());
        if !still || stand.daemon_id != journal.daemon_id {
            return Err("the axes moved while the file was checked; run it again".to_owned());
        }
        journal.write(&self.dir).map_err(|error| format!("{error:#}"))?;
        let knots_refused = self.state.as_ref().map_or(0, |(header, _)| header.knots_refused);
        log::info!(
            "{}: path {}, {} knots",
            journal.name,
            hex(journal.path_id),
            program.knot_count()
        );
        let work = Work { program, journal, begun: false, offered_ns: now_ns, knots_refused };
        self.work = Some(work);
        Ok(())
    }

    /// A path is under way that is not ours: a predecessor's, if the journal knows it. Gives what is
    /// odd about it.
    fn adopt(&mut self, catalog: &Catalog, header: &StateHeader, now_ns: u64) -> Option<String> {
        if self.work.is_some() || header.path_id == 0 {
            return None;
        }
        let foreign = || Some(format!("path {} is another's", hex(header.path_id)));
        if header.path_id == self.foreign_path {
            return foreign();
        }
        let Some(journal) = Journal::of(&self.dir, header.daemon_id, header.path_id) else {
            self.foreign_path = header.path_id;
            return foreign();
        };
        let axes: Vec<AxisInfo> = catalog.axes.iter().map(axis_info).collect();
        match journal.program(&axes, catalog.header.stop_path_time_s) {
            Ok(program) => {
                log::info!(
                    "{}: taking up path {} again at {:.3} s of {:.3} s; `kadenz resume` goes on",
                    journal.name,
                    hex(journal.path_id),
                    header.tau_s,
                    program.duration_s()
                );
                self.work = Some(Work {
                    program: Box::new(program),
                    journal: Box::new(journal),
                    begun: true,
                    offered_ns: now_ns,
                    knots_refused: header.knots_refused,
                });
                None
            }
            Err(error) => Some(format!("the journal's program does not check: {error}")),
        }
    }

    /// Notes how the loop took what was offered. Gives what is odd about it.
    fn follow(&mut self, header: &StateHeader, now_ns: u64) -> Option<String> {
        let work = self.work.as_mut()?;
        let name = work.journal.name.clone();
        if header.daemon_id != work.journal.daemon_id {
            log::warn!("{name}: the daemon was restarted; its path is gone");
            self.work = None;
        } else if header.path_id == work.journal.path_id {
            work.begun = true;
            if header.knots_refused != work.knots_refused {
                work.knots_refused = header.knots_refused;
                let why = KnotRefusal::word_of(header.knot_refusal);
                self.tell(format!(
                    "{name}: the loop refuses knot {}: {why}",
                    header.knot_next_index
                ));
            }
        } else if work.begun {
            log::info!("{name}: path {} is over", hex(work.journal.path_id));
            self.work = None;
        } else if now_ns.saturating_sub(work.offered_ns) > OFFER_NS_MAX {
            let why = KnotRefusal::word_of(header.knot_refusal);
            log::warn!("{name}: the loop did not begin the path (last refusal: {why})");
            self.work = None;
        }
        None
    }

    /// Sends the knots the loop wants next, or an empty batch that keeps the lease.
    fn send(&mut self, catalog: &Catalog, header: &StateHeader) -> anyhow::Result<()> {
        let mut batch =
            KnotBatchHeader { axis_count: catalog.header.axis_count, ..KnotBatchHeader::zeroed() };
        self.rows.clear();
        if let Some(work) = &self.work {
            let ours = header.path_id == work.journal.path_id;
            batch.path_id = work.journal.path_id;
            batch.trace_id = work.journal.path_id;
            batch.first_index = if ours { header.knot_next_index } else { 0 };
            let until_s = if ours { header.tau_s } else { 0.0 } + catalog.header.horizon_s;
            let first = usize::try_from(batch.first_index)?;
            for (place, index) in (first..).take(KNOTS_PER_BATCH_MAX).enumerate() {
                let Some(knot) = work.program.knot(index) else { break };
                if knot.tau_s > until_s {
                    break;
                }
                batch.tau_s[place] = knot.tau_s;
                batch.knot_count += 1;
                batch.last_is_final = u16::from(knot.last);
                self.rows.extend(knot.axes.iter().map(|axis| KnotAxis {
                    position: axis.position,
                    velocity: axis.velocity,
                    acceleration: axis.acceleration,
                    torque_feed_forward: axis.torque_ff,
                }));
                if knot.last {
                    break;
                }
            }
        }
        self.knots.send(&batch, &self.rows)?;
        Ok(())
    }

    fn status(&self) -> Answer {
        let tau_s = self.state.as_ref().map_or(0.0, |(header, _)| header.tau_s);
        match &self.work {
            None => Answer::Planner {
                program: None,
                path_id: None,
                state: "idle".to_owned(),
                tau_s: 0.0,
                duration_s: 0.0,
            },
            Some(work) => {
                let next = self.state.as_ref().map_or(0, |(header, _)| header.knot_next_index);
                let complete = work.begun && next >= work.program.knot_count() as u64;
                let state = match (work.begun, complete) {
                    (false, _) => "waiting",
                    (true, false) => "streaming",
                    (true, true) => "complete",
                };
                Answer::Planner {
                    program: Some(work.journal.name.clone()),
                    path_id: Some(hex(work.journal.path_id)),
                    state: state.to_owned(),
                    tau_s: if work.begun { tau_s } else { 0.0 },
                    duration_s: work.program.duration_s(),
                }
            }
        }
    }
}

/// Whether what is there now has been there for long enough to be told; `since_ns` remembers.
fn lasts(since_ns: &mut Option<u64>, is_there: bool, now_ns: u64) -> bool {
    if !is_there {
        *since_ns = None;
        return false;
    }
    now_ns.saturating_sub(*since_ns.get_or_insert(now_ns)) >= TROUBLE_NS_MIN
}

/// Whether the loop would let a new path begin now; else why not and what helps.
fn may_begin(header: &StateHeader) -> Result<(), String> {
    let reason = Reason::word_of(header.reason);
    match (Phase::try_from(header.phase), Verdict::try_from(header.verdict)) {
        (Ok(Phase::Standstill), Ok(Verdict::Follow)) => Ok(()),
        (Ok(Phase::Standstill), Ok(Verdict::Hold)) => {
            Err(format!("the machine is held ({reason}); `kadenz resume` first"))
        }
        (Ok(Phase::Moving), _) => {
            Err("a path is under way; wait for its end, or `kadenz stop`".to_owned())
        }
        (Ok(Phase::Disabled), Ok(Verdict::Stop)) => {
            Err(format!("the machine stopped ({reason}) and torque is off; `kadenz enable` first"))
        }
        (Ok(Phase::Disabled), _) => Err("torque is off; `kadenz enable` first".to_owned()),
        (Ok(Phase::Stopped), _) => {
            Err(format!("the machine is stopped ({reason}); `kadenz enable` clears it"))
        }
        (phase, _) => {
            let word = phase.map_or("unknown", Phase::word);
            Err(format!("the machine is {word}; wait until it stands enabled"))
        }
    }
}

fn axis_info(axis: &shm_layout::catalog::CatalogAxis) -> AxisInfo {
    let length = axis.name.iter().position(|byte| *byte == 0).unwrap_or(axis.name.len());
    AxisInfo {
        name: String::from_utf8_lossy(&axis.name[..length]).into_owned(),
        kind: if axis.kind == shm_layout::code::AxisKind::Linear.code() {
            AxisKind::Linear
        } else {
            AxisKind::Rotary
        },
        limits: AxisLimits {
            position_min: axis.position_min,
            position_max: axis.position_max,
            velocity: axis.velocity_max,
            acceleration: axis.acceleration_max,
            jerk: axis.jerk_max,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_samples_are_no_news_and_a_link_that_stays_away_is() {
        let mut since_ns = None;
        for round in 0..1_000 {
            let now_ns = round * TROUBLE_NS_MIN / 2;
            assert!(!lasts(&mut since_ns, round % 2 == 0, now_ns), "a flicker is told");
        }
        let gone_ns = 1_000 * TROUBLE_NS_MIN;
        assert!(!lasts(&mut since_ns, true, gone_ns));
        assert!(lasts(&mut since_ns, true, gone_ns + TROUBLE_NS_MIN));
    }
}
