//! People and scripts: enable, disable, hold, resume, stop, override; malformed, expired, in floods.
use kadenz_lanes::BroadcastWriter;
use shm_layout::code::{EventKind, Phase, RequestKind, Verdict};
use shm_layout::request::Request;

use crate::island::Record;
use crate::random::Random;

/// Cycles without progress after which an operator intervenes.
const PATIENCE_CYCLES: u64 = 600;

/// One operator.
pub struct Operator {
    random: Random,
    writer: BroadcastWriter<'static>,
    request_id: u64,
    /// Chance per cycle, in a million, of a whim; 0 leaves only recovery.
    whims: u64,
    /// Whether requests may be malformed, expired or come in floods.
    is_rude: bool,
    waited_cycles: u64,
    patience_cycles: u64,
    last_tau_s: f64,
}

/// A request as the operate gateway would write it.
#[must_use]
pub fn request(kind: RequestKind, value: f64, request_id: u64) -> Request {
    Request { request_id, deadline_ns: u64::MAX, kind: kind.code(), value, ..Request::zeroed() }
}

impl Operator {
    /// An operator on the request ring.
    #[must_use]
    pub fn new(seed: u64, writer: BroadcastWriter<'static>, whims: u64, is_rude: bool) -> Self {
        Self {
            random: Random::stream(seed, "operator"),
            writer,
            request_id: 0,
            whims,
            is_rude,
            waited_cycles: 0,
            patience_cycles: PATIENCE_CYCLES,
            last_tau_s: 0.0,
        }
    }

    /// Asks for `kind` now.
    pub fn ask(&mut self, kind: RequestKind, value: f64) {
        self.request_id += 1;
        self.send(&request(kind, value, self.request_id));
    }

    fn send(&mut self, request: &Request) {
        self.writer.publish(&[request.as_words()]);
    }

    /// One cycle: recovers a machine that stands still for no good reason, and follows whims.
    pub fn act(&mut self, seen: &Record, now_ns: u64) {
        self.recover(seen);
        let begun = seen.events.iter().any(|event| event.kind == EventKind::PathBegun.code());
        if begun && self.whims > 0 && self.random.percent(10) {
            // The moment at which a path has begun and nothing has moved yet.
            let kinds = [RequestKind::Disable, RequestKind::Stop, RequestKind::Hold];
            let kind = *self.random.pick(&kinds);
            self.ask(kind, 0.0);
        }
        if !self.random.per_million(self.whims) {
            return;
        }
        if self.is_rude && self.random.percent(25) {
            self.be_rude(now_ns);
            return;
        }
        let value = if self.random.percent(30) { 1.0 } else { self.random.between(0.0, 1.0) };
        let kind = match self.random.below(20) {
            0..5 => RequestKind::Hold,
            5..9 => RequestKind::Resume,
            9..11 => RequestKind::Stop,
            11 => RequestKind::Disable,
            12 => RequestKind::Enable,
            _ => RequestKind::Override,
        };
        self.ask(kind, value);
    }

    fn recover(&mut self, seen: &Record) {
        let header = &seen.header;
        let moves = header.tau_s.to_bits() != self.last_tau_s.to_bits();
        self.last_tau_s = header.tau_s;
        self.waited_cycles = if moves { 0 } else { self.waited_cycles + 1 };
        if self.waited_cycles < self.patience_cycles {
            return;
        }
        self.waited_cycles = 0;
        self.patience_cycles = PATIENCE_CYCLES / 2 + self.random.below(PATIENCE_CYCLES);
        let held = header.verdict == Verdict::Hold.code();
        match Phase::try_from(header.phase) {
            Ok(Phase::Disabled | Phase::Stopped) => self.ask(RequestKind::Enable, 0.0),
            Ok(Phase::Standstill | Phase::Moving) if held && self.random.percent(80) => {
                self.ask(RequestKind::Resume, 0.0);
            }
            Ok(Phase::Standstill | Phase::Moving) if self.random.percent(50) => {
                self.ask(RequestKind::Override, 1.0);
            }
            // Stranded: give the path up.
            Ok(Phase::Moving) => self.ask(RequestKind::Stop, 0.0),
            _ => {}
        }
    }

    fn be_rude(&mut self, now_ns: u64) {
        self.request_id += 1;
        let mut one = request(RequestKind::Override, self.random.awkward(), self.request_id);
        match self.random.below(6) {
            0 => one.value = self.random.between(-3.0, 4.0),
            1 => one.kind = self.random.bits() as u32,
            2 => one.axis_mask = self.random.bits(),
            3 => {
                one.kind = RequestKind::Enable.code();
                one.deadline_ns = now_ns.saturating_sub(self.random.below(1 << 30));
            }
            4 => {
                for _ in 0..self.random.within(5, 300) {
                    let kind = self.random.within(0, 8) as u32;
                    let value = self.random.between(-0.2, 1.2);
                    self.send(&Request { kind, value, ..one });
                }
            }
            _ => {}
        }
        self.send(&one);
    }
}
