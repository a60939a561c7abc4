//! Letting devices in: what a device shows is compared with what its twin or its enrolment group keeps of it.
//!
//! A device shows a certificate ([`Certified`]), or one of four things as its password: its key, a token that it signed
//! with it, the key that its enrolment group derives for it, or its activation key, which is good for activation alone.
//! What it is tells which is looked at. Or it shows neither, and answers a challenge with its key or its group's.
//! The twin is looked at as it is committed; unknown names are answered by the index, and bring nothing into memory.
//!
//! Whoever is not let in hears the same, whatever was wrong, and hears it after about the same work: names cannot be
//! found out by trying. Whether the device is disabled is for its twin to say, to whoever has proved to be it.

use std::sync::Arc;
use std::time::Duration;

use runtime::access::{Answer, Denied, Identity, Shown};
use runtime::clock::Clock;
use runtime::directory::{Definitions, Group, Tenant, Trust as Trusted};
use runtime::error::Error;
use runtime::router::Router;
use twins::header::{Header, Principal};
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::rejection::Code;
use twins::time::Timestamp;
use twins::trust::{Proof, Registration, Secret, Trust};
use twins::twin::Twin;

use super::authority::Roots;
use super::certified::Certified;
use super::challenge;
use super::failures::Why;
use super::guesses::Guesses;
use super::key::Key;
use super::password;
use super::signed::{self, Unverified};
use super::vault::Vault;

/// Knows how devices prove who they are.
pub(super) struct Devices {
    definitions: Arc<dyn Definitions>,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    audience: String,
    guesses: Guesses,
    certified: Certified,
}

/// What was shown, by what it looks like.
enum Password<'a> {
    Token(Unverified<'a>),
    Key(Key),
    /// No password, but an answer to a challenge, with the client id that it is good for.
    Answer(Answer<'a>, &'a str),
    /// Whatever else it is: it can only be an activation key.
    Other(&'a [u8]),
}

impl Devices {
    pub(super) fn new(
        definitions: Arc<dyn Definitions>,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        guesses: Guesses,
        audience: String,
    ) -> Self {
        let certified = Certified::new(definitions.clone(), clock.clone(), guesses.clone());
        Self { definitions, clock, vault, audience, guesses, certified }
    }

    /// Who is believed when they sign for devices.
    pub(super) fn roots(&self) -> Arc<Roots> {
        self.certified.roots()
    }

    /// Lets a device in, when it is its turn.
    pub(super) async fn admit(&self, router: &Router, shown: Shown<'_>) -> Result<Identity, Denied> {
        if !shown.certificates.is_empty() {
            return self.certified.admit(router, shown).await;
        }
        let password = match (shown.answer, shown.password) {
            (Some(answer), _) => Password::Answer(answer, shown.client),
            (None, Some(password)) => Password::of(password),
            (None, None) => return Err(refused("it shows no key")),
        };
        let twin = named(shown.username, &password)?;
        let attempt = self.guesses.attempt(shown.address, &twin).await.map_err(too_often)?;
        match self.prove(router, &twin, &password).await? {
            (Some(proof), _) => Ok(Identity::Device { twin, register: None, proof }),
            (None, is_known) => {
                attempt.was_wrong(Why::Credentials, is_known);
                Err(refused(WRONG))
            }
        }
    }

    /// Whether the directory would still let in a device that proved this. Of its own credentials its twin says so.
    pub(super) fn confirm(&self, id: &TwinId, proof: &Proof) -> Result<(), Denied> {
        let directory = self.definitions.current();
        let tenant = directory.tenants.get(id.tenant()).filter(|tenant| !tenant.disabled);
        let tenant = tenant.ok_or_else(|| refused("its tenant lets nobody in"))?;
        match proof {
            Proof::Group { group, issued, .. } => match tenant.groups.get(group) {
                Some(group) if group.admits(*issued) => Ok(()),
                _ => Err(refused("its enrolment group does not let it in any more")),
            },
            Proof::Certificate { authority, .. } => match tenant.authorities.contains_key(authority) {
                true => Ok(()),
                false => Err(refused("the authority that signed its certificate was removed")),
            },
            Proof::Open | Proof::Credential(_) | Proof::Activation(_) => Ok(()),
        }
    }

    /// What the password proves, if anything; and whether there is such a device.
    async fn prove(
        &self,
        router: &Router,
        id: &TwinId,
        password: &Password<'_>,
    ) -> Result<(Option<Proof>, bool), Denied> {
        let directory = self.definitions.current();
        let Some(tenant) = directory.tenants.get(id.tenant()).filter(|tenant| !tenant.disabled) else {
            return Ok((None, false));
        };
        let twin = router.look(id).await.map_err(|error| Denied::Later(error.to_string()))?;
        let trust = twin.as_deref().map(Twin::trust);
        let proof = match password {
            Password::Token(token) => trust.and_then(|trust| self.by_token(id, trust, token)),
            Password::Key(key) => match trust.and_then(|trust| self.by_key(trust, key)) {
                Some(proof) => Some(proof),
                None => match self.by_group(tenant, id, trust, |derived| derived == key) {
                    Some(group) => Some(enrol(router, id, trust, group, None).await?),
                    None => None,
                },
            },
            Password::Answer(given, client) => {
                let is_answered = |key: &Key| challenge::is_answered(key, id, client, given);
                match trust.and_then(|trust| self.by_answer(id, trust, is_answered)) {
                    Some(proof) => Some(proof),
                    None => match self.by_group(tenant, id, trust, is_answered) {
                        Some(group) => Some(enrol(router, id, trust, group, None).await?),
                        None => None,
                    },
                }
            }
            Password::Other(_) => None,
        };
        let proof = match (proof, password) {
            (None, Password::Key(key)) => self.by_activation(trust, key.reveal().as_bytes()).await?,
            (None, Password::Other(shown)) => self.by_activation(trust, shown).await?,
            (proof, _) => proof,
        };
        Ok((proof, trust.is_some()))
    }

    fn by_key(&self, trust: &Trust, key: &Key) -> Option<Proof> {
        let now = self.clock.now();
        let own = trust.credentials().iter().find(|credential| match &credential.secret {
            Secret::Key { digest, .. } => key.is(&self.vault, digest),
            Secret::Certificate { .. } => false,
        })?;
        own.is_valid(now).then_some(Proof::Credential(own.issue))
    }

    fn by_token(&self, id: &TwinId, trust: &Trust, token: &Unverified<'_>) -> Option<Proof> {
        let now = self.clock.now();
        let signer = trust.credential(token.slot()).filter(|credential| credential.is_valid(now))?;
        let Secret::Key { sealed, .. } = &signer.secret else { return None };
        let key = Key::recover(&self.vault, id, sealed)
            .inspect_err(|error| tracing::error!(twin = %id, "the key of a device: {error}"))
            .ok()?;
        token.is_good(&key, &self.audience, now).then_some(Proof::Credential(signer.issue))
    }

    /// The credential with whose key a challenge was answered.
    fn by_answer(&self, id: &TwinId, trust: &Trust, is_answered: impl Fn(&Key) -> bool) -> Option<Proof> {
        let now = self.clock.now();
        let own =
            trust.credentials().iter().filter(|credential| credential.is_valid(now)).find(|credential| {
                let Secret::Key { sealed, .. } = &credential.secret else { return false };
                Key::recover(&self.vault, id, sealed).is_ok_and(|key| is_answered(&key))
            })?;
        Some(Proof::Credential(own.issue))
    }

    /// The group that derives this key for that id: the one that the twin belongs to, or one that registers devices.
    fn by_group<'a>(
        &self,
        tenant: &'a Tenant,
        id: &TwinId,
        trust: Option<&Trust>,
        is_it: impl Fn(&Key) -> bool,
    ) -> Option<(&'a Name, &'a Group)> {
        let mut groups = tenant.groups.iter().filter(|(name, group)| match trust {
            Some(trust) => trust.group() == Some(name),
            None => group.registers,
        });
        let (name, group) = groups.find(|(name, group)| match &group.trust {
            Trusted::Key { sealed, .. } if group.admits(None) => {
                let of_group = Key::recover_of_group(&self.vault, id.tenant(), name, sealed);
                of_group.is_ok_and(|of_group| is_it(&of_group.derive(id)))
            }
            _ => false,
        })?;
        Some((name, group))
    }

    async fn by_activation(&self, trust: Option<&Trust>, shown: &[u8]) -> Result<Option<Proof>, Denied> {
        let now = self.clock.now();
        let activation = trust.and_then(Trust::activation).filter(|activation| activation.is_open(now));
        let known = activation.map(|activation| &activation.verifier);
        let verified = self.guesses.hashing().is_activation_key(&self.vault, known, shown).await;
        let verified = verified.map_err(|error: password::Error| Denied::Later(error.to_string()))?;
        Ok(activation.filter(|_| verified).map(|activation| Proof::Activation(activation.issue)))
    }
}

/// What a group's device proves; `valid` is since when and until when what it shows is. One that is unknown is registered
/// first, as the group has it; its twin refuses that where the id was shut out.
pub(super) async fn enrol(
    router: &Router,
    id: &TwinId,
    trust: Option<&Trust>,
    (name, group): (&Name, &Group),
    valid: Option<(Timestamp, Timestamp)>,
) -> Result<Proof, Denied> {
    let (issued, until) = valid.unzip();
    let proof = Proof::Group { group: name.clone(), issued, until };
    if trust.is_none() {
        let template = &group.template;
        let desired = Some(template.desired.as_raw().to_json());
        let with =
            Registration { group: Some(name.clone()), desired, is_new: true, ..Registration::default() };
        let (kind, tags) = (template.kind.clone(), Some(template.tags.clone()));
        let input = Input::Register { kind, tags, with: Some(Box::new(with)) };
        let shown = Some(Box::new(proof.clone()));
        let header = Header { principal: Principal::System, proof: shown, ..Header::default() };
        router.ask(id.clone(), header, input).await.map_err(|error| match error {
            Error::Rejected(rejection) if rejection.code() == Code::TooMany => {
                Denied::Limited { why: rejection.message().to_owned(), wait: None }
            }
            // It was registered meanwhile, as something else.
            Error::Rejected(rejection) if rejection.code() == Code::Conflict => {
                Denied::Later(rejection.message().to_owned())
            }
            Error::Rejected(rejection) => Denied::Forbidden(rejection.to_string()),
            error => Denied::Later(error.to_string()),
        })?;
    }
    Ok(proof)
}

/// The same for everything that is wrong.
pub(super) const WRONG: &str = "there is no such device, or it has another key";

pub(super) fn refused(why: &str) -> Denied {
    Denied::Unauthenticated(why.into())
}

pub(super) fn too_often(wait: Duration) -> Denied {
    let wait = wait.as_secs();
    Denied::Later(format!("too much that was wrong came from this address; try again in {wait} s"))
}

/// The twin that a username names, `device` or `tenant/device`, or else a token; both must agree.
fn named(username: Option<&str>, password: &Password<'_>) -> Result<TwinId, Denied> {
    let username = username.filter(|name| !name.is_empty()).map(|name| match name.contains('/') {
        true => TwinId::parse(name),
        false => TwinId::in_default_tenant(name),
    });
    let named = username.transpose().map_err(|error| Denied::BadName(error.to_string()))?;
    match (named, password) {
        (Some(named), Password::Token(token)) if named != *token.twin() => Err(refused(WRONG)),
        (Some(named), _) => Ok(named),
        (None, Password::Token(token)) => Ok(token.twin().clone()),
        (None, _) => Err(refused("the device does not say who it is")),
    }
}

impl<'a> Password<'a> {
    fn of(shown: &'a [u8]) -> Self {
        let text = std::str::from_utf8(shown).unwrap_or_default();
        let token = Some(text).filter(|text| text.starts_with(signed::PREFIX)).and_then(Unverified::parse);
        match (token, Key::parse(text)) {
            (Some(token), _) => Self::Token(token),
            (None, Some(key)) => Self::Key(key),
            (None, None) => Self::Other(shown),
        }
    }
}
