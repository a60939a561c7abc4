//! Commands to a device: queued durably, delivered in order, each with one end.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::Path;
use runtime::access::Verb;
use runtime::directory::Reach;
use serde::{Deserialize, Serialize};
use twins::command::{Command, CommandId, State};
use twins::input::Input;
use twins::json::Json;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

use crate::envelope::Content;

use super::body::Object;
use super::caller::{Allowed, Caller, unexpected};
use super::order::{Expectation, Line, Order, new_id, ttl};
use super::page::{Limit, Page};
use super::problem::Problem;
use super::query::Query;

/// A command that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// The id under which it is found again.
    id: String,
    /// How far it got.
    state: &'static str,
}

/// How a dead command is sent anew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object with `ttl_s`")]
pub(super) struct Redrive {
    /// After so many seconds it expires: more than 0, at most 30 days; else after as many as the dead one had.
    ttl_s: Option<f64>,
}

/// A command as it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
pub(super) struct Shown<'a> {
    id: String,
    name: &'a str,
    #[schema(value_type = Value)]
    payload: Content<'a>,
    /// `queued`, `sent`, `delivered`, `done`, `rejected`, `expired`, `cancelled`, `superseded` or `dead`.
    state: &'static str,
    mode: Line,
    answer: Expectation,
    /// How often it was sent.
    attempt: u32,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// When it expires.
    #[schema(value_type = String, format = DateTime)]
    deadline: Timestamp,
    /// When its state last changed.
    #[schema(value_type = String, format = DateTime)]
    changed: Timestamp,
    /// Who sent it.
    by: String,
    /// What the device said about it.
    #[schema(value_type = Option<Value>)]
    result: Option<&'a Json>,
}

/// Which commands to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only those in this state: `queued`, `sent`, `delivered`, `done`, `rejected`, `expired`, `cancelled`,
    /// `superseded` or `dead`.
    state: Option<String>,
    /// At most so many.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
}

impl<'a> From<&'a Command> for Shown<'a> {
    fn from(command: &'a Command) -> Self {
        Self {
            id: command.id.to_string(),
            name: &command.name,
            payload: (&command.payload).into(),
            state: command.state.as_str(),
            mode: command.mode.into(),
            answer: command.answer.into(),
            attempt: command.attempt,
            created: command.created,
            deadline: command.deadline,
            changed: command.changed,
            by: command.by.to_string(),
            result: command.result.as_ref(),
        }
    }
}

/// Sends a command to a device.
///
/// It is queued durably and delivered when the device listens.
#[utoipa::path(
    post,
    path = "/v1/twins/{id}/commands",
    tag = "commands",
    params(("id" = String, Path, description = "The device's id.")),
    request_body = Order,
    responses(
        (status = 202, description = "It is queued; `Location` leads to it.", body = Taken),
        (status = 404, description = "`unknown-twin`"),
        (status = 422, description = "`malformed`: what does not fit is named"),
        (status = 429, description = "`queue-full`: as many commands are open as may"),
    )
)]
pub(super) async fn send(
    caller: Caller,
    id: Path<String>,
    Object(order): Object<Order>,
) -> Result<HttpResponse, Problem> {
    let twin = caller.may(Verb::Control, &id, &format!("commands/{}", order.name()))?;
    queue(&twin, Input::Command(order.send(caller.now())?)).await
}

/// Withdraws a command.
///
/// It is not sent any more; what the device says of it from now on is an event.
#[utoipa::path(
    delete,
    path = "/v1/twins/{id}/commands/{command}",
    tag = "commands",
    params(
        ("id" = String, Path, description = "The device's id."),
        ("command" = String, Path, description = "The command's id."),
    ),
    responses(
        (status = 200, description = "It is cancelled, by this call or an earlier one.", body = Taken),
        (status = 404, description = "`unknown-twin` or `unknown-command`"),
        (status = 409, description = "`command-ended`: it has ended otherwise"),
    )
)]
pub(super) async fn cancel(caller: Caller, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let (id, command) = path.into_inner();
    let command = command_id(&command)?;
    let twin = controlled(&caller, &id, command).await?;
    let taken = take(&twin, Input::Cancel(command)).await?;
    Ok(HttpResponse::Ok().json(taken))
}

/// Sends a dead command anew.
///
/// A new command with the same name and payload and fresh attempts takes its place; the dead one is no longer listed.
#[utoipa::path(
    post,
    path = "/v1/twins/{id}/commands/{command}/redrive",
    tag = "commands",
    params(
        ("id" = String, Path, description = "The device's id."),
        ("command" = String, Path, description = "The dead command's id."),
    ),
    request_body = Option<Redrive>,
    responses(
        (status = 202, description = "A new one is queued; `Location` leads to it.", body = Taken),
        (status = 404, description = "`unknown-twin` or `unknown-command`"),
        (status = 409, description = "`not-dead`; `superseded`: a newer one of its name is open, and only the latest counts"),
        (status = 422, description = "`malformed`: what does not fit is named"),
        (status = 429, description = "`queue-full`: as many commands are open as may"),
    )
)]
pub(super) async fn redrive(
    caller: Caller,
    path: Path<(String, String)>,
    Object(redrive): Object<Option<Redrive>>,
) -> Result<HttpResponse, Problem> {
    let (id, command) = path.into_inner();
    let dead = command_id(&command)?;
    let twin = controlled(&caller, &id, dead).await?;
    let ttl = redrive.and_then(|redrive| redrive.ttl_s).map(ttl).transpose()?;
    queue(&twin, Input::Redrive { dead, id: new_id(caller.now()), ttl }).await
}

/// The twin, if the caller may control it by commands of that one's name. A command that is not there has none.
async fn controlled<'a>(caller: &'a Caller, id: &str, command: CommandId) -> Result<Allowed<'a>, Problem> {
    let twin = caller.may_whole(Verb::Control, id, &[])?;
    if twin.reach(Verb::Control).may_whole("commands") {
        return Ok(twin);
    }
    let read = twin.read_own().await?;
    let name = read.commands().get(command).map(|command| &*command.name).unwrap_or_default();
    caller.may(Verb::Control, id, format!("commands/{name}").trim_end_matches('/'))
}

async fn queue(twin: &Allowed<'_>, input: Input) -> Result<HttpResponse, Problem> {
    let taken = take(twin, input).await?;
    let location = format!("/v1/twins/{}/commands/{}", twin.id().id(), taken.id);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(taken))
}

async fn take(twin: &Allowed<'_>, input: Input) -> Result<Taken, Problem> {
    match twin.ask(input).await? {
        Reply::Command { id, state } => Ok(Taken { id: id.to_string(), state: state.as_str() }),
        other => Err(unexpected(&other)),
    }
}

fn command_id(text: &str) -> Result<CommandId, Rejection> {
    let unknown = |_| Rejection::new(Code::UnknownCommand, format!("no command `{}`", text.escape_debug()));
    text.parse().map_err(unknown)
}

/// Reads a command.
#[utoipa::path(
    get,
    path = "/v1/twins/{id}/commands/{command}",
    tag = "commands",
    params(
        ("id" = String, Path, description = "The device's id."),
        ("command" = String, Path, description = "The command's id."),
    ),
    responses(
        (status = 200, description = "The command.", body = Shown),
        (status = 404, description = "`unknown-twin` or `unknown-command`: the last 32 that ended are remembered, and 1,000 dead ones"),
    )
)]
pub(super) async fn get(caller: Caller, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let (id, command) = path.into_inner();
    let twin = caller.may(Verb::Read, &id, "")?;
    let (read, reach) = (twin.read_own().await?, twin.reach(Verb::Read));
    let command = command_id(&command)?;
    let unknown = || Rejection::new(Code::UnknownCommand, format!("no command `{command}`"));
    let found = read.commands().get(command).filter(|command| is_readable(command, &reach));
    Ok(HttpResponse::Ok().json(Shown::from(found.ok_or_else(unknown)?)))
}

/// Lists the commands that are open, the last ones that ended and the dead ones, in the order of their ids.
#[utoipa::path(
    get,
    path = "/v1/twins/{id}/commands",
    tag = "commands",
    params(("id" = String, Path, description = "The device's id."), Listing),
    responses(
        (status = 200, description = "Some commands, and where the list goes on.", body = Page<Shown>),
        (status = 400, description = "`bad-parameter`: there is no such state"),
        (status = 404, description = "`unknown-twin`"),
    )
)]
pub(super) async fn list(
    caller: Caller,
    id: Path<String>,
    Query(listing): Query<Listing>,
) -> Result<HttpResponse, Problem> {
    let state = listing.state.as_deref().map(state).transpose()?;
    let after: Option<CommandId> =
        listing.after.as_deref().map(str::parse).transpose().map_err(|_| {
            Problem::parameter("parameter `after`: it is not the `next` of a page of commands")
        })?;
    let twin = caller.may(Verb::Read, &id, "")?;
    let (read, reach) = (twin.read_own().await?, twin.reach(Verb::Read));
    let queue = read.commands();
    let mut selected: Vec<_> = queue
        .all()
        .filter(|command| is_readable(command, &reach))
        .filter(|command| state.is_none_or(|state| command.state == state))
        .filter(|command| after.is_none_or(|after| command.id > after))
        .collect();
    // By id, which begins with the time: a command keeps its place when it ends.
    selected.sort_unstable_by_key(|command| command.id);
    let shown = selected.into_iter().map(|command| (Shown::from(command), command.id.to_string()));
    Ok(HttpResponse::Ok().json(Page::of(shown, listing.limit.get())?))
}

fn is_readable(command: &Command, reach: &Reach) -> bool {
    reach.may(&format!("commands/{}", command.name))
}

fn state(name: &str) -> Result<State, Problem> {
    let unknown = || {
        let names = State::ALL.map(State::as_str).join(", ");
        Problem::parameter(format!("parameter `state`: `{}` is none of {names}", name.escape_debug()))
    };
    State::parse(name).ok_or_else(unknown)
}
