//! What the daemon tells its service manager: ready once it serves, alive while cycles pass, and what it
//! does in one line. It hears of cycles through the health lane and never touches the loop.
use std::time::{Duration, Instant};

use kadenz_handover::Happening;
use kadenz_lanes::GaugeReader;
use kadenz_service::notify::Notify;
use shm_layout::code::Role;
use shm_layout::health::Health;

/// Where the loop's count of cycles stands among the gauges.
const CYCLES: usize = core::mem::offset_of!(Health, cycles) / 8;

/// Cycles that have passed so far.
#[must_use]
pub fn cycles(health: &GaugeReader<'_>) -> u64 {
    health.get(CYCLES).unwrap_or(0)
}

/// What has been told, and what tells more.
pub struct Service {
    notify: Notify,
    /// What the machine is, in front of the status line.
    machine: String,
    /// Roles whose gateway serves, in the order of [`Role::ALL`].
    serving: [bool; Role::ALL.len()],
    is_ready: bool,
    is_ending: bool,
    told: String,
    pulse: Pulse,
}

impl Service {
    /// Nothing told yet. `machine` begins the status line.
    #[must_use]
    pub fn new(notify: Notify, machine: String, now: Instant) -> Self {
        let pulse = Pulse { every: notify.alive_every(), cycles: 0, alive: now };
        Self {
            notify,
            machine,
            serving: Default::default(),
            is_ready: false,
            is_ending: false,
            told: String::new(),
            pulse,
        }
    }

    /// Takes what happened at the hand-over, and how many `cycles` have passed by `now`.
    pub fn look(&mut self, happenings: &[Happening], cycles: u64, now: Instant) {
        for happening in happenings {
            match happening {
                Happening::Ready { role, .. } => self.serves(*role, true),
                Happening::Gone { role, .. } => self.serves(*role, false),
                Happening::Connected { .. } | Happening::Refused { .. } => {}
            }
        }
        if !self.is_ready && self.serving.contains(&true) {
            self.is_ready = true;
            self.notify.ready();
        }
        if self.pulse.beats(cycles, now) {
            self.notify.alive();
        }
        self.tell();
    }

    /// The loop brakes, or has ended: what is left is to finish.
    pub fn ending(&mut self) {
        if !self.is_ending {
            self.is_ending = true;
            self.notify.stopping();
            self.tell();
        }
    }

    fn serves(&mut self, role: Role, serves: bool) {
        let place = Role::ALL.iter().position(|(one, ..)| *one == role);
        if let Some(serving) = place.and_then(|place| self.serving.get_mut(place)) {
            *serving = serves;
        }
    }

    fn tell(&mut self) {
        let roles: Vec<&str> = Role::ALL
            .iter()
            .zip(self.serving)
            .filter_map(|((role, ..), serves)| serves.then_some(role.word()))
            .collect();
        let does = match (self.is_ending, roles.is_empty()) {
            (true, _) => "stopping".to_owned(),
            (false, true) => "runs; waiting for a gateway".to_owned(),
            (false, false) => format!("runs; serving {}", roles.join(", ")),
        };
        let status = format!("{}: {does}", self.machine);
        if status != self.told {
            self.notify.status(&status);
            self.told = status;
        }
    }
}

/// When the daemon may say that it lives: only for cycles that have passed since it last said so.
struct Pulse {
    every: Option<Duration>,
    cycles: u64,
    alive: Instant,
}

impl Pulse {
    fn beats(&mut self, cycles: u64, now: Instant) -> bool {
        let is_due = self.every.is_some_and(|every| now.duration_since(self.alive) >= every);
        if !is_due || cycles == self.cycles {
            return false;
        }
        (self.cycles, self.alive) = (cycles, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadenz_paths::Token;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// A service manager, and a daemon that speaks to it.
    fn managed(name: &str) -> (UnixDatagram, Service, Instant) {
        let name = format!("kadenzd-service-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        let watched = Some(Duration::from_secs(1));
        let notify = Notify::to(Some(format!("@{name}").into()), watched).unwrap();
        let begin = Instant::now();
        (manager, Service::new(notify, "arm".to_owned(), begin), begin)
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 256];
        std::iter::from_fn(|| manager.recv(&mut bytes).ok().map(|count| (count, bytes)))
            .map(|(count, bytes)| String::from_utf8_lossy(&bytes[..count]).into_owned())
            .collect()
    }

    fn ready(role: Role) -> Happening {
        Happening::Ready { role, pid: 1, token: Token::from_number(1) }
    }

    fn gone(role: Role) -> Happening {
        Happening::Gone { role, pid: 1, was_ready: true, reason: String::new() }
    }

    #[test]
    fn the_daemon_is_ready_once_a_gateway_serves_and_stays_so_when_it_is_gone() {
        let (manager, mut service, begin) = managed("ready");
        service.look(&[], 20, begin);
        assert_eq!(heard(&manager), ["STATUS=arm: runs; waiting for a gateway"]);
        service.look(&[ready(Role::Plan)], 21, begin);
        assert_eq!(heard(&manager), ["READY=1", "STATUS=arm: runs; serving plan"]);
        service.look(&[gone(Role::Plan), ready(Role::View)], 22, begin);
        assert_eq!(heard(&manager), ["STATUS=arm: runs; serving view"]);
        service.look(&[gone(Role::View), ready(Role::View)], 23, begin);
        assert!(heard(&manager).is_empty(), "nothing new for people, and ready is said once");
        service.ending();
        service.ending();
        assert_eq!(heard(&manager), ["STOPPING=1", "STATUS=arm: stopping"]);
    }

    #[test]
    fn the_daemon_says_that_it_lives_only_while_cycles_pass() {
        let (manager, mut service, begin) = managed("alive");
        let mut at = |ms: u64, cycles: u64| {
            service.look(&[], cycles, begin + Duration::from_millis(ms));
            heard(&manager).contains(&"WATCHDOG=1".to_owned())
        };
        assert!(!at(0, 20), "half the time that is allowed has not passed yet");
        assert!(at(500, 500));
        assert!(!at(520, 520));
        assert!(at(1_000, 1_000));
        for ms in (1_000..60_000).step_by(20) {
            assert!(!at(ms, 1_000), "the loop stands still at {ms} ms");
        }
        assert!(at(60_000, 1_001), "and again once it moves");
    }
}
