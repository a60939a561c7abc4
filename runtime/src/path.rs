//! The numbered path of an update as spans of [`tracing`]: `6.decide`, `7.commit` and so on, as ARCHITECTURE.md numbers
//! it.
//!
//! They have a target of their own, so that `TWINFOLD_LOG=warn,path=debug` shows them and nothing else. Their fields are
//! ids: twin, shard, batch, and the `traceparent` of the input where it came with one; never payloads. That field makes
//! a step a part of its trace, wherever it is taken: a step that is for many inputs at once has none. A span that nobody
//! wants costs one comparison: nothing of it is built.

use tracing::field::{DisplayValue, display};
use twins::header::Trace;

/// The target of the path's spans.
pub const PATH: &str = "path";

/// A step as a span, with fields as those of [`tracing`]: `step!("8.apply", shard, batch)`, or, in the trace that its
/// input came with, `step!("6.decide" in header.trace, shard, %twin)`.
#[doc(hidden)]
#[macro_export]
macro_rules! step {
    ($name:literal in $trace:expr, $($fields:tt)+) => {
        ::tracing::debug_span!(
            target: $crate::path::PATH,
            $name,
            $($fields)+,
            traceparent = $crate::path::traceparent($trace)
        )
    };
    ($name:literal, $($fields:tt)+) => {
        ::tracing::debug_span!(target: $crate::path::PATH, $name, $($fields)+)
    };
}

pub use crate::step;

/// The field `traceparent` of a step.
#[doc(hidden)]
pub fn traceparent(trace: Option<Trace>) -> Option<DisplayValue<String>> {
    trace.map(|trace| display(trace.traceparent()))
}
