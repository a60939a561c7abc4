//! What a node says about itself: log lines on stderr, and the spans of the path, as lines among them or to a collector.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "otlp")]
mod traced;

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The variable that selects what is said, as in `info,runtime=debug`; warnings and errors where it is not set.
const FILTER: &str = "TWINFOLD_LOG";

/// The target of what an operator is told whatever is selected.
const TOLD: &str = "told";

/// Which parts of the HTTP server are never heard: they call it an error when a client sends what is no HTTP, or goes, a
/// line each time, so that anybody could fill the log. Each of these is counted among the answers, or is none.
const UNHEARD: [&str; 2] = ["actix_http::h1::decoder=off", "actix_http::h1::dispatcher=off"];

/// What is heard only where [`FILTER`] names it: it warns of each heartbeat that is late, for each group and ten times a
/// second. What it means for a node is said by the groups, by placement and by the wire.
const HEARD_IF_NAMED: &str = "openraft";

/// The variable of `--otlp-endpoint`, where there is no such flag.
#[cfg(not(feature = "otlp"))]
const OTLP_ENDPOINT: &str = "TWINFOLD_OTLP_ENDPOINT";

/// How a node says what it does.
#[derive(Args)]
pub(crate) struct Flags {
    /// How the lines of the log on stderr are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: Format,
    /// Send the steps of what comes with a sampled traceparent to this collector, by OTLP over HTTP
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", value_parser = crate::cli::client::Url::plain)]
    otlp_endpoint: Option<crate::cli::client::Url>,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: each line is a JSON object.
    Json,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[cfg(feature = "otlp")]
    #[error("sending spans to {url}/v1/traces: {why}\nnext: see the variables OTEL_EXPORTER_OTLP_*")]
    Exporter { url: crate::cli::client::Url, why: String },
}

/// What is said until it [ends](Telemetry::end).
pub(crate) struct Telemetry {
    format: Format,
    #[cfg(feature = "otlp")]
    spans: Option<otlp::Exporter>,
}

impl Flags {
    /// Begins. A process begins once; whoever embeds a server may have begun already.
    pub(crate) fn start(&self) -> Result<Telemetry, Error> {
        #[cfg(feature = "otlp")]
        let spans = self.otlp_endpoint.as_ref().map(otlp::Exporter::start).transpose()?;
        let said = tracing_subscriber::registry().with(lines(self.log_format));
        #[cfg(feature = "otlp")]
        let said = said.with(spans.as_ref().map(otlp::Exporter::layer));
        drop(said.try_init());
        #[cfg(not(feature = "otlp"))]
        if std::env::var_os(OTLP_ENDPOINT).is_some() {
            tracing::warn!("{OTLP_ENDPOINT} is set, but this binary is built without the feature `otlp`");
        }
        Ok(Telemetry {
            format: self.log_format,
            #[cfg(feature = "otlp")]
            spans,
        })
    }
}

impl Telemetry {
    /// How the operator is told something, who may have closed the other end.
    pub(crate) fn voice(&self) -> fn(&str) {
        match self.format {
            Format::Text => |line| drop(writeln!(std::io::stderr(), "{line}")),
            Format::Json => |line| tracing::info!(target: TOLD, "{line}"),
        }
    }

    /// Ends when the node has: what is not sent yet is sent.
    pub(crate) fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans {
            spans.end();
        }
    }
}

/// The lines on stderr.
fn lines(format: Format) -> Box<dyn Layer<Registry> + Send + Sync> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).with_env_var(FILTER);
    // A span is said when it ends, with its time: the steps of the path, where `path=debug` asks for them.
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::CLOSE);
    let told = format!("{TOLD}=info");
    let fixed = UNHEARD.into_iter().chain([&*told]).map(|text| text.parse().expect("it is a directive"));
    let filter = fixed.fold(filter.from_env_lossy(), EnvFilter::add_directive);
    let names = std::env::var(FILTER).is_ok_and(|filter| filter.contains(HEARD_IF_NAMED));
    let quiet = format!("{HEARD_IF_NAMED}=off").parse().expect("it is a directive");
    let filter = if names { filter } else { filter.add_directive(quiet) };
    match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
        Format::Json => lines.json().flatten_event(true).with_ansi(false).with_filter(filter).boxed(),
    }
}
