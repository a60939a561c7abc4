//! Certificates of devices, as whoever looks after them sees and gives them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, Path};
use futures_util::{StreamExt, stream};
use runtime::access::Verb;
use serde::{Deserialize, Serialize};
use twins::id::TwinId;
use twins::time::Timestamp;
use twins::trust::{Credential, Secret};
use twins::twin::Twin;
use utoipa::{IntoParams, ToSchema};

use super::body::Object;
use super::caller::{Allowed, Caller};
use super::devices::{READS_MAX, place, resume};
use super::lifecycle::read_reason;
use super::page::{Limit, Page};
use super::problem::Problem;
use super::provision::{Handed, Office, grace_of, malformed};
use super::query::Query;
use crate::trust::asked::Asked;
use crate::trust::authority::{LIFE, LIFE_MAX};

/// How an operator has a certificate signed for a device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `csr`")]
pub(super) struct Application {
    /// A certificate request (PKCS #10) in PEM. The same one again is answered with the same certificate.
    csr: String,
    /// Random text of 16 to 128 bytes, where the same request is to be answered with another certificate.
    #[schema(min_length = 16, max_length = 128)]
    nonce: Option<String>,
    /// Who is to sign it; the only one who does where nobody says.
    authority: Option<String>,
    /// It is valid for so many seconds: a year where nothing is said, at most ten, and no longer than its authority.
    ttl_s: Option<u64>,
    /// For so many seconds the certificate before stays valid: a day where nothing is said, at most 90 days.
    grace_s: Option<u64>,
    /// For whoever reads the device's events.
    reason: Option<String>,
}

/// Which certificates to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Those of at most so many devices.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
    /// Only those that end within so many seconds.
    expires_within_s: Option<u64>,
}

/// A certificate of a device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub(super) struct Shown {
    device_id: String,
    /// Its number among the credentials of the device.
    issue: u64,
    /// Who signed it.
    authority: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// From when on it is not valid.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// SHA-256.
    fingerprint: String,
}

impl Shown {
    /// `None` of what is none.
    fn of(device: &str, credential: &Credential) -> Option<Self> {
        let Secret::Certificate { fingerprint, authority, .. } = &credential.secret else { return None };
        let Credential { issue, since, expires, .. } = credential;
        let (issue, since, expires, device_id) = (*issue, *since, *expires, device.to_owned());
        let (authority, fingerprint) = (authority.to_string(), fingerprint.to_string());
        Some(Self { device_id, issue, authority, since, expires, fingerprint })
    }
}

/// Gives a device a certificate for its key.
///
/// The one before stays valid for a while.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/certificates",
    tag = "provisioning",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Application,
    responses(
        (status = 200, description = "It is valid.", body = Handed),
        (status = 404, description = "`unknown-twin`"),
        (status = 409, description = "`no-authority`: nobody signs certificates"),
        (status = 410, description = "`replaced`"),
        (status = 422, description = "`malformed`"),
    )
)]
pub(super) async fn issue(
    caller: Caller,
    office: Office,
    id: Path<String>,
    Object(application): Object<Application>,
) -> Result<web::Json<Handed>, Problem> {
    let device = caller.may(Verb::Secure, &id, "")?;
    let (router, header) = device.in_confidence()?;
    let Application { csr, nonce, authority, ttl_s, grace_s, reason } = application;
    let life = ttl_s.map_or(LIFE, Duration::from_secs);
    if life.is_zero() || life > LIFE_MAX {
        let detail = format!("a certificate lives 1 to {} seconds", LIFE_MAX.as_secs());
        return Err(malformed(detail, "send another `ttl_s`, or none"));
    }
    let (nonce, authority, csr) = (nonce.as_deref(), authority.as_deref(), &*csr);
    let asked = (Asked::Certificate { csr, nonce, authority, life }, grace_of(grace_s)?);
    let given = office.provisioning.rotate(router, device.id(), asked, read_reason(reason)?, header).await?;
    Ok(Handed::of(device.id(), given))
}

/// Lists the certificates of devices, in the order of the devices' ids.
///
/// A page looks at as many devices as its limit says, and may have no certificate at all.
#[utoipa::path(
    get,
    path = "/v1/certificates",
    tag = "provisioning",
    params(Listing),
    responses((status = 200, description = "Some certificates, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn list(
    caller: Caller,
    Query(listing): Query<Listing>,
) -> Result<web::Json<Page<Shown>>, Problem> {
    let Listing { limit, after, expires_within_s } = listing;
    let after = after.map(|after| resume(caller.tenant(), &after)).transpose()?;
    let until = expires_within_s.map(|within_s| caller.now() + Duration::from_secs(within_s));
    // One more than asked for tells whether the list goes on.
    let ids = caller.ids(after.as_ref(), limit.get() + 1).await?;
    let looks = stream::iter(ids.iter().take(limit.get())).map(|id| look(&caller, id));
    let mut looks = looks.buffered(READS_MAX).enumerate();
    let mut page = Page::new();
    let mut done = 0;
    while let Some((index, seen)) = looks.next().await {
        if let Some((device, twin)) = seen? {
            let ends = |credential: &&Credential| until.is_none_or(|until| credential.expires <= Some(until));
            let credentials = twin.trust().credentials().iter().filter(ends);
            let mut shown = credentials.filter_map(|credential| Shown::of(device.id().id(), credential));
            shown.try_for_each(|shown| page.push(&shown))?;
        }
        done = index + 1;
        if page.is_full() {
            break;
        }
    }
    let next = if done < ids.len() { ids[..done].last() } else { None };
    Ok(web::Json(page.or_next(next.map(place))))
}

/// A device whose credentials the caller may see, as it is committed: a list brings no twin into memory.
async fn look<'a>(caller: &'a Caller, id: &TwinId) -> Result<Option<(Allowed<'a>, Arc<Twin>)>, Problem> {
    let Ok(device) = caller.may(Verb::Read, id.id(), "system") else { return Ok(None) };
    Ok(device.look().await?.map(|twin| (device, twin)))
}
