//! Of all steps those of traces: a step belongs to the trace that its field `traceparent` names, or to that of the step
//! around it. Where that is sampled the layer inside sees the step, as a child of the span that the trace came from;
//! others it does not see.

use std::collections::HashMap;
use std::fmt;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context as Spans;
use tracing_subscriber::registry::LookupSpan;

/// The field that names a step's trace, as the header does that it came by.
const TRACEPARENT: &str = "traceparent";

/// Shows to the layer inside it the spans of traces, and no others.
pub(super) struct Traced<S, T>(pub(super) OpenTelemetryLayer<S, T>);

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
