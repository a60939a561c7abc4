//! Spans to a collector, by OTLP over HTTP: of the path's steps those that belong to a trace that somebody else began.
//!
//! What is sent waits in a queue of 2,048 spans for a thread of its own, so that no message ever waits for a collector:
//! what finds the queue full is dropped, which is said once, and counted at the end.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use runtime::path::PATH;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::Error;
use super::collector::{ANSWER_TIMEOUT, Client, Lossy};
use super::traced::Traced;
use crate::cli::client::Url;

/// How many spans wait for the collector.
const QUEUE: usize = 2_048;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long one waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
/// How long the end may wait for the collector.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Sends spans until it ends.
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts the thread that sends. The collector need not be there.
    pub(super) fn start(collector: &Url) -> Result<Self, Error> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(format!("{collector}/v1/traces"))
            .with_timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(|error| Error::Exporter { url: collector.clone(), why: error.to_string() })?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(LINGER);
        let queue =
            BatchSpanProcessor::builder(Lossy::from(exporter)).with_batch_config(config.build()).build();
        let resource = Resource::builder()
            .with_service_name("twinfold")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
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
        // What was not sent is said by who dropped it.
        drop(self.0.shutdown_with_timeout(END_WITHIN));
    }
}
