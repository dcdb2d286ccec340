//! Keeps a loop in this process moving, through its lanes alone, as a planner and a person would.
use kadenz_lanes::{BroadcastReader, BroadcastWriter, MailboxWriter, Read};
use shm_layout::code::RequestKind;
use shm_layout::knot::{KnotAxis, KnotBatchHeader};
use shm_layout::request::Request;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{AXES_MAX, KNOTS_PER_BATCH_MAX, LAYOUT_HASH};

/// Distance of the knots, s.
const KNOT_S: f64 = 0.01;
/// How far ahead they reach, s.
const AHEAD_S: f64 = 0.6;

/// Asks for torque. Refused before feedback has been heard.
pub fn enable(requests: &mut BroadcastWriter<'static>) {
    let request = Request {
        request_id: 1,
        deadline_ns: u64::MAX,
        kind: RequestKind::Enable.code(),
        ..Request::zeroed()
    };
    requests.publish(&[request.as_words()]);
}

/// A source of one endless wave. It reads state records and may be on another thread than the loop.
pub struct Feeder {
    knots: MailboxWriter<'static>,
    requests: BroadcastWriter<'static>,
    states: BroadcastReader<'static>,
    words: Vec<u64>,
    newest: Option<StateHeader>,
    heartbeat: u64,
    starts: Vec<f64>,
}

impl Feeder {
    /// Feeds through these lanes.
    #[must_use]
    pub(crate) fn new(
        knots: MailboxWriter<'static>,
        requests: BroadcastWriter<'static>,
        states: BroadcastReader<'static>,
    ) -> Self {
        let words = vec![0; StateHeader::WORDS + AXES_MAX * AxisState::WORDS];
        Self { knots, requests, states, words, newest: None, heartbeat: 0, starts: Vec::new() }
    }

    /// Asks for torque.
    pub fn enable(&mut self) {
        enable(&mut self.requests);
    }

    /// The lane that requests go into, when nothing else is wanted of the feeder any more.
    #[must_use]
    pub fn into_requests(self) -> BroadcastWriter<'static> {
        self.requests
    }

    /// The newest state record, once there is one.
    pub fn newest(&mut self) -> Option<&StateHeader> {
        if let Read::Record { words, .. } = self.states.newest(&mut self.words)
            && let Some((header, axes)) =
                self.words.get(..words).and_then(|words| words.split_at_checked(StateHeader::WORDS))
            && let Some(header) = StateHeader::from_slice(header)
        {
            if header.path_id == 0 {
                // Where the wave begins, should it begin now.
                self.starts = axes
                    .chunks_exact(AxisState::WORDS)
                    .filter_map(AxisState::from_slice)
                    .map(|axis| axis.position_reference)
                    .collect();
            }
            self.newest = Some(header);
        }
        self.newest.as_ref()
    }

    /// Posts the newest horizon of an endless slow wave; call it every few cycles.
    pub fn feed(&mut self) {
        let Some(now) = self.newest().copied() else { return };
        self.heartbeat += 1;
        let moving = now.path_id != 0;
        let first_index = if moving { now.knot_next_index } else { 0 };
        let until_s = if moving { now.tau_s } else { 0.0 } + AHEAD_S;
        let mut header = KnotBatchHeader {
            layout_hash: LAYOUT_HASH,
            path_id: 7,
            first_index,
            heartbeat: self.heartbeat,
            source_id: 1,
            axis_count: now.axis_count,
            ..KnotBatchHeader::zeroed()
        };
        let mut rows = Vec::with_capacity(KNOTS_PER_BATCH_MAX * self.starts.len());
        for (place, slot) in header.tau_s.iter_mut().enumerate() {
            let index = first_index + place as u64;
            let tau_s = index as f64 * KNOT_S;
            if tau_s > until_s && place > 1 {
                break;
            }
            *slot = tau_s;
            header.knot_count += 1;
            rows.extend(self.starts.iter().map(|start| wave(*start, tau_s)));
        }
        self.knots.post(&[header.as_words(), KnotAxis::slice_as_words(&rows)]);
    }
}

/// A wave that begins at rest: its amplitude rises over two seconds.
fn wave(start: f64, tau_s: f64) -> KnotAxis {
    let (omega, amplitude, rise_s) = (2.0, 0.4, 2.0);
    let u = (tau_s / rise_s).min(1.0);
    let grown = u * u * u * (10.0 - 15.0 * u + 6.0 * u * u);
    let speed = 30.0 * u * u * (1.0 - u) * (1.0 - u) / rise_s;
    let bend =
        if u < 1.0 { 60.0 * u * (1.0 - u) * (1.0 - 2.0 * u) / (rise_s * rise_s) } else { 0.0 };
    let (sine, cosine) = (omega * tau_s).sin_cos();
    KnotAxis {
        position: start + amplitude * grown * sine,
        velocity: amplitude * (speed * sine + grown * omega * cosine),
        acceleration: amplitude
            * (bend * sine + 2.0 * speed * omega * cosine - grown * omega * omega * sine),
        torque_feed_forward: 0.0,
    }
}
