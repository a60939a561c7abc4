//! What can be changed of the directory, and its bytes in the log: minicbor, fields and variants by number, never reused.

use twins::name::Name;
use twins::time::Timestamp;

use super::audit::{Fingerprint, Sealed, hash};
use super::enrolment::{Authority, Group, Trust};
use super::failures::Failures;
use super::limits::Limits;
use super::members::Sort;
use super::policy::Policy;
use super::role::Roles;
use super::token::TokenId;

/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 512;

/// A change, and who makes it when and why.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Entry {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// Who.
    #[n(1)]
    pub by: By,
    /// Why, in their words.
    #[n(2)]
    pub reason: Option<String>,
    /// In which tenant.
    #[n(3)]
    pub tenant: String,
    /// What.
    #[n(4)]
    pub change: Change,
}

/// Who changes the directory.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum By {
    /// Whoever may write to the data folder of a stopped node.
    #[n(0)]
    Folder,
    /// The node itself.
    #[n(1)]
    Node,
    /// A user or a service, over the API.
    #[n(2)]
    Principal {
        /// Their tenant: an operator's is not that of what they change.
        #[n(0)]
        tenant: String,
        /// Their name.
        #[n(1)]
        name: Name,
        /// The token they showed; a node in `dev` asks for none.
        #[n(2)]
        token: Option<TokenId>,
    },
}

/// A change within the tenant of its entry.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Change {
    /// Makes the tenant, with one who administers it and a token for them.
    #[n(0)]
    AddTenant {
        /// Their name.
        #[n(0)]
        admin: Name,
        /// The token's number.
        #[n(1)]
        token: TokenId,
        /// The hash of its secret.
        #[n(2)]
        digest: Fingerprint,
        /// When it ends.
        #[n(3)]
        expires: Timestamp,
    },
    /// Lets the tenant's people and devices in again, or none of them.
    #[n(1)]
    SetTenant {
        /// Whether nobody is let in.
        #[n(0)]
        disabled: bool,
    },
    /// Removes the tenant with all that it defines. It must be disabled.
    #[n(2)]
    RemoveTenant,
    /// Adds a user or a service, or changes what is said of one that is there.
    #[n(3)]
    PutPrincipal {
        /// Its name.
        #[n(0)]
        name: Name,
        /// What it is; another sort of the same name is refused.
        #[n(1)]
        sort: Sort,
        /// What it may do from now on; what it might before where nothing is said, which is nothing at first.
        #[n(2)]
        roles: Option<Roles>,
        /// Whether it is shut out; as before where nothing is said, which is not at first.
        #[n(3)]
        disabled: Option<bool>,
    },
    /// Removes a user or a service and its tokens.
    #[n(4)]
    RemovePrincipal {
        /// Its name.
        #[n(0)]
        name: Name,
        /// What it is.
        #[n(1)]
        sort: Sort,
    },
    /// Adds a token. Those of the tenant that have expired by then are forgotten.
    #[n(5)]
    AddToken {
        /// Its number.
        #[n(0)]
        id: TokenId,
        /// Whose it is.
        #[n(1)]
        owner: Name,
        /// The hash of its secret.
        #[n(2)]
        digest: Fingerprint,
        /// What it may be used for at most.
        #[n(3)]
        scope: Option<Roles>,
        /// When it ends.
        #[n(4)]
        expires: Timestamp,
    },
    /// Removes a token: it lets nobody in from now on.
    #[n(6)]
    RemoveToken {
        /// Its number.
        #[n(0)]
        id: TokenId,
    },
    /// Notes that a token's text was seen where others can read it. Only the first time counts.
    #[n(7)]
    ExposeToken {
        /// Its number.
        #[n(0)]
        id: TokenId,
    },
    /// Adds a policy, or replaces it.
    #[n(8)]
    PutPolicy {
        /// Its name.
        #[n(0)]
        name: Name,
        /// What it says.
        #[n(1)]
        policy: Policy,
    },
    /// Removes a policy.
    #[n(9)]
    RemovePolicy {
        /// Its name.
        #[n(0)]
        name: Name,
    },
    /// Adds an enrolment group, or replaces it.
    #[n(10)]
    PutGroup {
        /// Its name.
        #[n(0)]
        name: Name,
        /// What it is.
        #[n(1)]
        group: Group,
    },
    /// Removes an enrolment group.
    #[n(11)]
    RemoveGroup {
        /// Its name.
        #[n(0)]
        name: Name,
    },
    /// Adds an authority, or replaces it.
    #[n(12)]
    PutAuthority {
        /// Its name.
        #[n(0)]
        name: Name,
        /// What it is.
        #[n(1)]
        authority: Authority,
    },
    /// Removes an authority.
    #[n(13)]
    RemoveAuthority {
        /// Its name.
        #[n(0)]
        name: Name,
    },
    /// Says how much the tenant may take.
    #[n(14)]
    LimitTenant {
        /// All of it: what is not said is as the node has it.
        #[n(0)]
        limits: Limits,
    },
    /// Gives the tenant somebody who administers it, with a token for them: a user who was not there, or an admin who may
    /// have been disabled.
    #[n(16)]
    AdmitAdmin {
        /// Their name.
        #[n(0)]
        admin: Name,
        /// The token's number.
        #[n(1)]
        token: TokenId,
        /// The hash of its secret.
        #[n(2)]
        digest: Fingerprint,
        /// When it ends.
        #[n(3)]
        expires: Timestamp,
    },
    /// Notes that somebody was shown the key that a group derives for a device.
    #[n(17)]
    ShowKey {
        /// The group.
        #[n(0)]
        name: Name,
        /// The device.
        #[n(1)]
        device: Name,
    },
    /// Notes that somebody has the cluster do something. It is written before it is done, or refused.
    #[n(18)]
    OrderCluster {
        /// What, in words: `drain node 3`.
        #[n(0)]
        order: Name,
    },
    /// Notes how often what devices showed was wrong.
    #[n(15)]
    NoteFailures {
        /// How often, and of whom.
        #[n(0)]
        failures: Box<Failures>,
    },
}

impl Entry {
    /// The entry as it may be shown: each digest and each sealed secret is replaced by its hash.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut entry = self.clone();
        match &mut entry.change {
            Change::AddTenant { digest, .. }
            | Change::AddToken { digest, .. }
            | Change::AdmitAdmin { digest, .. } => {
                *digest = hash(&digest.0);
            }
            Change::PutGroup { group: Group { trust: Trust::Key { sealed, .. }, .. }, .. }
            | Change::PutAuthority { authority: Authority { sealed, .. }, .. } => {
                *sealed = Sealed(hash(&sealed.0).0.to_vec().into());
            }
            _ => {}
        }
        entry
    }

    /// Its bytes as they are shown, and hashed for the chain.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    pub fn canonical(&self) -> Vec<u8> {
        minicbor::to_vec(self.redacted()).expect("writing to memory does not fail")
    }
}

impl Change {
    /// What it does, as a stable text.
    pub fn action(&self) -> &'static str {
        match self {
            Self::AddTenant { .. } => "tenant-added",
            Self::SetTenant { disabled: true } => "tenant-disabled",
            Self::SetTenant { disabled: false } => "tenant-enabled",
            Self::RemoveTenant => "tenant-removed",
            Self::LimitTenant { .. } => "tenant-limited",
            Self::AdmitAdmin { .. } => "admin-admitted",
            Self::NoteFailures { .. } => "logins-failed",
            Self::ShowKey { .. } => "group-key-shown",
            Self::OrderCluster { .. } => "cluster-ordered",
            Self::PutPrincipal { sort: Sort::User, .. } => "user-put",
            Self::PutPrincipal { sort: Sort::Service, .. } => "service-put",
            Self::RemovePrincipal { sort: Sort::User, .. } => "user-removed",
            Self::RemovePrincipal { sort: Sort::Service, .. } => "service-removed",
            Self::AddToken { .. } => "token-added",
            Self::RemoveToken { .. } => "token-removed",
            Self::ExposeToken { .. } => "token-exposed",
            Self::PutPolicy { .. } => "policy-put",
            Self::RemovePolicy { .. } => "policy-removed",
            Self::PutGroup { .. } => "group-put",
            Self::RemoveGroup { .. } => "group-removed",
            Self::PutAuthority { .. } => "authority-put",
            Self::RemoveAuthority { .. } => "authority-removed",
        }
    }

    /// What it is about: a name, or the number of a token; nothing where that is the tenant.
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::AddTenant { .. }
            | Self::SetTenant { .. }
            | Self::RemoveTenant
            | Self::LimitTenant { .. }
            | Self::NoteFailures { .. } => None,
            Self::AddToken { id, .. } | Self::RemoveToken { id } | Self::ExposeToken { id } => {
                Some(id.to_string())
            }
            Self::AdmitAdmin { admin: name, .. }
            | Self::PutPrincipal { name, .. }
            | Self::RemovePrincipal { name, .. }
            | Self::PutPolicy { name, .. }
            | Self::RemovePolicy { name }
            | Self::PutGroup { name, .. }
            | Self::RemoveGroup { name }
            | Self::ShowKey { name, .. }
            | Self::OrderCluster { order: name }
            | Self::PutAuthority { name, .. }
            | Self::RemoveAuthority { name } => Some(name.to_string()),
        }
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder => f.write_str("folder"),
            Self::Node => f.write_str("node"),
            Self::Principal { tenant, name, .. } => write!(f, "{tenant}/{name}"),
        }
    }
}
