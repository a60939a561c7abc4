//! Requests: questions to the device itself, answered now or not at all.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Path;
use runtime::access::Verb;
use serde::{Deserialize, Serialize};
use twins::json::Json;
use twins::name::Name;
use utoipa::{IntoParams, ToSchema};

use crate::envelope::Content;

use super::body::Body;
use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;

/// How long a device may take where nobody says.
const TIMEOUT_S: f64 = 10.0;
/// The longest that a device may take.
const TIMEOUT_S_MAX: f64 = 300.0;

/// How a request is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asking {
    /// How long the device may take, in seconds: more than 0, at most 300.
    #[param(default = 10.0)]
    timeout_s: f64,
}

impl Default for Asking {
    fn default() -> Self {
        Self { timeout_s: TIMEOUT_S }
    }
}

impl Asking {
    fn timeout(&self) -> Result<Duration, Problem> {
        let Self { timeout_s } = *self;
        let fits = timeout_s > 0.0 && timeout_s <= TIMEOUT_S_MAX;
        let refuse = || {
            let why =
                format!("parameter `timeout_s`: {timeout_s} is not more than 0 and at most {TIMEOUT_S_MAX}");
            Problem::parameter(why)
        };
        fits.then(|| Duration::from_secs_f64(timeout_s)).ok_or_else(refuse)
    }
}

/// What the device answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceAnswer)]
pub(super) struct Answer<'a> {
    /// As in HTTP.
    #[schema(example = 200)]
    status: u16,
    /// Any JSON; of bytes that are none, `{"content_type", "base64"}`.
    #[schema(value_type = Value)]
    payload: Content<'a>,
}

/// Asks the device, and waits for its answer.
///
/// The body is what is asked with; no body is null.
#[utoipa::path(
    post,
    path = "/v1/twins/{id}/requests/{name}",
    tag = "twins",
    params(
        ("id" = String, Path, description = "The device's id."),
        ("name" = String, Path, description = "What is asked."),
        Asking,
    ),
    request_body = Option<Value>,
    responses(
        (status = 200, description = "The device answered.", body = Answer),
        (status = 404, description = "`unknown-twin`, or `not-connected`: also when the connection ends first"),
        (status = 429, description = "`too-many`: as many requests wait for the device as may"),
        (status = 504, description = "`timeout`: the device did not answer in time"),
    )
)]
pub(super) async fn ask(
    caller: Caller,
    path: Path<(String, String)>,
    Query(asking): Query<Asking>,
    Body(payload): Body<Json>,
) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let name = Name::new("the request's name", &name)?;
    let twin = caller.may(Verb::Control, &id, &format!("requests/{name}"))?;
    let response = twin.request(name, payload.into(), asking.timeout()?).await?;
    Ok(HttpResponse::Ok().json(Answer { status: response.status, payload: (&response.payload).into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_more_than_nothing_and_at_most_five_minutes() {
        for timeout_s in [0.0, -1.0, 300.5, f64::NAN, f64::INFINITY] {
            assert!(Asking { timeout_s }.timeout().is_err(), "{timeout_s}");
        }
        assert_eq!(Asking { timeout_s: 0.5 }.timeout().unwrap(), Duration::from_millis(500));
        assert_eq!(Asking::default().timeout().unwrap(), Duration::from_secs(10));
    }
}
