//! Policies: what some people may do, or may not, to some parts of some devices, whatever their roles say.

use twins::name::Name;

use super::pattern::{DevicePattern, PathPattern};
use super::role::{Role, Roles, Verbs};

/// One rule. A denial goes before everything that allows.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Policy {
    /// Whether it allows or denies.
    #[n(0)]
    pub effect: Effect,
    /// Whom: one of these is enough. At most [`WHOM_MAX`](Self::WHOM_MAX).
    #[n(1)]
    pub who: Vec<Whom>,
    /// Of which devices.
    #[n(2)]
    pub devices: DevicePattern,
    /// Of which parts of them.
    #[n(3)]
    pub path: PathPattern,
    /// What.
    #[n(4)]
    pub verbs: Verbs,
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Effect {
    /// It lets them.
    #[n(0)]
    Allow,
    /// It does not, whatever else does.
    #[n(1)]
    Deny,
}

/// Whom a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Whom {
    /// Everybody of the tenant.
    #[n(0)]
    Everybody,
    /// Whoever has the role: a set of one.
    #[n(1)]
    Role(#[n(0)] Roles),
    /// The user or the service of that name.
    #[n(2)]
    Named(#[n(0)] Name),
}

impl Policy {
    /// How many a policy may name.
    pub const WHOM_MAX: usize = 32;

    /// Whether it is about somebody of that name with these roles.
    pub(super) fn is_about(&self, name: &str, roles: Roles) -> bool {
        self.who.iter().any(|whom| match whom {
            Whom::Everybody => true,
            Whom::Role(wanted) => wanted.iter().any(|role| roles.contains(role)),
            Whom::Named(wanted) => **wanted == *name,
        })
    }
}

impl Effect {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Whom {
    /// Reads `*`, `role:viewer` or a name. `None` where it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("role:") {
            None if text == "*" => Some(Self::Everybody),
            None => super::check_name("a name", text).ok().map(Self::Named),
            Some(role) => Role::parse(role).map(|role| Self::Role(Roles::from_iter([role]))),
        }
    }
}

/// As it is read.
impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Role(roles) => write!(f, "role:{}", roles.iter().next().map_or("none", Role::as_str)),
            Self::Named(name) => name.fmt(f),
        }
    }
}
