//! Letting devices in: what a device shows is compared with what its twin or its enrolment group keeps of it.
//!
//! A device shows a certificate ([`Certified`]), or one of four things as its password: its key, a token that it signed with it, the key that its enrolment
//! group derives for it, or its activation key, which is good for activation alone. What it is tells which is looked at.
//! The twin is looked at as it is committed; unknown names are answered by the index, and bring nothing into memory.
//!
//! Whoever is not let in hears the same, whatever was wrong, and hears it after about the same work: names cannot be
//! found out by trying. Whether the device is disabled is for its twin to say, to whoever has proved to be it.

use std::sync::Arc;
use std::time::Instant;

use runtime::access::{Denied, Identity, Shown};
use runtime::clock::Clock;
use runtime::directory::{Definitions, Group, Tenant, Trust as Trusted};
use runtime::error::Error;
use runtime::router::Router;
use tokio::time::sleep_until;
use twins::header::{Header, Principal};
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::time::Timestamp;
use twins::trust::{Proof, Registration, Secret, Trust, Verifier};
use twins::twin::Twin;

use super::authority::Roots;
use super::certified::Certified;
use super::failures::{Failures, Turn};
use super::key::Key;
use super::password::{self, Generated, Hashing};
use super::signed::{self, Unverified};
use super::vault::Vault;

/// The slow hash of nothing that anybody knows: what is compared where there is nothing to compare with.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$dHdpbmZvbGQgZGVjb3khIQ$1Ztn8p5bX1V1eqsCbK5FZhcW3o4fHk9w4k1cRzGZ0aQ";

/// Knows how devices prove who they are.
pub(super) struct Devices {
    definitions: Arc<dyn Definitions>,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    audience: String,
    hashing: Hashing,
    failures: Failures,
    certified: Certified,
}

/// What was shown, by what it looks like.
enum Password<'a> {
    Token(Unverified<'a>),
    Key(Key),
    /// Whatever else it is: it can only be an activation key.
    Other(&'a [u8]),
}

impl Devices {
    pub(super) fn new(
        definitions: Arc<dyn Definitions>,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        audience: String,
    ) -> Self {
        let (hashing, failures) = (Hashing::default(), Failures::default());
        let certified = Certified::new(definitions.clone(), clock.clone());
        Self { definitions, clock, vault, audience, hashing, failures, certified }
    }

    /// Who is believed when they sign for devices.
    pub(super) fn roots(&self) -> Arc<Roots> {
        self.certified.roots()
    }

    /// Lets a device in, when it is its turn.
    pub(super) async fn admit(&self, router: &Router, shown: Shown<'_>) -> Result<Identity, Denied> {
        // Nobody guesses a certificate, so that whoever has one waits for nobody who guesses.
        if !shown.certificates.is_empty() {
            return self.certified.admit(router, shown).await;
        }
        let password = Password::of(shown.password.ok_or_else(|| refused("it shows no key"))?);
        let twin = named(shown.username, &password)?;
        match self.failures.turn(shown.address, &twin, Instant::now()) {
            Turn::At(at) if at > Instant::now() => sleep_until(at.into()).await,
            Turn::At(_) => {}
            Turn::Never(wait) => {
                let why = format!(
                    "too much that was wrong came from this address; try again in {} s",
                    wait.as_secs()
                );
                return Err(Denied::Later(why));
            }
        }
        match self.prove(router, &twin, &password).await? {
            Some(proof) => Ok(Identity::Device { twin, register: None, proof }),
            None => {
                self.failures.wrong(shown.address, &twin, Instant::now());
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
            Proof::Group { group, issued } => match tenant.groups.get(group) {
                Some(group) if group.admits(*issued) => Ok(()),
                _ => Err(refused("its enrolment group does not let it in any more")),
            },
            Proof::Open | Proof::Credential(_) | Proof::Activation(_) => Ok(()),
        }
    }

    /// What the password proves, if anything.
    async fn prove(
        &self,
        router: &Router,
        id: &TwinId,
        password: &Password<'_>,
    ) -> Result<Option<Proof>, Denied> {
        let directory = self.definitions.current();
        let Some(tenant) = directory.tenants.get(id.tenant()).filter(|tenant| !tenant.disabled) else {
            return Ok(None);
        };
        let twin = router.look(id).await.map_err(|error| Denied::Later(error.to_string()))?;
        let trust = twin.as_deref().map(Twin::trust);
        let proof = match password {
            Password::Token(token) => trust.and_then(|trust| self.by_token(id, trust, token)),
            Password::Key(key) => match trust.and_then(|trust| self.by_key(trust, key)) {
                Some(proof) => Some(proof),
                None => match self.by_group(tenant, id, trust, key) {
                    Some(group) => Some(enrol(router, id, trust, group, None).await?),
                    None => None,
                },
            },
            Password::Other(_) => None,
        };
        match (proof, password) {
            (None, Password::Token(_)) => Ok(None),
            (None, Password::Key(key)) => self.by_activation(trust, key.reveal().as_bytes()).await,
            (None, Password::Other(shown)) => self.by_activation(trust, shown).await,
            (proof, _) => Ok(proof),
        }
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

    /// The group that derives this key for that id: the one that the twin belongs to, or one that registers devices.
    fn by_group<'a>(
        &self,
        tenant: &'a Tenant,
        id: &TwinId,
        trust: Option<&Trust>,
        key: &Key,
    ) -> Option<(&'a Name, &'a Group)> {
        let mut groups = tenant.groups.iter().filter(|(name, group)| match trust {
            Some(trust) => trust.group() == Some(name),
            None => group.registers,
        });
        let (name, group) = groups.find(|(name, group)| match &group.trust {
            Trusted::Key { sealed, .. } if group.admits(None) => {
                let of_group = Key::recover_of_group(&self.vault, id.tenant(), name, sealed);
                of_group.is_ok_and(|of_group| of_group.derive(id) == *key)
            }
            _ => false,
        })?;
        Some((name, group))
    }

    async fn by_activation(&self, trust: Option<&Trust>, shown: &[u8]) -> Result<Option<Proof>, Denied> {
        let now = self.clock.now();
        let activation = trust.and_then(Trust::activation).filter(|activation| activation.is_open(now));
        let decoy = Verifier::Chosen(DECOY.into());
        let verifier = match activation {
            Some(activation) => &activation.verifier,
            // Nobody chooses what looks generated, so that only what looks chosen has to take its time.
            None if looks_generated(shown) => return Ok(None),
            None => &decoy,
        };
        let verified = self.hashing.verify(&self.vault, verifier, shown).await;
        let verified = verified.map_err(|error: password::Error| Denied::Later(error.to_string()))?;
        Ok(activation.filter(|_| verified).map(|activation| Proof::Activation(activation.issue)))
    }
}

/// What a group's device proves; `issued` is since when what it shows is valid. One that is unknown is registered first,
/// as the group has it.
pub(super) async fn enrol(
    router: &Router,
    id: &TwinId,
    trust: Option<&Trust>,
    (name, group): (&Name, &Group),
    issued: Option<Timestamp>,
) -> Result<Proof, Denied> {
    if trust.is_none() {
        let template = &group.template;
        let desired = Some(template.desired.as_raw().to_json());
        let with = Registration { group: Some(name.clone()), desired, ..Registration::default() };
        let (kind, tags) = (template.kind.clone(), Some(template.tags.clone()));
        let input = Input::Register { kind, tags, with: Some(Box::new(with)) };
        let header = Header { principal: Principal::System, ..Header::default() };
        router.ask(id.clone(), header, input).await.map_err(|error| match error {
            Error::Rejected(rejection) => Denied::Forbidden(rejection.to_string()),
            error => Denied::Later(error.to_string()),
        })?;
    }
    Ok(Proof::Group { group: name.clone(), issued })
}

/// The same for everything that is wrong.
pub(super) const WRONG: &str = "there is no such device, or it has another key";

pub(super) fn refused(why: &str) -> Denied {
    Denied::Unauthenticated(why.into())
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

fn looks_generated(shown: &[u8]) -> bool {
    let text = std::str::from_utf8(shown).unwrap_or_default();
    Generated::parse(text).is_some() || Key::parse(text).is_some()
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
