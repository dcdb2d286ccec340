//! Which unix user may hold which role: a pure rule, no socket.

use shm_layout::code::Role;

/// The unix users behind the roles. What a gateway claims counts for nothing, its uid for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleTable {
    /// User of the view gateway; `None`: nobody.
    pub view: Option<u32>,
    /// User of the plan gateway; `None`: nobody.
    pub plan: Option<u32>,
    /// User of the operate gateway; `None`: nobody.
    pub operate: Option<u32>,
    /// Group whose members may ask for status, make requests and hand trajectories to the planner;
    /// `None`: whoever is in the group of those processes.
    pub members: Option<u32>,
    /// The daemon's own user may hold every role: for a machine run by one person, without
    /// protection between roles.
    pub one_user: bool,
}

/// Why a user may not hold a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleRefusal {
    /// The role belongs to another user.
    #[error(
        "uid {uid} may not hold role {}: it belongs to uid {owner}; start this gateway as that \
         user, or give the role to this one in kadenzd's configuration",
        role.word()
    )]
    Foreign {
        /// Role asked for.
        role: Role,
        /// User that asked.
        uid: u32,
        /// User that the role belongs to.
        owner: u32,
    },
    /// The role belongs to no user.
    #[error(
        "uid {uid} may not hold role {}: kadenzd's configuration gives it to nobody; name a user \
         there, or start kadenzd for one user",
        role.word()
    )]
    Nobody {
        /// Role asked for.
        role: Role,
        /// User that asked.
        uid: u32,
    },
}

impl RoleTable {
    /// Every role for the daemon's own user.
    #[must_use]
    pub const fn one_user() -> Self {
        Self { view: None, plan: None, operate: None, members: None, one_user: true }
    }

    /// The user that `role`'s directory belongs to, for a daemon that runs as `own_uid`.
    #[must_use]
    pub fn owner(&self, role: Role, own_uid: u32) -> Option<u32> {
        let named = match role {
            Role::View => self.view,
            Role::Plan => self.plan,
            Role::Operate => self.operate,
        };
        named.or_else(|| self.one_user.then_some(own_uid))
    }

    /// Whether `uid` may hold `role`.
    ///
    /// # Errors
    /// [`RoleRefusal`] with the remedy.
    pub fn admit(&self, role: Role, uid: u32, own_uid: u32) -> Result<(), RoleRefusal> {
        match self.owner(role, own_uid) {
            Some(owner) if owner == uid || (self.one_user && uid == own_uid) => Ok(()),
            Some(owner) => Err(RoleRefusal::Foreign { role, uid, owner }),
            None => Err(RoleRefusal::Nobody { role, uid }),
        }
    }

    /// Whether `uid` may hold any role: the only users whose words are listened to at all.
    #[must_use]
    pub fn knows(&self, uid: u32, own_uid: u32) -> bool {
        Role::ALL.iter().any(|(role, ..)| self.admit(*role, uid, own_uid).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: RoleTable =
        RoleTable { view: Some(11), plan: Some(12), operate: None, members: None, one_user: false };

    #[test]
    fn each_role_admits_its_own_user_and_no_other() {
        assert_eq!(TABLE.admit(Role::View, 11, 0), Ok(()));
        assert_eq!(TABLE.admit(Role::Plan, 12, 0), Ok(()));
        let refusal = TABLE.admit(Role::Plan, 11, 0).unwrap_err();
        assert_eq!(refusal, RoleRefusal::Foreign { role: Role::Plan, uid: 11, owner: 12 });
        assert!(refusal.to_string().contains("uid 11 may not hold role plan"));
    }

    #[test]
    fn root_is_a_foreign_user_like_any_other() {
        assert!(TABLE.admit(Role::View, 0, 5).is_err());
        assert!(!TABLE.knows(0, 5));
    }

    #[test]
    fn a_role_given_to_nobody_is_held_by_nobody() {
        assert_eq!(
            TABLE.admit(Role::Operate, 11, 0),
            Err(RoleRefusal::Nobody { role: Role::Operate, uid: 11 })
        );
    }

    #[test]
    fn with_one_user_the_daemons_own_user_holds_every_role_and_others_still_none() {
        let table = RoleTable { one_user: true, ..TABLE };
        for (role, ..) in Role::ALL {
            assert_eq!(table.admit(*role, 7, 7), Ok(()));
            assert!(table.admit(*role, 8, 7).is_err());
        }
        assert_eq!(table.owner(Role::Operate, 7), Some(7));
        assert_eq!(table.owner(Role::View, 7), Some(11));
    }
}
