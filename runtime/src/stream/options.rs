//! How streams are kept.

use std::num::NonZeroU64;
use std::time::Duration;

/// The options of a node's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// After so many bytes a segment is sealed, or after an eighth of a shard's part of `keep_bytes`, or once its first
    /// record is an eighth of `keep_for` old, whatever is first; what is committed at once is not parted, so it may
    /// become a little longer. Default 32 MiB. Only whole segments are trimmed: too large keeps records long after
    /// their time, too small costs a file and a folder sync each.
    pub segment_bytes: NonZeroU64,
    /// How long a record is kept, unless the bytes are too many; at most an eighth longer. Default 7 days.
    pub keep_for: Duration,
    /// The most bytes of all streams of the node; each of its shards has an equal part, and drops its oldest segments
    /// past it. Default 16 GiB: 256 MiB for each of 64 shards. Too small drops records that nobody has read yet.
    pub keep_bytes: NonZeroU64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: const { NonZeroU64::new(32 << 20).unwrap() },
            keep_for: Duration::from_secs(7 * 24 * 3_600),
            keep_bytes: const { NonZeroU64::new(16 << 30).unwrap() },
        }
    }
}
