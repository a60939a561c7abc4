//! How long the disk takes to make a batch durable.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of the histogram: the last one is for all that took longer than the one before.
pub const BUCKETS: usize = 22;

#[derive(Default)]
pub(crate) struct Meter {
    micros: AtomicU64,
    micros_max: AtomicU64,
    bytes: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// What was measured since the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syncs {
    /// How many batches were synced.
    pub count: u64,
    /// Bytes that were written in them.
    pub bytes: u64,
    /// The sum of the times.
    pub total: Duration,
    /// The longest.
    pub max: Duration,
    /// How many took less than 2^i microseconds, and not less than half of that.
    pub buckets: [u64; BUCKETS],
}

impl Meter {
    pub(crate) fn record(&self, took: Duration, bytes: u64) {
        let micros = took.as_micros() as u64;
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.micros.fetch_add(micros, Relaxed);
        self.micros_max.fetch_max(micros, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Syncs {
        let buckets = self.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        Syncs {
            count: buckets.iter().sum(),
            bytes: self.bytes.load(Relaxed),
            total: Duration::from_micros(self.micros.load(Relaxed)),
            max: Duration::from_micros(self.micros_max.load(Relaxed)),
            buckets,
        }
    }
}
