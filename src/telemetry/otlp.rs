//! Spans to a collector, by OTLP over HTTP: of the path's steps those that belong to a trace that somebody else began.
//!
//! A step belongs to the trace that its field `traceparent` names, or to that of the step around it; one that belongs to
//! none is not sent. What is sent waits in a queue of 2,048 spans for a thread of its own, so
//! that no message ever waits for a collector: what finds the queue full is dropped, which is said once, and counted at
//! the end.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use runtime::path::PATH;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context as Spans;
use tracing_subscriber::registry::LookupSpan;
use ureq::Agent;

use super::Error;
use crate::cli::client::Url;

/// How many spans wait for the collector.
const QUEUE: usize = 2_048;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long one waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end may wait for the collector.
const END_WITHIN: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The field that names a step's trace.
const TRACEPARENT: &str = "traceparent";

/// Sends spans until it ends.
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts the thread that sends. The collector need not be there.
    pub(super) fn start(collector: &Url) -> Result<Self, Error> {
        let refused =
            |why: &dyn fmt::Display| Error::Exporter { url: collector.clone(), why: why.to_string() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(format!("{collector}/v1/traces"))
            .with_timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(|error| refused(&error))?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(LINGER);
        let queue = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
        let resource = Resource::builder()
            .with_service_name("twinfold")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider =
            SdkTracerProvider::builder().with_span_processor(queue).with_resource(resource.build());
        Ok(Self(provider.build()))
    }

    /// What takes the spans.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("twinfold"));
        let layer = layer.with_location(false).with_threads(false).with_level(false).with_target(false);
        let is_step = |metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == PATH;
        let steps = filter_fn(is_step).with_max_level_hint(LevelFilter::DEBUG);
        Traced(layer.with_tracked_inactivity(false)).with_filter(steps)
    }

    /// Sends what waits, unless the collector takes too long.
    pub(super) fn end(self) {
        // What is not sent, or was dropped before, the queue has said itself.
        drop(self.0.shutdown_with_timeout(END_WITHIN));
    }
}

/// Shows to the layer inside it the spans of traces, and no others.
struct Traced<S, T>(OpenTelemetryLayer<S, T>);

impl<S, T> Layer<S> for Traced<S, T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    OpenTelemetryLayer<S, T>: Layer<S>,
    T: 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, spans: Spans<'_, S>) {
        let mut named = Named::default();
        attributes.record(&mut named);
        let around = Context::current();
        let around = around.span().span_context().clone();
        let Some(traceparent) = named.0 else {
            if around.is_valid() {
                self.0.on_new_span(attributes, id, spans);
            }
            return;
        };
        let remote = HashMap::from([(TRACEPARENT.to_owned(), traceparent)]);
        let remote = TraceContextPropagator::new().extract_with_context(&Context::new(), &remote);
        let trace = remote.span().span_context().clone();
        if !trace.is_sampled() {
            return;
        }
        // Within a step of the same trace it is a part of that; else it comes of what was outside.
        let _outside = (trace.trace_id() != around.trace_id()).then(|| remote.attach());
        self.0.on_new_span(attributes, id, spans);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, spans: Spans<'_, S>) {
        self.0.on_record(id, values, spans);
    }

    fn on_enter(&self, id: &Id, spans: Spans<'_, S>) {
        self.0.on_enter(id, spans);
    }

    fn on_exit(&self, id: &Id, spans: Spans<'_, S>) {
        self.0.on_exit(id, spans);
    }

    fn on_close(&self, id: Id, spans: Spans<'_, S>) {
        self.0.on_close(id, spans);
    }
}

/// Finds the trace that a span names.
#[derive(Default)]
struct Named(Option<String>);

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == TRACEPARENT {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

/// Posts what is exported. It blocks, on the thread that does nothing else.
#[derive(Debug, Clone)]
struct Client(Arc<Agent>);

impl Client {
    fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_TIMEOUT));
        Self(Arc::new(config.build().into()))
    }

    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let (head, mut answer) = self.0.run(Request::from_parts(head, &body[..]))?.into_parts();
        let answer = answer.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, answer.into()))
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
        Box::pin(async move { self.post(request) })
    }
}
