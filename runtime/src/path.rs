//! The numbered path of an update as spans of [`tracing`]: `6.decide`, `7.commit` and so on, as ARCHITECTURE.md numbers
//! it.
//!
//! They have a target of their own, so that `TWINFOLD_LOG=warn,path=debug` shows them and nothing else. Their fields are
//! ids: twin, shard, batch, and the trace where the input came with one; never payloads. A span that nobody wants costs
//! one comparison: nothing of it is built.

/// The target of the path's spans.
pub const PATH: &str = "path";
