//! The collector, which may be slow, refuse or be gone: that is said once, and again when it takes spans.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self, SpanData};
use ureq::Agent;

/// How long the collector may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Posts what is exported. It blocks, on the thread that does nothing else.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    /// How often in a row nothing was taken.
    failures: Arc<AtomicU64>,
}

impl Client {
    pub(super) fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_TIMEOUT));
        Self { agent: config.build().into(), failures: Arc::default() }
    }

    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let (head, mut answer) = self.agent.run(Request::from_parts(head, &body[..]))?.into_parts();
        let answer = answer.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, answer.into()))
    }

    /// Says that the collector does not take spans, or does again.
    fn report(&self, posted: &Result<Response<Bytes>, HttpError>) {
        let why = match posted {
            Ok(answer) if answer.status().is_success() => {
                if self.failures.swap(0, Ordering::Relaxed) > 0 {
                    tracing::warn!("the collector takes spans again");
                }
                return;
            }
            Ok(answer) => format!("it answers {}", answer.status()),
            Err(error) => error.to_string(),
        };
        if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(why, "the collector does not take spans; they are lost until it does");
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let posted = self.post(request);
            self.report(&posted);
            posted
        })
    }
}

/// An exporter whose failures are counted, and no errors: the [`Client`] has said why.
#[derive(Debug)]
pub(super) struct Lossy {
    exporter: SpanExporter,
    lost: AtomicU64,
}

impl From<SpanExporter> for Lossy {
    fn from(exporter: SpanExporter) -> Self {
        Self { exporter, lost: AtomicU64::new(0) }
    }
}

impl trace::SpanExporter for Lossy {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        if self.exporter.export(batch).await.is_err() {
            self.lost.fetch_add(spans, Ordering::Relaxed);
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "the collector did not take all spans");
        }
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
