//! Who may come in, and what they may do: two steps of every path, whatever the protocol.
//!
//! The gateway asks [`Access::bearer`] or [`Access::device`] once for each call or connection, and for each thing that is
//! wanted [`Access::authorize`], or [`Access::reach`] where many parts of one twin are looked at. What stands behind is
//! chosen at start; [`Permissive`] is for `dev` alone.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use twins::header::Principal;
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::kind::DEVICE;
use twins::name::Name;
use twins::trust::Proof;

use crate::directory::{Limits, Listener, Reach, TokenId};
use crate::router::Router;

/// What a device shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The username, where there is one.
    pub username: Option<&'a str>,
    /// The client id; empty where the client gave none.
    pub client: &'a str,
    /// The password, where there is one.
    pub password: Option<&'a [u8]>,
    /// The certificates that it showed when the connection began, its own first: DER. Somebody who is believed signed for
    /// them; for which device, and whether it is let in by them, is to be seen.
    pub certificates: &'a [Bytes],
    /// Its answer to a challenge, where it was asked one instead of a password.
    pub answer: Option<Answer<'a>>,
    /// Where it comes from, as far as that is known.
    pub address: Option<IpAddr>,
}

/// What proves that somebody has a key, without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The challenge: made for this connection, and used once.
    pub random: &'a [u8; 32],
    /// What the key has made of it.
    pub mac: &'a [u8],
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A device.
    Device {
        /// Its twin.
        twin: TwinId,
        /// The kind to register it as, if it is unknown. `None`: it must be registered.
        register: Option<Name>,
        /// What it has proved, for its twin to say whether that is still valid.
        proof: Proof,
    },
    /// A person or a service of a tenant.
    User {
        /// The tenant.
        tenant: String,
        /// The name.
        name: Name,
        /// The token they showed; `dev` asks for none.
        token: Option<TokenId>,
    },
}

impl Identity {
    /// How the twin's history will name it.
    pub fn principal(&self) -> Principal {
        match self {
            Self::Device { .. } => Principal::Device,
            Self::User { name, .. } => Principal::User(name.clone()),
        }
    }

    /// Whose twins it speaks of.
    pub fn tenant(&self) -> &str {
        match self {
            Self::Device { twin, .. } => twin.tenant(),
            Self::User { tenant, .. } => tenant,
        }
    }
}

/// What somebody wants of a twin, or of their tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read it, or its history.
    Read,
    /// Say something as its device.
    Speak,
    /// Change its tags or its desired section.
    Write,
    /// Send it commands and requests, call its methods.
    Control,
    /// Register or remove it.
    Register,
    /// Activate it in the name of its device.
    Activate,
    /// Shut it out or let it in again, change its credentials.
    Secure,
    /// Change who may what in the tenant.
    Administer,
    /// Read what was changed of that.
    Audit,
}

impl Verb {
    /// All of them. Sets of verbs are written by their place here: a new one comes last.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Speak,
        Self::Write,
        Self::Control,
        Self::Register,
        Self::Activate,
        Self::Secure,
        Self::Administer,
        Self::Audit,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Speak => "speak",
            Self::Write => "write",
            Self::Control => "control",
            Self::Register => "register",
            Self::Activate => "activate",
            Self::Secure => "secure",
            Self::Administer => "administer",
            Self::Audit => "audit",
        }
    }

    /// The verb of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

/// Why somebody was not let in, or may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The credentials are missing or wrong.
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// The name in the credentials cannot be a device.
    #[error("{0}")]
    BadName(String),
    /// It may not do this.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// That could not be found out now: the same may be tried again.
    #[error("not now: {0}")]
    Later(String),
    /// It has as much as it may have of something.
    #[error("{why}")]
    Limited {
        /// The limit, and whose it is.
        why: String,
        /// After which time alone helps; `None` where something has to be given up first.
        wait: Option<Duration>,
    },
}

/// Whether a device is let in, once its twin was looked at.
pub type Admitting<'a> = Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send + 'a>>;

/// Authentication and authorisation.
pub trait Access: Send + Sync + 'static {
    /// Lets a caller of the API in, or not.
    ///
    /// # Errors
    /// Why not.
    fn bearer(&self, token: Option<&str>) -> Result<Identity, Denied>;

    /// Lets a device in, or not. What it shows may have to be compared with what its twin has, which `router` leads to.
    ///
    /// # Errors
    /// Why not.
    fn device<'a>(&'a self, router: &'a Router, shown: Shown<'a>) -> Admitting<'a>;

    /// What somebody may do of this to the parts of that twin. Twins of other tenants are to be treated as unknown,
    /// whatever it says.
    fn reach(&self, who: &Identity, verb: Verb, twin: &TwinId) -> Reach;

    /// Whether somebody may do this to that part of a twin: `desired/heating`, `commands/open`; empty for the twin
    /// itself.
    ///
    /// # Errors
    /// Why not.
    fn authorize(&self, who: &Identity, verb: Verb, twin: &TwinId, path: &str) -> Result<(), Denied> {
        let verdict = self.reach(who, verb, twin).verdict(path);
        if verdict.allowed {
            return Ok(());
        }
        let (who, verb, id) = (who.principal(), verb.as_str(), twin.id());
        let because: Vec<_> = verdict.because.iter().map(ToString::to_string).collect();
        let of = if path.is_empty() { String::new() } else { format!("`{path}` of ") };
        Err(Denied::Forbidden(format!("{who} may not {verb} {of}`{id}`: {}", because.join(", "))))
    }

    /// Whether somebody may do this to the definitions of their tenant: [`Verb::Administer`], [`Verb::Audit`].
    ///
    /// # Errors
    /// Why not.
    fn govern(&self, who: &Identity, verb: Verb) -> Result<(), Denied>;

    /// Whether somebody may do what concerns the whole node, all tenants: a backup is everything.
    ///
    /// # Errors
    /// Why not.
    fn operate(&self, who: &Identity) -> Result<(), Denied>;

    /// Whether somebody who was let in before still would be.
    ///
    /// # Errors
    /// Why not.
    fn confirm(&self, who: &Identity) -> Result<(), Denied>;

    /// How much a tenant may take, as far as the directory says so.
    fn limits(&self, tenant: &str) -> Limits;

    /// Turns when what somebody may could be something else; `None` where that never is.
    fn changes(&self) -> Option<Listener>;
}

/// What a device may: what its protocol lets it say, to its own twin.
pub fn reach_of_device(own: &TwinId, verb: Verb, twin: &TwinId) -> Reach {
    match verb {
        Verb::Read | Verb::Speak | Verb::Control if own == twin => Reach::everything(),
        _ => Reach::nothing(),
    }
}

/// Lets everybody in, for `dev` on loopback: the username, else the client id, is the device, and an unknown device is
/// registered as the generic kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permissive;

impl Permissive {
    /// Lets a device in by its name alone.
    ///
    /// # Errors
    /// [`Denied::BadName`] where the name cannot be a device's.
    pub fn named(&self, shown: Shown<'_>) -> Result<Identity, Denied> {
        let id = shown.username.filter(|name| !name.is_empty()).unwrap_or(shown.client);
        let id = TwinId::in_default_tenant(id);
        let twin = id.map_err(|error| Denied::BadName(error.to_string()))?;
        Ok(Identity::Device { twin, register: Some(Name::fixed(DEVICE)), proof: Proof::Open })
    }

    fn only_people(who: &Identity) -> Result<(), Denied> {
        match who {
            Identity::Device { .. } => Err(Denied::Forbidden("a device only speaks for itself".into())),
            Identity::User { .. } => Ok(()),
        }
    }
}

impl Access for Permissive {
    fn bearer(&self, _: Option<&str>) -> Result<Identity, Denied> {
        Ok(Identity::User { tenant: DEFAULT_TENANT.into(), name: Name::fixed("dev"), token: None })
    }

    fn device<'a>(&'a self, _: &'a Router, shown: Shown<'a>) -> Admitting<'a> {
        Box::pin(ready(self.named(shown)))
    }

    /// Everybody but a device may do everything.
    fn reach(&self, who: &Identity, verb: Verb, twin: &TwinId) -> Reach {
        match who {
            Identity::Device { twin: own, .. } => reach_of_device(own, verb, twin),
            Identity::User { .. } => Reach::everything(),
        }
    }

    fn govern(&self, who: &Identity, _: Verb) -> Result<(), Denied> {
        Self::only_people(who)
    }

    fn operate(&self, who: &Identity) -> Result<(), Denied> {
        Self::only_people(who)
    }

    fn confirm(&self, _: &Identity) -> Result<(), Denied> {
        Ok(())
    }

    fn limits(&self, _: &str) -> Limits {
        Limits::default()
    }

    fn changes(&self) -> Option<Listener> {
        None
    }
}
