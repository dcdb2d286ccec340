//! A machine without processes: the test itself plays the publishing side of a gateway.
#![expect(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its machine fails here")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use iceoryx2::port::update_connections::UpdateConnections;
use kadenz_link::domain::{self, DomainNode, Side};
use kadenz_link::paths::{EpochPlace, RuntimeDir, Token};
use shm_layout::catalog::{CatalogAxis, CatalogHeader};
use shm_layout::code::Role;
use shm_layout::event::Event;
use shm_layout::health::Health;
use shm_layout::state::{AxisState, StateHeader};
use shm_layout::{LAYOUT_HASH, VERSION_MAJOR, VERSION_MINOR};

static MACHINES: AtomicU32 = AtomicU32::new(0);

/// A runtime directory that goes with the test.
pub struct Machine {
    pub dir: RuntimeDir,
    number: u32,
}

impl Machine {
    pub fn new() -> Self {
        let number = (std::process::id() << 8) | MACHINES.fetch_add(1, Ordering::Relaxed);
        let path = format!("/dev/shm/kdzt{number:08x}");
        fs::create_dir(&path).unwrap();
        Self { dir: RuntimeDir::at(path).unwrap(), number }
    }

    /// Epochs of different machines never share a token, so tests can run side by side.
    pub fn token(&self, life: u32) -> Token {
        Token::from_number(self.number.wrapping_mul(16).wrapping_add(life))
    }

    pub fn place(&self, role: Role, life: u32) -> EpochPlace {
        self.dir.epoch_place(role, self.token(life)).unwrap()
    }

    pub fn announce(&self, role: Role, life: u32) {
        self.dir.announce_epoch(role, self.token(life)).unwrap();
    }

    /// What a starting gateway does with the leftovers of another life.
    pub fn clear(&self, role: Role, life: u32) {
        let place = self.place(role, life);
        let _gone = fs::remove_dir_all(&place.root);
        for entry in fs::read_dir("/dev/shm").unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&place.prefix) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for role in [Role::View, Role::Plan] {
            (0..16).for_each(|life| self.clear(role, life));
        }
        let _gone = fs::remove_dir_all(self.dir.as_path());
    }
}

/// The publishing side of one gateway life.
pub struct Gateway {
    pub state: domain::state::Writer,
    pub events: domain::events::Writer,
    pub incidents: domain::incidents::Writer,
    pub health: domain::health::Writer,
    pub catalog: domain::catalog::Writer,
    pub knots: Option<domain::knots::Reader>,
    pub layout_hash: u64,
    pub daemon_id: u64,
    axis_count: u16,
    _node: DomainNode,
}

impl Gateway {
    pub fn start(machine: &Machine, role: Role, life: u32, axis_count: u16) -> Self {
        let place = machine.place(role, life);
        fs::create_dir_all(&place.root).unwrap();
        let node = domain::node(&place, "gateway", Side::Gateway).unwrap();
        let axes = usize::from(axis_count);
        let g = Side::Gateway;
        let state =
            domain::state::writer(&domain::state::service(&node, g).unwrap(), axes).unwrap();
        let events = domain::events::writer(&domain::events::service(&node, g).unwrap()).unwrap();
        let incidents =
            domain::incidents::writer(&domain::incidents::service(&node, g).unwrap()).unwrap();
        let health = domain::health::writer(&domain::health::service(&node, g).unwrap()).unwrap();
        let catalog =
            domain::catalog::writer(&domain::catalog::service(&node, g).unwrap(), axes).unwrap();
        let knots = (role == Role::Plan)
            .then(|| domain::knots::reader(&domain::knots::service(&node, g).unwrap()).unwrap());
        let (layout_hash, daemon_id) = (LAYOUT_HASH, 77);
        Self {
            state,
            events,
            incidents,
            health,
            catalog,
            knots,
            layout_hash,
            daemon_id,
            axis_count,
            _node: node,
        }
    }

    pub fn publish_state(&self, cycle: u64) {
        let axes: Vec<AxisState> = (0..self.axis_count)
            .map(|axis| AxisState { position_actual: f64::from(axis) + 0.5, ..AxisState::zeroed() })
            .collect();
        let mut slot = self.state.loan_slice_uninit(axes.len()).unwrap();
        let header = StateHeader {
            layout_hash: self.layout_hash,
            version_major: VERSION_MAJOR,
            version_minor: VERSION_MINOR,
            axis_count: self.axis_count,
            daemon_id: self.daemon_id,
            cycle,
            period_ns: 1_000_000,
            ..StateHeader::zeroed()
        };
        *slot.user_header_mut() = header.into();
        slot.write_from_slice(&axes).send().unwrap();
    }

    pub fn publish_event(&self, sequence: u64, wake_ns: u64) {
        self.events.send_copy(Event { sequence, wake_ns, ..Event::zeroed() }).unwrap();
    }

    pub fn publish_health(&self, cycles: u64) {
        let health = Health {
            layout_hash: self.layout_hash,
            daemon_id: self.daemon_id,
            cycles,
            ..Health::zeroed()
        };
        self.health.send_copy(health).unwrap();
    }

    pub fn publish_catalog(&self, machine_name: &str) {
        let mut header = CatalogHeader {
            layout_hash: self.layout_hash,
            version_major: VERSION_MAJOR,
            version_minor: VERSION_MINOR,
            axis_count: self.axis_count,
            daemon_id: self.daemon_id,
            ..CatalogHeader::zeroed()
        };
        header.machine_name[..machine_name.len()].copy_from_slice(machine_name.as_bytes());
        let axes = vec![CatalogAxis::zeroed(); usize::from(self.axis_count)];
        let mut slot = self.catalog.loan_slice_uninit(axes.len()).unwrap();
        *slot.user_header_mut() = header.into();
        slot.write_from_slice(&axes).send().unwrap();
    }

    /// New readers of streams that rest get their history from here.
    pub fn look_for_readers(&self) {
        self.catalog.update_connections().unwrap();
        self.events.update_connections().unwrap();
        self.health.update_connections().unwrap();
    }
}

/// Files in `/dev/shm` that begin with `prefix`, without the directory `but`.
pub fn shm_files(prefix: &str, but: &Path) -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").unwrap().flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path != but);
    let names = paths.filter_map(|path| path.file_name().map(|n| n.to_string_lossy().into_owned()));
    names.filter(|name| name.starts_with(prefix)).collect()
}
