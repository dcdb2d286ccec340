//! The machine file of a fresh installation: the embedded arm in simulation, on a host that must be a
//! real-time host, with users for its roles. Derived from the embedded file, so that there is one.
use crate::reply::Failure;

/// The embedded machine that it is made from.
const TEMPLATE: &str = "demo-arm";
/// A mistake in this program: its parts do not fit each other (sysexits EX_SOFTWARE).
const EXIT_SOFTWARE: u8 = 70;

/// Where a place of the template begins, what it ends with, and what stands there in an installation.
const EDITS: [(&str, &str, &str); 4] = [
    (
        "# A six-axis arm in simulation.",
        "",
        "# The machine that kadenzd.service runs: for a start, a six-axis arm in simulation. Change it, check it \
         with\n# `kadenz check /etc/kadenz/machine.toml`, then `systemctl restart kadenzd`.",
    ),
    (
        "# What this machine may start without.",
        "\n]\n",
        "# What this machine may start without, by name: nothing. `kadenz doctor` tells what a host lacks.\n\
         exempt = []\n",
    ),
    ("# directory = \"/var/lib/kadenz/flight\"", "", "directory = \"/var/lib/kadenz/flight\""),
    (
        "# A production machine has this table",
        "# operate_group = \"kadenz\"  ",
        "# The user of a gateway decides what its clients may do. A person needs nothing but to be a member of\n\
         # operate_group: `usermod -aG kadenz NAME`.\n\
         [roles]\n\
         view = \"kadenz-view\"                 # may look\n\
         plan = \"kadenz-plan\"                 # may also send knots\n\
         operate = \"kadenz-operate\"           # may request and jog\n\
         operate_group = \"kadenz\"  ",
    ),
];

/// The file's text.
///
/// # Errors
/// When the template has been changed and this file has not.
pub(crate) fn text() -> Result<String, Failure> {
    let template = kadenz_config::demo(TEMPLATE).unwrap_or_default();
    EDITS.iter().try_fold(template.to_owned(), |text, (begin, end, instead)| {
        edited(&text, begin, end, instead).ok_or_else(|| {
            let words = format!("{TEMPLATE}.toml holds `{begin}` not once; this is a defect");
            Failure::new(EXIT_SOFTWARE, words)
        })
    })
}

/// `text` with `instead` in place of what lies from `begin` to the end of `end`; `None` unless `begin`
/// stands there once and `end` after it.
fn edited(text: &str, begin: &str, end: &str, instead: &str) -> Option<String> {
    let (before, after) = text.split_once(begin)?;
    if after.contains(begin) {
        return None;
    }
    let (_replaced, rest) = after.split_once(end)?;
    Some([before, instead, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kadenz_config::{Exemption, Machine};

    #[test]
    fn the_installed_machine_is_the_embedded_one_with_users_and_without_exemptions() {
        let text = text().unwrap_or_else(|failure| panic!("{}", failure.text));
        let machine = Machine::from_toml("machine.toml", &text).unwrap_or_else(|e| panic!("{e}"));
        for exemption in Exemption::ALL {
            assert!(!machine.is_exempt(exemption), "{exemption}");
        }
        let roles = machine.roles.as_ref().expect("[roles]");
        assert_eq!(roles.view, "kadenz-view");
        assert_eq!(roles.plan, "kadenz-plan");
        assert_eq!(roles.operate, "kadenz-operate");
        assert_eq!(roles.operate_group, "kadenz");
        let flight = machine.recorder.directory.as_deref();
        assert_eq!(flight, Some(std::path::Path::new("/var/lib/kadenz/flight")));

        let demo = kadenz_config::demo(TEMPLATE).unwrap();
        let demo = Machine::from_toml(TEMPLATE, demo).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(machine.axes, demo.axes);
        assert!(!text.contains("one-user"), "no word of what does not apply");
    }

    #[test]
    fn a_place_that_is_missing_or_there_twice_is_no_place() {
        assert_eq!(edited("a b c", "b", "", "x").as_deref(), Some("a x c"));
        assert_eq!(edited("a b c d", "b", "c", "x").as_deref(), Some("a x d"));
        assert_eq!(edited("a b b", "b", "", "x"), None);
        assert_eq!(edited("a b", "c", "", "x"), None);
        assert_eq!(edited("a b", "b", "c", "x"), None);
    }
}
