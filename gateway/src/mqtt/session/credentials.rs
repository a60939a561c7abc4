//! The management lane: a device applies for a key of its own, by the connection that it has. It is open in quarantine,
//! too, and all that there is for a device that has shown nothing but its activation key.
//!
//! Keys are made outside the twin, so that an application is made beside the session's inputs, one after the other.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use runtime::access::Identity;
use runtime::error::Error;
use runtime::router::Router;
use serde::{Deserialize, Serialize};
use twins::header::{Header, Principal, Trace, Transport};
use twins::id::TwinId;
use twins::json::Json;
use twins::rejection::{Code, Rejection};
use twins::time::Timestamp;
use twins::trust::{Credential, Proof};

use super::refusal::Refusal;
use super::topic::Verb;
use crate::trust::asked::Asked;
use crate::trust::password::Spoken;
use crate::trust::provisioning::{GRACE, GRACE_MAX, Given, Handout, Provisioning, Refused};

/// An application of a connected device.
#[derive(Debug)]
pub(in super::super) struct Application {
    pub(in super::super) token: u64,
    pub(super) twin: TwinId,
    pub(super) proof: Proof,
    pub(super) transport: Transport,
    pub(super) trace: Option<Trace>,
    pub(super) applied: Applied,
}

/// What is applied for.
pub(super) struct Applied {
    pub(super) verb: Verb,
    said: Said,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `nonce` or `csr`")]
struct Said {
    nonce: Option<String>,
    /// To activate or to renew: a certificate request, PEM. To activate it may be left out, and a key is given.
    csr: Option<String>,
    /// Who is to sign it; else the only one who does.
    authority: Option<String>,
    /// To activate, where the connection did not come by it.
    activation_key: Option<Spoken>,
    /// To rotate or to renew: for how long the credential before stays valid.
    grace_s: Option<u64>,
}

/// A key or a certificate on `credentials/{verb}/{id}/reply`.
#[derive(Serialize)]
struct Handed {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    issue: u64,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

#[derive(Serialize)]
struct Reply<T> {
    status: u16,
    payload: T,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    message: &'a str,
    next: &'a str,
}

impl Applied {
    pub(super) fn read(verb: Verb, body: &Json) -> Result<Self, Refusal> {
        if !body.is_object() {
            let why = "an application is an object with a `nonce` or a `csr`";
            return Err(Rejection::new(Code::Malformed, why).into());
        }
        let said: Said = body.decode()?;
        let wants = match (verb, &said.csr, &said.nonce) {
            (Verb::Rotate, Some(_), _) => {
                Some("a key is rotated, and a certificate renewed: leave `csr` out")
            }
            (Verb::Renew, None, _) => Some("a certificate is renewed by a certificate request in PEM: `csr`"),
            (_, None, None) => Some("an application has a `nonce`, or a certificate request as `csr`"),
            _ => None,
        };
        match wants {
            Some(why) => Err(Rejection::new(Code::Malformed, why).into()),
            None => Ok(Self { verb, said }),
        }
    }

    /// How long the credential before a new one stays valid.
    fn grace(&self) -> Duration {
        self.said.grace_s.map_or(GRACE, Duration::from_secs).min(GRACE_MAX)
    }
}

impl Application {
    /// Makes it; what comes of it is for the device.
    pub(in super::super) async fn make(
        self,
        provisioning: &Provisioning,
        router: &Router,
        from: IpAddr,
    ) -> Json {
        let Self { twin, proof, transport, trace, applied, .. } = self;
        let Said { nonce, csr, authority, activation_key, .. } = &applied.said;
        let asked = Asked::by_device(csr.as_deref(), nonce.as_deref(), authority.as_deref());
        let header = |proof| {
            let proof = Some(Box::new(proof));
            Header { principal: Principal::Device, transport, trace, proof, ..Header::default() }
        };
        let given = match (applied.verb, activation_key, proof) {
            (Verb::Activate, Some(key), proof) => {
                provisioning.activate(router, &twin, (key.text(), asked), from, header(proof)).await
            }
            (Verb::Activate, None, Proof::Activation(issue)) => {
                let header = header(Proof::Activation(issue));
                provisioning.activate_shown(router, &twin, (issue, asked), header).await
            }
            (Verb::Activate, None, _) => Err(Refused::NotValid),
            (Verb::Rotate | Verb::Renew, _, proof) => match still_lets_in(router, &twin, &proof) {
                Ok(()) => {
                    let asked = (asked, applied.grace());
                    provisioning.rotate(router, &twin, asked, None, header(proof)).await
                }
                Err(refused) => Err(refused),
            },
        };
        let reply = match given {
            Ok(given) => Json::of(&Reply { status: 200, payload: Handed::of(given) }),
            Err(refused) => refusal(&refused),
        };
        reply.unwrap_or_else(|_| Json::null())
    }
}

impl Handed {
    fn of(Given { what, credential }: Given) -> Self {
        let (key, certificate) = match what {
            Handout::Key(key) => (Some(key.reveal()), None),
            Handout::Certificate(chain) => (None, Some(chain)),
        };
        let Credential { issue, since, expires, .. } = credential;
        Self { key, certificate, issue, since, expires }
    }
}

/// Whether what a device came in by still lets it in: what the directory has withdrawn must not be turned into what the
/// device has of its own.
fn still_lets_in(router: &Router, twin: &TwinId, proof: &Proof) -> Result<(), Refused> {
    let who = Identity::Device { twin: twin.clone(), register: None, proof: proof.clone() };
    router.access().confirm(&who).map_err(|denied| Refused::ShutOut(denied.to_string()))
}

fn refusal(refused: &Refused) -> Result<Json, twins::json::Error> {
    let message = refused.to_string();
    let (status, code, next) = match refused {
        Refused::Node(Error::Rejected(rejection)) => {
            let code = rejection.code();
            let problem = Problem { code: code.as_str(), message: rejection.message(), next: code.next() };
            return Json::of(&Reply { status: status(code), payload: problem });
        }
        refused => refused.said().unwrap_or((503, "not-written", "send it again later")),
    };
    Json::of(&Reply { status, payload: Problem { code, message: &message, next } })
}

/// As HTTP says it.
fn status(code: Code) -> u16 {
    match code {
        Code::UnknownTwin => 404,
        Code::AlreadyActivated => 409,
        Code::Replaced => 410,
        Code::NotAuthorized | Code::Disabled | Code::Quarantined => 403,
        _ => 422,
    }
}

/// An activation key never gets into a log by accident.
impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", self.verb.as_str())
    }
}
