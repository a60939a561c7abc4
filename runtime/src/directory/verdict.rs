//! Who may do what to which part of a twin, and why.
//!
//! In this order: a tenant or a user that is disabled may nothing; a policy that denies wins; a token goes no further
//! than its scope; a policy that allows is enough; a role is enough; nothing else is. The order of the policies does not
//! matter, and no other tenant's are looked at.

use std::fmt;
use std::sync::Arc;

use twins::id::TwinId;
use twins::name::Name;

use super::pattern::Meets;
use super::policy::{Effect, Policy};
use super::role::{Role, Roles};
use super::{Directory, Principal};
use crate::access::Verb;

/// Somebody of a tenant, with what they have in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// Their tenant.
    pub tenant: &'a str,
    /// Their name.
    pub name: &'a str,
    /// How far their token goes; `None`: as far as they do.
    pub scope: Option<Roles>,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether they may.
    pub allowed: bool,
    /// What led to it: of a refusal all that stands against it, else all that lets them.
    pub because: Vec<Because>,
}

/// A reason of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// There is no such user or service, or it or its tenant is disabled.
    Absent,
    /// The twin is another tenant's.
    Foreign,
    /// The token does not go that far.
    Scope,
    /// A policy matches.
    Policy {
        /// Its name.
        name: Name,
        /// What it does.
        effect: Effect,
    },
    /// A role lets them.
    Role(Role),
    /// Nothing lets them.
    Nothing,
}

/// What somebody may do of one thing to the parts of one twin: what there is to know of it, looked up once, for the many
/// paths of a document.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    shut: Option<Because>,
    verb: Option<Verb>,
    role: Option<Role>,
    allows: Vec<(Name, Arc<Policy>)>,
    denies: Vec<(Name, Arc<Policy>)>,
    unlimited: bool,
}

impl Directory {
    /// Whether somebody may do this to that part of a twin, and why: `path` is `desired/heating/mode`, `commands/open`,
    /// `telemetry/temperature`; empty for the twin itself.
    pub fn verdict(&self, who: Who<'_>, verb: Verb, twin: &TwinId, path: &str) -> Verdict {
        self.reach(who, verb, twin).verdict(path)
    }

    /// What somebody may do of this to the parts of a twin.
    pub fn reach(&self, who: Who<'_>, verb: Verb, twin: &TwinId) -> Reach {
        let shut = |because| Reach { shut: Some(because), ..Reach::default() };
        if twin.tenant() != who.tenant {
            return shut(Because::Foreign);
        }
        let Some((tenant, roles)) = self.roles(who) else { return shut(Because::Absent) };
        // Whoever narrows a token does not leave behind what denies to the roles that it is narrowed to.
        let denied = roles.iter().chain(who.scope.into_iter().flat_map(Roles::iter)).collect();
        let mut reach = Reach { verb: Some(verb), role: roles.granting(verb), ..Reach::default() };
        if who.scope.is_some_and(|scope| scope.granting(verb).is_none()) {
            reach.shut = Some(Because::Scope);
        }
        for (name, policy) in &tenant.policies {
            if !policy.verbs.contains(verb) || !policy.devices.matches(twin.id()) {
                continue;
            }
            match policy.effect {
                Effect::Allow if policy.is_about(who.name, roles) => {
                    reach.allows.push((name.clone(), policy.clone()));
                }
                Effect::Deny if policy.is_about(who.name, denied) => {
                    reach.denies.push((name.clone(), policy.clone()));
                }
                _ => {}
            }
        }
        reach
    }

    /// Whether somebody may do this in their tenant, beside its twins: only roles say so.
    pub fn governs(&self, who: Who<'_>, verb: Verb) -> Verdict {
        let Some((_, roles)) = self.roles(who) else { return Verdict::refused([Because::Absent]) };
        if who.scope.is_some_and(|scope| scope.granting(verb).is_none()) {
            return Verdict::refused([Because::Scope]);
        }
        match roles.granting(verb) {
            Some(role) => Verdict { allowed: true, because: vec![Because::Role(role)] },
            None => Verdict::refused([Because::Nothing]),
        }
    }

    fn roles(&self, who: Who<'_>) -> Option<(&super::Tenant, Roles)> {
        let tenant = self.tenants.get(who.tenant).filter(|tenant| !tenant.disabled)?;
        let is_in = |principal: &&Arc<Principal>| !principal.disabled;
        let principal = tenant.principals.get(who.name).filter(is_in)?;
        Some((tenant, principal.roles))
    }
}

impl Reach {
    /// All there is: where nobody is asked who they are.
    pub fn everything() -> Self {
        Self { unlimited: true, ..Self::default() }
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self { shut: Some(Because::Nothing), ..Self::default() }
    }

    /// The verdict of a path, and why.
    pub fn verdict(&self, path: &str) -> Verdict {
        if self.unlimited {
            return Verdict { allowed: true, because: Vec::new() };
        }
        let matching = |policies: &[(Name, Arc<Policy>)], wanted: fn(Meets) -> bool| {
            let found = policies.iter().filter(|(_, policy)| wanted(policy.path.meets(path)));
            let because = |(name, policy): &(Name, Arc<Policy>)| Because::Policy {
                name: name.clone(),
                effect: policy.effect,
            };
            found.map(because).collect::<Vec<_>>()
        };
        let mut against = matching(&self.denies, |met| met.covers);
        against.extend(self.shut.clone());
        if !against.is_empty() {
            return Verdict::refused(against);
        }
        // Whoever may read a part of a twin may see that it is there.
        let sees = path.is_empty() && self.verb == Some(Verb::Read);
        let mut because = matching(&self.allows, if sees { |met| met.reaches } else { |met| met.covers });
        because.extend(self.role.map(Because::Role));
        match because.is_empty() {
            true => Verdict::refused([Because::Nothing]),
            false => Verdict { allowed: true, because },
        }
    }

    /// Whether they may do it to this part.
    pub fn may(&self, path: &str) -> bool {
        self.is_everything() || self.verdict(path).allowed
    }

    /// Whether they may do it to this part and to everything below it, also to what is not there yet.
    pub fn may_whole(&self, path: &str) -> bool {
        self.is_everything()
            || (self.verdict(path).allowed && self.is_covered(path) && !self.denies_below(path))
    }

    /// Whether they may do it to this part or to something below it.
    pub fn may_some(&self, path: &str) -> bool {
        if self.is_everything() || self.verdict(path).allowed {
            return true;
        }
        let denied = self.denies.iter().any(|(_, policy)| policy.path.meets(path).covers);
        self.shut.is_none()
            && !denied
            && self.allows.iter().any(|(_, policy)| policy.path.meets(path).reaches)
    }

    /// Whether a policy denies it of this part or of something below it.
    pub fn denies_below(&self, path: &str) -> bool {
        self.denies.iter().any(|(_, policy)| policy.path.meets(path).reaches)
    }

    /// Whether nothing limits it to some parts.
    pub fn is_everything(&self) -> bool {
        self.unlimited || (self.shut.is_none() && self.role.is_some() && self.denies.is_empty())
    }

    fn is_covered(&self, path: &str) -> bool {
        self.role.is_some() || self.allows.iter().any(|(_, policy)| policy.path.meets(path).covers)
    }
}

impl Verdict {
    fn refused(because: impl Into<Vec<Because>>) -> Self {
        Self { allowed: false, because: because.into() }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no such user or service, or it is disabled"),
            Self::Foreign => f.write_str("it is another tenant's"),
            Self::Scope => f.write_str("the token does not go that far"),
            Self::Policy { name, effect: Effect::Allow } => write!(f, "the policy `{name}` allows it"),
            Self::Policy { name, effect: Effect::Deny } => write!(f, "the policy `{name}` denies it"),
            Self::Role(role) => write!(f, "the role `{}` allows it", role.as_str()),
            Self::Nothing => f.write_str("no role and no policy allows it"),
        }
    }
}
