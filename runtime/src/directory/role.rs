//! Roles: what each lets somebody do to every twin of their tenant, where no policy says otherwise. They are fixed.

use crate::access::Verb;

/// A role of a user or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, changes tags and desired, sends commands and requests.
    Operator,
    /// Reads, registers and activates devices.
    Installer,
    /// Reads, shuts devices out and changes their credentials, reads the audit.
    Security,
    /// Everything in the tenant. Those of the default tenant operate the node.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Operator, Self::Installer, Self::Security, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Installer => "installer",
            Self::Security => "security",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What it lets somebody do. Speaking as a device is for devices alone.
    pub const fn grants(self, verb: Verb) -> bool {
        match self {
            Self::Viewer => matches!(verb, Verb::Read),
            Self::Operator => matches!(verb, Verb::Read | Verb::Write | Verb::Control),
            Self::Installer => matches!(verb, Verb::Read | Verb::Register | Verb::Activate),
            Self::Security => matches!(verb, Verb::Read | Verb::Secure | Verb::Audit),
            Self::Admin => !matches!(verb, Verb::Speak),
        }
    }
}

/// A set of roles; a bit for each, in the order of [`Role::ALL`], which is also how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Roles(#[n(0)] u8);

impl Roles {
    /// Whether it has one.
    pub fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Those in it, in order.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }

    /// The first that lets somebody do this.
    pub fn granting(self, verb: Verb) -> Option<Role> {
        self.iter().find(|role| role.grants(verb))
    }

    /// Those that `other` has not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether whoever has these may do all that those of `other` may.
    pub fn cover(self, other: Self) -> bool {
        Verb::ALL.into_iter().all(|verb| other.granting(verb).is_none() || self.granting(verb).is_some())
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | (1 << role as u8)))
    }
}

/// A set of verbs; a bit for each, in the order of [`Verb::ALL`], which is also how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Verbs(#[n(0)] u16);

impl Verbs {
    /// Whether it has one.
    pub fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u16) != 0
    }

    /// Those in it, in order.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.contains(*verb))
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        Self(verbs.into_iter().fold(0, |set, verb| set | (1 << verb as u16)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(roles: &[Role]) -> Roles {
        roles.iter().copied().collect()
    }

    #[test]
    fn every_role_reads_none_speaks_and_only_an_admin_administers() {
        for role in Role::ALL {
            assert!(role.grants(Verb::Read) && !role.grants(Verb::Speak), "{role:?}");
            assert_eq!(role.grants(Verb::Administer), role == Role::Admin, "{role:?}");
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn roles_cover_what_they_may_do_themselves() {
        assert!(roles(&[Role::Admin]).cover(roles(&[Role::Operator, Role::Security])));
        assert!(roles(&[Role::Operator]).cover(roles(&[Role::Viewer])));
        assert!(!roles(&[Role::Operator]).cover(roles(&[Role::Installer])));
        assert!(roles(&[]).cover(roles(&[])) && !roles(&[]).cover(roles(&[Role::Viewer])));
    }
}
