//! Commands, asked for: the head of the queue is handed out, and again until the device says what became of it.

use actix_web::http::Method;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use runtime::access::Verb;
use runtime::watch::{Changed, Watch, Whom};
use serde::{Deserialize, Serialize};
use twins::command::Command;
use twins::header::Header;
use twins::input::{Input, Said};
use twins::json::Json;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

use crate::envelope::Content;

use super::super::body::Body;
use super::super::page::Page;
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::wait::Wait;
use super::device::Device;

/// How a device asks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Asking {
    /// How long to wait for a command, in seconds: 0 to 60.
    #[param(default = 0.0)]
    wait_s: f64,
}

/// A command, as it is handed out over MQTT too.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HandedCommand)]
pub(in super::super) struct Handed<'a> {
    id: String,
    name: &'a str,
    #[schema(value_type = Value)]
    payload: Content<'a>,
    #[schema(value_type = String, format = DateTime)]
    deadline: Timestamp,
    /// How often it was handed out, this time included.
    attempt: u32,
}

/// A device asks for its next command: a list of one, or of none.
///
/// Without an answer to it, the next call hands it out again with `attempt` + 1; after five times it is dead. While a
/// connection of the device listens to commands, that one is handed them. Of calls that wait, the newest gets it.
#[utoipa::path(
    get,
    path = "/v1/twins/me/commands",
    tag = "device",
    security(("device" = [])),
    params(Asking),
    responses(
        (status = 200, description = "The command, or none; `next` is always null.", body = Page<Handed>),
        (status = 401, description = "`not-authenticated`"),
        (status = 429, description = "`too-many`: as many calls wait as may"),
    )
)]
pub(in super::super) async fn poll(
    device: Device,
    request: HttpRequest,
    Query(Asking { wait_s }): Query<Asking>,
) -> Result<HttpResponse, Problem> {
    let mut wait = Wait::new(&request, wait_s)?;
    let none = || Ok(HttpResponse::Ok().json(Page::<Handed<'_>>::of([], 1)?));
    if request.method() == Method::HEAD {
        // Whoever asks for the head alone would not see the command.
        return none();
    }
    let mut watch = if wait_s > 0.0 { Some(device.watch(Whom::Newest)?) } else { None };
    loop {
        match device.say(Verb::Speak, Input::Poll, Header::default()).await? {
            Reply::Polled(command) => {
                let place = String::new();
                return Ok(HttpResponse::Ok().json(Page::of([(Handed::from(&command), place)], 1)?));
            }
            _ => {
                let Some((watch, _)) = &mut watch else { return none() };
                if !is_coming(&mut wait, watch).await {
                    return none();
                }
            }
        }
    }
}

/// Waits until there may be a command. Most changes of a twin are none.
async fn is_coming(wait: &mut Wait, watch: &mut Watch) -> bool {
    loop {
        match wait.changed(watch).await {
            Some(Changed::Twin(twin)) if twin.polled().is_some() || !twin.exists() => return true,
            Some(Changed::Twin(_)) => {}
            Some(Changed::Perhaps) => return true,
            Some(Changed::TakenOver) | None => return false,
        }
    }
}

/// A device says what became of a command: `done`, `rejected` or `progress`, with any JSON as its result; or
/// `delivered`, which acknowledges it without an outcome.
#[utoipa::path(
    post,
    path = "/v1/twins/me/commands/{command}/{outcome}",
    tag = "device",
    security(("device" = [])),
    params(
        ("command" = String, Path, description = "The command's id."),
        ("outcome" = String, Path, description = "`delivered`, `done`, `rejected` or `progress`."),
    ),
    request_body = Option<Value>,
    responses(
        (status = 204, description = "It is durable."),
        (status = 401, description = "`not-authenticated`"),
        (status = 404, description = "`unknown-command`, or no such outcome"),
    )
)]
pub(in super::super) async fn answer(
    device: Device,
    path: Path<(String, String)>,
    request: HttpRequest,
    Body(result): Body<Option<Json>>,
) -> Result<HttpResponse, Problem> {
    let (command, outcome) = path.into_inner();
    let outcome = match &*outcome {
        "delivered" => Said::Delivered,
        "done" => Said::Done,
        "rejected" => Said::Rejected,
        "progress" => Said::Progress,
        _ => return Err(Problem::no_route(request.path())),
    };
    if outcome == Said::Delivered && result.is_some() {
        return Err(Rejection::new(Code::Malformed, "`delivered` has no result").into());
    }
    let unknown = |_| {
        Rejection::new(Code::UnknownCommand, format!("`{}` is no id of a command", command.escape_debug()))
    };
    let id = command.parse().map_err(unknown)?;
    device.say(Verb::Speak, Input::Outcome { id, outcome, result }, Header::default()).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl<'a> From<&'a Command> for Handed<'a> {
    fn from(command: &'a Command) -> Self {
        Self {
            id: command.id.to_string(),
            name: &command.name,
            payload: (&command.payload).into(),
            deadline: command.deadline,
            attempt: command.attempt,
        }
    }
}
