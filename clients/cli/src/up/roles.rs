//! Which user each process of the set runs as: a gateway's user decides its role.
use kadenz_config::Machine;
use nix::unistd::{Group, User, geteuid};

use crate::reply::{EXIT_PERMISSION, EXIT_SYSTEM, Failure};

/// A user and group to run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
}

/// Users of the set; all `None` where one user runs everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    /// Of the view gateway and its clients.
    pub(crate) view: Option<Account>,
    /// Of the plan gateway and its clients.
    pub(crate) plan: Option<Account>,
    /// Of the operate gateway.
    pub(crate) operate: Option<Account>,
}

impl Accounts {
    /// The users that `machine` names. Changing user takes root.
    pub(crate) fn of(machine: &Machine) -> Result<Self, Failure> {
        let Some(roles) = &machine.roles else { return Ok(Self::default()) };
        if !geteuid().is_root() {
            let text = format!(
                "machine {} names users for its roles ([roles]), which takes root: use sudo, the \
                 systemd units, or exempt \"one-user\" instead",
                machine.name
            );
            return Err(Failure::new(EXIT_PERMISSION, text));
        }
        // Needed by kadenzd; said here before anything is started.
        if !matches!(Group::from_name(&roles.operate_group), Ok(Some(_))) {
            return Err(missing("group", &roles.operate_group, "groupadd --system"));
        }
        Ok(Self {
            view: Some(account(&roles.view)?),
            plan: Some(account(&roles.plan)?),
            operate: Some(account(&roles.operate)?),
        })
    }
}

fn account(name: &str) -> Result<Account, Failure> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        Ok(None) | Err(_) => Err(missing("user", name, "useradd --system")),
    }
}

fn missing(what: &str, name: &str, make: &str) -> Failure {
    let text = format!("[roles]: {what} {name:?} does not exist; make it with `{make} {name}`");
    Failure::new(EXIT_SYSTEM, text)
}
