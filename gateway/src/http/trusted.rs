//! What is shown of the trust in a device: where it is in its life, and by what it may come in. Never a secret: of a
//! credential there is a number, and the beginning of a hash that tells it from others.

use serde::Serialize;
use twins::time::Timestamp;
use twins::trust::{Activation, Ancestor, Credential, Fingerprint, Secret};
use twins::twin::Twin;
use utoipa::ToSchema;

/// The trust in a device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trusted {
    /// `registered`, `active`, `disabled`, `quarantined`, `revoked` or `replaced`.
    lifecycle: &'static str,
    /// Its activation key, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<Invited>,
    /// By what it may come in.
    credentials: Vec<Known>,
    /// The enrolment group that speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The gateway that speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    /// The device that has taken its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    /// The devices whose place it has taken, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<Before>,
    /// What was ever changed of all this, as one number and one hash.
    audit: Head,
}

/// An activation key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activation)]
struct Invited {
    /// Its number among the credentials and activation keys of the device.
    issue: u64,
    /// From when on it is not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// It was used: only whoever used it is answered again.
    used: bool,
}

/// A credential.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credential)]
pub(super) struct Known {
    /// Its number among the credentials and activation keys of the device; no other has it ever.
    issue: u64,
    /// `key` or `certificate`.
    sort: &'static str,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// From when on it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// The beginning of a hash of it: of a key it is the node's own, of a certificate SHA-256.
    fingerprint: String,
}

/// A device whose place another one has taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ancestor)]
struct Before {
    id: String,
    generation: u32,
    /// When its place was taken.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// Where a hash chain ends.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChainHead)]
struct Head {
    /// How many changes there were.
    n: u64,
    hash: String,
}

impl Trusted {
    pub(super) fn of(twin: &Twin) -> Self {
        let trust = twin.trust();
        Self {
            lifecycle: twin.lifecycle().as_str(),
            activation: trust.activation().map(Invited::from),
            credentials: trust.credentials().iter().map(Known::from).collect(),
            group: trust.group().map(ToString::to_string),
            gateway: trust.gateway().map(ToString::to_string),
            replaced_by: trust.replaced_by().map(|by| by.id().to_owned()),
            ancestors: trust.ancestors().iter().map(Before::from).collect(),
            audit: Head { n: trust.chain().length, hash: trust.chain().head.to_string() },
        }
    }
}

impl From<&Activation> for Invited {
    fn from(activation: &Activation) -> Self {
        let Activation { issue, expires, used, .. } = activation;
        Self { issue: *issue, expires: *expires, used: used.is_some() }
    }
}

impl From<&Credential> for Known {
    fn from(credential: &Credential) -> Self {
        let (Secret::Key { digest, .. } | Secret::Certificate { fingerprint: digest, .. }) =
            &credential.secret;
        let Credential { issue, since, expires, .. } = credential;
        let (sort, fingerprint) = (credential.sort().as_str(), beginning(digest));
        Self { issue: *issue, sort, since: *since, expires: *expires, fingerprint }
    }
}

impl From<&Ancestor> for Before {
    fn from(ancestor: &Ancestor) -> Self {
        let Ancestor { twin, generation, at } = ancestor;
        Self { id: twin.id().to_owned(), generation: *generation, at: *at }
    }
}

fn beginning(hash: &Fingerprint) -> String {
    let mut text = hash.to_string();
    text.truncate(16);
    text
}
