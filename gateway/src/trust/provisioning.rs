//! Provisioning: a device gets its key, or a certificate for a key that it has. Secrets come into being here and are handed
//! out once; the twin is told what verifies them, and decides who gets one.
//!
//! What is given is given for a request: the hash of a nonce that whoever asks has chosen, or of a certificate request.
//! The same one again is answered with the same key, which the twin keeps sealed, or the same certificate: so an answer
//! that was lost is asked for again, and a stranger who has the activation key but not the nonce learns nothing but that it
//! was used.

use std::iter;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::directory::Definitions;
use runtime::error::Error as NodeError;
use runtime::router::Router;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::trust::{By, Credential, Grant, Invitation, Proof, Secret, Step, What};
use twins::twin::Twin;

use super::asked::{Asked, NONCE_BYTES, Request, Wants};
use super::authority::{self, Unfit};
use super::failures::Why;
use super::guesses::Guesses;
use super::key::Key;
use super::password::{self, Generated};
use super::vault::{self, Vault};

/// How long the key before a new one stays valid where nobody says: a day.
pub const GRACE: Duration = Duration::from_secs(24 * 3_600);
/// The longest grace: 90 days.
pub const GRACE_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);
/// What gives devices their keys. Cheap to clone.
#[derive(Clone)]
pub struct Provisioning(Arc<Inner>);

struct Inner {
    vault: Arc<Vault>,
    definitions: Arc<dyn Definitions>,
    guesses: Guesses,
}

/// What was given, as its device gets it.
#[derive(Debug)]
pub struct Given {
    /// It.
    pub what: Handout,
    /// What the twin keeps of it.
    pub credential: Credential,
}

/// What a device gets.
#[derive(Debug)]
pub enum Handout {
    /// A key.
    Key(Key),
    /// A certificate, and those that lead from it to a root: PEM.
    Certificate(String),
}

/// Why nothing was given.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such device, or that is not its activation key: nobody outside can tell which.
    #[error("there is no such device, or this is not its activation key")]
    NotValid,
    /// Too much was wrong before.
    #[error("too much that was wrong came from this address; the next is looked at in {} s", .0.as_secs_f64().ceil())]
    TooOften(Duration),
    /// The nonce is none.
    #[error("a nonce is random text of {} to {} bytes", NONCE_BYTES.0, NONCE_BYTES.1)]
    BadNonce,
    /// The certificate request is none that may be signed.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nobody signs for the tenant, or not the one that was named.
    #[error("{0}")]
    NoSigner(&'static str),
    /// What it came by lets it in no more.
    #[error("{0}")]
    ShutOut(String),
    /// The authority did not sign.
    #[error(transparent)]
    Unsigned(#[from] authority::Error),
    /// The activation key could not be taken.
    #[error(transparent)]
    Password(#[from] password::Error),
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The twin refused, or could not be reached.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The credential is none that can be shown.
    #[error("the twin gave an answer to something else: {0}")]
    Unexpected(String),
}

impl Refused {
    /// The status as in HTTP, the stable text, and what to do next; `None` where the twin or the node says so itself.
    pub(crate) fn said(&self) -> Option<(u16, &'static str, &'static str)> {
        Some(match self {
            Self::NotValid => {
                (401, "wrong-activation-key", "see whether the id and the activation key are spelled right")
            }
            Self::TooOften(_) => (429, "too-many-attempts", "wait so long, and try the right key"),
            Self::BadNonce => {
                (422, "malformed", "send 32 random bytes in base64 as the nonce, and the same for a repeat")
            }
            Self::Unfit(_) | Self::Unsigned(authority::Error::Unfit(_)) => {
                (422, "malformed", "make another request: twinfold cert issue DEVICE --generate DIR")
            }
            Self::NoSigner(_) | Self::Unsigned(authority::Error::Over(_)) => (
                409,
                "no-authority",
                "see who signs: twinfold cert ca list; make one: twinfold cert ca create NAME",
            ),
            Self::ShutOut(_) => (403, "not-authorized", "ask whoever looks after the device"),
            Self::Password(password::Error::Length | password::Error::LooksLikeKey) => {
                (422, "malformed", "choose another activation key")
            }
            Self::Password(password::Error::Busy) => (503, "overloaded", "send it again later"),
            Self::Password(password::Error::Random(_))
            | Self::Vault(_)
            | Self::Unsigned(_)
            | Self::Unexpected(_) => (500, "internal", "report it with the node's log"),
            Self::Node(_) => return None,
        })
    }
}

/// An activation key as somebody wants it.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// A new one, to be shown once.
    Generated,
    /// This one.
    Chosen(&'a str),
}

impl Provisioning {
    /// One that seals under this vault, has those sign who are in this directory, and slows down who guesses with all others
    /// that do.
    pub fn new(vault: Arc<Vault>, definitions: Arc<dyn Definitions>, guesses: Guesses) -> Self {
        Self(Arc::new(Inner { vault, definitions, guesses }))
    }

    /// What the secrets of the node are sealed under.
    pub(crate) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// An activation key for a device whose twin is this, as the twin is told of it, and its text where it was generated.
    /// A chosen one that the twin has already stays what it is.
    ///
    /// # Errors
    /// When it cannot be hashed.
    pub async fn invite(
        &self,
        twin: Option<&Twin>,
        wanted: Wanted<'_>,
        expires: Option<twins::time::Timestamp>,
    ) -> Result<(Invitation, Option<Generated>), Refused> {
        let Inner { vault, guesses, .. } = &*self.0;
        let hashing = guesses.hashing();
        let chosen = match wanted {
            Wanted::Generated => {
                let key = Generated::new()?;
                return Ok((Invitation { verifier: key.keep(vault), expires }, Some(key)));
            }
            Wanted::Chosen(chosen) => chosen,
        };
        if let Some(activation) = twin.and_then(|twin| twin.trust().activation())
            && hashing.is_activation_key(vault, Some(&activation.verifier), chosen.as_bytes()).await?
        {
            // What was used stays used, however often it is said again.
            let expires = expires.filter(|_| activation.used.is_none()).or(activation.expires);
            return Ok((Invitation { verifier: activation.verifier.clone(), expires }, None));
        }
        Ok((Invitation { verifier: hashing.keep(vault, chosen).await?, expires }, None))
    }

    /// A device shows its activation key and gets what it asks for; `header` says which way it came.
    ///
    /// # Errors
    /// Why not.
    pub async fn activate(
        &self,
        router: &Router,
        device: &TwinId,
        (shown, asked): (&str, Asked<'_>),
        from: IpAddr,
        header: Header,
    ) -> Result<Given, Refused> {
        // What is wrong with the request is no attempt.
        let request = Request::of("activate", asked)?;
        let attempt = self.0.guesses.attempt(Some(from), device).await.map_err(Refused::TooOften)?;
        // The devices of a tenant that is shut out are as good as unknown.
        let directory = self.0.definitions.current();
        let lets_in = directory.tenants.get(device.tenant()).is_some_and(|tenant| !tenant.disabled);
        let twin = if lets_in { router.look(device).await? } else { None };
        let Some(issue) = self.verify(twin.as_deref(), shown).await? else {
            attempt.was_wrong(Why::ActivationKey, twin.is_some());
            return Err(Refused::NotValid);
        };
        drop(attempt);
        self.activate_by(router, device, (By::Key(issue), request), None, of_activation(header, issue)).await
    }

    /// A device that came in by the activation key of this number gets what it asks for.
    ///
    /// # Errors
    /// Why not.
    pub async fn activate_shown(
        &self,
        router: &Router,
        device: &TwinId,
        (issue, asked): (u64, Asked<'_>),
        header: Header,
    ) -> Result<Given, Refused> {
        let request = Request::of("activate", asked)?;
        self.activate_by(router, device, (By::Key(issue), request), None, of_activation(header, issue)).await
    }

    /// Somebody who is there activates a device, and gets its key or certificate.
    ///
    /// # Errors
    /// Why not.
    pub async fn install(
        &self,
        router: &Router,
        device: &TwinId,
        asked: Asked<'_>,
        reason: Option<Name>,
        header: Header,
    ) -> Result<Given, Refused> {
        let request = Request::of("activate", asked)?;
        self.activate_by(router, device, (By::Installer, request), reason, header).await
    }

    /// A device gets a new key or certificate; the one before is valid for so long.
    ///
    /// # Errors
    /// Why not.
    pub async fn rotate(
        &self,
        router: &Router,
        device: &TwinId,
        (asked, grace): (Asked<'_>, Duration),
        reason: Option<Name>,
        header: Header,
    ) -> Result<Given, Refused> {
        let grant = self.grant(device, &Request::of("rotate", asked)?, router.now())?;
        self.take(router, device, What::Issue { grant, grace }, reason, header).await
    }

    async fn activate_by(
        &self,
        router: &Router,
        device: &TwinId,
        (by, request): (By, Request<'_>),
        reason: Option<Name>,
        header: Header,
    ) -> Result<Given, Refused> {
        let grant = self.grant(device, &request, router.now())?;
        self.take(router, device, What::Activate { by, grant }, reason, header).await
    }

    async fn take(
        &self,
        router: &Router,
        device: &TwinId,
        what: What,
        reason: Option<Name>,
        header: Header,
    ) -> Result<Given, Refused> {
        let step = Input::Trust(Box::new(Step { what, reason }));
        let credential = match router.ask(device.clone(), header, step).await? {
            Reply::Granted(credential) => *credential,
            other => return Err(Refused::Unexpected(format!("{other:?}"))),
        };
        // It may be one that was given before: what was made for this request is then nobody's.
        let what = match &credential.secret {
            Secret::Key { sealed, .. } => Handout::Key(Key::recover(&self.0.vault, device, sealed)?),
            Secret::Certificate { authority, certificate, .. } => {
                let directory = self.0.definitions.current();
                let tenant = directory.tenants.get(device.tenant());
                let signer = tenant.and_then(|tenant| tenant.authorities.get(authority));
                let above = signer.map_or(&[][..], |signer| &signer.certificates);
                let chain = iter::once(&certificate.0).chain(above);
                Handout::Certificate(chain.map(|one| authority::pem(one)).collect())
            }
        };
        Ok(Given { what, credential })
    }

    /// The number of the activation key that is shown, if it is the device's.
    async fn verify(&self, twin: Option<&Twin>, shown: &str) -> Result<Option<u64>, Refused> {
        let Inner { vault, guesses, .. } = &*self.0;
        let activation = twin.and_then(|twin| twin.trust().activation());
        let known = activation.map(|activation| &activation.verifier);
        let is_right = guesses.hashing().is_activation_key(vault, known, shown.as_bytes()).await?;
        Ok(activation.filter(|_| is_right).map(|activation| activation.issue))
    }

    fn grant(&self, device: &TwinId, request: &Request<'_>, now: Timestamp) -> Result<Grant, Refused> {
        let Inner { vault, definitions, .. } = &*self.0;
        let (secret, expires) = match &request.what {
            Wants::Key => (Key::new()?.keep(vault, device)?, None),
            Wants::Certificate(application) => {
                let (secret, expires) = application.sign(vault, &definitions.current(), device, now)?;
                (secret, Some(expires))
            }
        };
        Ok(Grant { secret, expires, request: request.hash })
    }
}

fn of_activation(header: Header, issue: u64) -> Header {
    Header { proof: Some(Box::new(Proof::Activation(issue))), ..header }
}

impl std::fmt::Debug for Provisioning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provisioning")
    }
}
