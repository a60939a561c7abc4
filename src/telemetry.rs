//! What a node says about itself: log lines on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that selects what is said, as in `info,runtime=debug`; warnings and errors where it is not set.
const FILTER: &str = "TWINFOLD_LOG";

/// Begins. A process begins once; whoever embeds a server may have begun already.
pub(crate) fn start() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).with_env_var(FILTER);
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    drop(lines.try_init());
}
