//! Steps in the life of a device, as an operator takes them: out, in again, only so far, and without its credentials.
//!
//! Each is decided by the twin and is in force when it is answered: connections that lost their right are closed by the
//! same commit.

use actix_web::web::{self, Path};
use runtime::access::Verb;
use serde::{Deserialize, Serialize};
use twins::input::Input;
use twins::name::Name;
use twins::reply::Reply;
use twins::trust::{Sort, Standing, Step, What};
use utoipa::{IntoResponses, ToSchema};

use super::body::Object;
use super::caller::{Caller, unexpected};
use super::devices::Device;
use super::problem::Problem;
use super::provision::malformed;

/// Why something is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object with `reason`")]
pub(super) struct Why {
    /// For whoever reads the device's events.
    reason: Option<String>,
}

/// What is revoked.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object with `credential` or `sort`, and `reason`")]
pub(super) struct Revocation {
    /// The number of one credential, as the device shows it; else all go, with the activation key.
    credential: Option<u64>,
    /// All of one sort: `key` or `certificate`.
    sort: Option<SortName>,
    /// For whoever reads the device's events.
    reason: Option<String>,
}

/// [`Sort`], as it is written.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CredentialSort)]
pub(super) enum SortName {
    Key,
    Certificate,
}

/// How a step is answered.
#[derive(IntoResponses)]
#[allow(dead_code, clippy::large_enum_variant, reason = "it describes the answers, which are made elsewhere")]
pub(super) enum Answers {
    /// It is in force.
    #[response(status = 200)]
    Done(Device),
    /// `unknown-twin`, or `unknown-credential` where one is named
    #[response(status = 404)]
    Unknown,
    /// `replaced`: another device has taken its place
    #[response(status = 410)]
    Replaced,
}

/// Shuts a device out.
///
/// Its connections are closed, and nothing of it is taken until it is enabled again.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/disable",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Why>,
    responses(Answers)
)]
pub(super) async fn disable(
    caller: Caller,
    id: Path<String>,
    Object(why): Object<Option<Why>>,
) -> Result<web::Json<Device>, Problem> {
    stand(&caller, &id, Standing::Disabled, why).await
}

/// Lets a device in again, and through.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/enable",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Why>,
    responses(Answers)
)]
pub(super) async fn enable(
    caller: Caller,
    id: Path<String>,
    Object(why): Object<Option<Why>>,
) -> Result<web::Json<Device>, Problem> {
    stand(&caller, &id, Standing::Enabled, why).await
}

/// Lets nothing of a device through but what manages it.
///
/// Its connections stay; it is neither heard nor told anything until it is enabled again.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/quarantine",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Why>,
    responses(Answers)
)]
pub(super) async fn quarantine(
    caller: Caller,
    id: Path<String>,
    Object(why): Object<Option<Why>>,
) -> Result<web::Json<Device>, Problem> {
    stand(&caller, &id, Standing::Quarantined, why).await
}

/// Takes a device's credentials from it.
///
/// Connections that came with them are closed. Without any it has to be invited or activated anew.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/revoke",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Option<Revocation>,
    responses(Answers)
)]
pub(super) async fn revoke(
    caller: Caller,
    id: Path<String>,
    Object(revocation): Object<Option<Revocation>>,
) -> Result<web::Json<Device>, Problem> {
    let Revocation { credential, sort, reason } = revocation.unwrap_or_default();
    let what = match (credential, sort) {
        (Some(_), Some(_)) => {
            let detail = "a revocation is of one `credential` or of one `sort`".to_owned();
            return Err(malformed(detail, "leave one of them out"));
        }
        (None, Some(SortName::Key)) => What::WithdrawAll(Sort::Key),
        (None, Some(SortName::Certificate)) => What::WithdrawAll(Sort::Certificate),
        (credential, None) => What::Withdraw(credential),
    };
    step(&caller, &id, what, reason).await
}

async fn stand(
    caller: &Caller,
    id: &str,
    standing: Standing,
    why: Option<Why>,
) -> Result<web::Json<Device>, Problem> {
    step(caller, id, What::Stand(standing), why.unwrap_or_default().reason).await
}

async fn step(
    caller: &Caller,
    id: &str,
    what: What,
    reason: Option<String>,
) -> Result<web::Json<Device>, Problem> {
    let device = caller.may(Verb::Secure, id, "")?;
    let step = Step { what, reason: read_reason(reason)? };
    match device.ask(Input::Trust(Box::new(step))).await? {
        Reply::Twin(twin) => Ok(web::Json(Device::of(&device, &twin))),
        other => Err(unexpected(&other)),
    }
}

/// The reason as events have it.
pub(super) fn read_reason(reason: Option<String>) -> Result<Option<Name>, Problem> {
    Ok(reason.map(|reason| Name::new("`reason`", &reason)).transpose()?)
}
