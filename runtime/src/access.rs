//! Who may come in, and what they may do: two steps of every path, whatever the protocol.
//!
//! The gateway asks [`Access::authenticate`] once for each connection or call, and [`Access::authorize`] for each thing
//! that it wants. What stands behind is chosen at start; [`Permissive`] is for `dev` alone.

use twins::header::Principal;
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::kind::DEVICE;
use twins::name::Name;

/// What a caller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// A device at CONNECT.
    Device {
        /// The username, where there is one.
        username: Option<&'a str>,
        /// The client id; empty where the client gave none.
        client: &'a str,
        /// The password, where there is one.
        password: Option<&'a [u8]>,
    },
    /// A caller of the API.
    Bearer {
        /// The token, where there is one.
        token: Option<&'a str>,
    },
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
    },
    /// A person or a service of a tenant.
    User {
        /// The tenant.
        tenant: String,
        /// The name.
        name: Name,
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
}

/// What somebody wants of a twin.
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
    Manage,
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
}

/// Authentication and authorisation.
pub trait Access: Send + Sync + 'static {
    /// Lets somebody in, or not.
    ///
    /// # Errors
    /// Why not.
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Identity, Denied>;

    /// Whether somebody may do this to that twin.
    ///
    /// # Errors
    /// Why not. Twins of other tenants are to be treated as unknown, whatever it says.
    fn authorize(&self, who: &Identity, verb: Verb, twin: &TwinId) -> Result<(), Denied>;

    /// Whether somebody may do what concerns the whole node, all tenants: a backup is everything. Nobody may, unless
    /// an implementation says otherwise.
    ///
    /// # Errors
    /// Why not.
    fn operate(&self, who: &Identity) -> Result<(), Denied> {
        Err(Denied::Forbidden(format!("{:?} does not operate this node", who.principal())))
    }
}

/// Lets everybody in, for `dev` on loopback: the username, else the client id, is the device, and an unknown device is
/// registered as the generic kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permissive;

impl Access for Permissive {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Identity, Denied> {
        match credentials {
            Credentials::Device { username, client, .. } => {
                let id = username.filter(|name| !name.is_empty()).unwrap_or(client);
                let id = TwinId::in_default_tenant(id);
                let twin = id.map_err(|error| Denied::BadName(error.to_string()))?;
                let register = Name::new("a kind", DEVICE).ok();
                Ok(Identity::Device { twin, register })
            }
            Credentials::Bearer { .. } => {
                let name = Name::new("a user", "dev").map_err(|error| Denied::BadName(error.to_string()))?;
                Ok(Identity::User { tenant: DEFAULT_TENANT.into(), name })
            }
        }
    }

    fn operate(&self, who: &Identity) -> Result<(), Denied> {
        match who {
            Identity::Device { .. } => Err(Denied::Forbidden("a device only speaks for itself".into())),
            Identity::User { .. } => Ok(()),
        }
    }

    /// A device may do what its protocol lets it say, to its own twin; everybody else may do everything.
    fn authorize(&self, who: &Identity, verb: Verb, twin: &TwinId) -> Result<(), Denied> {
        match who {
            Identity::Device { twin: own, .. } if own != twin => {
                Err(Denied::Forbidden(format!("`{}` is another device's twin", twin.id())))
            }
            Identity::Device { .. } if !matches!(verb, Verb::Read | Verb::Speak | Verb::Control) => {
                Err(Denied::Forbidden("a device only speaks for itself".into()))
            }
            _ => Ok(()),
        }
    }
}
