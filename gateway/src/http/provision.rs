//! Where devices get their keys or certificates: a device with its activation key, which is all that it has to show; an
//! operator for a device, by what the operator may.

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::{self, Path};
use actix_web::{FromRequest, HttpRequest};
use runtime::access::Verb;
use runtime::router::Router;
use serde::{Deserialize, Serialize};
use twins::header::{Header, Principal, Trace, Transport};
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::input::Input;
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::trust::{Credential, Step, What};
use utoipa::ToSchema;

use super::body::Object;
use super::caller::{Caller, unexpected};
use super::devices::Device;
use super::lifecycle::read_reason;
use super::once::{self, Repeatable};
use super::problem::Problem;
use crate::trace;
use crate::trust::asked::Asked;
use crate::trust::authority::LIFE;
use crate::trust::password::Spoken;
use crate::trust::provisioning::{GRACE, GRACE_MAX, Given, Handout, Provisioning, Refused, Wanted};

/// The longest life of an activation key: ten years.
const TTL_MAX_S: u64 = 10 * 365 * 24 * 3_600;

/// What gives devices their keys, and who asks it.
pub(super) struct Office {
    pub(super) provisioning: Provisioning,
    router: Router,
    from: IpAddr,
    trace: Option<Trace>,
}

/// An activation key: a text that a person chose, of 8 to 256 bytes; or one to be generated, which is shown once.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "it is neither a text nor an object with `generate`")]
pub(super) enum ActivationKey {
    Chosen(String),
    Generated(Generated),
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GeneratedKey)]
pub(super) struct Generated {
    generate: bool,
}

/// How a device is invited to activate itself.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `activation_key`, `ttl_s`, `reason`")]
pub(super) struct Invite {
    /// Left out: one is generated.
    activation_key: Option<ActivationKey>,
    /// After so many seconds it is not taken any more; else it has no end.
    ttl_s: Option<u64>,
    /// For whoever reads the device's events.
    reason: Option<String>,
}

/// An invited device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InvitedDevice)]
pub(super) struct Invited {
    #[serde(flatten)]
    pub(super) device: Device,
    /// The activation key, where it was generated. It is not kept, and cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) activation_key: Option<String>,
}

/// How a device activates itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `device_id`, `activation_key`, `nonce` or `csr`")]
#[schema(as = ActivationRequest)]
pub(super) struct Activation {
    device_id: String,
    /// Else `default`.
    tenant: Option<String>,
    #[schema(value_type = String)]
    activation_key: Spoken,
    /// Random text of 16 to 128 bytes. An answer that was lost is asked for again with the same one. Beside `csr` it may be
    /// left out.
    #[schema(min_length = 16, max_length = 128)]
    nonce: Option<String>,
    /// A certificate request (PKCS #10) in PEM: a certificate is wanted rather than a key.
    csr: Option<String>,
    /// Who is to sign it; the only one who does where nobody says.
    authority: Option<String>,
}

/// How an operator asks for a device's key or certificate.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `nonce`, `csr`, `reason`")]
pub(super) struct Install {
    /// Random text of 16 to 128 bytes: the same one again is answered with the same key. Left out: always a new one.
    #[schema(min_length = 16, max_length = 128)]
    nonce: Option<String>,
    /// A certificate request (PKCS #10) in PEM: a certificate is wanted rather than a key.
    csr: Option<String>,
    /// Who is to sign it; the only one who does where nobody says.
    authority: Option<String>,
    /// For whoever reads the device's events.
    reason: Option<String>,
}

/// How an operator gives a device a new key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `grace_s`, `nonce`, `reason`")]
pub(super) struct Rotation {
    /// For so many seconds the key before it stays valid: a day where nothing is said, at most 90 days.
    grace_s: Option<u64>,
    /// Random text of 16 to 128 bytes: the same one again is answered with the same key. Left out: always a new one.
    #[schema(min_length = 16, max_length = 128)]
    nonce: Option<String>,
    /// For whoever reads the device's events.
    reason: Option<String>,
}

/// A key or a certificate that a device was given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HandedKey)]
pub(super) struct Handed {
    device_id: String,
    /// The key: 43 characters, the device's password. Only the same request gets it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The certificate, and those that lead from it to a root: PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// Its number among the credentials of the device.
    issue: u64,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// From when on it is not valid; a key has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

impl FromRequest for Office {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl Office {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let missing = || Problem::internal("the API has nothing that gives keys");
        let provisioning = request.app_data::<Provisioning>().ok_or_else(missing)?.clone();
        let router = request.app_data::<Router>().ok_or_else(missing)?.clone();
        let from = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let trace = request.headers().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok());
        Ok(Self { provisioning, router, from, trace: trace.and_then(trace::parse) })
    }
}

impl ActivationKey {
    /// `None`: none is wanted.
    pub(super) fn wanted(&self) -> Option<Wanted<'_>> {
        match self {
            Self::Chosen(key) => Some(Wanted::Chosen(key)),
            Self::Generated(Generated { generate }) => generate.then_some(Wanted::Generated),
        }
    }
}

impl Handed {
    pub(super) fn of(device: &TwinId, given: Given) -> web::Json<Self> {
        let Given { what, credential } = given;
        let (key, certificate) = match what {
            Handout::Key(key) => (Some(key.reveal()), None),
            Handout::Certificate(chain) => (None, Some(chain)),
        };
        let Credential { issue, since, expires, .. } = credential;
        web::Json(Self { device_id: device.id().to_owned(), key, certificate, issue, since, expires })
    }
}

/// A device activates itself and gets its key, or a certificate.
///
/// Its activation key is good for one request: the same nonce again is answered with the same key, the same certificate
/// request with the same certificate; any other is refused, and is an event.
#[utoipa::path(
    post,
    path = "/v1/provision/activate",
    tag = "provisioning",
    security(()),
    request_body = Activation,
    responses(
        (status = 200, description = "It is active.", body = Handed),
        (status = 401, description = "`wrong-activation-key`: or there is no such device"),
        (status = 403, description = "`disabled`"),
        (status = 409, description = "`already-activated`: by another request; `no-authority`: nobody signs certificates"),
        (status = 422, description = "`malformed`"),
        (status = 429, description = "`too-many-attempts`"),
    )
)]
pub(super) async fn activate(
    office: Office,
    request: HttpRequest,
    Object(activation): Object<Activation>,
) -> Result<web::Json<Handed>, Problem> {
    if Repeatable::of(&request)?.is_some() {
        return Err(once::secret());
    }
    let Activation { device_id, tenant, activation_key, nonce, csr, authority } = activation;
    let asked = Asked::by_device(csr.as_deref(), nonce.as_deref(), authority.as_deref());
    // What cannot be a device is none.
    let device = TwinId::new(tenant.as_deref().unwrap_or(DEFAULT_TENANT), &device_id);
    let device = device.map_err(|_| Refused::NotValid)?;
    let Office { provisioning, router, from, trace } = office;
    let header =
        Header { principal: Principal::Device, transport: Transport::Http, trace, ..Header::default() };
    let given = provisioning.activate(&router, &device, (activation_key.text(), asked), from, header).await?;
    Ok(Handed::of(&device, given))
}

/// Invites a device to activate itself: it gets an activation key instead of any that it had.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/invite",
    tag = "provisioning",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Invite>,
    responses(
        (status = 200, description = "It is invited.", body = Invited),
        (status = 404, description = "`unknown-twin`"),
        (status = 422, description = "`malformed`"),
    )
)]
pub(super) async fn invite(
    caller: Caller,
    office: Office,
    id: Path<String>,
    Object(invite): Object<Option<Invite>>,
) -> Result<web::Json<Invited>, Problem> {
    let device = caller.may(Verb::Activate, &id, "")?;
    device.in_confidence()?;
    let Invite { activation_key, ttl_s, reason } = invite.unwrap_or_default();
    let wanted = activation_key.as_ref().and_then(ActivationKey::wanted).unwrap_or(Wanted::Generated);
    let expires = expires(&caller, ttl_s)?;
    let (invitation, key) = office.provisioning.invite(None, wanted, expires).await?;
    let step = Step { what: What::Invite(invitation), reason: read_reason(reason)? };
    match device.ask(Input::Trust(Box::new(step))).await? {
        Reply::Twin(twin) => {
            let activation_key = key.map(|key| key.reveal());
            Ok(web::Json(Invited { device: Device::of(&device, &twin), activation_key }))
        }
        other => Err(unexpected(&other)),
    }
}

/// Activates a device in its name: it gets a key or a certificate, instead of all credentials that it had.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/activate",
    tag = "provisioning",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Install>,
    responses(
        (status = 200, description = "It is active.", body = Handed),
        (status = 403, description = "`disabled`"),
        (status = 404, description = "`unknown-twin`"),
        (status = 409, description = "`no-authority`: nobody signs certificates"),
        (status = 410, description = "`replaced`"),
        (status = 422, description = "`malformed`"),
    )
)]
pub(super) async fn install(
    caller: Caller,
    office: Office,
    id: Path<String>,
    Object(install): Object<Option<Install>>,
) -> Result<web::Json<Handed>, Problem> {
    let device = caller.may(Verb::Activate, &id, "")?;
    let (router, header) = device.in_confidence()?;
    let Install { nonce, csr, authority, reason } = install.unwrap_or_default();
    let (nonce, authority, reason) = (nonce.as_deref(), authority.as_deref(), read_reason(reason)?);
    let asked = match csr.as_deref() {
        Some(csr) => Asked::Certificate { csr, nonce, authority, life: LIFE },
        None => Asked::Key { nonce },
    };
    let given = office.provisioning.install(router, device.id(), asked, reason, header).await?;
    Ok(Handed::of(device.id(), given))
}

/// Gives a device a new key.
///
/// The one before stays valid for a while, so that the device can take the new one up while it is connected.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/rotate",
    tag = "provisioning",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Rotation>,
    responses(
        (status = 200, description = "It has a new key.", body = Handed),
        (status = 404, description = "`unknown-twin`"),
        (status = 410, description = "`replaced`"),
        (status = 422, description = "`malformed`"),
    )
)]
pub(super) async fn rotate(
    caller: Caller,
    office: Office,
    id: Path<String>,
    Object(rotation): Object<Option<Rotation>>,
) -> Result<web::Json<Handed>, Problem> {
    let device = caller.may(Verb::Secure, &id, "")?;
    let (router, header) = device.in_confidence()?;
    let Rotation { grace_s, nonce, reason } = rotation.unwrap_or_default();
    let (grace, reason) = (grace_of(grace_s)?, read_reason(reason)?);
    let asked = Asked::Key { nonce: nonce.as_deref() };
    let given = office.provisioning.rotate(router, device.id(), (asked, grace), reason, header).await?;
    Ok(Handed::of(device.id(), given))
}

/// For how long the credential before stays valid.
pub(super) fn grace_of(grace_s: Option<u64>) -> Result<Duration, Problem> {
    let grace = grace_s.map_or(GRACE, Duration::from_secs);
    if grace > GRACE_MAX {
        let detail = format!("`grace_s` is more than 90 days, {}", GRACE_MAX.as_secs());
        return Err(malformed(detail, "send a shorter grace"));
    }
    Ok(grace)
}

/// When an activation key of this life ends.
pub(super) fn expires(caller: &Caller, ttl_s: Option<u64>) -> Result<Option<Timestamp>, Problem> {
    match ttl_s {
        None => Ok(None),
        Some(ttl_s @ 1..=TTL_MAX_S) => Ok(Some(caller.now() + Duration::from_secs(ttl_s))),
        Some(ttl_s) => {
            let detail = format!("an activation key lives 1 to {TTL_MAX_S} seconds, not {ttl_s}");
            Err(malformed(detail, "send another life, or none"))
        }
    }
}

pub(super) fn malformed(detail: String, next: &'static str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", detail, next)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Some((status, code, next)) = refused.said() else {
            return match refused {
                Refused::Node(error) => error.into(),
                other => Self::internal(other.to_string()),
            };
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Self::new(status, code, refused.to_string(), next);
        match status {
            StatusCode::UNAUTHORIZED => problem.asks("Activation"),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => problem.passes(),
            _ => problem,
        }
    }
}
