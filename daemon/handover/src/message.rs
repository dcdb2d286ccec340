//! The lines of the hand-over, as JSON: what is said, not how it travels.

use kadenz_paths::Token;
use serde::{Deserialize, Serialize};
use shm_layout::code::Role;
use shm_layout::{AXES_MAX, LAYOUT_HASH, VERSION_MAJOR, VERSION_MINOR};

/// CPUs that a kernel's affinity mask names, as the C library's `CPU_SETSIZE` has it.
const CPUS_MAX: u16 = 1024;
/// Longest line either side reads.
pub(crate) const LINE_BYTES_MAX: usize = 2048;
/// What a gateway says, with a line feed, once its first pass is done.
pub(crate) const READY: &str = "ready";

/// What a gateway says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    role: String,
    layout_hash: String,
    version: String,
    /// For the daemon's log; rights go by the peer credentials.
    pid: u32,
}

impl Hello {
    pub(crate) fn of_this_build(role: Role) -> Self {
        Self {
            role: role.word().to_owned(),
            layout_hash: format!("{LAYOUT_HASH:#018x}"),
            version: format!("{VERSION_MAJOR}.{VERSION_MINOR}"),
            pid: std::process::id(),
        }
    }

    /// Reads a hello and checks role and contract; the error is for the peer.
    pub(crate) fn read(line: &str) -> Result<Role, String> {
        let hello: Self = serde_json::from_str(line).map_err(|error| {
            format!("hello not understood: {error}; only kadenz-gateway speaks here")
        })?;
        let role = Role::ALL.iter().find(|(_, word, _)| *word == hello.role);
        let Some((role, ..)) = role else {
            let role = hello.role;
            return Err(format!("role {role:?}: the roles are view, plan and operate"));
        };
        let ours = Self::of_this_build(*role);
        if hello.layout_hash != ours.layout_hash {
            return Err(format!(
                "contract {} with layout hash {} met contract {} with {}: the bytes would mean \
                 different things; install kadenzd and kadenz-gateway of one release",
                hello.version, hello.layout_hash, ours.version, ours.layout_hash
            ));
        }
        Ok(*role)
    }
}

/// What kadenzd tells every gateway beside the lanes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Axes of the machine, 1 to 64.
    pub axis_count: u16,
    /// Nominal period of the loop, 50 µs to 10 ms.
    pub period_ns: u64,
    /// The copy-out pass comes this long after the grid point, less than the period.
    pub out_offset_ns: u64,
    /// The copy-in pass comes this long before the next grid point, less than the period.
    pub in_lead_ns: u64,
    /// `SCHED_FIFO` priority of gateways, 1 to 99, below the loop's; 0 asks for none.
    pub gateway_priority_fifo: u8,
    /// CPU of the loop, 0 to 1023; a gateway keeps off it where it may use another.
    pub loop_cpu: u16,
    /// Random number of this life of the daemon.
    pub daemon_id: u64,
}

impl Terms {
    /// Checks every number, on both sides of the socket.
    ///
    /// # Errors
    /// Place, value and allowed range of the first number that is out of range.
    pub fn check(&self) -> Result<(), String> {
        let axes = usize::from(self.axis_count);
        if axes == 0 || axes > AXES_MAX {
            return Err(format!("axis_count {axes}: 1 to {AXES_MAX} axes are possible"));
        }
        let period_ns = self.period_ns;
        if !(50_000..=10_000_000).contains(&period_ns) {
            return Err(format!("period_ns {period_ns}: 50000 to 10000000 are possible"));
        }
        for (name, value_ns) in
            [("out_offset_ns", self.out_offset_ns), ("in_lead_ns", self.in_lead_ns)]
        {
            if value_ns >= period_ns {
                return Err(format!("{name} {value_ns}: less than the period ({period_ns})"));
            }
        }
        if self.gateway_priority_fifo > 99 {
            let priority = self.gateway_priority_fifo;
            return Err(format!("gateway_priority_fifo {priority}: 0 to 99 are possible"));
        }
        if self.loop_cpu >= CPUS_MAX {
            let cpu = self.loop_cpu;
            return Err(format!("loop_cpu {cpu}: 0 to {} are possible", CPUS_MAX - 1));
        }
        Ok(())
    }
}

/// A role granted: the terms and the token of this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Names this life of the gateway.
    #[serde(with = "token_digits")]
    pub token: Token,
    /// The role granted.
    #[serde(with = "role_word")]
    pub role: Role,
    /// The loop's terms.
    #[serde(flatten)]
    pub terms: Terms,
}

/// What kadenzd says: one of the two.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// Reason and remedy.
    Refused { refused: String },
    /// With descriptors attached.
    Granted(Grant),
}

mod role_word {
    use super::Role;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(role.word())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        let word = String::deserialize(from)?;
        let role = Role::ALL.iter().find(|(_, known, _)| *known == word);
        let unknown = || serde::de::Error::custom(format!("role {word:?} is unknown"));
        role.map(|(role, ..)| *role).ok_or_else(unknown)
    }
}

mod token_digits {
    use super::Token;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn serialize<S: Serializer>(token: &Token, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(token)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Token, D::Error> {
        let text = String::deserialize(from)?;
        let malformed = || serde::de::Error::custom(format!("token {text:?} is not 8 hex digits"));
        text.parse().map_err(|()| malformed())
    }
}

/// One JSON line. Serialising plain numbers and strings cannot fail.
pub(crate) fn line_of<T: Serialize>(message: &T) -> String {
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms {
        axis_count: 6,
        period_ns: 1_000_000,
        out_offset_ns: 150_000,
        in_lead_ns: 50_000,
        gateway_priority_fifo: 40,
        loop_cpu: 1023,
        daemon_id: u64::MAX,
    };

    #[test]
    fn a_hello_of_this_build_is_understood() {
        let line = line_of(&Hello::of_this_build(Role::Operate));
        assert_eq!(Hello::read(line.trim_end()), Ok(Role::Operate));
    }

    #[test]
    fn another_layout_is_refused_with_both_fingerprints() {
        let other = Hello { layout_hash: "0x1".to_owned(), ..Hello::of_this_build(Role::View) };
        let refusal = Hello::read(line_of(&other).trim_end()).unwrap_err();
        assert!(refusal.contains("0x1 ") && refusal.contains(&format!("{LAYOUT_HASH:#018x}")));
    }

    #[test]
    fn a_grant_reads_back_what_it_writes() {
        let grant = Grant { token: Token::from_number(7), role: Role::Plan, terms: TERMS };
        let line = line_of(&grant);
        let Answer::Granted(read) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!(read, grant);
        assert!(line.contains(r#""token":"00000007","role":"plan","axis_count":6"#), "{line}");
    }

    #[test]
    fn terms_out_of_range_are_named() {
        let broken = [
            (Terms { axis_count: 0, ..TERMS }, "axis_count 0"),
            (Terms { axis_count: 65, ..TERMS }, "axis_count 65"),
            (Terms { period_ns: 49_999, ..TERMS }, "period_ns 49999"),
            (Terms { out_offset_ns: 1_000_000, ..TERMS }, "out_offset_ns 1000000"),
            (Terms { in_lead_ns: u64::MAX, ..TERMS }, "in_lead_ns"),
            (Terms { gateway_priority_fifo: 100, ..TERMS }, "gateway_priority_fifo 100"),
            (Terms { loop_cpu: 1024, ..TERMS }, "loop_cpu 1024"),
        ];
        assert_eq!(TERMS.check(), Ok(()));
        for (terms, place) in broken {
            assert!(terms.check().unwrap_err().starts_with(place), "{place}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_hello_or_one_clear_refusal(line in ".{0,200}") {
            if let Err(refusal) = Hello::read(&line) {
                prop_assert!(!refusal.is_empty());
            }
        }
    }
}
