//! Whether the node lives, and whether it serves: for those who watch it, without credentials.

use std::fmt;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use prometheus_client::registry::Registry;
use runtime::operations::Operations;
use runtime::unready::Unready;

use crate::metrics::Metrics;

use super::problem::Problem;

/// How many parts `/readyz` lists; of more it says how many there are.
const LISTED_MAX: usize = 64;

/// What the server says of the node to those who watch it, and who does what those order who operate it.
#[derive(Clone)]
pub struct Watch {
    /// Where the server counts its requests.
    pub metrics: Metrics,
    /// What `/metrics` writes.
    pub registry: Arc<Registry>,
    /// What `/readyz` asks: the parts that do not serve, none if the node is ready. It must not block.
    pub unready: Arc<dyn Fn() -> Vec<Unready> + Send + Sync>,
    /// How the cluster is, and what it is told to do.
    pub operations: Arc<dyn Operations>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What `/readyz` asks.
#[derive(Clone)]
pub(super) struct Asked(pub(super) Arc<dyn Fn() -> Vec<Unready> + Send + Sync>);

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

/// Answers 200 while the node serves; else 503 with all that does not, in `reasons`.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "Everything serves."),
        (status = 503, description = "What does not, and why: shards that recover, listeners, the log, the disk."),
    )
)]
pub(super) async fn ready(request: HttpRequest) -> Result<&'static str, Problem> {
    let asked = request.app_data::<Asked>().ok_or_else(|| Problem::internal("nobody knows"))?;
    let mut unready = asked.0();
    if unready.is_empty() {
        return Ok("ready\n");
    }
    let detail = match unready.as_slice() {
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
        [] => String::new(),
    };
    unready.truncate(LISTED_MAX);
    let next = "wait while it starts or recovers; else do what the reasons say";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail, next).because(unready))
}
