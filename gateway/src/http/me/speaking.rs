//! What a device says: samples, and what it reports.

use actix_web::HttpResponse;
use actix_web::web::Path;
use runtime::access::Verb;
use serde::Deserialize;
use twins::digest::Digest;
use twins::header::Header;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::rejection::Rejection;
use twins::time::Timestamp;
use utoipa::{IntoParams, IntoResponses};

use super::super::body::{Any, Body};
use super::super::problem::Problem;
use super::super::query::Query;
use super::device::Device;

/// What goes with what a device says.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Beside {
    /// When it happened (RFC 3339); else the member `$time` says so, else it is when it arrived.
    #[param(value_type = Option<String>, format = DateTime)]
    time: Option<Timestamp>,
    /// The message's own id: what comes again under it within a day has no second effect. Of each device the last 1,000
    /// are remembered.
    mid: Option<String>,
}

impl Beside {
    fn header(self) -> Result<Header, Rejection> {
        let mid = self.mid.as_deref().map(Digest::of_mid).transpose()?;
        Ok(Header { time: self.time, mid, ..Header::default() })
    }
}

/// How a device is answered that says something.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes the answers, which are made elsewhere")]
enum Answers {
    /// It is durable.
    #[response(status = 204)]
    Durable,
    /// `not-authenticated`
    #[response(status = 401)]
    NotAuthenticated,
    /// `too-large`: the limit is named
    #[response(status = 413)]
    TooLarge,
    /// `rejected` or `malformed`: nothing is kept of it
    #[response(status = 422)]
    Refused,
}

/// A device sends telemetry.
///
/// Of an object, each member that the kind declares goes to its channel; the rest is kept whole. An array is a batch.
/// What is not JSON is kept as it is, with its content type.
#[utoipa::path(
    post,
    path = "/v1/twins/me/telemetry",
    tag = "device",
    security(("device" = [])),
    params(Beside),
    request_body = Value,
    responses(Answers)
)]
pub(in super::super) async fn telemetry(
    device: Device,
    Query(beside): Query<Beside>,
    Any(body): Any,
) -> Result<HttpResponse, Problem> {
    device.say(Verb::Speak, Input::Telemetry(body), beside.header()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A device sends a sample of one channel.
#[utoipa::path(
    post,
    path = "/v1/twins/me/telemetry/{channel}",
    tag = "device",
    security(("device" = [])),
    params(("channel" = String, Path, description = "The channel; of many instances `name%2Fkey`."), Beside),
    request_body = Value,
    responses(Answers)
)]
pub(in super::super) async fn sample(
    device: Device,
    channel: Path<String>,
    Query(beside): Query<Beside>,
    Any(body): Any,
) -> Result<HttpResponse, Problem> {
    if channel.matches('/').count() > 1 {
        return Err(Problem::parameter("a channel is `name` or `name/key`"));
    }
    let channel = Name::new("the channel", &channel)?;
    device.say(Verb::Speak, Input::Sample { channel, body }, beside.header()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A device reports: a merge patch (RFC 7396) of its reported section.
#[utoipa::path(
    patch,
    path = "/v1/twins/me/reported",
    tag = "device",
    security(("device" = [])),
    params(Beside),
    request_body = Object,
    responses(Answers)
)]
pub(in super::super) async fn report(
    device: Device,
    Query(beside): Query<Beside>,
    Body(patch): Body<Json>,
) -> Result<HttpResponse, Problem> {
    device.say(Verb::Speak, Input::Report(patch), beside.header()?).await?;
    Ok(HttpResponse::NoContent().finish())
}
