//! Methods: calls of a twin's behaviour, which answers from the twin and may change it.

use actix_web::HttpResponse;
use actix_web::web::Path;
use runtime::access::Verb;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::reply::Reply;

use super::body::Body;
use super::caller::{Caller, unexpected};
use super::problem::Problem;

/// Calls a method or a query of the twin's behaviour.
///
/// The body is the argument; no body is null.
#[utoipa::path(
    post,
    path = "/v1/twins/{id}/methods/{name}",
    tag = "twins",
    params(("id" = String, Path, description = "The device's id."), ("name" = String, Path, description = "The method.")),
    request_body = Option<Value>,
    responses(
        (status = 200, description = "What the behaviour answered.", body = Value),
        (status = 208, description = "It was called before under this `Idempotency-Key`, and what it returned is not kept any more: null.", body = Value),
        (status = 404, description = "`unknown-twin` or `unknown-method`"),
        (status = 422, description = "`rejected`: the behaviour refused; `malformed`: the argument does not fit"),
    )
)]
pub(super) async fn call(
    caller: Caller,
    path: Path<(String, String)>,
    Body(argument): Body<Json>,
) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let name = Name::new("the method's name", &name)?;
    let twin = caller.may(Verb::Control, &id, &format!("methods/{name}"))?;
    match twin.ask(Input::Call { name, argument }).await? {
        Reply::Returned(answer) => Ok(HttpResponse::Ok().json(answer)),
        Reply::Done => Ok(HttpResponse::AlreadyReported().json(Json::null())),
        other => Err(unexpected(&other)),
    }
}
