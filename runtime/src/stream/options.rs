//! How streams are kept.

use std::num::NonZeroU64;

/// The options of a shard's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// After so many bytes a segment is sealed; what is flushed at once is not parted, so it may become a little
    /// longer. Default 64 MiB. Only whole segments are trimmed: too large keeps records long after their time, too
    /// small costs a file and a folder sync each.
    pub segment_bytes: NonZeroU64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: NonZeroU64::new(64 << 20).expect("it is not zero") }
    }
}
