//! `/metrics`, in the text format of OpenMetrics 1.0; and the step around every request that measures it.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use runtime::path::step;
use tracing::Instrument;

use crate::metrics::Metrics;
use crate::trace;

use super::caller::Caller;
use super::problem::Problem;

/// The media type of the format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the node counts, for whoever may read in the tenant `default`.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses(
        (status = 200, description = "Metrics as OpenMetrics text.", content_type = "application/openmetrics-text"),
        (status = 403, description = "`forbidden`: the caller is of another tenant, or has no role"),
    )
)]
pub(super) async fn metrics(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.observe()?;
    let registry = request.app_data::<Arc<Registry>>();
    let registry = registry.ok_or_else(|| Problem::internal("the API has no metrics"))?;
    let mut page = String::new();
    encode(&mut page, registry).map_err(|_| Problem::internal("the metrics could not be written"))?;
    Ok(HttpResponse::Ok().content_type(OPENMETRICS).body(page))
}

/// Measures a request, and is the first span of its path.
pub(super) async fn measure(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let metrics = request.app_data::<Metrics>().cloned();
    let (started, method) = (Instant::now(), request.method().clone());
    let span = step!("1.request" in trace_of(&request), method = method.as_str());
    let answer = next.call(request).instrument(span).await?;
    if let Some(metrics) = metrics {
        let route = answer.request().match_pattern();
        metrics.answered(route.as_deref(), method.as_str(), answer.status().as_u16(), started.elapsed());
    }
    Ok(answer)
}

fn trace_of(request: &ServiceRequest) -> Option<twins::header::Trace> {
    let text = request.headers().get(trace::TRACEPARENT)?.to_str().ok()?;
    trace::parse(text)
}
