//! What the device should become, asked for: at once, or when it changes.

use actix_web::{HttpRequest, HttpResponse};
use runtime::watch::{Changed, Whom};
use serde::{Deserialize, Serialize};
use twins::json::Json;
use twins::rejection::{Code, Rejection};
use twins::twin::Twin;
use utoipa::{IntoParams, ToSchema};

use super::super::problem::Problem;
use super::super::query::Query;
use super::super::wait::Wait;
use super::device::Device;

/// What the device knows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Known {
    /// The version it has; it gets the difference. Without one, or where that version is no longer known: the whole.
    since: Option<u64>,
    /// How long to wait for a change, in seconds: 0 to 60.
    #[param(default = 0.0)]
    wait_s: f64,
}

/// The desired section, as over MQTT.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Desired {
    /// The section's version: the next `since`.
    version: u64,
    /// A merge patch (RFC 7396) with nulls, or the whole section.
    #[schema(value_type = Object)]
    patch: Json,
    /// It is the whole section.
    full: bool,
}

/// A device asks what it should become.
///
/// A version that was answered is not acknowledged: a device that did not act on it asks with the `since` of before.
#[utoipa::path(
    get,
    path = "/v1/twins/me/desired",
    tag = "device",
    security(("device" = [])),
    params(Known),
    responses(
        (status = 200, description = "What it lacks.", body = Desired),
        (status = 204, description = "It lacks nothing, and nothing changed while it waited."),
        (status = 401, description = "`not-authenticated`"),
        (status = 429, description = "`too-many`: as many calls wait as may"),
    )
)]
pub(in super::super) async fn get(
    device: Device,
    request: HttpRequest,
    Query(Known { since, wait_s }): Query<Known>,
) -> Result<HttpResponse, Problem> {
    let mut wait = Wait::new(&request, wait_s)?;
    let mut watch = if wait_s > 0.0 { Some(device.watch(Whom::Any)?) } else { None };
    let mut twin = device.read().await?;
    loop {
        if let Some(desired) = lacking(&twin, since)? {
            return Ok(HttpResponse::Ok().json(desired));
        }
        let changed = match &mut watch {
            Some((watch, _)) => wait.changed(watch).await,
            None => None,
        };
        twin = match changed {
            // It is read again, so that nobody hears of it who was shut out meanwhile.
            Some(Changed::Twin(_) | Changed::Perhaps) => device.read().await?,
            Some(Changed::TakenOver) | None => return Ok(HttpResponse::NoContent().finish()),
        };
    }
}

/// What a device that has version `since` lacks.
fn lacking(twin: &Twin, since: Option<u64>) -> Result<Option<Desired>, Rejection> {
    if !twin.exists() {
        return Err(Rejection::new(Code::UnknownTwin, "the twin was removed"));
    }
    let section = twin.desired();
    let version = section.version();
    if since == Some(version) {
        return Ok(None);
    }
    let difference = since.and_then(|since| section.difference(since));
    let full = difference.is_none();
    let patch = difference.unwrap_or_else(|| section.document().clone().into());
    Ok(Some(Desired { version, patch, full }))
}
