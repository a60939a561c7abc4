//! The kinds of twins that the node knows: what their twins say, hear and are told.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use twins::kind::Kind;
use twins::rejection::Code;

use super::caller::Caller;
use super::page::Page;
use super::problem::Problem;

/// Lists the kinds.
#[utoipa::path(
    get,
    path = "/v1/kinds",
    tag = "kinds",
    responses((status = 200, description = "The contract of each kind, by name.", body = Page<Object>))
)]
pub(super) async fn list(caller: Caller) -> Result<HttpResponse, Problem> {
    let mut page = Page::new();
    for contract in caller.kinds().iter().map(Kind::contract) {
        page.push(&contract)?;
    }
    Ok(HttpResponse::Ok().json(page))
}

/// Reads the contract of a kind.
#[utoipa::path(
    get,
    path = "/v1/kinds/{kind}",
    tag = "kinds",
    params(("kind" = String, Path, description = "The kind.")),
    responses(
        (status = 200, description = "`{\"kind\", \"version\", \"items\": [{\"plane\", \"name\", ...}]}`", body = Object),
        (status = 404, description = "`unknown-kind`"),
    )
)]
pub(super) async fn get(caller: Caller, kind: Path<String>) -> Result<HttpResponse, Problem> {
    match caller.kinds().get(&kind) {
        Some(kind) => Ok(HttpResponse::Ok().json(kind.contract())),
        None => {
            let code = Code::UnknownKind;
            let detail = format!("this node has no kind `{}`", kind.escape_debug());
            Err(Problem::new(StatusCode::NOT_FOUND, code.as_str(), detail, "list the kinds: GET /v1/kinds"))
        }
    }
}
