//! What a node says about itself: log lines on stderr, and the spans of the path among them where they are wanted.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The variable that selects what is said, as in `info,runtime=debug`; warnings and errors where it is not set.
const FILTER: &str = "TWINFOLD_LOG";

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: each line is a JSON object.
    Json,
}

/// Begins. A process begins once; whoever embeds a server may have begun already.
pub(crate) fn start(format: Format) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).with_env_var(FILTER);
    // A span is said when it ends, with its time: the steps of the path, where `path=debug` asks for them.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::CLOSE);
    drop(match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
    });
}
