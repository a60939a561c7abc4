//! Whether the node lives, and whether it serves: for those who watch it, without credentials.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use runtime::router::Router;

use super::problem::Problem;

/// Answers as long as the process does.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    security(()),
    responses((status = 200, description = "The node lives."))
)]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Answers 200 once every shard serves.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses((status = 200, description = "Every shard serves."), (status = 503, description = "Why one does not."))
)]
pub(super) async fn ready(request: HttpRequest) -> Result<&'static str, Problem> {
    let router = request.app_data::<Router>().ok_or_else(|| Problem::internal("the API has no router"))?;
    match router.ready() {
        Ok(()) => Ok("ready\n"),
        Err(why) => {
            let next = "wait; if it stays, see the node's log";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why, next))
        }
    }
}
