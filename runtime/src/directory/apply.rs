//! The step from one version of the directory to the next: decided and repeated by the same code, on every node alike.
//!
//! What is refused changes nothing. What an entry leads to follows from the entry and the directory alone; the time is
//! the entry's.

use std::collections::BTreeMap;
use std::sync::Arc;

use twins::id::{DEFAULT_TENANT, TwinId};
use twins::name::Name;
use twins::time::Timestamp;

use super::audit::Line;
use super::change::{Change, Entry, REASON_BYTES_MAX};
use super::enrolment::{Authority, Group, Trust};
use super::failures::{Failures, NAMED_MAX};
use super::members::{Principal, Sort, Tenant};
use super::policy::Policy;
use super::role::{Role, Roles};
use super::token::{LIFE_MAX, Token, TokenId};
use super::{Directory, audit};
use crate::log::Error as LogError;

/// How many there may be in a tenant, and in all.
const TENANTS_MAX: usize = 1_000;
/// How many names of removed tenants are remembered.
const RETIRED_MAX: usize = 100_000;
const PRINCIPALS_MAX: (usize, usize) = (5_000, 20_000);
const TOKENS_MAX: (usize, usize) = (10_000, 50_000);
/// How many tokens one user or service has: whoever may make none for others takes the room of nobody.
const TOKENS_OF_ONE_MAX: usize = 100;
const POLICIES_MAX: (usize, usize) = (256, 10_000);
const GROUPS_MAX: (usize, usize) = (256, 1_000);
const AUTHORITIES_MAX: (usize, usize) = (16, 1_000);

/// Why the directory was not changed. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has another version than the change was decided on.
    #[error("the directory has version {current}, not {expected}; read it again and decide again")]
    Stale {
        /// What the change was conditional on.
        expected: u64,
        /// What it has.
        current: u64,
    },
    /// What the change is about is not there.
    #[error("there is no {0}")]
    Unknown(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// There are as many as may be.
    #[error("{0}")]
    Full(String),
    /// It is not what it should be.
    #[error("{0}")]
    Unfit(String),
    /// Whoever asked for it is not let in any more.
    #[error("{0}")]
    Shut(String),
    /// Whoever asked for it may not.
    #[error("{0}")]
    Forbidden(String),
    /// The log did not take it; with [`LogError::Unknown`] nobody knows.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Takes the name of a tenant, a user, a policy and the like: 1 to 128 of `A-Z a-z 0-9 . _ ~ : @ -`.
///
/// # Errors
/// [`Refused::Unfit`] with what is wrong with it; `what` says what it was to name.
pub fn check_name(what: &str, name: &str) -> Result<Name, Refused> {
    let allowed = TwinId::in_default_tenant(name).is_ok() && name.len() <= 128;
    let unfit = || {
        let name: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        Refused::Unfit(format!("{what} is 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -, and not `{name}`"))
    };
    if !allowed {
        return Err(unfit());
    }
    Name::new(what, name).map_err(|_| unfit())
}

impl Directory {
    /// Makes a change: the one step to the next version.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn apply(&mut self, entry: &Entry) -> Result<u64, Refused> {
        if entry.reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
            return Err(Refused::Unfit(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
        }
        self.entitled(entry)?;
        self.make(&entry.tenant, entry.at, &entry.change)?;
        self.version += 1;
        (_, self.chain) = Line::after(&self.chain, entry);
        Ok(self.version)
    }

    /// The audit's line of the entry that would be applied next.
    pub fn line(&self, entry: &Entry) -> Line {
        Line::after(&self.chain, entry).0
    }

    fn make(&mut self, tenant: &str, at: Timestamp, change: &Change) -> Result<(), Refused> {
        match change {
            Change::AddTenant { admin, token, digest, expires } => {
                let token = self.new_token(tenant, *token, admin, digest, None, at, *expires)?;
                self.add_tenant(tenant, at, admin)?;
                self.tokens.insert(token.0, token.1.into());
                Ok(())
            }
            Change::SetTenant { disabled } => {
                if tenant == DEFAULT_TENANT && *disabled {
                    return Err(conflict("the tenant `default` operates the node and cannot be disabled"));
                }
                self.tenant_mut(tenant)?.disabled = *disabled;
                Ok(())
            }
            Change::RemoveTenant => self.remove_tenant(tenant),
            Change::LimitTenant { limits } => {
                self.tenant_mut(tenant)?.limits = *limits;
                Ok(())
            }
            Change::AdmitAdmin { admin, token, digest, expires } => {
                self.admit_admin(tenant, at, admin, (*token, digest, *expires))
            }
            Change::NoteFailures { failures } => {
                let Failures { addresses, devices, .. } = &**failures;
                if addresses.len().max(devices.len()) > NAMED_MAX {
                    return Err(Refused::Unfit(format!("failures name {NAMED_MAX} of each at most")));
                }
                self.tenant(tenant).map(|_| ())
            }
            Change::OrderCluster { .. } => self.tenant(tenant).map(|_| ()),
            Change::ShowKey { name, .. } => match self.tenant(tenant)?.groups.contains_key(name) {
                true => Ok(()),
                false => Err(Refused::Unknown(format!("enrolment group `{name}`"))),
            },
            Change::PutPrincipal { name, sort, roles, disabled } => {
                self.put_principal(tenant, at, name, *sort, *roles, *disabled)
            }
            Change::RemovePrincipal { name, sort } => self.remove_principal(tenant, name, *sort),
            Change::AddToken { id, owner, digest, scope, expires } => {
                self.add_token(tenant, at, *id, owner, digest, *scope, *expires)
            }
            Change::RemoveToken { id } => {
                self.token_of(tenant, *id)?;
                self.tokens.remove(id);
                Ok(())
            }
            Change::ExposeToken { id } => {
                let mut token = self.token_of(tenant, *id)?.clone();
                if token.exposed.is_some() {
                    return Err(conflict(format!("token {id} is known to be exposed")));
                }
                token.exposed = Some(at);
                self.tokens.insert(*id, token.into());
                Ok(())
            }
            Change::PutPolicy { name, policy } => self.put_policy(tenant, name, policy),
            Change::RemovePolicy { name } => remove(&mut self.tenant_mut(tenant)?.policies, "policy", name),
            Change::PutGroup { name, group } => self.put_group(tenant, name, group),
            Change::RemoveGroup { name } => {
                remove(&mut self.tenant_mut(tenant)?.groups, "enrolment group", name)
            }
            Change::PutAuthority { name, authority } => self.put_authority(tenant, name, authority),
            Change::RemoveAuthority { name } => {
                remove(&mut self.tenant_mut(tenant)?.authorities, "authority", name)
            }
        }
    }

    fn add_tenant(&mut self, tenant: &str, at: Timestamp, admin: &Name) -> Result<(), Refused> {
        // A tenant is a part of the ids of its twins, whose rules are stricter.
        TwinId::new(tenant, "x").map_err(|error| Refused::Unfit(error.to_string()))?;
        check_name("the name of the admin", admin)?;
        if self.tenants.contains_key(tenant) {
            return Err(conflict(format!("there is a tenant `{tenant}` already")));
        }
        if self.retired.contains(tenant) {
            return Err(conflict(format!(
                "there was a tenant `{tenant}`, whose history is kept under its name"
            )));
        }
        room("tenants", (self.tenants.len(), TENANTS_MAX), (0, usize::MAX))?;
        room("tenants that were", (self.retired.len(), RETIRED_MAX), (0, usize::MAX))?;
        let roles = Roles::from_iter([Role::Admin]);
        let admin_is = Principal { sort: Sort::User, roles, disabled: false, created: at };
        let principals = BTreeMap::from([(admin.clone(), Arc::new(admin_is))]);
        let made = Tenant { created: at, principals, ..Tenant::default() };
        self.tenants.insert(tenant.to_owned(), Arc::new(made));
        Ok(())
    }

    fn remove_tenant(&mut self, tenant: &str) -> Result<(), Refused> {
        if tenant == DEFAULT_TENANT {
            return Err(conflict("the tenant `default` operates the node and cannot be removed"));
        }
        if !self.tenant_mut(tenant)?.disabled {
            return Err(conflict(format!("the tenant `{tenant}` is not disabled; disable it first")));
        }
        self.tenants.remove(tenant);
        self.retired.insert(tenant.to_owned());
        self.tokens.retain(|_, token| token.tenant != tenant);
        Ok(())
    }

    fn put_principal(
        &mut self,
        tenant: &str,
        at: Timestamp,
        name: &Name,
        sort: Sort,
        roles: Option<Roles>,
        disabled: Option<bool>,
    ) -> Result<(), Refused> {
        check_name("a name", name)?;
        let all = self.count(|tenant| tenant.principals.len());
        let there = self.tenant(tenant)?.principals.get(name);
        let (had, was_disabled, created) = match there {
            Some(known) if known.sort != sort => {
                let known = known.sort.as_str();
                return Err(conflict(format!("`{name}` is a {known}; choose another name")));
            }
            Some(known) => (known.roles, known.disabled, known.created),
            None => {
                let here = self.tenant(tenant)?.principals.len();
                room("users and services", (here, PRINCIPALS_MAX.0), (all, PRINCIPALS_MAX.1))?;
                (Roles::default(), false, at)
            }
        };
        let administers = self.tenant(tenant)?.has_admin();
        let (roles, disabled) = (roles.unwrap_or(had), disabled.unwrap_or(was_disabled));
        let principal = Arc::new(Principal { sort, roles, disabled, created });
        let mut after = self.tenant(tenant)?.clone();
        after.principals.insert(name.clone(), principal);
        self.keep_admin(tenant, administers, after)
    }

    fn admit_admin(
        &mut self,
        tenant: &str,
        at: Timestamp,
        admin: &Name,
        (token, digest, expires): (TokenId, &audit::Fingerprint, Timestamp),
    ) -> Result<(), Refused> {
        let roles = match self.tenant(tenant)?.principals.get(admin) {
            None => Roles::from_iter([Role::Admin]),
            Some(known) if known.sort == Sort::User && known.roles.contains(Role::Admin) => known.roles,
            Some(_) => {
                let why = format!(
                    "`{admin}` is there, and is no user who administers `{tenant}`; name another one"
                );
                return Err(conflict(why));
            }
        };
        // Both or nothing.
        let mut after = self.clone();
        after.put_principal(tenant, at, admin, Sort::User, Some(roles), Some(false))?;
        after.add_token(tenant, at, token, admin, digest, None, expires)?;
        *self = after;
        Ok(())
    }

    fn remove_principal(&mut self, tenant: &str, name: &Name, sort: Sort) -> Result<(), Refused> {
        let mut after = self.tenant(tenant)?.clone();
        let administers = after.has_admin();
        match after.principals.remove(name) {
            Some(removed) if removed.sort == sort => {}
            _ => return Err(Refused::Unknown(format!("{} `{name}`", sort.as_str()))),
        }
        self.keep_admin(tenant, administers, after)?;
        self.tokens.retain(|_, token| token.tenant != tenant || token.owner != *name);
        Ok(())
    }

    /// Takes the tenant as it would be, unless nobody could administer it any more.
    fn keep_admin(&mut self, name: &str, had_admin: bool, after: Tenant) -> Result<(), Refused> {
        if had_admin && !after.has_admin() {
            let why =
                "then nobody could administer the tenant any more; give another one the role `admin` first";
            return Err(conflict(why));
        }
        self.tenants.insert(name.to_owned(), Arc::new(after));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of the change")]
    fn add_token(
        &mut self,
        tenant: &str,
        at: Timestamp,
        id: TokenId,
        owner: &Name,
        digest: &audit::Fingerprint,
        scope: Option<Roles>,
        expires: Timestamp,
    ) -> Result<(), Refused> {
        if !self.tenant(tenant)?.principals.contains_key(owner) {
            return Err(Refused::Unknown(format!("user or service `{owner}`")));
        }
        let (id, token) = self.new_token(tenant, id, owner, digest, scope, at, expires)?;
        let lives = |token: &Token| token.expires > at;
        let living: Vec<_> = self.tokens.values().filter(|token| lives(token)).collect();
        let here = living.iter().filter(|token| token.tenant == tenant);
        let own = here.clone().filter(|token| token.owner == *owner).count();
        room("tokens of one user or service", (own, TOKENS_OF_ONE_MAX), (0, usize::MAX))?;
        room("tokens", (here.count(), TOKENS_MAX.0), (living.len(), TOKENS_MAX.1))?;
        self.tokens.retain(|_, token| lives(token));
        self.tokens.insert(id, token.into());
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of a token")]
    fn new_token(
        &self,
        tenant: &str,
        id: TokenId,
        owner: &Name,
        digest: &audit::Fingerprint,
        scope: Option<Roles>,
        created: Timestamp,
        expires: Timestamp,
    ) -> Result<(TokenId, Token), Refused> {
        if expires <= created || expires > created + LIFE_MAX {
            return Err(Refused::Unfit("a token ends later than now, and in at most ten years".into()));
        }
        if scope.is_some_and(Roles::is_empty) {
            return Err(Refused::Unfit("a token that is limited to no role lets nobody do anything".into()));
        }
        if self.tokens.contains_key(&id) {
            return Err(conflict(format!("there is a token {id} already")));
        }
        let (tenant, owner) = (tenant.to_owned(), owner.clone());
        Ok((id, Token { tenant, owner, digest: *digest, scope, created, expires, exposed: None }))
    }

    fn put_policy(&mut self, tenant: &str, name: &Name, policy: &Policy) -> Result<(), Refused> {
        check_name("the name of a policy", name)?;
        if policy.who.is_empty() || policy.who.len() > Policy::WHOM_MAX {
            let max = Policy::WHOM_MAX;
            return Err(Refused::Unfit(format!("`who` names 1 to {max}; `*` is everybody")));
        }
        if policy.verbs.iter().next().is_none() {
            return Err(Refused::Unfit("`verbs` names none".into()));
        }
        let all = self.count(|tenant| tenant.policies.len());
        let policies = &mut self.tenant_mut(tenant)?.policies;
        put(policies, "policies", POLICIES_MAX, all, name, policy.clone())
    }

    fn put_group(&mut self, tenant: &str, name: &Name, group: &Group) -> Result<(), Refused> {
        check_name("the name of an enrolment group", name)?;
        if matches!(&group.trust, Trust::Authority { certificates } if certificates.is_empty()) {
            return Err(Refused::Unfit("a group trusts at least one certificate, or has a key".into()));
        }
        small("an enrolment group", group, Group::BYTES_MAX)?;
        let all = self.count(|tenant| tenant.groups.len());
        let groups = &mut self.tenant_mut(tenant)?.groups;
        put(groups, "enrolment groups", GROUPS_MAX, all, name, group.clone())
    }

    fn put_authority(&mut self, tenant: &str, name: &Name, authority: &Authority) -> Result<(), Refused> {
        check_name("the name of an authority", name)?;
        if authority.certificates.is_empty() {
            return Err(Refused::Unfit("an authority has a certificate".into()));
        }
        small("an authority", authority, Authority::BYTES_MAX)?;
        let all = self.count(|tenant| tenant.authorities.len());
        let authorities = &mut self.tenant_mut(tenant)?.authorities;
        put(authorities, "authorities", AUTHORITIES_MAX, all, name, authority.clone())
    }

    fn tenant(&self, name: &str) -> Result<&Tenant, Refused> {
        let unknown = || Refused::Unknown(format!("tenant `{name}`"));
        self.tenants.get(name).map(|tenant| &**tenant).ok_or_else(unknown)
    }

    fn tenant_mut(&mut self, name: &str) -> Result<&mut Tenant, Refused> {
        let unknown = || Refused::Unknown(format!("tenant `{name}`"));
        self.tenants.get_mut(name).map(Arc::make_mut).ok_or_else(unknown)
    }

    /// To one tenant, the tokens of all others are as if they were not.
    fn token_of(&self, tenant: &str, id: TokenId) -> Result<&Token, Refused> {
        let token = self.tokens.get(&id).filter(|token| token.tenant == tenant);
        token.map(|token| &**token).ok_or_else(|| Refused::Unknown(format!("token {id}")))
    }

    fn count(&self, of: impl Fn(&Tenant) -> usize) -> usize {
        self.tenants.values().map(|tenant| of(tenant)).sum()
    }
}

fn put<T>(
    map: &mut BTreeMap<Name, Arc<T>>,
    what: &str,
    max: (usize, usize),
    all: usize,
    name: &Name,
    value: T,
) -> Result<(), Refused> {
    if !map.contains_key(name) {
        room(what, (map.len(), max.0), (all, max.1))?;
    }
    map.insert(name.clone(), Arc::new(value));
    Ok(())
}

fn remove<T>(map: &mut BTreeMap<Name, Arc<T>>, what: &str, name: &Name) -> Result<(), Refused> {
    map.remove(name).map(drop).ok_or_else(|| Refused::Unknown(format!("{what} `{name}`")))
}

/// Refuses one more where there are as many as may be, in a tenant or in all.
fn room(what: &str, here: (usize, usize), all: (usize, usize)) -> Result<(), Refused> {
    for ((have, max), place) in [(here, "here"), (all, "on this node")] {
        if have >= max {
            return Err(Refused::Full(format!("there are {have} {what} {place}, which is the most")));
        }
    }
    Ok(())
}

fn small<T: minicbor::Encode<()>>(what: &str, value: &T, max: usize) -> Result<(), Refused> {
    let bytes = minicbor::to_vec(value).map_or(usize::MAX, |bytes| bytes.len());
    if bytes > max {
        return Err(Refused::Full(format!("{what} has {bytes} bytes, of at most {max}")));
    }
    Ok(())
}

fn conflict(why: impl Into<String>) -> Refused {
    Refused::Conflict(why.into())
}
