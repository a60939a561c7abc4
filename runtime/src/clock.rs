//! The port to the wall clock. A shard's own now is made of it and of its last stamp, so that it never goes back.

use std::time::{SystemTime, UNIX_EPOCH};

pub use twins::time::Timestamp;

/// A wall clock. It may go back; shards do not.
pub trait Clock: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;
}

/// The system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
    }
}
