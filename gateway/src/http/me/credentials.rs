//! The device's own certificate, renewed before it ends.

use actix_web::web;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::body::Object;
use super::super::problem::Problem;
use super::super::provision::{Handed, Office, grace_of};
use super::device::Device;
use crate::trust::asked::Asked;

/// How a device renews its certificate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `csr`")]
pub(in super::super) struct Renewal {
    /// A certificate request (PKCS #10) in PEM. The same one again is answered with the same certificate.
    csr: String,
    /// Random text of 16 to 128 bytes, where the same request is to be answered with another certificate.
    #[schema(min_length = 16, max_length = 128)]
    nonce: Option<String>,
    /// Who is to sign it; the only one who does where nobody says.
    authority: Option<String>,
    /// For so many seconds the certificate before stays valid: a day where nothing is said, at most 90 days.
    grace_s: Option<u64>,
}

/// Renews the device's certificate.
///
/// The one before stays valid for a while. A device that came by its key gets its first certificate like this.
#[utoipa::path(
    post,
    path = "/v1/twins/me/credentials/renew",
    tag = "device",
    security(("device" = [])),
    request_body = Renewal,
    responses(
        (status = 200, description = "It has another certificate.", body = Handed),
        (status = 401, description = "`not-authenticated`"),
        (status = 409, description = "`no-authority`: nobody signs certificates"),
        (status = 410, description = "`replaced`: another device has taken its place"),
        (status = 422, description = "`malformed`"),
    )
)]
pub(in super::super) async fn renew(
    device: Device,
    office: Office,
    Object(renewal): Object<Renewal>,
) -> Result<web::Json<Handed>, Problem> {
    let Renewal { csr, nonce, authority, grace_s } = renewal;
    let asked = Asked::by_device(Some(&csr), nonce.as_deref(), authority.as_deref());
    let (router, id, header) = device.in_confidence()?;
    let given = office.provisioning.rotate(router, id, (asked, grace_of(grace_s)?), None, header).await?;
    Ok(Handed::of(id, given))
}
