//! Tenants, and their users and services.

use std::collections::BTreeMap;
use std::sync::Arc;

use twins::name::Name;
use twins::time::Timestamp;

use super::enrolment::{Authority, Group};
use super::limits::Limits;
use super::policy::Policy;
use super::role::{Role, Roles};

/// Somebody's whole world: nothing of one tenant is seen, named or changed from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tenant {
    /// When it was made; 1970 of the default one.
    pub created: Timestamp,
    /// Nobody and no device of it is let in.
    pub disabled: bool,
    /// How much it may take, where that is not what the node says for all.
    pub limits: Limits,
    /// Its users and services by name.
    pub principals: BTreeMap<Name, Arc<Principal>>,
    /// Its policies by name.
    pub policies: BTreeMap<Name, Arc<Policy>>,
    /// Its enrolment groups by name.
    pub groups: BTreeMap<Name, Arc<Group>>,
    /// Its device authorities by name.
    pub authorities: BTreeMap<Name, Arc<Authority>>,
}

/// A user or a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Which of the two.
    pub sort: Sort,
    /// What they may do.
    pub roles: Roles,
    /// None of their tokens lets them in.
    pub disabled: bool,
    /// When they were added.
    pub created: Timestamp,
}

/// What sort of principal it is. The two share their names, since history names both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Sort {
    /// A person.
    #[n(0)]
    User,
    /// A program.
    #[n(1)]
    Service,
}

impl Tenant {
    /// Whether somebody who is not disabled may administer it.
    pub fn has_admin(&self) -> bool {
        let admins =
            |principal: &Arc<Principal>| principal.roles.contains(Role::Admin) && !principal.disabled;
        self.principals.values().any(admins)
    }
}

impl Sort {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
        }
    }
}
